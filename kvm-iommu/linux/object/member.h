/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What is attached to a domain as a whole: the groups of a VFIO container, or the
 * group of a device file.
 *
 * A container has a domain of its own, its home. Its groups are there, or all of
 * them are in another domain that the member is attached to. They keep their
 * places at home meanwhile, so coming back needs no memory. The device of a device
 * file has no home: where it is in no domain, its DMA is blocked.
 */
#ifndef KIOMMU_MEMBER_H
#define KIOMMU_MEMBER_H

#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/rcupdate.h>
#include <linux/refcount.h>
#include <linux/types.h>

struct iommu_group;
struct kiommu_object;

/**
 * struct kiommu_member - see above
 * @refs: one for VFIO if it is a container, one for the domain that it is attached
 *	to, and one for each call under way.
 * @rcu: frees the member once no lookup can still see it.
 * @free: called with the last reference gone, frees what contains the member.
 * @home: its own domain, referenced; NULL if it is a device file.
 * @lock: protects all fields below, and which groups have a place at home. Held
 *	while groups move; taken outside D, inside VFIO's locks of container and
 *	group.
 * @groups: its groups, with their places in @home and in @at.
 * @at: the domain that it is attached to, referenced; NULL: its groups are at
 *	home.
 * @handle: its number in @at.
 * @released: VFIO has released it, so it cannot be attached any more.
 */
struct kiommu_member {
	refcount_t refs;
	struct rcu_head rcu;
	void (*free)(struct kiommu_member *member);
	struct kiommu_object *home;
	struct mutex lock; /* protects all fields below */
	struct list_head groups;
	struct kiommu_object *at;
	u32 handle;
	bool released;
};

/**
 * kiommu_member_create() - create the member of a container, and its home
 *
 * It has no groups yet.
 *
 * Return: the member, or ERR_PTR(-ENOMEM).
 */
struct kiommu_member *kiommu_member_create(void);

/**
 * kiommu_member_init_device() - initialize the member of a device file
 * @group: the device's group, whose DMA belongs to whoever holds the file, and is
 *	blocked.
 * @free: frees what contains the member.
 *
 * Return: 0; -ENOMEM; or as kiommu_group_check(). On failure there is nothing to
 * free but what contains the member.
 */
int kiommu_member_init_device(struct kiommu_member *member,
			      struct iommu_group *group,
			      void (*free)(struct kiommu_member *member));

void kiommu_member_put(struct kiommu_member *member);

/*
 * VFIO drops a container without groups. Its home is released on return; it is
 * attached to nothing. Context: may sleep; VFIO's locks are held.
 */
void kiommu_member_release(struct kiommu_member *member);

/**
 * kiommu_member_add_group() - a group becomes a part of a container
 *
 * If the member is attached, so is the group.
 *
 * Context: as kiommu_member_release().
 * Return: as kiommu_group_check() and kiommu_group_add().
 */
int kiommu_member_add_group(struct kiommu_member *member,
			    struct iommu_group *group);
/* The opposite; the DMA of the group is blocked. Context: as above. */
void kiommu_member_del_group(struct kiommu_member *member,
			     struct iommu_group *group);

/**
 * kiommu_member_attach() - attach a member to a domain
 * @object: a domain with a file. It keeps the member by a reference.
 * @handle: set to its number there on success.
 *
 * A member that is attached elsewhere moves: each access of its devices is
 * translated by the old domain or by the new one, or, while the new one is being
 * filled for a host that it did not have, blocked.
 *
 * Context: may sleep; no lock of lock.h is held.
 * Return: 0; -EEXIST it is attached to @object; -ESTALE it was released; -EBUSY a
 * zPCI function is started in the domain that it leaves; -EINTR; or as
 * kiommu_group_add(). On failure nothing has changed.
 */
int kiommu_member_attach(struct kiommu_member *member,
			 struct kiommu_object *object, u32 *handle);

/**
 * kiommu_member_detach() - bring a member of a domain home
 *
 * The device of a device file is blocked.
 *
 * Context: as kiommu_member_attach().
 * Return: 0; -ENOENT there is none with this number; -EBUSY as above; -EINTR.
 */
int kiommu_member_detach(struct kiommu_object *object, u32 handle);

/* Brings all members of a domain home; no other comes. Context: as above. */
void kiommu_members_detach(struct kiommu_object *object);

/*
 * Returns the domain that a group is in, with a reference, or NULL. Context: any;
 * does not wait for any domain.
 */
struct kiommu_object *kiommu_object_of_group(struct iommu_group *group);
/* Whether it is in this domain. Context: D of the domain is held. */
bool kiommu_object_has_group(const struct kiommu_object *object,
			     struct iommu_group *group);

#endif /* KIOMMU_MEMBER_H */
