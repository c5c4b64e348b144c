// SPDX-License-Identifier: GPL-2.0-only
/*
 * Members of domains, see member.h.
 *
 * Groups move with both domains locked for writing: IOMMU drivers do not expect
 * maps, unmaps and flushes of a domain that a device enters or leaves.
 */
#include <linux/err.h>
#include <linux/iommu.h>
#include <linux/slab.h>
#include <linux/xarray.h>

#include "object/groups.h"
#include "object/lock.h"
#include "object/member.h"
#include "object/object.h"

/* Domains by the id of each group in them. Looked up under RCU. */
static DEFINE_XARRAY(grouped);

/**
 * struct part - one group of a member
 * @list: entry in kiommu_member.groups.
 * @group: referenced.
 * @home: its place in the member's home, or NULL.
 * @at: its place in the domain that the member is attached to, or NULL.
 * @next: the place that its devices are going to.
 */
struct part {
	struct list_head list;
	struct iommu_group *group;
	struct kiommu_group *home;
	struct kiommu_group *at;
	struct kiommu_group *next;
};

#define for_each_part(_part, _member) \
	list_for_each_entry(_part, &(_member)->groups, list)

/* Whether it is one of those meant: @only, or all if that is NULL. */
static bool is_meant(const struct part *part, const struct part *only)
{
	return !only || part == only;
}

static struct part *add_part(struct kiommu_member *member,
			     struct iommu_group *group)
{
	struct part *part = kzalloc(sizeof(*part), GFP_KERNEL_ACCOUNT);

	if (!part)
		return NULL;
	part->group = iommu_group_ref_get(group);
	list_add(&part->list, &member->groups);
	return part;
}

static void drop_part(struct part *part)
{
	list_del(&part->list);
	iommu_group_put(part->group);
	kfree(part);
}

static struct part *find_part(const struct kiommu_member *member,
			      const struct iommu_group *group)
{
	struct part *part;

	for_each_part(part, member)
		if (part->group == group)
			return part;
	return NULL;
}

static void init_member(struct kiommu_member *member,
			struct kiommu_object *home,
			void (*free)(struct kiommu_member *member))
{
	refcount_set(&member->refs, 1);
	mutex_init(&member->lock);
	INIT_LIST_HEAD(&member->groups);
	member->home = home;
	member->free = free;
}

static void free_container(struct kiommu_member *member)
{
	kiommu_object_put(member->home);
	kfree_rcu(member, rcu);
}

struct kiommu_member *kiommu_member_create(void)
{
	struct kiommu_member *member;
	struct kiommu_object *home;

	member = kzalloc(sizeof(*member), GFP_KERNEL_ACCOUNT);
	if (!member)
		return ERR_PTR(-ENOMEM);
	home = kiommu_object_create(true);
	if (IS_ERR(home)) {
		kfree(member);
		return ERR_CAST(home);
	}
	/* Calls on the member may still use it after it was released. */
	refcount_inc(&home->refs);
	init_member(member, home, free_container);
	return member;
}

int kiommu_member_init_device(struct kiommu_member *member,
			      struct iommu_group *group,
			      void (*free)(struct kiommu_member *member))
{
	int ret = kiommu_group_check(group);

	if (ret)
		return ret;
	init_member(member, NULL, free);
	return add_part(member, group) ? 0 : -ENOMEM;
}

void kiommu_member_put(struct kiommu_member *member)
{
	struct part *part, *next;

	if (!refcount_dec_and_test(&member->refs))
		return;
	list_for_each_entry_safe(part, next, &member->groups, list)
		drop_part(part);
	member->free(member);
}

/*
 * Makes room in the table for all groups of a member. Return: 0 or -ENOMEM.
 */
static int reserve_notes(struct kiommu_member *member)
{
	struct part *part;
	int ret;

	for_each_part(part, member) {
		ret = xa_reserve(&grouped, iommu_group_id(part->group),
				 GFP_KERNEL_ACCOUNT);
		if (ret)
			return ret;
	}
	return 0;
}

/* Gives up the room that was not used. */
static void release_notes(struct kiommu_member *member)
{
	struct part *part;

	for_each_part(part, member)
		xa_release(&grouped, iommu_group_id(part->group));
}

/*
 * There is room for the group, so nothing is allocated. Without @object there is
 * none any more.
 */
static void note_object(struct part *part, struct kiommu_object *object)
{
	xa_store(&grouped, iommu_group_id(part->group), object, GFP_KERNEL);
}

/* The host that the devices of a group are in, or NULL. */
static struct kiommu_host *host_of(const struct part *part)
{
	const struct kiommu_group *place = part->at ?: part->home;

	return place ? place->host : NULL;
}

/*
 * A hypervisor that shadows the tables for each device was told of what is mapped
 * in a host of @object while the device was there. If it has been away, it is told
 * again; the host's tables stay as they are. A task that is being killed does so,
 * too, because others may use the domain.
 */
static void tell_hypervisor(struct kiommu_object *object, const struct part *part)
{
	struct kiommu_host *host = host_of(part);
	kiommu_u64 pages;
	int ret;

	if (!host || !host->untold)
		return;
	host->untold = false;
	if (!object->guest)
		return;
	host->retold = true;
	ret = kiommu_core_replay(object->domain,
				 kiommu_host_index(&object->hosts, host), 0);
	host->retold = false;
	if (!ret)
		return;
	/* It could not, so nothing is mapped; -ENOMEM of this means so, too. */
	kiommu_core_unmap_all(object->domain, &pages);
	object->hosts.reports->blocked(object->id, part->group);
}

