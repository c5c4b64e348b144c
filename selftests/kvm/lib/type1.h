/* SPDX-License-Identifier: GPL-2.0-only */
/* Containers of type1, by the kernel's own driver or by kvm_iommu.ko. */
#ifndef KIOMMU_SELFTEST_TYPE1_H
#define KIOMMU_SELFTEST_TYPE1_H

#include <stdbool.h>

/* Whether kvm_iommu.ko is loaded. */
bool kiommu_is_loaded(void);

/* Which of them serves containers whose type is set from now on. */
void kiommu_serve_type1(bool ours);

#endif
