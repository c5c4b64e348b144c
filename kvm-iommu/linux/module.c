// SPDX-License-Identifier: GPL-2.0-only
/*
 * kvm_iommu: a KVM-owned IOMMU domain for VFIO containers.
 */
#include <linux/module.h>

#include "vfio_driver.h"

static int __init kiommu_init(void)
{
	return kiommu_vfio_register();
}
module_init(kiommu_init);

static void __exit kiommu_exit(void)
{
	kiommu_vfio_unregister();
}
module_exit(kiommu_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("KVM-owned IOMMU domain: shadows a guest's I/O tables");
