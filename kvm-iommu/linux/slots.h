/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The memory slots of a guest, and how their changes are noticed.
 */
#ifndef KIOMMU_SLOTS_H
#define KIOMMU_SLOTS_H

#include <linux/kvm_host.h>

struct kiommu_mem;

/**
 * struct kiommu_slots - what is known of a guest's memory slots
 * @generation: of the slots when the core was told last. Written with the
 *	guest's lock held for writing.
 * @tracker: told by KVM when a slot is deleted.
 * @untrack: kvm_page_track_unregister_notifier() while @tracker is registered:
 *	kvm.ko is held by it. Protected by the lock of the guest list.
 */
struct kiommu_slots {
	u64 generation;
#ifdef CONFIG_KVM_EXTERNAL_WRITE_TRACKING
	struct kvm_page_track_notifier_node tracker;
	void (*untrack)(struct kvm *kvm,
			struct kvm_page_track_notifier_node *tracker);
#endif
};

/**
 * kiommu_slots_register() - be told of slots that go, at once
 *
 * KVM allows it to the process alone that made the VM, and not on all
 * architectures. Where it fails, the next call on the guest notices.
 * Context: the list of guests is locked, no lock of lock.h is held.
 */
void kiommu_slots_register(struct kiommu_mem *guest);

/* Context: as kiommu_guest_put(). No callback is under way on return. */
void kiommu_slots_unregister(struct kiommu_mem *guest);

/* Whether slots have changed. Context: any. */
bool kiommu_slots_due(struct kiommu_mem *guest);

/* Tells the core if they have. Context: guest's lock is held for writing. */
void kiommu_slots_settle(struct kiommu_mem *guest);

/* Whether a slot has memory of [first, last], HVAs. Context: may sleep. */
bool kiommu_slots_hold(struct kiommu_mem *guest, unsigned long first,
		       unsigned long last);

#endif /* KIOMMU_SLOTS_H */
