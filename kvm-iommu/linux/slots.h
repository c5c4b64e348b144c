/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The memory slots of a guest, and how their changes are noticed.
 */
#ifndef KIOMMU_SLOTS_H
#define KIOMMU_SLOTS_H

#include <linux/types.h>

struct kiommu_mem;

/**
 * struct kiommu_slots - what is known of a guest's memory slots
 * @generation: of the slots when the core was told last. Written with the
 *	guest's lock held for writing.
 */
struct kiommu_slots {
	u64 generation;
};

/**
 * kiommu_slots_listen() - be told of slots that go, at once
 *
 * Where it fails, the next call on the guest notices.
 * Context: the list of guests is locked, no lock of lock.h is held.
 */
void kiommu_slots_listen(struct kiommu_mem *guest);

/* Context: as kiommu_guest_put(). No callback is under way on return. */
void kiommu_slots_ignore(struct kiommu_mem *guest);

/* Whether slots have changed. Context: any. */
bool kiommu_slots_due(struct kiommu_mem *guest);

/* Tells the core if they have. Context: guest's lock is held for writing. */
void kiommu_slots_settle(struct kiommu_mem *guest);

/**
 * kiommu_slots_deleted() - tells the core that slots have gone
 * @gfn: first page of the slot; @pages: 0: not known, none of them is tracked.
 *
 * On return nothing of them is mapped or pinned. Context: may sleep; may be
 * under kvm->slots_lock, under no lock of lock.h.
 */
void kiommu_slots_deleted(struct kiommu_mem *guest, u64 gfn, u64 pages);

/* Whether a slot has memory of [first, last], HVAs. Context: any. */
bool kiommu_slots_hold(struct kiommu_mem *guest, unsigned long first,
		       unsigned long last);

#endif /* KIOMMU_SLOTS_H */
