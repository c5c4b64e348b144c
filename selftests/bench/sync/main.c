// SPDX-License-Identifier: GPL-2.0-only
/*
 * bench-sync OUT [WAY]: measures the ways whose names begin with WAY, or all
 * ways.
 */
#include <stdlib.h>
#include <string.h>

#include <sys/resource.h>

#include "kvm_util.h"

#include "sync.h"

/* Keeps pins for a while after their last use. */
#define IDLE_PINS "2048"

static void run_way(const struct sync_way *way)
{
	static struct sync s;
	int ret = 0;

	sync_open(&s, way);
	if (way->type == VFIO_KVM_IOMMU) {
		ret = kiommu_register_tables(s.k.vfio.fd, s.guest->tables);
		TEST_ASSERT(!ret, "REGISTER_IOAT: %d", ret);
		if (way->start)
			ret = way->start(&s);
	}
	if (ret) {
		sync_report_missing(way->name, -ret);
	} else {
		sync_run(&s, sync_guest_set_up);
		if (way->alone)
			way->follow(&s, SYNC_SOURCE_IOVA, SYNC_FIXED_PAGES);
		sync_run_cases(&s);
		sync_run_parts(&s);
	}
	sync_close(&s);
}

int main(int argc, char **argv)
{
	const struct rlimit unlimited = { RLIM_INFINITY, RLIM_INFINITY };
	const char *wanted = argc > 2 ? argv[2] : "";

	TEST_ASSERT(argc >= 2, "usage: %s OUT [WAY]", argv[0]);
	TEST_ASSERT(!kiommu_nic_lacks(), "%s", kiommu_nic_lacks());
	TEST_ASSERT(!setrlimit(RLIMIT_MEMLOCK, &unlimited), "setrlimit");
	kiommu_nic_alone();
	kiommu_set_param("idle_pins_mb", IDLE_PINS);
	sync_report_open(argv[1]);
	for (unsigned int i = 0; i < sync_way_count; i++)
		if (!strncmp(sync_ways[i].name, wanted, strlen(wanted)))
			run_way(&sync_ways[i]);
	return 0;
}
