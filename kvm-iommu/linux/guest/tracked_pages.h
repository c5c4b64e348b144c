/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Pages of the guest's tables whose stores KVM, or another provider, tells of.
 */
#ifndef KIOMMU_TRACKED_PAGES_H
#define KIOMMU_TRACKED_PAGES_H

#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/types.h>
#include <linux/xarray.h>

struct kiommu_follower;
struct kiommu_mem;

/**
 * struct kiommu_follower_ops - what a store does to who follows the guest
 * @hold: a reference that lasts until @put. Context: kiommu_tracked.lock.
 * @store: see kiommu_tracked_store(). Return: 0; else it was not followed to its end.
 * @put: Context: as @store.
 */
struct kiommu_follower_ops {
	void (*hold)(struct kiommu_follower *follower);
	int (*store)(struct kiommu_follower *follower, struct kiommu_mem *guest,
		     u64 gpa, u32 bytes);
	void (*put)(struct kiommu_follower *follower);
};

/**
 * struct kiommu_follower - a place in the list of a guest's followers
 * @list: in kiommu_tracked.followers, under its lock.
 * @ops: of who follows; NULL: a store has been told to those before this place.
 */
struct kiommu_follower {
	struct list_head list;
	const struct kiommu_follower_ops *ops;
};

/**
 * struct kiommu_tracked - what is tracked of a guest; part of struct kiommu_mem
 * @missed: a store was not followed to its end, and the core has not been told.
 * @lock: of both below; taken inside of all locks of lock.h, and outside of
 *	what the provider takes to track a page (kvm->mmu_lock).
 * @pages: by GFN: how many containers track it. Looked up without @lock.
 * @followers: of struct kiommu_follower: the last that came first, and how far
 *	each store under way has come.
 */
struct kiommu_tracked {
	bool missed;
	struct mutex lock; /* see above */
	struct xarray pages;
	struct list_head followers;
};

void kiommu_tracked_init(struct kiommu_tracked *tracked);
/* No follower is left. */
void kiommu_tracked_destroy(struct kiommu_tracked *tracked);

/**
 * kiommu_tracked_add() - stores are followed from now on
 * kiommu_tracked_remove() - no longer; stores under way may hold it still
 */
void kiommu_tracked_add(struct kiommu_tracked *tracked,
			struct kiommu_follower *follower);
void kiommu_tracked_remove(struct kiommu_tracked *tracked,
			   struct kiommu_follower *follower);

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

#endif /* KIOMMU_TRACKED_PAGES_H */
