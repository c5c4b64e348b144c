/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The cost of making a host follow a guest's I/O translation tables, in
 * instructions: of guest, KVM, module and VMM together. One guest program maps,
 * tells the host, lets a device do DMA, unmaps, and tells the host; the ways
 * differ in how it tells the host. Runs in a machine whose time stamp counter
 * counts instructions (selftests/vm/run --icount).
 *
 *   guest.c   what the guest does
 *   vmm.c     the VMM: runs the vCPU, follows what the guest tells it
 *   ways.c    the ways to tell the host, and what each needs of it
 *   cases.c   patterns and drivers, measured with each way
 *   parts.c   what the cost consists of
 *   report.c  the output
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

/* Rounds that warm up, rounds that count; pages that each round maps. */
#define SYNC_WARMUP 2
#define SYNC_ROUNDS 5
#define SYNC_PAGES 1024u

/* The guest's IOVAs: a window that is used in turn, and fixed mappings. */
#define SYNC_IOVA (KIOMMU_IOVA_BASE + 0x40000000ull)
#define SYNC_WINDOW 4096u
#define SYNC_SOURCE_IOVA (SYNC_IOVA + SYNC_WINDOW * KIOMMU_PAGE)
#define SYNC_TARGET_IOVA (SYNC_SOURCE_IOVA + KIOMMU_PAGE)
#define SYNC_NIC_IOVA (SYNC_TARGET_IOVA + KIOMMU_PAGE)
#define SYNC_FIXED_PAGES (2 + KIOMMU_NIC_SIZE / KIOMMU_PAGE)
#define SYNC_IOVA_PAGES (SYNC_WINDOW + SYNC_FIXED_PAGES)

/* The guest's memory for DMA: 4K pages in no order, then source and target. */
#define SYNC_POOL_GPA KIOMMU_FREE_GPA
#define SYNC_POOL_PAGES 2048u
#define SYNC_SOURCE_PAGE SYNC_POOL_PAGES
#define SYNC_TARGET_PAGE (SYNC_POOL_PAGES + 1)

/* Ports that the guest writes to. */
#define SYNC_PORT_DONE 0x500	/* g->fn has returned */
#define SYNC_PORT_TELL 0x504	/* the VMM is to follow g->told */
#define SYNC_PORT_NOTHING 0x508	/* exits to the VMM, which does nothing */

struct sync_guest;

/* Tells the host what the guest has changed: @pages pages from @iova on. */
typedef void (*sync_tell_fn)(struct sync_guest *g, uint64_t iova, uint64_t pages);

/* How a guest's driver maps. */
struct sync_pattern {
	const char *name;
	const char *driver;
	uint64_t burst;		/* pages of a request, at IOVAs in a row */
	uint64_t depth;		/* requests that stay mapped besides the last */
	uint64_t collect;	/* requests whose unmaps are told together */
};

extern const struct sync_pattern sync_patterns[];
extern const unsigned int sync_pattern_count;

/* The changes of one page whose cost is measured, tables included. */
enum sync_part {
	SYNC_PART_NOTHING,	/* an entry is stored with its old value */
	SYNC_PART_MAP,
	SYNC_PART_UNMAP,
	SYNC_PARTS,
};

/* Lower bounds of the cost of any way that has an exit of this kind. */
enum sync_floor {
	SYNC_FLOOR_BELL,	/* the doorbell of a ring, without a listener */
	SYNC_FLOOR_USER,	/* an exit to user space that does nothing */
	SYNC_FLOORS,
};

/* The guest's program and its results. Lies in the area. */
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
	/* Not 0 if nothing follows the tables: all DMA goes to this IOVA. */
	uint64_t target;
	struct sync_pattern pattern;
	uint64_t requests;	/* of a round */
	uint64_t page;		/* next page of the pool */
	/* Indices of pages of the window: next to map, to unmap, to tell of. */
	uint64_t next;
	uint64_t oldest;
	uint64_t untold;
	uint64_t in_flight;	/* requests from @oldest to @next */
	uint64_t collected;	/* requests from @untold to @oldest */
	/* Results of the last round. */
	uint64_t instructions;
	uint64_t frames;
	/* The lowest cost of each step. */
	uint64_t parts[SYNC_PARTS];
	uint64_t floors[SYNC_FLOORS];
};

/* Guest functions. */
void sync_guest_main(struct sync_guest *g);
void sync_guest_set_up(struct sync_guest *g);
void sync_guest_round(struct sync_guest *g);
/* Unmaps the requests that are still mapped, and tells the host. */
void sync_guest_drain(struct sync_guest *g);
/* Map one page, which gets DMA; unmap it; do DMA to it again. */
void sync_guest_map_one(struct sync_guest *g);
void sync_guest_unmap_one(struct sync_guest *g);
void sync_guest_send_one(struct sync_guest *g);
void sync_guest_parts(struct sync_guest *g);
void sync_guest_floors(struct sync_guest *g);
/* Ways to tell the host. */
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
	uint64_t returns;	/* of KVM_RUN, except the last of a call */
	int stats;		/* file of the vCPU's counters */
	struct kiommu_bell bell;
	char *pool;
	uint64_t records[SYNC_IOVA_PAGES];	/* entries that type1 mapped */
};

/* The VMM. */
void sync_open(struct sync *s, const struct sync_way *way);
void sync_close(struct sync *s);
void sync_run(struct sync *s, void (*fn)(struct sync_guest *g));
struct sync_exits sync_exits(struct sync *s);
/* Asserts that @pages of the window's pages are mapped. */
void sync_expect_mapped(struct sync *s, uint64_t pages);
/* Asserts that DMA reaches a page when it is mapped, and not when unmapped. */
void sync_check_dma(struct sync *s);

/*
 * A way to tell the host.
 * @type: that of the container. @mapped, @unmapped: called by the guest.
 * @follow: called by the VMM when the guest tells it. @start: NULL, or called
 * once the anchor is set; returns 0, or -errno if the host does not support it.
 */
struct sync_way {
	const char *name;
	unsigned long type;
	sync_tell_fn mapped;
	sync_tell_fn unmapped;
	void (*follow)(struct sync *s, uint64_t iova, uint64_t pages);
	int (*start)(struct sync *s);
	bool alone;	/* nothing follows the tables */
};

extern const struct sync_way sync_ways[];
extern const unsigned int sync_way_count;

void sync_follow_type1(struct sync *s, uint64_t iova, uint64_t pages);
void sync_follow_refresh(struct sync *s, uint64_t iova, uint64_t pages);

/* Run all cases of a way, and all parts that it has. */
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
/* @samples: an array of SYNC_ROUNDS. */
void sync_report_case(const struct sync_pattern *p, const char *way,
		      struct sync_sample *samples);
void sync_report_part(const char *way, const char *name, uint64_t instructions);
void sync_report_missing(const char *way, int error);

#endif
