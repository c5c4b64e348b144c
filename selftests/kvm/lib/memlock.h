/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * RLIMIT_MEMLOCK, which limits the pinned pages that are charged to a process.
 */
#ifndef KIOMMU_SELFTEST_MEMLOCK_H
#define KIOMMU_SELFTEST_MEMLOCK_H

#include <stdint.h>

/*
 * Limits the locked and pinned memory of this process to @bytes from now on,
 * and drops CAP_IPC_LOCK, which would lift the limit.
 */
void kiommu_limit_memlock(uint64_t bytes);

#endif /* KIOMMU_SELFTEST_MEMLOCK_H */
