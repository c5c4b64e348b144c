/* SPDX-License-Identifier: GPL-2.0-only */
/* Pinned user memory, as runs that are contiguous in IOVA and host memory. */
#ifndef KIOMMU_FLOOR_RUNS_H
#define KIOMMU_FLOOR_RUNS_H

#include <linux/scatterlist.h>

#include "kiommu_floor.h"

struct host_run {
	unsigned long iova;
	phys_addr_t phys;
	size_t bytes;
};

/* Runs that follow one another in IOVA. */
struct host_list {
	unsigned long iova;
	size_t bytes;
	u32 first; /* index of a run and of its entry in the scatter list */
	u32 count;
};

struct host_runs {
	struct page **pages;
	unsigned long page_count;
	struct host_run *runs;
	struct scatterlist *sg;
	u32 run_count;
	struct host_list *lists;
	u32 list_count;
};

/* @wanted: an array of @count runs. On failure nothing is held. */
int host_runs_pin(struct host_runs *h, const struct kiommu_floor_run *wanted,
		  u32 count);
void host_runs_unpin(struct host_runs *h);

#endif
