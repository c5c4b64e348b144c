/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The core's formats and its walker, applied to any memory: for tables that
 * other drivers wrote.
 */
#ifndef KIOMMU_SELFTEST_WALK_H
#define KIOMMU_SELFTEST_WALK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct walk_tables {
	uint32_t format;	/* enum kvm_iommu_format */
	uint32_t levels;
	uint64_t iota;
	/* Reads memory that holds tables. Return: 0 if it could be read. */
	int (*read)(uint64_t address, void *to, size_t size);
};

struct walk_leaf {
	uint64_t iova;
	uint64_t address;
	uint64_t pages;
	uint32_t rights;	/* KVM_IOMMU_READ, KVM_IOMMU_WRITE */
	uint32_t shift;		/* log2 of the size of the whole page */
};

/*
 * Walks [first, last], cut off at what the tables reach, and calls @found for
 * each leaf in ascending order. Returns 0 or enum kvm_iommu_status, negative
 * if the tables cannot be walked at all.
 */
int walk_range(const struct walk_tables *tables, uint64_t first, uint64_t last,
	       void (*found)(const struct walk_leaf *leaf, void *data),
	       void *data);

#ifdef __cplusplus
}
#endif

#endif
