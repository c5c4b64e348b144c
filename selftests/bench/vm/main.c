// SPDX-License-Identifier: GPL-2.0-only
/*
 * bench OUT [WORDS]: measures the cases whose names begin with WORDS, or all
 * cases. The first device of KIOMMU_DEVICES is for kvm-iommu and type1, the
 * second for the floor.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sys/resource.h>

#include "bench.h"

static char wanted[128];

bool bench_wanted(const struct bench_case *c)
{
	return !strncmp(c->name, wanted, strlen(wanted));
}

int main(int argc, char **argv)
{
	const struct rlimit unlimited = { RLIM_INFINITY, RLIM_INFINITY };
	const char *list = getenv("KIOMMU_DEVICES");
	char first[16], second[16];

	TEST_ASSERT(argc >= 2, "usage: %s OUT [WORDS]", argv[0]);
	for (int i = 2; i < argc; i++) {
		strncat(wanted, i > 2 ? " " : "", sizeof(wanted) - strlen(wanted) - 1);
		strncat(wanted, argv[i], sizeof(wanted) - strlen(wanted) - 1);
	}
	TEST_ASSERT(list && sscanf(list, "%15s %15s", first, second) == 2,
		    "two devices are needed in KIOMMU_DEVICES");
	setenv("KIOMMU_DEVICES", first, 1);
	TEST_ASSERT(!setrlimit(RLIMIT_MEMLOCK, &unlimited), "setrlimit");
	bench_report_open(argv[1]);
	bench_memory_init();
	bench_floor(second);
	bench_type1(false);
	bench_type1(true);
	bench_ours(false);
	bench_ours(true);
	return 0;
}
