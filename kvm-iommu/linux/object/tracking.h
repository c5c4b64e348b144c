/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Stores of the guest to its tables, which KVM tells of: mode TRACKED.
 */
#ifndef KIOMMU_TRACKING_H
#define KIOMMU_TRACKING_H

#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/types.h>
#include <linux/xarray.h>

struct kiommu_container;
struct kiommu_mem;
struct kvm_iommu_untrack;

/**
 * struct kiommu_tracked_link - a place in the list of a guest's containers
 * @list: in kiommu_tracked.containers, under its lock.
 * @container: whose place it is; NULL: a store has been told to those before.
 */
struct kiommu_tracked_link {
	struct list_head list;
	struct kiommu_container *container;
};

/**
 * struct kiommu_tracked - what is tracked of a guest; part of struct kiommu_mem
 * @missed: a store was not followed to its end, and the core has not been told.
 * @lock: of both below; taken inside of all locks of lock.h, and outside of
 *	what the provider takes to track a page (kvm->mmu_lock).
 * @pages: by GFN: how many containers track it. Looked up without @lock.
 * @containers: of struct kiommu_tracked_link: those in mode TRACKED, the last
 *	that came first, and how far each store under way has come.
 */
struct kiommu_tracked {
	bool missed;
	struct mutex lock; /* see above */
	struct xarray pages;
	struct list_head containers;
};

void kiommu_tracked_init(struct kiommu_tracked *tracked);
/* No container is left. */
void kiommu_tracked_destroy(struct kiommu_tracked *tracked);

/**
 * kiommu_tracked_store() - the guest has stored something, anywhere
 * @gpa: of the first byte; @bytes: in one page.
 *
 * Memory has the new value. On return the shadows and the hosts' IOTLBs of all
 * containers that follow the page have it, too.
 * Context: may sleep; a thread of the guest's process; no lock of lock.h;
 * kvm->srcu may be held for reading.
 */
void kiommu_tracked_store(struct kiommu_mem *guest, u64 gpa, u32 bytes);

/* Tells the core of stores that were missed. Context: guest's lock, for writing. */
void kiommu_tracked_settle(struct kiommu_mem *guest);

/**
 * kiommu_tracked_forget() - the provider tracks pages no longer
 * @first: GFN; @last: GFN, inclusive.
 *
 * A slot of them has gone. Those that slots hold are tracked as before: what has
 * gone was a slot that devices do not see.
 * Context: the guest's lock is held for writing, and slots do not change; the
 * core is told of the slot before it is let go.
 */
void kiommu_tracked_forget(struct kiommu_mem *guest, u64 first, u64 last);

/**
 * kiommu_tracking_start() - pages of tables are tracked as the walker meets them
 * @burst: as of KVM_IOMMU_SET_SYNC.
 *
 * Context: kiommu_lock_exclusive(); a KVM is registered, and it tells
 * (kiommu_slots_listen()); not started yet. Return: 0; -EOPNOTSUPP this kernel, or
 * this KVM, cannot; -ENOMEM.
 */
int kiommu_tracking_start(struct kiommu_container *container, u32 burst);

/**
 * kiommu_tracking_stop() - no page is tracked any more
 *
 * Context: kiommu_lock_exclusive(). Cannot fail, never allocates.
 */
void kiommu_tracking_stop(struct kiommu_container *container);

/**
 * kiommu_tracking_fill() - shadows all that the tables say
 *
 * What is wrong with them goes to the faults. Nothing happens without an anchor.
 * Context: kiommu_lock_exclusive(); in a thread of the guest's process. Return: 0;
 * -EINTR.
 */
int kiommu_tracking_fill(struct kiommu_container *container);

/**
 * kiommu_tracking_untrack() - KVM_IOMMU_UNTRACK
 *
 * Context: kiommu_lock_shared(). Return: as documented there.
 */
int kiommu_tracking_untrack(struct kiommu_container *container,
			    struct kvm_iommu_untrack *cmd);

/* Whether stores of the guest can be tracked. Context: the guest is registered. */
bool kiommu_tracking_possible(struct kiommu_mem *guest);

#endif /* KIOMMU_TRACKING_H */