/* Takes back what enter() has done. */
static void retreat(struct kiommu_member *member, struct kiommu_object *from,
		    struct kiommu_object *to)
{
	struct part *part;

	for_each_part(part, member) {
		if (!part->next)
			continue;
		kiommu_group_remove(to, part->next, host_of(part));
		part->next = NULL;
		tell_hypervisor(from, part);
	}
}

static int enter(struct kiommu_member *member, struct kiommu_object *from,
		 struct kiommu_object *to, const struct part *only)
{
	struct kiommu_group *next;
	struct part *part;

	for_each_part(part, member) {
		if (!is_meant(part, only))
			continue;
		next = kiommu_group_add(to, part->group, host_of(part));
		if (IS_ERR(next)) {
			/* It may have been on its way. */
			tell_hypervisor(from, part);
			retreat(member, from, to);
			return PTR_ERR(next);
		}
		part->next = next;
	}
	return 0;
}

/* The devices are in @to. */
static void finish(struct kiommu_member *member, struct kiommu_object *from,
		   struct kiommu_object *to, const struct part *only)
{
	struct part *part;

	for_each_part(part, member) {
		if (!is_meant(part, only))
			continue;
		if (part->at)
			kiommu_group_forget(from, part->at);
		if (part->home)
			part->home->away = true;
		part->at = part->next;
		part->next = NULL;
		note_object(part, to);
	}
}

/*
 * Moves all groups of a member, or one. @from is NULL if they are blocked. Return:
 * 0, or the member is unchanged.
 */
static int move(struct kiommu_member *member, struct kiommu_object *from,
		struct kiommu_object *to, const struct part *only)
{
	int ret;

	lockdep_assert_held(&member->lock);
	ret = kiommu_lock_pair(to, from, true);
	if (ret)
		return ret;
	ret = from && from->functions ? -EBUSY : enter(member, from, to, only);
	if (!ret)
		finish(member, from, to, only);
	kiommu_unlock_pair(to, from);
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
	struct part *part;
	int ret;

	lockdep_assert_held(&member->lock);
	ret = kiommu_lock_pair(from, member->home, asked);
	if (ret)
		return ret;
	if (asked && from->functions) {
		kiommu_unlock_pair(from, member->home);
		return -EBUSY;
	}
	for_each_part(part, member) {
		struct kiommu_group *at = part->at;

		part->at = NULL;
		kiommu_group_remove(from, at, host_of(part));
		if (part->home)
			part->home->away = false;
		note_object(part, member->home);
		tell_hypervisor(member->home, part);
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

static int add_at_home(struct kiommu_object *home, struct part *part)
{
	struct kiommu_group *place;

	kiommu_lock_exclusive(home);
	place = kiommu_group_add(home, part->group, NULL);
	kiommu_unlock_exclusive(home);
	if (IS_ERR(place))
		return PTR_ERR(place);
	part->home = place;
	return 0;
}

static void del_at_home(struct kiommu_object *home, struct part *part)
{
	kiommu_lock_exclusive(home);
	if (part->home->away)
		kiommu_group_forget(home, part->home);
	else
		kiommu_group_remove(home, part->home, NULL);
	kiommu_unlock_exclusive(home);
}

static int join(struct kiommu_member *member, struct part *part)
{
	int ret;

	ret = add_at_home(member->home, part);
	if (ret)
		return ret;
	ret = xa_err(xa_store(&grouped, iommu_group_id(part->group),
			      member->home, GFP_KERNEL_ACCOUNT));
	if (!ret && member->at) {
		ret = move(member, member->home, member->at, part);
		if (ret)
			note_object(part, NULL);
	}
	if (ret)
		del_at_home(member->home, part);
	return ret;
}

static int add_group(struct kiommu_member *member, struct iommu_group *group)
{
	struct part *part;
	int ret;

	if (find_part(member, group))
		return -EINVAL;
	part = add_part(member, group);
	if (!part)
		return -ENOMEM;
	ret = join(member, part);
	if (ret)
		drop_part(part);
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

static void del_group(struct kiommu_member *member, struct part *part)
{
	note_object(part, NULL);
	if (part->at) {
		kiommu_lock_exclusive(member->at);
		kiommu_group_remove(member->at, part->at, NULL);
		kiommu_unlock_exclusive(member->at);
	}
	del_at_home(member->home, part);
	drop_part(part);
}

void kiommu_member_del_group(struct kiommu_member *member,
			     struct iommu_group *group)
{
	struct part *part;

	mutex_lock(&member->lock);
	part = find_part(member, group);
	if (part)
		del_group(member, part);
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
	ret = reserve_notes(member);
	if (ret)
		goto err_notes;
	ret = xa_alloc(&object->members, &number, member, xa_limit_31b,
		       GFP_KERNEL_ACCOUNT);
	if (ret)
		goto err_notes;
	ret = move(member, member->at ?: member->home, object, NULL);
	if (ret)
		goto err_number;
	refcount_inc(&member->refs);
	if (member->at)
		leave_table(member);
	refcount_inc(&object->refs);
	member->at = object;
	member->handle = number;
	*handle = number;
	return 0;

err_number:
	xa_erase(&object->members, number);
err_notes:
	release_notes(member);
	return ret;
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
