/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Domains that are HWPTs of an iommufd: linux/kvm_iommu_hwpt.h says what they are.
 */
#ifndef KIOMMU_HWPT_H
#define KIOMMU_HWPT_H

#include <linux/kvm_iommu.h>

#ifdef KIOMMU_HWPT

/* Return: 0; -EBUSY; -ENOMEM. */
int kiommu_hwpt_register(void);
void kiommu_hwpt_unregister(void);

#else

static inline int kiommu_hwpt_register(void)
{
	return 0;
}

static inline void kiommu_hwpt_unregister(void)
{
}

#endif

static inline u64 kiommu_hwpt_features(void)
{
#ifdef KIOMMU_HWPT
	return KVM_IOMMU_FEATURE_HWPT;
#else
	return 0;
#endif
}

#endif /* KIOMMU_HWPT_H */
