// SPDX-License-Identifier: GPL-2.0-only
/*
 * Stores of the guest to its tables, see tracking.h.
 *
 * KVM tells of each store that it emulates, to pages that are tracked and to
 * others, in the thread of the vCPU, under kvm->srcu (for reading): so nothing
 * that is done under the locks of lock.h may wait for a grace period of it, nor
 * for kvm->slots_lock, whose holder waits for one.
 *
 * A page is tracked once for a guest, however many of its containers have tables
 * in it: a look-up here, without a lock, tells whether anybody wants a store.
 * KVM forgets the pages of a slot that goes; so do we then, before the core is
 * told, and what the core untracks later is not here any more.
 *
 * Pages are tracked in slots of address space 0. KVM tells of slots of other
 * address spaces, too, and not of which one they were: so the slots themselves
 * are asked which pages they still hold.
 */
#include <linux/errno.h>
#include <linux/slab.h>
#include <linux/xarray.h>

#include <linux/kvm_iommu.h>

#include "container.h"
#include "guest.h"
#include "lock.h"
#include "port.h"
#include "tracking.h"

void kiommu_tracked_init(struct kiommu_tracked *tracked)
{
	mutex_init(&tracked->lock);
	xa_init(&tracked->pages);
	INIT_LIST_HEAD(&tracked->containers);
}

void kiommu_tracked_destroy(struct kiommu_tracked *tracked)
{
	WARN_ON(!xa_empty(&tracked->pages));
	xa_destroy(&tracked->pages);
	mutex_destroy(&tracked->lock);
}

static unsigned long users_of(struct kiommu_tracked *tracked, u64 gfn)
{
	return xa_to_value(xa_load(&tracked->pages, gfn) ?: xa_mk_value(0));
}

/*
 * The page is known here before its first store can be told. Return: 0, -ENOMEM,
 * or what the provider says.
 */
static int track_first(struct kiommu_mem *mem, u64 gfn)
{
	struct kiommu_tracked *tracked = &mem->tracked;
	int ret;

	ret = xa_err(xa_store(&tracked->pages, gfn, xa_mk_value(1),
			      GFP_KERNEL_ACCOUNT));
	if (ret)
		return ret;
	ret = mem->provider->track(mem->memory, gfn);
	if (ret)
		xa_erase(&tracked->pages, gfn);
	return ret;
}

int kiommu_port_track(struct kiommu_mem *mem, kiommu_u64 gfn)
{
	struct kiommu_tracked *tracked = &mem->tracked;
	unsigned long users;
	int ret = 0;

	mutex_lock(&tracked->lock);
	users = users_of(tracked, gfn);
	if (!users)
		ret = track_first(mem, gfn);
	else /* there is an entry: nothing is allocated */
		xa_store(&tracked->pages, gfn, xa_mk_value(users + 1),
			 GFP_KERNEL_ACCOUNT);
	mutex_unlock(&tracked->lock);
	return ret;
}

void kiommu_port_untrack(struct kiommu_mem *mem, kiommu_u64 gfn)
{
	struct kiommu_tracked *tracked = &mem->tracked;
	unsigned long users;

	mutex_lock(&tracked->lock);
	users = users_of(tracked, gfn);
	if (users > 1) {
		xa_store(&tracked->pages, gfn, xa_mk_value(users - 1),
			 GFP_KERNEL_ACCOUNT);
	} else if (users) {
		mem->provider->untrack(mem->memory, gfn);
		xa_erase(&tracked->pages, gfn);
	}
	mutex_unlock(&tracked->lock);
}

static void forget(struct kiommu_tracked *tracked, u64 first, u64 last)
{
	unsigned long at = first;
	void *users;

	xa_for_each_range(&tracked->pages, at, users, first, last) {
		xa_erase(&tracked->pages, at);
		cond_resched();
	}
}

void kiommu_tracked_forget(struct kiommu_mem *guest, u64 first, u64 last)
{
	struct kiommu_slot slot;

	lockdep_assert_held_write(&guest->lock);
	while (first <= last &&
	       !guest->provider->find_slot(guest->memory, first, &slot) &&
	       slot.first_gfn <= last) {
		if (first < slot.first_gfn)
			forget(&guest->tracked, first, slot.first_gfn - 1);
		first = slot.first_gfn + slot.pages;
		cond_resched();
	}
	if (first <= last)
		forget(&guest->tracked, first, last);
}

/*
 * The next container after @at, referenced, or NULL: then @at has left the list.
 * @at begins as a place in no list, and goes with what is returned. So a store
 * passes each container once, whoever leaves meanwhile. Who comes later is added
 * before all places: it looks at the tables then.
 */
static struct kiommu_container *next_container(struct kiommu_tracked *tracked,
					       struct kiommu_tracked_link *at)
{
	struct kiommu_tracked_link *link = at;

