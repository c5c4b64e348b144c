/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * An area of guest memory to take tables and buffers from.
 *
 * The area is mapped in the guest's virtual address space where the test has
 * it, so a pointer into it means the same on both sides, and the functions
 * here may be called by the test and by guest code alike (not at once: the
 * test waits while its guest runs). The struct itself lives in the area.
 */
#ifndef KIOMMU_SELFTEST_AREA_H
#define KIOMMU_SELFTEST_AREA_H

#include <stddef.h>
#include <stdint.h>

#define KIOMMU_PAGE 4096ull
#define KIOMMU_2M (1ull << 21)
#define KIOMMU_1G (1ull << 30)

struct kiommu_area {
	char *mem;	/* address of the area, for test and guest */
	uint64_t gpa;	/* its guest physical address */
	uint64_t size;	/* bytes */
	uint64_t used;	/* bytes taken, from the start */
};

/* Memory of @size bytes at a GPA that is a multiple of @align; zeroed. */
void *kiommu_alloc(struct kiommu_area *area, uint64_t size, uint64_t align);

static inline void *kiommu_alloc_page(struct kiommu_area *area)
{
	return kiommu_alloc(area, KIOMMU_PAGE, KIOMMU_PAGE);
}

static inline uint64_t kiommu_gpa(const struct kiommu_area *area, const void *p)
{
	return area->gpa + ((const char *)p - area->mem);
}

/* NULL if @gpa is not in the area. */
static inline void *kiommu_ptr(const struct kiommu_area *area, uint64_t gpa)
{
	if (gpa < area->gpa || gpa - area->gpa >= area->size)
		return NULL;
	return area->mem + (gpa - area->gpa);
}

/* Fills memory with bytes that differ from page to page and by @seed. */
void kiommu_fill(void *p, uint64_t size, uint64_t seed);

/* How many of the bytes at @p are what kiommu_fill() wrote there. */
uint64_t kiommu_count_equal(const void *p, uint64_t size, uint64_t seed);

#endif
