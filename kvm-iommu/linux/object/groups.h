/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * IOMMU groups of a domain: attaching them to and detaching them from its
 * hosts.
 */
#ifndef KIOMMU_GROUPS_H
#define KIOMMU_GROUPS_H

struct iommu_group;
struct kiommu_object;

/**
 * kiommu_group_attach() - let the devices of an IOMMU group use the domain
 *
 * Before this returns, everything that is mapped is mapped for the group as
 * well. A host that other groups use is complete already. A new host must take
 * its group before it is filled, because only an attached domain tells what it
 * can do; until it is filled, all DMA of the group is blocked.
 *
 * Context: kiommu_lock_exclusive().
 * Return: 0; -EINVAL if the group is attached already, or if something mapped
 * conflicts with its reserved regions or aperture; -EPERM if its MSIs are not
 * isolated (module parameter allow_unsafe_interrupts); -ENOMEM; or what the
 * IOMMU driver returned. On failure nothing has changed.
 */
int kiommu_group_attach(struct kiommu_object *object,
			struct iommu_group *iommu_group);

/* Detaches a group that is attached. Cannot fail. Context: as above. */
void kiommu_group_detach(struct kiommu_object *object,
			 struct iommu_group *iommu_group);

/*
 * Returns the domain that a group is in, with a reference, or NULL. The group
 * stays in it while one of its devices is open. Context: any; does not wait for
 * any domain.
 */
struct kiommu_object *kiommu_object_of_group(struct iommu_group *group);

#endif /* KIOMMU_GROUPS_H */
