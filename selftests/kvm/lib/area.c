// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guest memory for tables and buffers; runs in the test and in the guest (the
 * KVM selftest library has a memset() for both).
 */
#include <string.h>

#include "area.h"

void *kiommu_alloc(struct kiommu_area *area, uint64_t size, uint64_t align)
{
	uint64_t gpa = area->gpa + area->used;
	uint64_t start = ((gpa + align - 1) & ~(align - 1)) - area->gpa;

	/* Neither side can go on; both report an invalid opcode. */
	if (start + size > area->size)
		__builtin_trap();
	area->used = start + size;
	return memset(area->mem + start, 0, size);
}

static uint8_t pattern(uint64_t i, uint64_t seed)
{
	uint64_t x = (i + 1) * 0x9e3779b97f4a7c15ull + seed * 0xbf58476d1ce4e5b9ull;

	return (x ^ (x >> 29)) >> 24;
}

void kiommu_fill(void *p, uint64_t size, uint64_t seed)
{
	uint8_t *byte = p;

	for (uint64_t i = 0; i < size; i++)
		byte[i] = pattern(i, seed);
}

uint64_t kiommu_count_equal(const void *p, uint64_t size, uint64_t seed)
{
	const uint8_t *byte = p;
	uint64_t equal = 0;

	for (uint64_t i = 0; i < size; i++)
		equal += byte[i] == pattern(i, seed);
	return equal;
}
