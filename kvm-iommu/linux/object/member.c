// SPDX-License-Identifier: GPL-2.0-only
/*
 * Members of domains, see member.h.
 *
 * Each group of a member has a place at home (struct kiommu_group in its hosts)
 * and, while the member is attached, one in that domain (@at of the place at
 * home). Groups move with both domains locked for writing: IOMMU drivers do not
 * expect maps, unmaps and flushes of a domain that a device enters or leaves.
 */
#include <linux/err.h>
#include <linux/slab.h>
#include <linux/xarray.h>

#include "object/groups.h"
#include "object/lock.h"
#include "object/member.h"
#include "object/object.h"

/* Domains by the id of each group in them. Looked up under RCU. */
static DEFINE_XARRAY(grouped);

/* Each group of a member, by its place at home. */
#define for_each_place(_place, _member) \
	list_for_each_entry(_place, &(_member)->home->hosts.groups, list)

/* Whether it is one of those meant: @only, or all if that is NULL. */
static bool is_meant(const struct kiommu_group *home,
		     const struct kiommu_group *only)
{
	return !only || home == only;
}

struct kiommu_member *kiommu_member_create(void)
{
	struct kiommu_member *member;

	member = kzalloc(sizeof(*member), GFP_KERNEL_ACCOUNT);
	if (!member)
		return ERR_PTR(-ENOMEM);
	member->home = kiommu_object_create(true);
	if (IS_ERR(member->home)) {
		struct kiommu_object *error = member->home;

		kfree(member);
		return ERR_CAST(error);
	}
	/* Calls on the member may still use it after it was released. */
	refcount_inc(&member->home->refs);
	refcount_set(&member->refs, 1);
	mutex_init(&member->lock);
	return member;
}

void kiommu_member_put(struct kiommu_member *member)
{
	if (!refcount_dec_and_test(&member->refs))
		return;
	kiommu_object_put(member->home);
	kfree_rcu(member, rcu);
}

/* An entry of the group exists, so none is allocated. */
static void note_object(struct kiommu_group *place, struct kiommu_object *object)
{
	xa_store(&grouped, iommu_group_id(place->group), object, GFP_KERNEL);
}

/* Where the devices of a group are. */
static struct kiommu_group *place_of(struct kiommu_group *home)
{
	return home->at ?: home;
}

/*
 * A hypervisor that shadows the tables for each device was told of what is mapped
 * in a host while the device was there. Now that it is back, it is told again; the
 * host's tables stay as they are.
 */
static void tell_hypervisor(struct kiommu_object *object,
			    const struct kiommu_group *place)
{
	struct kiommu_host *host = place->host;
	kiommu_u64 pages;
	int ret;

	if (!host->shadowed || !object->guest)
		return;
	host->retold = true;
	ret = kiommu_core_replay(object->domain,
				 kiommu_host_index(&object->hosts, host));
	host->retold = false;
	/* If it cannot be told, nothing is mapped; -ENOMEM of this means so, too. */
	if (ret)
		kiommu_core_unmap_all(object->domain, &pages);
}

/* Takes back what enter() has done. */
static void retreat(struct kiommu_member *member, struct kiommu_object *from,
		    struct kiommu_object *to)
{
	struct kiommu_group *home;

	for_each_place(home, member) {
		if (!home->next)
			continue;
		kiommu_group_remove(to, home->next, place_of(home)->host);
		home->next = NULL;
		tell_hypervisor(from, place_of(home));
	}
}

static int enter(struct kiommu_member *member, struct kiommu_object *from,
		 struct kiommu_object *to, struct kiommu_group *only)
{
	struct kiommu_group *home, *next;

	for_each_place(home, member) {
		if (!is_meant(home, only))
			continue;
		next = kiommu_group_add(to, home->group, place_of(home)->host);
		if (IS_ERR(next)) {
			/* It may have been on its way. */
			tell_hypervisor(from, place_of(home));
			retreat(member, from, to);
			return PTR_ERR(next);
		}
		home->next = next;
	}
	return 0;
}

