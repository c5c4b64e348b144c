// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory slots, see slots.h: what the core wants to know of them, whoever
 * provides them.
 *
 * A slot that is deleted is noticed in two ways.
 *
 * Its provider tells, as part of the change: KVM's page tracker from within
 * KVM_SET_USER_MEMORY_REGION, others by kiommu_guest_slots_changed(), under a
 * lock that is held across changes (kvm->slots_lock), when the slot cannot be
 * found any more. kiommu_slots_deleted() takes the guest's lock for writing, and
 * so comes after all requests that may have found it: before the call that
 * deletes it returns no device can reach the memory, and its pins are gone. So
 * the guest's lock must never be held while kvm->slots_lock, or anything that is
 * held across a change of slots, is waited for; and nobody may stop to listen
 * under it, which waits for kiommu_slots_deleted() to return.
 *
 * Beside that, each call compares the generation of the slots. This covers
 * kernels whose KVM does not tell, and processes that it does not tell.
 */
#include "guest.h"
#include "lock.h"
#include "port.h"

static u64 generation_of(struct kiommu_mem *guest)
{
	return guest->provider->generation(guest->memory);
}

bool kiommu_slots_due(struct kiommu_mem *guest)
{
	return generation_of(guest) != READ_ONCE(guest->slots.generation);
}

void kiommu_slots_settle(struct kiommu_mem *guest)
{
	u64 generation = generation_of(guest);

	lockdep_assert_held_write(&guest->lock);
	if (generation == guest->slots.generation)
		return;
	/* What changes from here on has another generation. */
	WRITE_ONCE(guest->slots.generation, generation);
	kiommu_core_slots_changed(guest->pins);
}

void kiommu_slots_deleted(struct kiommu_mem *guest, u64 gfn, u64 pages)
{
	down_write(&guest->lock);
	if (pages)
		kiommu_tracked_forget(guest, gfn, gfn + pages - 1);
	kiommu_core_slots_changed(guest->pins);
	/* What tables in the slot mapped can be pinned for nobody now. */
	kiommu_unlock_guest(guest);
}

bool kiommu_slots_hold(struct kiommu_mem *guest, unsigned long first,
		       unsigned long last)
{
	return guest->provider->hold_hva(guest->memory, first, last);
}

void kiommu_slots_listen(struct kiommu_mem *guest)
{
	if (guest->provider->listen)
		guest->provider->listen(guest->memory, guest);
}

void kiommu_slots_ignore(struct kiommu_mem *guest)
{
	if (guest->provider->ignore)
		guest->provider->ignore(guest->memory);
}

int kiommu_port_find_slot(struct kiommu_mem *mem, kiommu_u64 gfn,
			  struct kiommu_slot *slot)
{
	return mem->provider->find_slot(mem->memory, gfn, slot);
}
