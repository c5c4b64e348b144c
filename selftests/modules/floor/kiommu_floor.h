/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * /dev/kiommu_floor: maps and unmaps user memory by calling the host's IOMMU
 * driver directly, and reports the instructions (time stamps) that the bare
 * calls took. Pinning the pages before and unpinning them after is not counted.
 */
#ifndef KIOMMU_FLOOR_H
#define KIOMMU_FLOOR_H

#include <linux/ioctl.h>
#include <linux/types.h>

/* A mapping to be made: addresses and bytes are multiples of 4096. */
struct kiommu_floor_run {
	__u64 iova;
	__u64 vaddr;
	__u64 bytes;
};

/* Runs that are contiguous in IOVA and host memory are joined first. */
enum kiommu_floor_map {
	KIOMMU_FLOOR_MAP_CALLS, /* iommu_map() for each run */
	KIOMMU_FLOOR_MAP_SG, /* iommu_map_sg() for what is contiguous in IOVA */
	KIOMMU_FLOOR_MAPS,
};

enum kiommu_floor_unmap {
	/* iommu_unmap_fast() for each run, one iommu_iotlb_sync() */
	KIOMMU_FLOOR_UNMAP_CALLS,
	/* the same for what is contiguous in IOVA */
	KIOMMU_FLOOR_UNMAP_RANGE,
	/*
	 * as _CALLS, but the range that is gathered spans all from the start,
	 * so that the driver does not sync between runs that are apart
	 */
	KIOMMU_FLOOR_UNMAP_SPAN,
	/*
	 * one iommu_unmap_fast() for everything, including holes; ERANGE if the
	 * driver does not support that
	 */
	KIOMMU_FLOOR_UNMAP_OVER,
	/* iommu_unmap() for each run: a sync each */
	KIOMMU_FLOOR_UNMAP_SYNC,
	KIOMMU_FLOOR_UNMAPS,
};

#define KIOMMU_FLOOR_ROUNDS 16

struct kiommu_floor_job {
	__aligned_u64 runs; /* address of the runs, sorted by IOVA */
	__u32 count;
	__u32 rounds; /* 1 to KIOMMU_FLOOR_ROUNDS */
	__u32 map_way;
	__u32 unmap_way;
	__u32 host_runs; /* out: after joining */
	__u32 __reserved;
	__aligned_u64 map[KIOMMU_FLOOR_ROUNDS]; /* out */
	__aligned_u64 unmap[KIOMMU_FLOOR_ROUNDS]; /* out */
};

#define KIOMMU_FLOOR_RUN _IOWR(0xBA, 0, struct kiommu_floor_job)

#endif
