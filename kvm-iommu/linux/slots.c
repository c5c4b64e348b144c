// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory slots, see slots.h. They are read under kvm->srcu by the inline
 * functions of kvm_host.h, which need no symbol of kvm.ko.
 *
 * A slot that is deleted is noticed in two ways.
 *
 * KVM's page tracker calls track_deleted() from within
 * KVM_SET_USER_MEMORY_REGION, under kvm->slots_lock, when the slot cannot be
 * found any more. It takes the guest's lock for writing, and so comes after
 * all requests that may have found it: before the ioctl returns no device can
 * reach the memory, and its pins are gone. So the guest's lock must never be
 * held while kvm->slots_lock, or anything that is held across a change of
 * slots, is waited for; and the tracker must not be unregistered under it,
 * which waits for track_deleted() to return.
 *
 * Beside that, each call compares the generation of the slots. This covers
 * kernels without the tracker, and processes that may not register one.
 */
#include <linux/interval_tree.h>
#include <linux/kvm_host.h>
#include <linux/module.h>

#include "guest.h"
#include "port.h"

/*
 * The arrays of slots are part of struct kvm; the generation changes last when
 * one is made valid.
 */
static u64 generation_of(struct kvm *kvm)
{
	struct kvm_memslots *slots =
		rcu_dereference_check(kvm->memslots[0], true);

	/* Slots are looked up after it; they were made valid before. */
	return smp_load_acquire(&slots->generation);
}

bool kiommu_slots_due(struct kiommu_mem *guest)
{
	return generation_of(guest->kvm) != READ_ONCE(guest->slots.generation);
}

void kiommu_slots_settle(struct kiommu_mem *guest)
{
	u64 generation = generation_of(guest->kvm);

	lockdep_assert_held_write(&guest->lock);
	if (generation == guest->slots.generation)
		return;
	/* What changes from here on has another generation. */
	WRITE_ONCE(guest->slots.generation, generation);
	kiommu_core_slots_changed(guest->pins);
}

bool kiommu_slots_hold(struct kiommu_mem *guest, unsigned long first,
		       unsigned long last)
{
	struct kvm *kvm = guest->kvm;
	bool found;
	int idx;

	idx = srcu_read_lock(&kvm->srcu);
	found = interval_tree_iter_first(&kvm_memslots(kvm)->hva_tree, first,
					 last);
	srcu_read_unlock(&kvm->srcu, idx);
	return found;
}

#ifdef CONFIG_KVM_EXTERNAL_WRITE_TRACKING

static void track_deleted(gfn_t gfn, unsigned long pages,
			  struct kvm_page_track_notifier_node *node)
{
	struct kiommu_mem *guest =
		container_of(node, struct kiommu_mem, slots.tracker);

	down_write(&guest->lock);
	kiommu_core_slots_changed(guest->pins);
	up_write(&guest->lock);
}

void kiommu_slots_register(struct kiommu_mem *guest)
{
	struct kiommu_slots *slots = &guest->slots;
	int (*track)(struct kvm *kvm,
		     struct kvm_page_track_notifier_node *tracker);
	int idx, ret;

	if (slots->untrack || current->mm != guest->mm)
		return;
	track = symbol_get(kvm_page_track_register_notifier);
	if (!track)
		return;
	slots->untrack = symbol_get(kvm_page_track_unregister_notifier);
	/* No guest page is tracked: no callback for writes. */
	slots->tracker.track_remove_region = track_deleted;
	if (!slots->untrack)
		goto out;
	/* It looks at all slots, under slots_arch_lock alone. */
	idx = srcu_read_lock(&guest->kvm->srcu);
	ret = track(guest->kvm, &slots->tracker);
	srcu_read_unlock(&guest->kvm->srcu, idx);
	if (ret) {
		symbol_put(kvm_page_track_unregister_notifier);
		slots->untrack = NULL;
	}
out:
	symbol_put(kvm_page_track_register_notifier);
}

void kiommu_slots_unregister(struct kiommu_mem *guest)
{
	struct kiommu_slots *slots = &guest->slots;

	if (!slots->untrack)
		return;
	slots->untrack(guest->kvm, &slots->tracker);
	symbol_put(kvm_page_track_unregister_notifier);
}

#else

void kiommu_slots_register(struct kiommu_mem *guest)
{
}

void kiommu_slots_unregister(struct kiommu_mem *guest)
{
}

#endif

/*
 * Slots of address space 0: what devices see. Slots that KVM made for itself
 * are not the guest's memory.
 */
int kiommu_port_find_slot(struct kiommu_mem *mem, kiommu_u64 gfn,
			  struct kiommu_slot *slot)
{
	struct kvm_memslot_iter iter;
	int ret = -ENOENT;
	int idx;

	idx = srcu_read_lock(&mem->kvm->srcu);
	kvm_for_each_memslot_in_gfn_range(&iter, kvm_memslots(mem->kvm), gfn,
					  ~0ULL) {
		const struct kvm_memory_slot *found = iter.slot;

		if (!kvm_is_visible_memslot(iter.slot))
			continue;
		slot->first_gfn = found->base_gfn;
		slot->pages = found->npages;
		slot->hva = found->userspace_addr;
		slot->flags = 0;
		if (found->flags & KVM_MEM_READONLY)
			slot->flags |= KIOMMU_SLOT_READ_ONLY;
		if (kvm_slot_can_be_private(found))
			slot->flags |= KIOMMU_SLOT_PRIVATE;
		ret = 0;
		break;
	}
	srcu_read_unlock(&mem->kvm->srcu, idx);
	return ret;
}
