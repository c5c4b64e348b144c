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
 * The thread may make no other system call between the two.
 */
#ifndef KIOMMU_SELFTEST_FAIL_NTH_H
#define KIOMMU_SELFTEST_FAIL_NTH_H

#include <stdbool.h>

/* Sets fault injection up. Return: NULL, or why this kernel has none. */
const char *kiommu_fail_nth_lacks(void);

/*
 * Restricts failures to small allocations that are charged to a cgroup: the
 * module's are, those of ACPI and of the kernel's IOMMU drivers are not. Before
 * this call, from kiommu_fail_nth_lacks() on, all allocations can fail.
 */
void kiommu_fail_charged_alone(void);

void kiommu_fail_nth(unsigned int n);
/* Disarms. Return: whether there was an n-th one, which then has failed. */
bool kiommu_fail_nth_fired(void);

/*
 * The same for other threads: those of this process, and kernel threads, whose
 * names begin with @name; each counts for itself. The first returns the number
 * of threads, the second the number of those whose n-th one has failed.
 */
unsigned int kiommu_fail_nth_of(const char *name, unsigned int n);
unsigned int kiommu_fail_nth_of_fired(void);

#endif /* KIOMMU_SELFTEST_FAIL_NTH_H */
