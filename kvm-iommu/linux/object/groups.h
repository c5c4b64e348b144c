/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Groups of a container: they join and leave its hosts.
 */
#ifndef KIOMMU_GROUPS_H
#define KIOMMU_GROUPS_H

#include <linux/types.h>

struct iommu_group;
struct kiommu_domain;
struct kiommu_hosts;
struct kiommu_mmio;

/**
 * kiommu_group_attach() - let the devices of a group use the domain
 * @mmio: device memory of the registered guest, or NULL.
 * @unsafe_interrupts: accept groups whose MSIs are not isolated.
 * @own_domain: never share a host with another group. Some groups do not share
 *	one that maps something already, either.
 *
 * What is mapped is mapped for the group as well before this returns: a host
 * that other groups use is complete already. A new one takes its group before
 * it is filled, for only then it tells what it can do: until then, all DMA of
 * the group is blocked.
 * Context: may sleep; the container's lock and that of its guest are held for
 * writing. Return: 0; -EINVAL the group is there already, or what
 * is mapped conflicts with its reserved regions or aperture; -EPERM; -ENOMEM;
 * or what the IOMMU driver returned. On failure nothing has changed.
 */
int kiommu_group_attach(struct kiommu_hosts *hosts,
			struct kiommu_domain *domain,
			struct kiommu_mmio *mmio,
			struct iommu_group *iommu_group,
			bool unsafe_interrupts, bool own_domain);

/* Takes a group away; it must be attached. Cannot fail. Context: as above. */
void kiommu_group_detach(struct kiommu_hosts *hosts,
			 struct kiommu_domain *domain,
			 struct kiommu_mmio *mmio,
			 struct iommu_group *iommu_group);

#endif /* KIOMMU_GROUPS_H */
