/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A guest with a device and mappings, of which a failure must leave something that
 * can be checked: for tests of what fails.
 *
 * KIOMMU_WORLD_RANGE bytes from KIOMMU_WORLD_IOVA on have KIOMMU_WORLD_SINGLES
 * pages with nothing beside them, in either space; and, from KIOMMU_WORLD_LEAF on,
 * a leaf of 2M. What the device needs to show that it reaches a page, or does not,
 * is mapped elsewhere.
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
/* The i-th of the single pages. */
#define KIOMMU_WORLD_SINGLE(i) (KIOMMU_WORLD_IOVA + 3 * (i) * KIOMMU_PAGE)

/* A set of pages of the range. */
struct kiommu_pages {
	uint64_t bits[KIOMMU_WORLD_RANGE / KIOMMU_PAGE / 64];
};

struct kiommu_world {
	struct kiommu_faulty f;
	struct kiommu *k;	/* of f */
	int fd;			/* the container's */
	struct ioat *t;
	char *mem;		/* of the leaf, then of the single pages: 4M */
	uint64_t gpa;		/* of mem */
	char *buffer;		/* a page that the device reads */
	struct kiommu_nic *nic;	/* the device; NULL: it is k->dma[0] */
	uint64_t own;		/* pages that are mapped elsewhere */
	uint64_t seed;
	/* When the test began. */
	uint64_t pins;
	uint64_t kvm_refs;
	/* Of the last call, see failing.h. */
	uint32_t status;
};

/* The anchor is set, and what the device needs is mapped; nothing of the range. */
void kiommu_world_set_up(struct kiommu_world *w);
void kiommu_world_tear_down(struct kiommu_world *w);

/* The devices were closed: as after set-up. */
void kiommu_world_open_devices(struct kiommu_world *w);

/* After the anchor was set anew: 0, or what the refresh returned. */
int kiommu_world_map_own(struct kiommu_world *w);

/* All of the range is refreshed, or unmapped. */
int kiommu_world_refresh(struct kiommu_world *w);
int kiommu_world_unmap(struct kiommu_world *w);

/* Where a page of the range has its memory; the table must say so. */
char *kiommu_world_memory(const struct kiommu_world *w, uint64_t iova);

/*
 * What is wrong, or NULL. Nothing is when what the shadow lets devices reach is what
 * is counted, is pinned, and is charged; and, by DMA to some pages, is what the
 * device reaches. (Unless the device has lost what it needs for itself.)
 */
const char *kiommu_world_wrong(struct kiommu_world *w);

/* Whether the device reaches the page; if not, it is as it was. */
bool kiommu_world_reaches(struct kiommu_world *w, uint64_t iova);

/*
 * Whether nothing of the page changes when the device, which has lost what it needs
 * for itself, is told to write there. (Not tried where the device is a disk, which
 * waits for what it needs.)
 */
bool kiommu_world_blocks(struct kiommu_world *w, uint64_t iova);

/* The pages of the range that the shadow lets devices reach. */
struct kiommu_pages kiommu_world_pages(const struct kiommu_world *w);
uint64_t kiommu_world_count(const struct kiommu_pages *pages);

#define KIOMMU_EXPECT_RIGHT(_w) do {					\
	const char *_wrong = kiommu_world_wrong(_w);			\
									\
	EXPECT_EQ(NULL, _wrong) {					\
		TH_LOG("%s", _wrong);					\
	}								\
} while (0)

/* Now that nothing fails: a refresh succeeds, all is mapped, and is reached. */
#define KIOMMU_EXPECT_CONVERGES(_w) do {				\
	EXPECT_EQ(0, kiommu_world_refresh(_w));				\
	EXPECT_EQ(KIOMMU_WORLD_PAGES + (_w)->own,			\
		  kiommu_mapped_pages((_w)->fd));			\
	KIOMMU_EXPECT_RIGHT(_w);					\
} while (0)

/* Forgets what is in the file of faults. */
void kiommu_world_forget_faults(struct kiommu_world *w);

/*
 * How many pages were in @before, are no longer in the shadow, and of them no
 * fault of now tells that they are lost. Empties the file of faults.
 */
uint64_t kiommu_world_lost_silently(struct kiommu_world *w,
				    const struct kiommu_pages *before);

#endif /* KIOMMU_SELFTEST_WORLD_H */
