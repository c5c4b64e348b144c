/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What it costs to make a host follow a guest's I/O translation tables, in
 * instructions: guest, KVM, module and VMM together. One guest program maps,
 * tells the host, lets a device do DMA, unmaps, and tells the host; how it tells
 * is what differs. Runs in a machine whose time stamp counter counts instructions
 * (selftests/vm/run --icount).
 *
 *   guest.c   what the guest does
 *   vmm.c     the VMM: runs the vCPU, follows what the guest tells it
 *   ways.c    the ways to tell, and what each needs of the host
 *   cases.c   patterns and drivers: each way in each of them
 *   parts.c   what the cost is made of
 *   report.c  what comes out
 */
#ifndef KIOMMU_BENCH_SYNC_H
#define KIOMMU_BENCH_SYNC_H

#include <stdbool.h>
#include <stdint.h>

#include <x86intrin.h>

#include "processor.h"

#include "bell.h"
#include "kiommu_util.h"
#include "nic.h"
#include "ring.h"

/* Rounds that are not counted, and that are; pages that each one maps. */
#define SYNC_WARMUP 2
#define SYNC_ROUNDS 5
#define SYNC_PAGES 1024u

/* The guest's IOVAs: a window that it gives out in turn, what stays mapped. */
#define SYNC_IOVA (KIOMMU_IOVA_BASE + 0x40000000ull)
#define SYNC_WINDOW 4096u
#define SYNC_SOURCE_IOVA (SYNC_IOVA + SYNC_WINDOW * KIOMMU_PAGE)
#define SYNC_TARGET_IOVA (SYNC_SOURCE_IOVA + KIOMMU_PAGE)
#define SYNC_NIC_IOVA (SYNC_TARGET_IOVA + KIOMMU_PAGE)
#define SYNC_FIXED_PAGES (2 + KIOMMU_NIC_SIZE / KIOMMU_PAGE)
#define SYNC_IOVA_PAGES (SYNC_WINDOW + SYNC_FIXED_PAGES)

/* The guest's memory for DMA: 4K pages in no order, then those two. */
#define SYNC_POOL_GPA KIOMMU_FREE_GPA
#define SYNC_POOL_PAGES 2048u
#define SYNC_SOURCE_PAGE SYNC_POOL_PAGES
#define SYNC_TARGET_PAGE (SYNC_POOL_PAGES + 1)

/* Ports that the guest writes to. */
#define SYNC_PORT_DONE 0x500	/* g->fn has returned */
#define SYNC_PORT_TELL 0x504	/* the VMM is to follow g->told */
#define SYNC_PORT_NOTHING 0x508	/* exits to the VMM, which does nothing */

struct sync_guest;

/* What the guest has changed in its tables: [iova, iova + pages). */
typedef void (*sync_tell_fn)(struct sync_guest *g, uint64_t iova, uint64_t pages);

/* How a guest's driver maps. */
struct sync_pattern {
	const char *name;
	const char *driver;
	uint64_t burst;		/* pages of a request, at IOVAs in a row */
	uint64_t depth;		/* requests that are mapped beside the last one */
	uint64_t collect;	/* requests whose unmaps are told together */
};

extern const struct sync_pattern sync_patterns[];
extern const unsigned int sync_pattern_count;

/* What a change of one page costs, tables and all. */
enum sync_part {
	SYNC_PART_NOTHING,	/* an entry is stored as it was */
	SYNC_PART_MAP,
	SYNC_PART_UNMAP,
	SYNC_PARTS,
};

/* What no way that has an exit of this kind can be below. */
enum sync_floor {
	SYNC_FLOOR_BELL,	/* the doorbell of a ring, nobody listens */
	SYNC_FLOOR_USER,	/* an exit to user space, nothing is done */
	SYNC_FLOORS,
};

