// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory slots, see slots.h: what the core needs to know of them, whatever
 * their provider.
 *
 * A deleted slot is noticed in three ways.
 *
 * Its provider reports it as part of the change: KVM's page tracker from within
 * KVM_SET_USER_MEMORY_REGION, others by kiommu_guest_slots_changed(), under a
 * lock that is held across changes of slots (kvm->slots_lock), once the slot
 * cannot be found any more. kiommu_slots_deleted() takes the guest's lock for
 * writing, and so comes after all operations that may have found the slot: before
 * the call that deletes it returns, no device can reach the memory, and its
 * pins are gone. So kvm->slots_lock, or anything else that is held across a
 * change of slots, must never be waited for with the guest's lock held. Nor may
 * that lock be held to stop listening, which waits for kiommu_slots_deleted()
 * to return.
 *
 * KVM's tracker costs memory of its VM, and makes KVM refuse to move slots. So
 * it is registered only while a domain wants it: in mode TRACKED, or by
 * KVM_IOMMU_SYNC_SLOTS.
 *
 * In addition, each call compares the generation of the slots, and so does the
 * end of each invalidation of the process's memory (notifier.c).
 *
 * While nobody listens, or to the slots of somebody else (find_tracked), the
 * generation is also compared once a second, so that devices lose access to a
 * deleted slot even if nothing else happens.
 */
#include "port.h"
#include "guest/guest.h"

/* Interval at which the generation is compared, in jiffies. */
#define WATCH_INTERVAL HZ

static u64 generation_of(struct kiommu_guest *guest)
{
	return guest->provider->generation(guest->memory);
}

bool kiommu_slots_due(struct kiommu_guest *guest)
{
	return generation_of(guest) != READ_ONCE(guest->slots.generation);
}

void kiommu_slots_settle(struct kiommu_guest *guest)
{
	u64 generation = generation_of(guest);

	lockdep_assert_held_write(&guest->lock);
	if (generation == guest->slots.generation)
		return;
	/* Later changes have another generation. */
	WRITE_ONCE(guest->slots.generation, generation);
	kiommu_core_slots_changed(guest->pins, 0, U64_MAX);
}

void kiommu_slots_deleted(struct kiommu_guest *guest, u64 gfn, u64 pages)
{
	down_write(&guest->lock);
	if (!guest->pins) {
		/* It is being freed, and nothing is pinned any more. */
		up_write(&guest->lock);
		return;
	}
	if (pages) {
		kiommu_tracked_forget(guest, gfn, gfn + pages - 1);
		kiommu_core_slots_changed(guest->pins, gfn, gfn + pages - 1);
	} else {
		kiommu_core_slots_changed(guest->pins, 0, U64_MAX);
	}
	/* Pages that were mapped by tables in the slot may be idle now. */
	kiommu_guest_unlock(guest);
}

bool kiommu_slots_hold(struct kiommu_guest *guest, unsigned long first,
		       unsigned long last)
{
	return guest->provider->hold_hva(guest->memory, first, last);
}

static void watch(struct work_struct *work)
{
	struct kiommu_guest *guest = container_of(to_delayed_work(work),
						struct kiommu_guest, slots.watch);

	/* kiommu_slots_unlisten() queues the work again. */
	if (READ_ONCE(guest->slots.listeners))
		return;
	if (kiommu_slots_due(guest))
		kiommu_guest_kick(guest);
	kiommu_slots_watch(guest);
}

void kiommu_slots_init(struct kiommu_slots *slots)
{
	mutex_init(&slots->lock);
	INIT_DELAYED_WORK(&slots->watch, watch);
}

void kiommu_slots_watch(struct kiommu_guest *guest)
{
	if (!guest->provider->tells_all)
		queue_delayed_work(guest->wq, &guest->slots.watch,
				   round_jiffies_relative(WATCH_INTERVAL));
}

int kiommu_slots_listen(struct kiommu_guest *guest)
{
	const struct kiommu_memory_provider *provider = guest->provider;
	struct kiommu_slots *slots = &guest->slots;
	int ret = 0;

	if (!provider->listen)
		return -EOPNOTSUPP;
	if (mutex_lock_killable(&slots->lock))
		return -EINTR;
	if (!slots->listeners)
		ret = provider->listen(guest->memory, guest);
	if (!ret)
		WRITE_ONCE(slots->listeners, slots->listeners + 1);
	mutex_unlock(&slots->lock);
	return ret;
}

void kiommu_slots_unlisten(struct kiommu_guest *guest)
{
	struct kiommu_slots *slots = &guest->slots;

	mutex_lock(&slots->lock);
	if (slots->listeners == 1)
		guest->provider->ignore(guest->memory);
	WRITE_ONCE(slots->listeners, slots->listeners - 1);
	if (!slots->listeners)
		kiommu_slots_watch(guest);
	mutex_unlock(&slots->lock);
}

void kiommu_slots_ignore(struct kiommu_guest *guest)
{
	WARN_ON(guest->slots.listeners);
	cancel_delayed_work_sync(&guest->slots.watch);
	mutex_destroy(&guest->slots.lock);
}

int kiommu_port_find_slot(struct kiommu_guest *guest, kiommu_u64 gfn,
			  struct kiommu_slot *slot)
{
	return guest->provider->find_slot(guest->memory, gfn, slot);
}
