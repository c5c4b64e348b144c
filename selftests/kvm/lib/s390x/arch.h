/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Addresses on s390x. A zPCI function says from which IOVA on its DMA is
 * translated: 4G on QEMU. IOVAs below are reserved.
 */
#ifndef KIOMMU_SELFTEST_ARCH_H
#define KIOMMU_SELFTEST_ARCH_H

#define KIOMMU_IOVA_BASE 0x100000000ull

/*
 * Whether any address can be a user address, so that none is refused as such.
 */
#define KIOMMU_ANY_ADDRESS 1

/* KVM_IOMMU_FEATURE_* that depend on the kernel: without vhost, no rings. */
#define KIOMMU_KERNEL_FEATURES 0

#endif
