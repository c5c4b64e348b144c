// SPDX-License-Identifier: GPL-2.0-only
/* The host's IOMMU driver alone, by kiommu_floor.ko, in all possible ways. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sys/ioctl.h>

#include "../../modules/floor/kiommu_floor.h"
#include "bench.h"

#define MODULE "/files/kiommu_floor.ko"

static void shell(const char *format, const char *argument)
{
	char command[256];

	snprintf(command, sizeof(command), format, argument);
	TEST_ASSERT(!system(command), "%s", command);
}

static struct kiommu_floor_run *runs_of(const struct bench_case *c)
{
	struct kiommu_floor_run *runs = calloc(c->count, sizeof(*runs));

	TEST_ASSERT(runs, "no memory");
	for (uint64_t i = 0; i < c->count; i++)
		runs[i] = (struct kiommu_floor_run){
			.iova = bench_iova(c, i),
			.vaddr = (uintptr_t)bench_memory_hva(bench_gpa(c, i)),
			.bytes = bench_leaf_bytes(c),
		};
	return runs;
}

static void measure(int fd, const struct bench_case *c, struct kiommu_floor_job job)
{
	static const char *const maps[] = { "map", "map_sg" };
	static const char *const unmaps[] = {
		"unmap, one sync", "unmap ranges", "unmap, wide sync",
		"unmap over holes", "unmap and sync",
	};
	struct bench_samples s = {};
	char way[64];
	int ret = ioctl(fd, KIOMMU_FLOOR_RUN, &job);

	if (ret && errno == ERANGE) {
		printf("%s: holes are not unmapped\n", c->name);
		return;
	}
	TEST_ASSERT(!ret, "%s: floor: errno %d", c->name, errno);
	TEST_ASSERT(!c->scattered || job.host_runs == job.count,
		    "%s: %u runs of %u", c->name, job.host_runs, job.count);
	for (unsigned int i = 0; i < job.rounds; i++) {
		bench_sample(s.map, i, job.map[i]);
		bench_sample(s.unmap, i, job.unmap[i]);
	}
	snprintf(way, sizeof(way), "%s, %s, %u runs", maps[job.map_way],
		 unmaps[job.unmap_way], job.host_runs);
	bench_report(c, "floor", way, &s);
}

static bool possible(const struct bench_case *c, uint32_t unmap_way)
{
	bool holes = c->step > 1 || c->op == BENCH_CHANGED;

	if (c->each)
		return unmap_way == KIOMMU_FLOOR_UNMAP_SYNC;
	switch (unmap_way) {
	case KIOMMU_FLOOR_UNMAP_RANGE:
		return !holes;
	case KIOMMU_FLOOR_UNMAP_SPAN:
		return holes;
	case KIOMMU_FLOOR_UNMAP_OVER:
		/* Other pages are mapped between those that change. */
		return holes && c->op != BENCH_CHANGED;
	default:
		return unmap_way != KIOMMU_FLOOR_UNMAP_SYNC;
	}
}

static void run_case(int fd, const struct bench_case *c)
{
	struct kiommu_floor_job job = {
		.rounds = BENCH_WARMUP + BENCH_ROUNDS,
	};
	struct kiommu_floor_run *runs;
	struct bench_case pair = *c;

	if (c->op == BENCH_UNCHANGED)
		return;
	if (c->op == BENCH_CHANGED)
		pair = bench_changed(c);
	runs = runs_of(&pair);
	job.runs = (uintptr_t)runs;
	job.count = pair.count;
	for (uint32_t map = 0; map < KIOMMU_FLOOR_MAPS; map++) {
		for (uint32_t unmap = 0; unmap < KIOMMU_FLOOR_UNMAPS; unmap++) {
			job.map_way = map;
			job.unmap_way = unmap;
			if (possible(c, unmap))
				measure(fd, c, job);
		}
	}
	free(runs);
}

void bench_floor(const char *device)
{
	int fd;

	shell("echo %s >/sys/bus/pci/drivers/vfio-pci/unbind", device);
	shell("insmod " MODULE " device=%s", device);
	fd = open_path_or_exit("/dev/kiommu_floor", O_RDWR);
	for (unsigned int i = 0; i < bench_case_count; i++)
		if (bench_wanted(&bench_cases[i]))
			run_case(fd, &bench_cases[i]);
	close(fd);
	shell("rmmod %s", "kiommu_floor");
}