	mutex_lock(&tracked->lock);
	if (list_empty(&at->list))
		list_add(&at->list, &tracked->containers);
	list_for_each_entry_continue(link, &tracked->containers, list) {
		if (!link->container)
			continue; /* another store */
		/* VFIO's reference is dropped after it has left the list. */
		refcount_inc(&link->container->refs);
		list_move(&at->list, &link->list);
		mutex_unlock(&tracked->lock);
		return link->container;
	}
	list_del(&at->list);
	mutex_unlock(&tracked->lock);
	return NULL;
}

/*
 * Memory has what was stored, and not all of it is followed: that is told, and done,
 * by whoever settles the guest next.
 */
static void miss(struct kiommu_mem *guest)
{
	WRITE_ONCE(guest->tracked.missed, true);
	kiommu_guest_kick(guest);
}

void kiommu_tracked_settle(struct kiommu_mem *guest)
{
	lockdep_assert_held_write(&guest->lock);
	/* One that is missed from here on is told anew. */
	if (xchg(&guest->tracked.missed, false) &&
	    kiommu_core_stores_missed(guest->pins))
		miss(guest);
}

/*
 * Long work lets others at the locks. Return: 0; -EINTR some of it is left: other
 * vCPUs can go on, if the process that was killed was not the only one that has
 * the memory.
 */
static int follow_store(struct kiommu_container *container,
			struct kiommu_mem *guest, u64 gpa, u32 bytes)
{
	struct kiommu_tracking_work work;
	bool begun = false;
	int ret;

	do {
		ret = kiommu_lock_shared(container);
		/* VFIO has released it: nothing of it follows the guest. */
		if (ret == -ESTALE)
			return 0;
		if (ret)
			return ret;
		if (container->guest != guest) {
			kiommu_unlock_shared(container);
			return 0;
		}
		if (!begun)
			kiommu_core_tracking_store(container->domain, gpa,
						   bytes, &work);
		begun = true;
		ret = kiommu_core_tracking_step(container->domain, &work);
		kiommu_unlock_shared(container);
	} while (ret == -EAGAIN);
	return ret;
}

void kiommu_tracked_store(struct kiommu_mem *guest, u64 gpa, u32 bytes)
{
	struct kiommu_tracked_link at = { .list = LIST_HEAD_INIT(at.list) };
	struct kiommu_container *container;

	if (likely(!xa_load(&guest->tracked.pages, gpa >> PAGE_SHIFT)))
		return;
	while ((container = next_container(&guest->tracked, &at))) {
		if (follow_store(container, guest, gpa, bytes))
			miss(guest);
		/* Never the last of the guest: it calls us. */
		kiommu_container_put(container);
	}
}

bool kiommu_tracking_possible(struct kiommu_mem *guest)
{
	return guest->provider->can_track &&
	       guest->provider->can_track(guest->memory);
}

int kiommu_tracking_start(struct kiommu_container *container, u32 burst)
{
	struct kiommu_mem *guest = container->guest;
	int ret;

	lockdep_assert_held_write(&guest->lock);
	if (!kiommu_tracking_possible(guest))
		return -EOPNOTSUPP;
	ret = kiommu_core_tracking_start(container->domain, burst);
	if (ret)
		return ret;
	mutex_lock(&guest->tracked.lock);
	container->sync.tracking.container = container;
	list_add(&container->sync.tracking.list, &guest->tracked.containers);
	mutex_unlock(&guest->tracked.lock);
	return 0;
}

void kiommu_tracking_stop(struct kiommu_container *container)
{
	struct kiommu_mem *guest = container->guest;

	lockdep_assert_held_write(&guest->lock);
	mutex_lock(&guest->tracked.lock);
	list_del(&container->sync.tracking.list);
	mutex_unlock(&guest->tracked.lock);
	kiommu_core_tracking_stop(container->domain);
}

/* Slots can have changed since the locks were taken; nobody else can tell. */
int kiommu_tracking_fill(struct kiommu_container *container)
{
	struct kiommu_tracking_work work;
	int ret;

	lockdep_assert_held_write(&container->guest->lock);
	kiommu_core_tracking_all(container->domain, &work);
	do {
		kiommu_guest_settle(container->guest);
		ret = kiommu_core_tracking_step(container->domain, &work);
	} while (ret == -EAGAIN);
	return ret;
}

int kiommu_tracking_untrack(struct kiommu_container *container,
			    struct kvm_iommu_untrack *cmd)
{
	kiommu_u64 count = 0;
	int ret = -ENXIO;

	if (!container->guest)
		return -ENODEV;
	if (container->sync.mode == KVM_IOMMU_SYNC_TRACKED)
		ret = kiommu_core_untrack(container->domain, cmd->gpa,
					  cmd->length, &count, &cmd->status);
	else
		cmd->status = KVM_IOMMU_STATUS_NOT_TRACKED;
	cmd->count = count;
	return ret;
}
