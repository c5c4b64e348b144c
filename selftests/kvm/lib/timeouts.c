// SPDX-License-Identifier: GPL-2.0-only
/*
 * The harness ends a test by alarm() when it takes too long. On a kernel that
 * is slow for good reason the machine gives more time: KIOMMU_TIMEOUT_FACTOR times
 * as much (selftests/vm/init). The linker puts this in the place of alarm().
 */
#include <stdlib.h>

#include "timeouts.h"

unsigned int __wrap_alarm(unsigned int seconds)
{
	const char *factor = getenv("KIOMMU_TIMEOUT_FACTOR");

	return __real_alarm(factor ? seconds * atoi(factor) : seconds);
}

unsigned int kiommu_soak_seconds(void)
{
	const char *soak = getenv("KIOMMU_SOAK");

	return soak ? atoi(soak) : 5;
}
