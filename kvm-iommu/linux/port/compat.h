/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Differences between the kernels that the module is built for. See docs/kernels.md,
 * also for those that need no code here.
 */
#ifndef KIOMMU_COMPAT_H
#define KIOMMU_COMPAT_H

#include <linux/stringify.h>
#include <linux/version.h>

/* Since 6.13 the namespace of a symbol is given as a string, not as a word. */
#if KERNEL_VERSION(6, 13, 0) <= LINUX_VERSION_CODE
#define KIOMMU_NAMESPACE(name) __stringify(name)
#else
#define KIOMMU_NAMESPACE(name) name
#endif

#endif /* KIOMMU_COMPAT_H */