/* The devices are in @to. */
static void finish(struct kiommu_member *member, struct kiommu_object *from,
		   struct kiommu_object *to, struct kiommu_group *only)
{
	struct kiommu_group *home;

	for_each_place(home, member) {
		if (!is_meant(home, only))
			continue;
		if (home->at)
			kiommu_group_forget(from, home->at);
		home->away = true;
		home->at = home->next;
		home->next = NULL;
		note_object(home, to);
	}
}

/* Moves all groups of a member, or one. Return: 0, or the member is unchanged. */
static int move(struct kiommu_member *member, struct kiommu_object *from,
		struct kiommu_object *to, struct kiommu_group *only)
{
	int ret;

	lockdep_assert_held(&member->lock);
	ret = kiommu_lock_pair(from, to, true);
	if (ret)
		return ret;
	ret = from->functions ? -EBUSY : enter(member, from, to, only);
	if (!ret)
		finish(member, from, to, only);
	kiommu_unlock_pair(from, to);
	return ret;
}

/* The member is not in @at any more. The caller has a reference to @member. */
static void leave_table(struct kiommu_member *member)
{
	xa_erase(&member->at->members, member->handle);
	kiommu_object_put(member->at);
	member->at = NULL;
	kiommu_member_put(member);
}

/*
 * @asked: it may be refused: -EINTR; -EBUSY if a zPCI function is started there.
 * Otherwise returns 0.
 */
static int come_home(struct kiommu_member *member, bool asked)
{
	struct kiommu_object *from = member->at;
	struct kiommu_group *home;
	int ret;

	lockdep_assert_held(&member->lock);
	ret = kiommu_lock_pair(from, member->home, asked);
	if (ret)
		return ret;
	if (asked && from->functions) {
		kiommu_unlock_pair(from, member->home);
		return -EBUSY;
	}
	for_each_place(home, member) {
		kiommu_group_remove(from, home->at, home->host);
		home->at = NULL;
		home->away = false;
		note_object(home, member->home);
		tell_hypervisor(member->home, home);
	}
	kiommu_unlock_pair(from, member->home);
	leave_table(member);
	return 0;
}

void kiommu_member_release(struct kiommu_member *member)
{
	mutex_lock(&member->lock);
	member->released = true;
	if (member->at)
		leave_table(member);
	mutex_unlock(&member->lock);
	kiommu_object_release(member->home);
	kiommu_member_put(member);
}

static int add_at_home(struct kiommu_member *member, struct iommu_group *group,
		       struct kiommu_group **added)
{
	struct kiommu_object *home = member->home;
	struct kiommu_group *place;

	if (kiommu_group_find(home, group))
		return -EINVAL;
	kiommu_lock_exclusive(home);
	place = kiommu_group_add(home, group, NULL);
	kiommu_unlock_exclusive(home);
	if (IS_ERR(place))
		return PTR_ERR(place);
	*added = place;
	return 0;
}

static void del_at_home(struct kiommu_member *member, struct kiommu_group *place)
{
	struct kiommu_object *home = member->home;

	kiommu_lock_exclusive(home);
	if (place->away)
		kiommu_group_forget(home, place);
	else
		kiommu_group_remove(home, place, NULL);
	kiommu_unlock_exclusive(home);
}

static int add_group(struct kiommu_member *member, struct iommu_group *group)
{
	struct kiommu_group *place;
	int ret;

	ret = add_at_home(member, group, &place);
	if (ret)
		return ret;
	ret = xa_err(xa_store(&grouped, iommu_group_id(group), member->home,
			      GFP_KERNEL_ACCOUNT));
	if (!ret && member->at) {
		ret = move(member, member->home, member->at, place);
		if (ret)
			xa_erase(&grouped, iommu_group_id(group));
	}
	if (ret)
		del_at_home(member, place);
	return ret;
}

int kiommu_member_add_group(struct kiommu_member *member,
			    struct iommu_group *group)
{
	int ret = kiommu_group_check(group);

