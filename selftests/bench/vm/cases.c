// SPDX-License-Identifier: GPL-2.0-only
/* The cases that are measured. */
#include "bench.h"

#define VTD .format = KVM_IOMMU_FORMAT_VTD_SS
#define PAGES_2M (KIOMMU_2M / KIOMMU_PAGE)
#define PAGES_1G (KIOMMU_1G / KIOMMU_PAGE)

const struct bench_case bench_cases[] = {
	{ .name = "scattered", VTD, .count = 512, .step = 1,
	  .scattered = true, .cold = true },
	{ .name = "scattered, zPCI", .format = KVM_IOMMU_FORMAT_ZPCI,
	  .count = 512, .step = 1, .scattered = true },
	{ .name = "every other IOVA", VTD, .count = 512, .step = 2,
	  .scattered = true },
	{ .name = "every other IOVA, a call each", VTD, .count = 512,
	  .step = 2, .scattered = true, .each = true },
	{ .name = "2 MiB as 4K", VTD, .memory = BENCH_HUGE, .count = PAGES_2M,
	  .step = 1, .cold = true },
	{ .name = "511 pages as 4K, aligned to 4K", VTD, .memory = BENCH_HUGE,
	  .count = PAGES_2M - 1, .step = 1, .skew = KIOMMU_PAGE },
	{ .name = "2 MiB as 4K, fragmented host", VTD, .count = PAGES_2M,
	  .step = 1, .cold = true },
	{ .name = "one 2M leaf", VTD, .memory = BENCH_HUGE, .level = 1,
	  .count = 1, .step = 1, .cold = true },
	{ .name = "1 GiB as 4K", VTD, .memory = BENCH_HUGE, .count = PAGES_1G,
	  .step = 1, .cold = true, .shadow = true },
	{ .name = "1 GiB as 2M leaves", VTD, .memory = BENCH_HUGE, .level = 1,
	  .count = 512, .step = 1, .cold = true, .shadow = true },
	{ .name = "1 GiB, unchanged", .op = BENCH_UNCHANGED, VTD,
	  .memory = BENCH_HUGE, .count = PAGES_1G, .step = 1 },
	{ .name = "1 GiB scattered, unchanged", .op = BENCH_UNCHANGED, VTD,
	  .memory = BENCH_HUGE, .count = PAGES_1G, .step = 1,
	  .scattered = true, .shadow = true },
	{ .name = "1 GiB, 1 % changed", .op = BENCH_CHANGED, VTD,
	  .memory = BENCH_HUGE, .count = PAGES_1G, .step = 1 },
	{ .name = "1 GiB scattered, 1 % changed", .op = BENCH_CHANGED, VTD,
	  .memory = BENCH_HUGE, .count = PAGES_1G, .step = 1,
	  .scattered = true },
	{ .name = "teardown of 64 MiB scattered", .op = BENCH_TEARDOWN, VTD,
	  .memory = BENCH_HUGE, .count = PAGES_1G / 16, .step = 1,
	  .scattered = true },
	{ .name = "teardown of 1 GiB", .op = BENCH_TEARDOWN, VTD,
	  .memory = BENCH_HUGE, .count = PAGES_1G, .step = 1 },
};

const unsigned int bench_case_count = ARRAY_SIZE(bench_cases);

uint64_t bench_leaf_bytes(const struct bench_case *c)
{
	return c->level ? KIOMMU_2M : KIOMMU_PAGE;
}

/*
 * Each case has a GiB of its own, so that it finds no host tables of another.
 */
uint64_t bench_first_iova(const struct bench_case *c)
{
	for (unsigned int i = 0; i < bench_case_count; i++)
		if (bench_cases[i].name == c->name)
			return (8 + i) * KIOMMU_1G + c->skew;
	TEST_FAIL("no such case");
	return 0;
}

uint64_t bench_range(const struct bench_case *c)
{
	return c->count * c->step * bench_leaf_bytes(c);
}

uint64_t bench_iova(const struct bench_case *c, uint64_t i)
{
	return bench_first_iova(c) + i * c->step * bench_leaf_bytes(c);
}

uint64_t bench_gpa(const struct bench_case *c, uint64_t i)
{
	uint64_t leaf = bench_leaf_bytes(c);
	uint64_t leaves = bench_memory_pages(c->memory) * KIOMMU_PAGE / leaf;

	if (c->scattered)
		i = i * 1237 % leaves;
	return bench_memory_gpa(c->memory) + i * leaf;
}

struct bench_case bench_changed(const struct bench_case *c)
{
	struct bench_case changed = *c;

	changed.op = BENCH_PAIR;
	changed.count = c->count / BENCH_CHANGED_STEP;
	changed.step = BENCH_CHANGED_STEP;
	changed.scattered = true;
	return changed;
}
