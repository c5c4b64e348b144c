/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Where things are on s390x. A zPCI function says from which IOVA on its DMA is
 * translated: 4G on QEMU. What lies below is reserved.
 */
#ifndef KIOMMU_SELFTEST_ARCH_H
#define KIOMMU_SELFTEST_ARCH_H

#define KIOMMU_IOVA_BASE 0x100000000ull

/* Whether each address can be one of a process: none is refused as such. */
#define KIOMMU_ANY_ADDRESS 1

/* KVM_IOMMU_FEATURE_* that the machine's kernel adds: without vhost, no rings. */
#define KIOMMU_KERNEL_FEATURES 0

#endif