/* In the area: the guest's program and its results. */
struct sync_guest {
	void (*fn)(struct sync_guest *g);
	/* NULL: the host is not told. */
	sync_tell_fn mapped;
	sync_tell_fn unmapped;
	struct {
		uint64_t iova;
		uint64_t pages;
	} told;
	struct kiommu_ring *ring;
	struct ioat *tables;
	struct kiommu_nic *nic;
	/* All DMA goes here instead, where nothing follows the tables. */
	uint64_t target;
	struct sync_pattern pattern;
	uint64_t requests;	/* of a round */
	uint64_t page;		/* next page of the pool */
	/* Pages of the window: next to map, to unmap, to tell of. */
	uint64_t next;
	uint64_t oldest;
	uint64_t untold;
	uint64_t in_flight;	/* requests from @oldest to @next */
	uint64_t collected;	/* requests from @untold to @oldest */
	/* Of the last round. */
	uint64_t instructions;
	uint64_t frames;
	/* The least that each step has cost. */
	uint64_t parts[SYNC_PARTS];
	uint64_t floors[SYNC_FLOORS];
};

/* Guest functions. */
void sync_guest_main(struct sync_guest *g);
void sync_guest_set_up(struct sync_guest *g);
void sync_guest_round(struct sync_guest *g);
/* Requests that are still mapped are unmapped, and told of. */
void sync_guest_drain(struct sync_guest *g);
/* One page at the beginning of the window; DMA to it; away with it; DMA. */
void sync_guest_map_one(struct sync_guest *g);
void sync_guest_unmap_one(struct sync_guest *g);
void sync_guest_send_one(struct sync_guest *g);
void sync_guest_parts(struct sync_guest *g);
void sync_guest_floors(struct sync_guest *g);
/* Ways to tell. */
void sync_tell_vmm(struct sync_guest *g, uint64_t iova, uint64_t pages);
void sync_tell_ring(struct sync_guest *g, uint64_t iova, uint64_t pages);
void sync_tell_ring_unmap(struct sync_guest *g, uint64_t iova, uint64_t pages);

/* KVM's own counters of a vCPU. */
struct sync_exits {
	uint64_t to_user;	/* returns of KVM_RUN */
	uint64_t all;
};

struct sync_way;

struct sync {
	struct kiommu k;
	const struct sync_way *way;
	struct sync_guest *guest;
	struct kvm_vcpu *vcpu;
	uint64_t returns;	/* of KVM_RUN, without the last of a call */
	int stats;		/* file of the vCPU's counters */
	struct kiommu_bell bell;
	char *pool;
	uint64_t records[SYNC_IOVA_PAGES];	/* what type1 has mapped */
};

/* The VMM. */
void sync_open(struct sync *s, const struct sync_way *way);
void sync_close(struct sync *s);
void sync_run(struct sync *s, void (*fn)(struct sync_guest *g));
struct sync_exits sync_exits(struct sync *s);
/* So many of the window's pages are mapped. */
void sync_expect_mapped(struct sync *s, uint64_t pages);
/* One DMA hits a page that was just mapped, and none that was unmapped. */
void sync_check_dma(struct sync *s);

/*
 * A way to tell the host.
 * @type: of the container. @mapped, @unmapped: by the guest. @follow: by the
 * VMM, when the guest tells it. @start: NULL, or once the anchor is set: 0, or
 * -errno if the host does not have it.
 */
struct sync_way {
	const char *name;
	unsigned long type;
	sync_tell_fn mapped;
	sync_tell_fn unmapped;
	void (*follow)(struct sync *s, uint64_t iova, uint64_t pages);
	int (*start)(struct sync *s);
	bool alone;	/* nothing follows */
};

extern const struct sync_way sync_ways[];
extern const unsigned int sync_way_count;

void sync_follow_type1(struct sync *s, uint64_t iova, uint64_t pages);
void sync_follow_refresh(struct sync *s, uint64_t iova, uint64_t pages);

/* Runs all cases of a way; all parts that it has. */
void sync_run_cases(struct sync *s);
void sync_run_parts(struct sync *s);

/*
 * Lines of the result, tab-separated:
 *   case, pattern, driver, way, pages of a request, instructions for a page,
 *	returns to user space for a request, exits for a request
 *   part, way, name, instructions
 *   missing, way, errno
 */
struct sync_sample {
	double instructions;
	double to_user;
	double exits;
};

void sync_report_open(const char *path);
/* @samples: SYNC_ROUNDS of them. */
void sync_report_case(const struct sync_pattern *p, const char *way,
		      struct sync_sample *samples);
void sync_report_part(const char *way, const char *name, uint64_t instructions);
void sync_report_missing(const char *way, int error);

#endif
