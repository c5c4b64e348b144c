/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The memory slots of a guest, and how their changes are noticed.
 */
#ifndef KIOMMU_SLOTS_H
#define KIOMMU_SLOTS_H

#include <linux/mutex.h>
#include <linux/types.h>
#include <linux/workqueue.h>

struct kiommu_guest;

/**
 * struct kiommu_slots - what is known of a guest's memory slots
 * @generation: generation of the slots that the core was last told of. Written
 *	with the guest's lock held for writing.
 * @lock: serialises listening and unlistening. Taken under no other lock of
 *	ours; may wait for vCPUs of the guest.
 * @listeners: number of domains that want to be told of deleted slots at
 *	once. Written with @lock held.
 * @watch: compares the generation periodically while there are no listeners.
 */
struct kiommu_slots {
	u64 generation;
	struct mutex lock; /* serialises listening and unlistening */
	unsigned int listeners;
	struct delayed_work watch;
};

void kiommu_slots_init(struct kiommu_slots *slots);

/* Starts to compare generations. Context: any. */
void kiommu_slots_watch(struct kiommu_guest *guest);

/**
 * kiommu_slots_listen() - have the provider report deleted slots at once
 *
 * It also reports stores to pages that it tracks. Without a listener, deleted
 * slots are noticed by the generation. Each call that returns 0 must be undone
 * by a kiommu_slots_unlisten().
 *
 * Context: may sleep; a thread of the guest's process; no lock of lock.h is
 * held.
 * Return: 0; -EOPNOTSUPP if the provider does not report them; -ENOMEM; -EINTR.
 */
int kiommu_slots_listen(struct kiommu_guest *guest);

/*
 * The opposite. After the last one, no callback is under way on return.
 * Context: as kiommu_guest_put().
 */
void kiommu_slots_unlisten(struct kiommu_guest *guest);

/*
 * Stops comparing generations. Context: as kiommu_guest_put(); no listener is
 * left.
 */
void kiommu_slots_ignore(struct kiommu_guest *guest);

/* Whether slots have changed. Context: any. */
bool kiommu_slots_due(struct kiommu_guest *guest);

/*
 * Tells the core if they have. The caller holds the guest's lock for writing.
 */
void kiommu_slots_settle(struct kiommu_guest *guest);

/**
 * kiommu_slots_deleted() - tell the core that slots were deleted
 * @gfn: first page of the slot.
 * @pages: pages of the slot. If 0, it is not known which slots were deleted, and
 *	none of their pages is tracked.
 *
 * The slot may be one that devices do not see, because KVM has separate slots
 * for system management mode: pages that other slots still hold stay tracked.
 * On return nothing in deleted slots is mapped or pinned.
 *
 * Context: may sleep; may be called under kvm->slots_lock, but under no lock of
 * lock.h. The caller has a reference, or the provider has not put the memory of
 * @guest yet.
 */
void kiommu_slots_deleted(struct kiommu_guest *guest, u64 gfn, u64 pages);

/* Whether a slot has memory in [first, last], HVAs. Context: any. */
bool kiommu_slots_hold(struct kiommu_guest *guest, unsigned long first,
		       unsigned long last);

#endif /* KIOMMU_SLOTS_H */
