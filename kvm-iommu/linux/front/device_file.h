/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * VFIO's device files (/dev/vfio/devices/vfioN), which kernels with
 * CONFIG_VFIO_DEVICE_CDEV have.
 */
#ifndef KIOMMU_DEVICE_FILE_H
#define KIOMMU_DEVICE_FILE_H

struct file;
struct kiommu_member;

/**
 * kiommu_device_of_file() - the member that a device file stands for
 *
 * The file must be bound to an iommufd, so that the device's DMA is its owner's and
 * blocked, unless it was attached to something. The member keeps the file, and with
 * it the device open and bound, until it is attached to nothing and nobody refers
 * to it.
 *
 * Context: may sleep; no lock is held.
 * Return: the member, referenced; NULL if @file is no device file; or an ERR_PTR():
 * -ENOTCONN it is not bound; -EINVAL the device has no IOMMU, or not one alone;
 * -ENOMEM; or as kiommu_group_check().
 */
struct kiommu_member *kiommu_device_of_file(struct file *file);

#endif /* KIOMMU_DEVICE_FILE_H */
