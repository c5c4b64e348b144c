// SPDX-License-Identifier: GPL-2.0-only
/*
 * vfio_iommu_type1 as it comes with the kernel: once with a call for each leaf,
 * as a VMM makes that follows a guest's invalidations; and once at its best,
 * with a call for each run that is contiguous in IOVA and in the VMM's memory,
 * and one call that unmaps all. The same calls then go to kvm_iommu.ko in its place
 * (module parameter type1).
 */
#include <stdio.h>
#include <string.h>

#include "bench.h"
#include "type1.h"

#define RIGHTS (VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE)
/* Fewer mappings than type1 allows (dma_entry_limit is 65535). */
#define MOST 60000
/* The number of mappings by which the size of one is measured. */
#define MANY 32768

static void map(int fd, uint64_t iova, uint64_t gpa, uint64_t bytes)
{
	int ret = kiommu_map_dma(fd, bench_memory_hva(gpa), iova, bytes, RIGHTS);

	TEST_ASSERT(!ret, "MAP_DMA at %lx: %d", iova, ret);
}

static void unmap(int fd, uint64_t iova, uint64_t bytes)
{
	int ret = kiommu_unmap_dma(fd, iova, &bytes, 0);

	TEST_ASSERT(!ret && bytes, "UNMAP_DMA at %lx: %d", iova, ret);
}

static void map_leaves(int fd, const struct bench_case *c)
{
	for (uint64_t i = 0; i < c->count; i++)
		map(fd, bench_iova(c, i), bench_gpa(c, i), bench_leaf_bytes(c));
}

static void unmap_leaves(int fd, const struct bench_case *c)
{
	for (uint64_t i = 0; i < c->count; i++)
		unmap(fd, bench_iova(c, i), bench_leaf_bytes(c));
}

static void map_runs(int fd, const struct bench_case *c)
{
	if (c->scattered || c->step > 1)
		map_leaves(fd, c);
	else
		map(fd, bench_first_iova(c), bench_gpa(c, 0), bench_range(c));
}

static void unmap_all(int fd, const struct bench_case *c)
{
	unmap(fd, bench_first_iova(c), bench_range(c));
}

typedef void (*way_fn)(int fd, const struct bench_case *c);

static uint64_t timed(way_fn way, int fd, const struct bench_case *c)
{
	uint64_t start = bench_now();

	way(fd, c);
	return bench_now() - start;
}

static void measure(int fd, const struct bench_case *pair, way_fn map_way,
		    way_fn unmap_way, struct bench_samples *s)
{
	memset(s, 0, sizeof(*s));
	for (unsigned int i = 0; i < BENCH_WARMUP + BENCH_ROUNDS; i++) {
		bench_sample(s->map, i, timed(map_way, fd, pair));
		bench_sample(s->unmap, i, timed(unmap_way, fd, pair));
	}
}

static void run_case(int fd, const struct bench_case *c, const char *who)
{
	struct bench_case pair = *c;
	struct bench_samples s;

	if (c->op == BENCH_UNCHANGED)
		return;
	if (c->op == BENCH_CHANGED)
		pair = bench_changed(c);
	if (pair.count < MOST) {
		measure(fd, &pair, map_leaves, unmap_leaves, &s);
		bench_report(c, who, "a call for each leaf", &s);
	}
	if (!pair.each) {
		measure(fd, &pair, map_runs, unmap_all, &s);
		bench_report(c, who, "at its best", &s);
	}
}

/* Bytes of slab objects that are in use. */
static uint64_t slab_bytes(void)
{
	FILE *file = fopen("/proc/slabinfo", "r");
	unsigned long count, size;
	uint64_t bytes = 0;
	char line[256];

	TEST_ASSERT(file, "no /proc/slabinfo");
	while (fgets(line, sizeof(line), file))
		if (sscanf(line, "%*s %lu %*u %lu", &count, &size) == 2)
			bytes += count * size;
	fclose(file);
	return bytes;
}

static void report_memory(int fd)
{
	struct bench_case c = bench_cases[0];
	uint64_t before;

	c.memory = BENCH_HUGE;
	c.count = MANY;
	before = slab_bytes();
	map_leaves(fd, &c);
	bench_report_memory("1 GiB scattered, unchanged", "type1",
			    (double)(slab_bytes() - before) / MANY);
	unmap_all(fd, &c);
}

void bench_type1(bool ours)
{
	struct kiommu k;

	kiommu_serve_type1(ours);
	kiommu_setup(&k, VFIO_TYPE1v2_IOMMU);
	kiommu_serve_type1(false);
	for (unsigned int i = 0; i < bench_case_count; i++)
		if (bench_wanted(&bench_cases[i]))
			run_case(k.vfio.fd, &bench_cases[i],
				 ours ? "type1=1" : "type1");
	if (!ours)
		report_memory(k.vfio.fd);
	kiommu_teardown(&k);
}
