/* SPDX-License-Identifier: GPL-2.0-only */
/* Addresses on x86. */
#ifndef KIOMMU_SELFTEST_ARCH_H
#define KIOMMU_SELFTEST_ARCH_H

#define KIOMMU_IOVA_BASE 0ull

/*
 * Whether any address can be a user address, so that none is refused as such.
 */
#define KIOMMU_ANY_ADDRESS 0

/* KVM_IOMMU_FEATURE_* that depend on the machine's kernel. */
#define KIOMMU_KERNEL_FEATURES KVM_IOMMU_FEATURE_RING

#endif
