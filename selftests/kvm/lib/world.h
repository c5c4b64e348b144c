/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A guest with a device and mappings, whose state can be checked after a
 * failure: for tests of calls that fail.
 *
 * Of the KIOMMU_WORLD_RANGE bytes from KIOMMU_WORLD_IOVA on,
 * KIOMMU_WORLD_SINGLES single pages are mapped, which have no neighbours in
 * IOVA or GPA, and, at KIOMMU_WORLD_LEAF, a leaf of 2M. What the device itself
 * needs to show whether it reaches a page is mapped elsewhere.
 */
#ifndef KIOMMU_SELFTEST_WORLD_H
#define KIOMMU_SELFTEST_WORLD_H

#include <stdbool.h>
#include <stdint.h>

#include "faults.h"
#include "kiommu_util.h"
#include "nic.h"

#define KIOMMU_WORLD_IOVA (KIOMMU_IOVA_BASE + 0x40000000ull)
#define KIOMMU_WORLD_LEAF (KIOMMU_WORLD_IOVA + KIOMMU_2M)
#define KIOMMU_WORLD_RANGE (2 * KIOMMU_2M)
#define KIOMMU_WORLD_SINGLES 8ull
#define KIOMMU_WORLD_PAGES (KIOMMU_WORLD_SINGLES + 512)
/* The @i-th single page. */
#define KIOMMU_WORLD_SINGLE(i) (KIOMMU_WORLD_IOVA + 3 * (i) * KIOMMU_PAGE)

/* A set of pages of the range. */
struct kiommu_pages {
	uint64_t bits[KIOMMU_WORLD_RANGE / KIOMMU_PAGE / 64];
};

struct kiommu_world {
	struct kiommu_faulty f;
	struct kiommu *k;	/* that of f */
	int fd;			/* the container's */
	struct ioat *t;
	char *mem;		/* of the leaf, then of the single pages: 4M */
	uint64_t gpa;		/* of mem */
	char *buffer;		/* a page that the device reads */
	struct kiommu_nic *nic;	/* the device; NULL: it is k->dma[0] */
	uint64_t own;		/* pages mapped elsewhere, for the device */
	uint64_t seed;
	/* As they were when the test began. */
	uint64_t pins;
	uint64_t kvm_refs;
	/* The status of the last call, see failing.h. */
	uint32_t status;
};

/*
 * Sets the anchor, and maps what the device needs for itself; nothing of the
 * range is mapped yet.
 */
void kiommu_world_set_up(struct kiommu_world *w);
void kiommu_world_tear_down(struct kiommu_world *w);

/* Opens the devices again after they were closed: as after set-up. */
void kiommu_world_open_devices(struct kiommu_world *w);

/*
 * Maps what the device needs for itself, after a new anchor was set. Return: 0,
 * or what the refresh returned.
 */
int kiommu_world_map_own(struct kiommu_world *w);

/* Refreshes, or unmaps, all of the range. */
int kiommu_world_refresh(struct kiommu_world *w);
int kiommu_world_unmap(struct kiommu_world *w);

/* The memory behind a page of the range, which the tables must map. */
char *kiommu_world_memory(const struct kiommu_world *w, uint64_t iova);

/*
 * Return: what is wrong, or NULL. The state is right if the pages that the
 * shadow maps for devices are those that are counted, pinned and charged, and,
 * for a sample of the pages, those that the device reaches by DMA. (DMA is not
 * tried if the device has lost what it needs for itself.)
 */
const char *kiommu_world_wrong(struct kiommu_world *w);

/* Whether the device reaches the page; if not, the page has not changed. */
bool kiommu_world_reaches(struct kiommu_world *w, uint64_t iova);

/*
 * Whether the page does not change when the device is told to write to it,
 * after the device has lost what it needs for itself. (Not tried with a disk,
 * which would wait for its queue.)
 */
bool kiommu_world_blocks(struct kiommu_world *w, uint64_t iova);

/* The pages of the range that the shadow maps for devices. */
struct kiommu_pages kiommu_world_pages(const struct kiommu_world *w);
uint64_t kiommu_world_count(const struct kiommu_pages *pages);

#define KIOMMU_EXPECT_RIGHT(_w) do {					\
	const char *_wrong = kiommu_world_wrong(_w);			\
									\
	EXPECT_EQ(NULL, _wrong) {					\
		TH_LOG("%s", _wrong);					\
	}								\
} while (0)

/* Once nothing fails: a refresh succeeds, all is mapped and can be reached. */
#define KIOMMU_EXPECT_CONVERGES(_w) do {				\
	EXPECT_EQ(0, kiommu_world_refresh(_w));				\
	EXPECT_EQ(KIOMMU_WORLD_PAGES + (_w)->own,			\
		  kiommu_mapped_pages((_w)->fd));			\
	KIOMMU_EXPECT_RIGHT(_w);					\
} while (0)

/* Empties the file of faults. */
void kiommu_world_forget_faults(struct kiommu_world *w);

/*
 * The number of pages that were in @before, are no longer in the shadow, and
 * are not reported as lost by a fault. Empties the file of faults.
 */
uint64_t kiommu_world_lost_silently(struct kiommu_world *w,
				    const struct kiommu_pages *before);

#endif /* KIOMMU_SELFTEST_WORLD_H */
