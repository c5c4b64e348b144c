/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * IOMMU groups of a domain: their places at its hosts.
 */
#ifndef KIOMMU_GROUPS_H
#define KIOMMU_GROUPS_H

struct device;
struct iommu_group;
struct kiommu_group;
struct kiommu_host;
struct kiommu_object;

/**
 * kiommu_group_check() - whether a group may be handed to user space at all
 *
 * Return: 0; -EPERM if its MSIs are not isolated (module parameter
 * allow_unsafe_interrupts).
 */
int kiommu_group_check(struct iommu_group *iommu_group);

/**
 * kiommu_group_add() - let the devices of an IOMMU group use the domain
 * @from: the host that they are in now and stay in on failure, or NULL if all of
 *	their DMA is blocked.
 *
 * Before this returns, everything that is mapped is mapped for the group as
 * well. A host that other groups use is complete already. A new host must take
 * its group before it is filled, because only an attached domain tells what it
 * can do; until it is filled, all DMA of the group is blocked.
 *
 * Context: kiommu_lock_exclusive(); if @from is set, kiommu_lock_pair() with the
 * domain of @from.
 * Return: the group's place in the domain; or an ERR_PTR(): -EINVAL if something
 * mapped conflicts with its reserved regions or aperture, or if its IOMMU cannot
 * serve; -EBUSY if @from is NULL and somebody else uses them; -ENOSPC; -ENOMEM;
 * -EINTR; or what the IOMMU driver returned. On failure nothing has changed.
 */
struct kiommu_group *kiommu_group_add(struct kiommu_object *object,
				      struct iommu_group *iommu_group,
				      struct kiommu_host *from);

/*
 * Gives up a place. The devices go to @to, or are blocked if it is NULL, or if
 * they cannot go there; see kiommu_host_exit(). Context: as above.
 */
void kiommu_group_remove(struct kiommu_object *object,
			 struct kiommu_group *group, struct kiommu_host *to);

/* The same for a place that the devices have left. Context: as above. */
void kiommu_group_forget(struct kiommu_object *object,
			 struct kiommu_group *group);

/**
 * kiommu_group_lend() - let somebody else attach a device to the domain
 * @dev: a device of the group that will be attached; for the first one the domain's
 *	only host is made, whose iommu_domain it is.
 *
 * The IOVAs that are reserved for the group stay so until kiommu_groups_take_back(),
 * also while it is not attached. A group that has been here before is let in at
 * once.
 *
 * Context: kiommu_lock_exclusive().
 * Return: 0; -EINVAL if something mapped conflicts with what is reserved for the
 * group, or the host cannot serve it; or as kiommu_host_create().
 */
int kiommu_group_lend(struct kiommu_object *object, struct device *dev);

/*
 * Frees what has been lent; nothing is attached. Context: kiommu_lock_exclusive().
 */
void kiommu_groups_take_back(struct kiommu_object *object);

/*
 * Returns a group's place in the domain, or NULL. Context: places are not changed
 * meanwhile.
 */
struct kiommu_group *kiommu_group_find(const struct kiommu_object *object,
				       const struct iommu_group *iommu_group);

#endif /* KIOMMU_GROUPS_H */
