/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The VFIO IOMMU driver for VFIO_KVM_IOMMU.
 */
#ifndef KIOMMU_VFIO_DRIVER_H
#define KIOMMU_VFIO_DRIVER_H

/* Return: 0, or what vfio_register_iommu_driver() returns. */
int kiommu_vfio_register(void);
void kiommu_vfio_unregister(void);

#endif /* KIOMMU_VFIO_DRIVER_H */
