/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * RLIMIT_MEMLOCK, by which pinned pages are charged to a process.
 */
#ifndef KIOMMU_SELFTEST_MEMLOCK_H
#define KIOMMU_SELFTEST_MEMLOCK_H

#include <stdint.h>

/*
 * The process may have so many bytes locked or pinned from now on, and no capability
 * that lifts the limit.
 */
void kiommu_limit_memlock(uint64_t bytes);

#endif /* KIOMMU_SELFTEST_MEMLOCK_H */
