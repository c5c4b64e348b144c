/* SPDX-License-Identifier: GPL-2.0-only */
/* What tables.c needs to know of a format. Private to the library. */
#ifndef KIOMMU_SELFTEST_TABLES_FORMAT_H
#define KIOMMU_SELFTEST_TABLES_FORMAT_H

#include <stdbool.h>
#include <stdint.h>

#include "tables.h"

struct ioat_format {
	uint32_t id;		/* enum kvm_iommu_format */
	bool big_endian;
	uint8_t page_bits;	/* index bits of the table of level 0 */
	uint8_t table_bits;	/* index bits of each table above */
	uint64_t (*absent)(uint32_t level);
	bool (*is_table)(uint32_t level, uint64_t value);
	uint64_t (*table)(uint32_t level, uint64_t gpa);
	uint64_t (*leaf)(uint32_t level, uint64_t gpa, uint32_t rights);
	uint64_t (*protect)(uint64_t value);
	uint64_t (*table_gpa)(uint32_t level, uint64_t value);
	uint64_t (*iota)(uint32_t levels, uint64_t root);
};

extern const struct ioat_format ioat_zpci;
extern const struct ioat_format ioat_vtd_ss;
extern const struct ioat_format ioat_x86_fs;

#endif
