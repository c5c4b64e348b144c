// SPDX-License-Identifier: GPL-2.0-only
/*
 * zPCI (s390) I/O translation tables: page tables of 2K, all others of 16K,
 * big-endian. Linux: arch/s390/include/asm/pci_dma.h.
 */
#include "tables_format.h"

static uint64_t zpci_type(uint32_t level)
{
	return (uint64_t)(level - 1) << 2;
}

static uint64_t zpci_absent(uint32_t level)
{
	return level ? ZPCI_INVALID | zpci_type(level) : ZPCI_PAGE_INVALID;
}

static bool zpci_is_table(uint32_t level, uint64_t value)
{
	bool frame = level <= 2 && (value & ZPCI_FRAME);

	return level && !(value & ZPCI_INVALID) && !frame;
}

static uint64_t zpci_table(uint32_t level, uint64_t gpa)
{
	return gpa | zpci_type(level) | (level > 1 ? ZPCI_LENGTH : 0);
}

static uint64_t zpci_leaf(uint32_t level, uint64_t gpa, uint32_t rights)
{
	uint64_t value = level ? zpci_table(level, gpa) | ZPCI_FRAME : gpa;

	return rights & KVM_IOMMU_WRITE ? value : value | ZPCI_PROTECT;
}

static uint64_t zpci_protect(uint64_t value)
{
	return value | ZPCI_PROTECT;
}

static uint64_t zpci_table_gpa(uint32_t level, uint64_t value)
{
	return value & ~(level > 1 ? 0x3fffull : 0x7ffull);
}

static uint64_t zpci_iota(uint32_t levels, uint64_t root)
{
	return root | ZPCI_IOTA_T | (uint64_t)(levels - 2) << ZPCI_IOTA_DT_SHIFT;
}

const struct ioat_format ioat_zpci = {
	.id = KVM_IOMMU_FORMAT_ZPCI,
	.big_endian = true,
	.page_bits = 8,
	.table_bits = 11,
	.absent = zpci_absent,
	.is_table = zpci_is_table,
	.table = zpci_table,
	.leaf = zpci_leaf,
	.protect = zpci_protect,
	.table_gpa = zpci_table_gpa,
	.iota = zpci_iota,
};
