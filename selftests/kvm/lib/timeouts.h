/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the linker makes of alarm() by --wrap: calls go to the first, the second
 * is the C library's.
 */
#ifndef KIOMMU_TIMEOUTS_H
#define KIOMMU_TIMEOUTS_H

unsigned int __wrap_alarm(unsigned int seconds);
unsigned int __real_alarm(unsigned int seconds);

/* How long a test of a hostile guest is to go on (selftests/vm/run --soak). */
unsigned int kiommu_soak_seconds(void);

#endif /* KIOMMU_TIMEOUTS_H */
