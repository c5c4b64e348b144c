/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What VFIO keeps in drivers/vfio/vfio.h: the interface between containers and
 * their IOMMU drivers, and what is behind a device file.
 *
 * Distributions do not ship that header; vfio.ko exports both functions. Compare
 * this copy with it before adding a kernel version below.
 */
#ifndef KIOMMU_VFIO_PRIVATE_H
#define KIOMMU_VFIO_PRIVATE_H

#include <linux/iommu.h>
#include <linux/module.h>
#include <linux/version.h>
#include <linux/vfio.h>

#if (LINUX_VERSION_CODE >> 8) != (KERNEL_VERSION(6, 12, 0) >> 8) && \
	(LINUX_VERSION_CODE >> 8) != (KERNEL_VERSION(7, 3, 0) >> 8)
#error "this file has not been compared with this kernel"
#endif

struct vfio_group;

enum vfio_group_type {
	VFIO_IOMMU, /* a device behind an IOMMU */
	VFIO_EMULATED_IOMMU, /* a mediated device */
	VFIO_NO_IOMMU,
};

struct vfio_iommu_driver_ops {
	char *name;
	struct module *owner;
	void *(*open)(unsigned long arg);
	void (*release)(void *iommu_data);
	long (*ioctl)(void *iommu_data, unsigned int cmd, unsigned long arg);
	int (*attach_group)(void *iommu_data, struct iommu_group *group,
			    enum vfio_group_type type);
	void (*detach_group)(void *iommu_data, struct iommu_group *group);
	int (*pin_pages)(void *iommu_data, struct iommu_group *group,
			 dma_addr_t user_iova, int npage, int prot,
			 struct page **pages);
	void (*unpin_pages)(void *iommu_data, dma_addr_t user_iova, int npage);
	void (*register_device)(void *iommu_data, struct vfio_device *vdev);
	void (*unregister_device)(void *iommu_data, struct vfio_device *vdev);
	int (*dma_rw)(void *iommu_data, dma_addr_t user_iova, void *data,
		      size_t count, bool write);
	struct iommu_domain *(*group_iommu_domain)(void *iommu_data,
						   struct iommu_group *group);
};

/**
 * struct vfio_device_file - the first fields of what is behind a device's file
 * @device: valid as long as the file is open.
 * @group: the group that the file came from; NULL if it was opened by its name.
 * @access_granted: the device is open and, without @group, bound to an iommufd.
 *	Read with smp_load_acquire(); it stays until the file is closed.
 */
struct vfio_device_file {
	struct vfio_device *device;
	struct vfio_group *group;
	u8 access_granted;
};

int vfio_register_iommu_driver(const struct vfio_iommu_driver_ops *ops);
void vfio_unregister_iommu_driver(const struct vfio_iommu_driver_ops *ops);

#endif /* KIOMMU_VFIO_PRIVATE_H */
