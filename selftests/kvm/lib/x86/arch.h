/* SPDX-License-Identifier: GPL-2.0-only */
/* Where things are on x86. */
#ifndef KIOMMU_SELFTEST_ARCH_H
#define KIOMMU_SELFTEST_ARCH_H

#define KIOMMU_IOVA_BASE 0ull

/* Whether each address can be one of a process: none is refused as such. */
#define KIOMMU_ANY_ADDRESS 0

/* KVM_IOMMU_FEATURE_* that the machine's kernel adds. */
#define KIOMMU_KERNEL_FEATURES KVM_IOMMU_FEATURE_RING

#endif
