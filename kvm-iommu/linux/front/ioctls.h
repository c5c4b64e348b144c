/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The ioctls of a domain. It is NULL if its front released it before the call
 * could get a reference: the call then fails with -ESTALE.
 */
#ifndef KIOMMU_IOCTLS_H
#define KIOMMU_IOCTLS_H

#include <linux/types.h>

struct kiommu_object;

/* All of the below, by number. Return: -ENOTTY if it is none. */
long kiommu_object_ioctl(struct kiommu_object *object, unsigned int cmd,
			 unsigned long arg);

/*
 * The module's own ioctls (linux/kvm_iommu.h). Return: -ENOTTY if it is
 * none.
 */
long kiommu_ioctl(struct kiommu_object *object, unsigned int cmd,
		  unsigned long arg);

/* The ioctls of type1 that make sense here. Return: -ENOTTY if it is none. */
long kiommu_type1_ioctl(struct kiommu_object *object, unsigned int cmd,
			unsigned long arg);

/* Whether containers of type1 are ours, too (module parameter type1). */
bool kiommu_serves_type1(void);

/* VFIO_CHECK_EXTENSION; of the driver if there is no domain yet. */
long kiommu_check_extension(struct kiommu_object *object,
			    unsigned long extension);

/*
 * KVM_IOMMU_START. Context: no lock of lock.h is held. Return: 0 or an errno of
 * it; *@status is set where that says more.
 */
int kiommu_start_fd(struct kiommu_object *object, int kvm_fd, u32 *status);

#endif /* KIOMMU_IOCTLS_H */
