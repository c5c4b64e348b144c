/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * IOMMU groups of a container: attaching them to and detaching them from its
 * hosts.
 */
#ifndef KIOMMU_GROUPS_H
#define KIOMMU_GROUPS_H

#include <linux/types.h>

struct iommu_group;
struct kiommu_domain;
struct kiommu_hosts;
struct kiommu_mmio;

/**
 * kiommu_group_attach() - let the devices of an IOMMU group use the domain
 * @mmio: device memory of the registered guest, or NULL.
 * @unsafe_interrupts: accept groups whose MSIs are not isolated.
 * @own_domain: never share a host with another group. Even without it, some
 *	groups do not share a host that already maps something.
 *
 * Before this returns, everything that is mapped is mapped for the group as
 * well. A host that other groups use is complete already. A new host must take
 * its group before it is filled, because only an attached domain tells what it
 * can do; until it is filled, all DMA of the group is blocked.
 *
 * Context: may sleep; the container's lock and that of its guest are held for
 * writing.
 * Return: 0; -EINVAL if the group is attached already, or if something mapped
 * conflicts with its reserved regions or aperture; -EPERM if its MSIs are not
 * isolated; -ENOMEM; or what the IOMMU driver returned. On failure nothing has
 * changed.
 */
int kiommu_group_attach(struct kiommu_hosts *hosts,
			struct kiommu_domain *domain,
			struct kiommu_mmio *mmio,
			struct iommu_group *iommu_group,
			bool unsafe_interrupts, bool own_domain);

/* Detaches a group that is attached. Cannot fail. Context: as above. */
void kiommu_group_detach(struct kiommu_hosts *hosts,
			 struct kiommu_domain *domain,
			 struct kiommu_mmio *mmio,
			 struct iommu_group *iommu_group);

#endif /* KIOMMU_GROUPS_H */
