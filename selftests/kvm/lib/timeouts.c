// SPDX-License-Identifier: GPL-2.0-only
/*
 * The harness uses alarm() to end a test that takes too long. A kernel that is
 * slow for a good reason gets KIOMMU_TIMEOUT_FACTOR times as long
 * (selftests/vm/init). The linker puts this in place of alarm().
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
