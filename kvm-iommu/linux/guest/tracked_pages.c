// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tracked pages and stores to them, see tracked_pages.h.
 *
 * KVM reports each store that it emulates, to tracked and to other pages, in
 * the vCPU's thread with kvm->srcu held for reading. So a grace period of it
 * must not be waited for under the locks of lock.h, nor kvm->slots_lock, whose
 * holder waits for one.
 *
 * A page is tracked once for a guest, however many of its domains have
 * tables in it. A lockless lookup here tells whether anyone wants a store. KVM
 * drops the pages of a slot that is deleted, and so does this file then, before
 * the core is told; pages that the core untracks later are not here any more.
 *
 * Pages are tracked in slots of address space 0. KVM also reports deleted slots
 * of other address spaces, and does not say which one it was. So the slots
 * themselves are asked which pages they still hold.
 */
#include <linux/errno.h>
#include <linux/slab.h>
#include <linux/xarray.h>

#include "guest/guest.h"
#include "port.h"

void kiommu_tracked_init(struct kiommu_tracked *tracked)
{
	mutex_init(&tracked->lock);
	xa_init(&tracked->pages);
	INIT_LIST_HEAD(&tracked->followers);
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
 * The page is entered before its first store can be reported. Return: 0;
 * -ENOMEM; or what the provider returned.
 */
static int track_first(struct kiommu_guest *guest, u64 gfn)
{
	struct kiommu_tracked *tracked = &guest->tracked;
	int ret;

	ret = xa_err(xa_store(&tracked->pages, gfn, xa_mk_value(1),
			      GFP_KERNEL_ACCOUNT));
	if (ret)
		return ret;
	ret = guest->provider->track(guest->memory, gfn);
	if (ret)
		xa_erase(&tracked->pages, gfn);
	return ret;
}

int kiommu_port_track(struct kiommu_guest *guest, kiommu_u64 gfn)
{
	struct kiommu_tracked *tracked = &guest->tracked;
	unsigned long users;
	int ret = 0;

	mutex_lock(&tracked->lock);
	users = users_of(tracked, gfn);
	if (!users)
		ret = track_first(guest, gfn);
	else /* the entry exists: nothing is allocated */
		xa_store(&tracked->pages, gfn, xa_mk_value(users + 1),
			 GFP_KERNEL_ACCOUNT);
	mutex_unlock(&tracked->lock);
	return ret;
}

void kiommu_port_untrack(struct kiommu_guest *guest, kiommu_u64 gfn)
{
	struct kiommu_tracked *tracked = &guest->tracked;
	unsigned long users;

	mutex_lock(&tracked->lock);
	users = users_of(tracked, gfn);
	if (users > 1) {
		xa_store(&tracked->pages, gfn, xa_mk_value(users - 1),
			 GFP_KERNEL_ACCOUNT);
	} else if (users) {
		guest->provider->untrack(guest->memory, gfn);
		xa_erase(&tracked->pages, gfn);
	}
	mutex_unlock(&tracked->lock);
}

/* Stores to these pages are not told of any more. */
static void forget(struct kiommu_guest *guest, u64 first, u64 last)
{
	unsigned long at = first;
	void *users;

	xa_for_each_range(&guest->tracked.pages, at, users, first, last) {
		xa_erase(&guest->tracked.pages, at);
		cond_resched();
	}
	/* The memory may still be there. */
	if (guest->provider->find_tracked)
		kiommu_core_tables_gone(guest->pins, first, last);
}

void kiommu_tracked_forget(struct kiommu_guest *guest, u64 first, u64 last)
{
	const struct kiommu_memory_provider *provider = guest->provider;
	int (*find)(struct kiommu_memory *memory, u64 gfn,
		    struct kiommu_slot *slot) =
		provider->find_tracked ?: provider->find_slot;
	struct kiommu_slot slot;

	lockdep_assert_held_write(&guest->lock);
	while (first <= last && !find(guest->memory, first, &slot) &&
	       slot.first_gfn <= last) {
		if (first < slot.first_gfn)
			forget(guest, first, slot.first_gfn - 1);
		first = slot.first_gfn + slot.pages;
		cond_resched();
	}
	if (first <= last)
		forget(guest, first, last);
}

void kiommu_tracked_add(struct kiommu_tracked *tracked,
			struct kiommu_follower *follower,
			const struct kiommu_follower_ops *ops)
{
	mutex_lock(&tracked->lock);
	follower->ops = ops;
	list_add(&follower->list, &tracked->followers);
	mutex_unlock(&tracked->lock);
}

void kiommu_tracked_remove(struct kiommu_tracked *tracked,
			   struct kiommu_follower *follower)
{
	mutex_lock(&tracked->lock);
	list_del(&follower->list);
	mutex_unlock(&tracked->lock);
}

/*
 * Returns the next follower after @at with a reference, or NULL, and then @at
 * has left the list. @at starts in no list and moves behind each follower that
 * is returned. So a store visits each follower once, even if others leave
 * meanwhile. A new follower is added before all positions; it reads the tables
 * after that.
 */
static struct kiommu_follower *next_follower(struct kiommu_tracked *tracked,
					     struct kiommu_follower *at)
{
	struct kiommu_follower *follower = at;

	mutex_lock(&tracked->lock);
	if (list_empty(&at->list))
		list_add(&at->list, &tracked->followers);
	list_for_each_entry_continue(follower, &tracked->followers, list) {
		if (!follower->ops)
			continue; /* position of another store */
		follower->ops->hold(follower);
		list_move(&at->list, &follower->list);
		mutex_unlock(&tracked->lock);
		return follower;
	}
	list_del(&at->list);
	mutex_unlock(&tracked->lock);
	return NULL;
}

/*
 * Memory has the new value, but some follower did not get to its end. Whoever
 * settles the guest next tells the core.
 */
static void miss(struct kiommu_guest *guest)
{
	WRITE_ONCE(guest->tracked.missed, true);
	kiommu_guest_kick(guest);
}

void kiommu_tracked_settle(struct kiommu_guest *guest)
{
	lockdep_assert_held_write(&guest->lock);
	/* A store that is missed from here on sets it again. */
	if (xchg(&guest->tracked.missed, false) &&
	    kiommu_core_stores_missed(guest->pins))
		miss(guest);
}

void kiommu_tracked_store(struct kiommu_guest *guest, u64 gpa, u32 bytes)
{
	struct kiommu_follower at = { .list = LIST_HEAD_INIT(at.list) };
	struct kiommu_follower *follower;

	if (likely(!xa_load(&guest->tracked.pages, gpa >> PAGE_SHIFT)))
		return;
	while ((follower = next_follower(&guest->tracked, &at))) {
		const struct kiommu_follower_ops *ops = follower->ops;

		if (ops->store(follower, guest, gpa, bytes))
			miss(guest);
		ops->put(follower);
	}
}
