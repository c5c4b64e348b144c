/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Fault injection of the kernel (Documentation/fault-injection): the n-th
 * allocation, or copy from or to user space, of this thread fails.
 *
 *	for (n = 1; ; n++) {
 *		kiommu_fail_nth(n);
 *		ret = ioctl(...);
 *		if (!kiommu_fail_nth_fired())
 *			break;
 *	}
 *
 * Nothing else may call the kernel between the two.
 */
#ifndef KIOMMU_SELFTEST_FAIL_NTH_H
#define KIOMMU_SELFTEST_FAIL_NTH_H

#include <stdbool.h>

/* NULL if this kernel has it, else why not. Sets it up. */
const char *kiommu_fail_nth_lacks(void);

/*
 * Whether small allocations alone fail that are charged to a cgroup: the module's
 * are, those of ACPI and of the kernel's IOMMU drivers are not. From
 * kiommu_fail_nth_lacks() on all fail.
 */
void kiommu_fail_charged_alone(void);

void kiommu_fail_nth(unsigned int n);
/* Disarms. Returns whether there was an n-th one, which then has failed. */
bool kiommu_fail_nth_fired(void);

/*
 * The same of other threads: those of this process, or kernel threads, whose names
 * begin with @name; each counts for itself. Returns how many there are; and of how
 * many the n-th one has failed.
 */
unsigned int kiommu_fail_nth_of(const char *name, unsigned int n);
unsigned int kiommu_fail_nth_of_fired(void);

#endif /* KIOMMU_SELFTEST_FAIL_NTH_H */