	if (ret)
		return ret;
	mutex_lock(&member->lock);
	ret = add_group(member, group);
	mutex_unlock(&member->lock);
	return ret;
}

void kiommu_member_del_group(struct kiommu_member *member,
			     struct iommu_group *group)
{
	struct kiommu_group *place;

	mutex_lock(&member->lock);
	place = kiommu_group_find(member->home, group);
	if (place) {
		xa_erase(&grouped, iommu_group_id(group));
		if (place->at) {
			kiommu_lock_exclusive(member->at);
			kiommu_group_remove(member->at, place->at, NULL);
			kiommu_unlock_exclusive(member->at);
		}
		del_at_home(member, place);
	}
	mutex_unlock(&member->lock);
}

/* The table of @object has a reference to @member on success. */
static int attach(struct kiommu_member *member, struct kiommu_object *object,
		  u32 *handle)
{
	u32 number;
	int ret;

	if (member->released)
		return -ESTALE;
	if (member->at == object)
		return -EEXIST;
	ret = xa_alloc(&object->members, &number, member, xa_limit_31b,
		       GFP_KERNEL_ACCOUNT);
	if (ret)
		return ret;
	ret = move(member, member->at ?: member->home, object, NULL);
	if (ret) {
		xa_erase(&object->members, number);
		return ret;
	}
	refcount_inc(&member->refs);
	if (member->at)
		leave_table(member);
	refcount_inc(&object->refs);
	member->at = object;
	member->handle = number;
	*handle = number;
	return 0;
}

int kiommu_member_attach(struct kiommu_member *member,
			 struct kiommu_object *object, u32 *handle)
{
	int ret;

	if (mutex_lock_killable(&member->lock))
		return -EINTR;
	ret = attach(member, object, handle);
	mutex_unlock(&member->lock);
	return ret;
}

/* Returns the first member from @handle on, with a reference, or NULL. */
static struct kiommu_member *find_member(struct kiommu_object *object,
					 unsigned long *handle,
					 unsigned long last)
{
	struct kiommu_member *member;

	xa_lock(&object->members);
	member = xa_find(&object->members, handle, last, XA_PRESENT);
	if (member)
		refcount_inc(&member->refs);
	xa_unlock(&object->members);
	return member;
}

static bool is_member(const struct kiommu_member *member,
		      const struct kiommu_object *object, unsigned long handle)
{
	return member->at == object && member->handle == handle;
}

int kiommu_member_detach(struct kiommu_object *object, u32 handle)
{
	unsigned long at = handle;
	struct kiommu_member *member;
	int ret = -EINTR;

	member = find_member(object, &at, handle);
	if (!member)
		return -ENOENT;
	if (!mutex_lock_killable(&member->lock)) {
		ret = is_member(member, object, handle) ?
		      come_home(member, true) : -ENOENT;
		mutex_unlock(&member->lock);
	}
	kiommu_member_put(member);
	return ret;
}

void kiommu_members_detach(struct kiommu_object *object)
{
	struct kiommu_member *member;
	unsigned long handle = 0;

	while ((member = find_member(object, &handle, ULONG_MAX))) {
		mutex_lock(&member->lock);
		/* It may just have left by itself. */
		if (is_member(member, object, handle))
			come_home(member, false);
		mutex_unlock(&member->lock);
		kiommu_member_put(member);
	}
}

bool kiommu_object_has_group(const struct kiommu_object *object,
			     struct iommu_group *group)
{
	lockdep_assert_held(&object->lock);
	return xa_load(&grouped, iommu_group_id(group)) == object;
}

struct kiommu_object *kiommu_object_of_group(struct iommu_group *group)
{
	struct kiommu_object *object;

	rcu_read_lock();
	object = xa_load(&grouped, iommu_group_id(group));
	if (object && !refcount_inc_not_zero(&object->refs))
		object = NULL;
	rcu_read_unlock();
	return object;
}
