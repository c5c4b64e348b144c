/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The linker's --wrap replaces alarm(): calls of it go to the first function;
 * the second one is the C library's.
 */
#ifndef KIOMMU_TIMEOUTS_H
#define KIOMMU_TIMEOUTS_H

unsigned int __wrap_alarm(unsigned int seconds);
unsigned int __real_alarm(unsigned int seconds);

/* How long a test with a hostile guest runs (selftests/vm/run --soak). */
unsigned int kiommu_soak_seconds(void);

#endif /* KIOMMU_TIMEOUTS_H */
