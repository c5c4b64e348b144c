/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The cost of maps, unmaps and refreshes, in instructions: of kvm-iommu, of
 * type1, and of the host's IOMMU driver alone (the floor). Runs in a machine
 * whose time stamp counter counts instructions (selftests/vm/run --icount).
 */
#ifndef KIOMMU_BENCH_H
#define KIOMMU_BENCH_H

#include <stdbool.h>
#include <stdint.h>

#include <x86intrin.h>

#include "kiommu_util.h"

/* Rounds that warm up, and rounds that count. */
#define BENCH_WARMUP 2
#define BENCH_ROUNDS 5

/* Guest memory that all contenders use. */
enum bench_memory {
	BENCH_SMALL,	/* 4K pages; neighbours are apart in host memory */
	BENCH_HUGE,	/* 2M pages of hugetlbfs */
	BENCH_MEMORIES,
};

void bench_memory_init(void);
/* Adds both memories to the guest. */
void bench_memory_add(struct kiommu_vm *vm);
uint64_t bench_memory_gpa(enum bench_memory m);
uint64_t bench_memory_pages(enum bench_memory m);
void *bench_memory_hva(uint64_t gpa);

enum bench_op {
	BENCH_PAIR,		/* map all, unmap all */
	BENCH_TEARDOWN,		/* unregister the anchor: unmaps all at once */
	BENCH_UNCHANGED,	/* refresh when nothing has changed */
	BENCH_CHANGED,		/* refresh after some pages were exchanged */
};

/* One page in a hundred changes. */
#define BENCH_CHANGED_STEP 100

struct bench_case {
	const char *name;
	enum bench_op op;
	enum bench_memory memory;
	uint32_t format;	/* of the guest's tables */
	uint32_t level;		/* of the leaves */
	uint64_t count;		/* of leaves */
	uint64_t step;		/* distance of IOVAs, in leaves */
	uint64_t skew;		/* added to the first IOVA, bytes */
	bool scattered;		/* neighbouring IOVAs have distant GPAs */
	bool each;		/* one call per leaf, not one for the range */
	bool cold;		/* measured with cold pins, too */
	bool shadow;		/* report the size of the shadow */
};

extern const struct bench_case bench_cases[];
extern const unsigned int bench_case_count;

/*
 * Addresses of a case, which has IOVAs of its own; @i is less than count. The
 * range includes the steps.
 */
uint64_t bench_leaf_bytes(const struct bench_case *c);
uint64_t bench_first_iova(const struct bench_case *c);
uint64_t bench_range(const struct bench_case *c);
uint64_t bench_iova(const struct bench_case *c, uint64_t i);
uint64_t bench_gpa(const struct bench_case *c, uint64_t i);

/* The leaves that change in a case BENCH_CHANGED, as a BENCH_PAIR. */
struct bench_case bench_changed(const struct bench_case *c);

/* The contenders: each runs the cases for which bench_wanted() is true. */
bool bench_wanted(const struct bench_case *c);
void bench_ours(bool cold);
void bench_type1(bool ours);
void bench_floor(const char *device);

/* Instructions of each round; @index counts the warm-up rounds, too. */
struct bench_samples {
	uint64_t map[BENCH_ROUNDS];
	uint64_t unmap[BENCH_ROUNDS];
};

void bench_sample(uint64_t *samples, unsigned int index, uint64_t value);

/*
 * A line of the result, tab-separated:
 *   name, operation, unit, contender, way, map, unmap
 * The unit is a page, a 2M leaf, or a call. The cost of a refresh or a teardown
 * is under "unmap".
 */
void bench_report_open(const char *path);
void bench_report(const struct bench_case *c, const char *who, const char *way,
		  struct bench_samples *s);
/* A line "memory", name, contender, bytes for each mapped page. */
void bench_report_memory(const char *name, const char *who, double bytes);

static inline uint64_t bench_now(void)
{
	return __rdtsc();
}

#endif
