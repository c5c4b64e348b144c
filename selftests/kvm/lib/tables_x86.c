// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tables of long mode, which VT-d's first stage uses (Intel VT-d specification,
 * chapters 3.6 and 9.7): tables of 4K with 512 entries, little-endian.
 */
#include "tables_format.h"

#define X86_ADDRESS 0x000ffffffffff000ull

static uint64_t x86_absent(uint32_t level)
{
	(void)level;
	return 0;
}

static bool x86_is_table(uint32_t level, uint64_t value)
{
	bool large = level <= 2 && (value & X86_LARGE);

	return level && (value & X86_PRESENT) && !large;
}

static uint64_t x86_table(uint32_t level, uint64_t gpa)
{
	(void)level;
	return gpa | X86_PRESENT | X86_WRITE | X86_USER;
}

/* There are no pages that can only be written. */
static uint64_t x86_leaf(uint32_t level, uint64_t gpa, uint32_t rights)
{
	uint64_t value = gpa | X86_PRESENT | X86_USER;

	if (level)
		value |= X86_LARGE;
	if (rights & KVM_IOMMU_WRITE)
		value |= X86_WRITE;
	return value;
}

static uint64_t x86_protect(uint64_t value)
{
	return value & ~X86_WRITE;
}

static uint64_t x86_table_gpa(uint32_t level, uint64_t value)
{
	(void)level;
	return value & X86_ADDRESS;
}

static uint64_t x86_iota(uint32_t levels, uint64_t root)
{
	(void)levels;
	return root;
}

const struct ioat_format ioat_x86_fs = {
	.id = KVM_IOMMU_FORMAT_X86_FS,
	.big_endian = false,
	.page_bits = 9,
	.table_bits = 9,
	.absent = x86_absent,
	.is_table = x86_is_table,
	.table = x86_table,
	.leaf = x86_leaf,
	.protect = x86_protect,
	.table_gpa = x86_table_gpa,
	.iota = x86_iota,
};
