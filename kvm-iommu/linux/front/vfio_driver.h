/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The VFIO IOMMU driver for VFIO_KVM_IOMMU.
 */
#ifndef KIOMMU_VFIO_DRIVER_H
#define KIOMMU_VFIO_DRIVER_H

struct file;
struct kiommu_member;

/* Return: 0, or what vfio_register_iommu_driver() returns. */
int kiommu_vfio_register(void);
void kiommu_vfio_unregister(void);

/*
 * Returns the container of type VFIO_KVM_IOMMU that a file is, with a reference,
 * or NULL. Context: may sleep; no lock is held.
 */
struct kiommu_member *kiommu_container_of_file(struct file *file);

#endif /* KIOMMU_VFIO_DRIVER_H */
