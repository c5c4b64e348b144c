/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the IOMMU core has for iommufd, in drivers/iommu/iommu-priv.h, which
 * distributions do not ship: exported in the namespace IOMMUFD_INTERNAL.
 *
 * These keep a handle with a group: what was attached or replaced by one of the
 * first two must be detached by the last one. The handle is only read as long as the
 * group is there, and all groups of a domain can share one. Replacing leaves the
 * group where it was on failure, see KIOMMU_REPLACE_REVERTS.
 */
#ifndef KIOMMU_IOMMU_PRIVATE_H
#define KIOMMU_IOMMU_PRIVATE_H

#include <linux/iommu.h>
#include <linux/version.h>

/*
 * Whether a device whose driver refuses the new domain is put back into the old one.
 * Since 7.0 the IOMMU core takes a driver that fails to have left the device alone,
 * but VT-d's has blocked it by then.
 */
#define KIOMMU_REPLACE_REVERTS (KERNEL_VERSION(7, 0, 0) > LINUX_VERSION_CODE)

int iommu_attach_group_handle(struct iommu_domain *domain,
			      struct iommu_group *group,
			      struct iommu_attach_handle *handle);
int iommu_replace_group_handle(struct iommu_group *group,
			       struct iommu_domain *new_domain,
			       struct iommu_attach_handle *handle);
void iommu_detach_group_handle(struct iommu_domain *domain,
			       struct iommu_group *group);

#endif /* KIOMMU_IOMMU_PRIVATE_H */
