// SPDX-License-Identifier: GPL-2.0-only
/*
 * Pages that are tracked, and stores to them, see tracked_pages.h.
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

void kiommu_tracked_add(struct kiommu_tracked *tracked,
			struct kiommu_follower *follower)
{
	mutex_lock(&tracked->lock);
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
 * The next follower after @at, held, or NULL: then @at has left the list. @at
 * begins as a place in no list, and goes with what is returned. So a store passes
 * each follower once, whoever leaves meanwhile. Who comes later is added before all
 * places: it looks at the tables then.
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
			continue; /* another store */
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

void kiommu_tracked_store(struct kiommu_mem *guest, u64 gpa, u32 bytes)
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
