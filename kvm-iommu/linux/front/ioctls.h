/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The ioctls of a domain. It is NULL if its front released it before
 * the call could get a reference: the call then fails with -ESTALE.
 */
#ifndef KIOMMU_IOCTLS_H
#define KIOMMU_IOCTLS_H

struct kiommu_object;

/*
 * The module's own ioctls (linux/kvm_iommu.h). Return: -ENOTTY if it is
 * none.
 */
long kiommu_ioctl(struct kiommu_object *object, unsigned int cmd,
		  unsigned long arg);

/* The ioctls of type1 that make sense here. Return: -ENOTTY if it is none. */
long kiommu_type1_ioctl(struct kiommu_object *object, unsigned int cmd,
			unsigned long arg);

#endif /* KIOMMU_IOCTLS_H */
