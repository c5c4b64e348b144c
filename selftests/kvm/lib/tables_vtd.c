// SPDX-License-Identifier: GPL-2.0-only
/*
 * VT-d second-stage tables (Intel VT-d specification, chapters 3.7 and 9.8):
 * tables of 4K with 512 entries, little-endian; an entry without rights is
 * absent.
 */
#include "tables_format.h"

#define VTD_ADDRESS 0x000ffffffffff000ull

static uint64_t vtd_absent(uint32_t level)
{
	(void)level;
	return 0;
}

static bool vtd_is_table(uint32_t level, uint64_t value)
{
	bool large = level <= 2 && (value & VTD_LARGE);

	return level && (value & (VTD_READ | VTD_WRITE)) && !large;
}

static uint64_t vtd_table(uint32_t level, uint64_t gpa)
{
	(void)level;
	return gpa | VTD_READ | VTD_WRITE;
}

static uint64_t vtd_leaf(uint32_t level, uint64_t gpa, uint32_t rights)
{
	uint64_t value = level ? gpa | VTD_LARGE : gpa;

	if (rights & KVM_IOMMU_READ)
		value |= VTD_READ;
	if (rights & KVM_IOMMU_WRITE)
		value |= VTD_WRITE;
	return value;
}

static uint64_t vtd_protect(uint64_t value)
{
	return value & ~VTD_WRITE;
}

static uint64_t vtd_table_gpa(uint32_t level, uint64_t value)
{
	(void)level;
	return value & VTD_ADDRESS;
}

static uint64_t vtd_iota(uint32_t levels, uint64_t root)
{
	(void)levels;
	return root;
}

const struct ioat_format ioat_vtd_ss = {
	.id = KVM_IOMMU_FORMAT_VTD_SS,
	.big_endian = false,
	.page_bits = 9,
	.table_bits = 9,
	.absent = vtd_absent,
	.is_table = vtd_is_table,
	.table = vtd_table,
	.leaf = vtd_leaf,
	.protect = vtd_protect,
	.table_gpa = vtd_table_gpa,
	.iota = vtd_iota,
};
