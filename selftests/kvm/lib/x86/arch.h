/* SPDX-License-Identifier: GPL-2.0-only */
/* Where things are on x86. */
#ifndef KIOMMU_SELFTEST_ARCH_H
#define KIOMMU_SELFTEST_ARCH_H

#define KIOMMU_IOVA_BASE 0ull

#endif
