/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The memory slots of a guest, and how their changes are noticed.
 */
#ifndef KIOMMU_SLOTS_H
#define KIOMMU_SLOTS_H

#include <linux/mutex.h>
#include <linux/types.h>
#include <linux/workqueue.h>

struct kiommu_mem;

/**
 * struct kiommu_slots - what is known of a guest's memory slots
 * @generation: of the slots when the core was told last. Written with the
 *	guest's lock held for writing.
 * @lock: serialises who starts and who stops to listen. It is taken under no
 *	other lock of ours, and may wait for vCPUs of the guest.
 * @listeners: how many containers want slots that go to be told at once.
 *	Written with @lock held.
 * @watch: compares the generation now and then while there are no listeners.
 */
struct kiommu_slots {
	u64 generation;
	struct mutex lock; /* see above */
	unsigned int listeners;
	struct delayed_work watch;
};

void kiommu_slots_init(struct kiommu_slots *slots);

/* Begins to compare generations. Context: any. */
void kiommu_slots_watch(struct kiommu_mem *guest);

/**
 * kiommu_slots_listen() - have the provider tell of slots that go, at once
 *
 * Also of stores to pages that it tracks. Without that, slots that go are noticed
 * by the generation. Each call that returns 0 is undone by one of
 * kiommu_slots_unlisten().
 * Context: a thread of the guest's process; may sleep; no lock of lock.h is
 * held. Return: 0; -EOPNOTSUPP the provider does not tell; -ENOMEM; -EINTR.
 */
int kiommu_slots_listen(struct kiommu_mem *guest);

/*
 * The opposite. Context: as kiommu_guest_put(). If it was the last one, no
 * callback is under way on return.
 */
void kiommu_slots_unlisten(struct kiommu_mem *guest);

/* Nothing is compared any more. Context: as kiommu_guest_put(); no listeners. */
void kiommu_slots_ignore(struct kiommu_mem *guest);

/* Whether slots have changed. Context: any. */
bool kiommu_slots_due(struct kiommu_mem *guest);

/* Tells the core if they have. Context: guest's lock is held for writing. */
void kiommu_slots_settle(struct kiommu_mem *guest);

/**
 * kiommu_slots_deleted() - tells the core that slots have gone
 * @gfn: first page of the slot; @pages: 0: not known, none of them is tracked.
 *	The slot may be one that devices do not see (KVM's system management
 *	mode has slots of its own): pages that slots still hold stay tracked.
 *
 * On return nothing of them is mapped or pinned. Context: may sleep; may be
 * under kvm->slots_lock, under no lock of lock.h.
 */
void kiommu_slots_deleted(struct kiommu_mem *guest, u64 gfn, u64 pages);

/* Whether a slot has memory of [first, last], HVAs. Context: any. */
bool kiommu_slots_hold(struct kiommu_mem *guest, unsigned long first,
		       unsigned long last);

#endif /* KIOMMU_SLOTS_H */
