/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * I/O translation tables as a guest writes them, in guest memory.
 *
 * The same code runs in the guest (kiommu_guest_call(vm, ioat_map, ...)) and
 * in the test, which can also tamper with single entries: ioat_entry() finds an
 * entry, ioat_write() stores any value there.
 *
 * Levels count from 0, the table that holds 4K pages, to levels - 1, the top:
 *
 *   level      0      1         2             3              4
 *   zPCI       page   segment   region-third  region-second  region-first
 *   VT-d SS    4K     2M        1G            512G           256T
 *
 * A leaf at level 1 or 2 is a large frame: 1M, 2G (zPCI); 2M, 1G (VT-d).
 */
#ifndef KIOMMU_SELFTEST_TABLES_H
#define KIOMMU_SELFTEST_TABLES_H

#include <stdbool.h>
#include <stdint.h>

#include <linux/kvm_iommu.h>

#include "area.h"

#define IOAT_RW (KVM_IOMMU_READ | KVM_IOMMU_WRITE)

/* Bits of zPCI entries and of the IOTA. */
#define ZPCI_IOTA_T 0x800ull
#define ZPCI_IOTA_DT_SHIFT 2
#define ZPCI_PAGE_INVALID 0x400ull
#define ZPCI_FRAME 0x400ull	/* FC, levels 1 and 2 */
#define ZPCI_PROTECT 0x200ull	/* any level */
#define ZPCI_OFFSET 0x0c0ull	/* levels 2 and up */
#define ZPCI_INVALID 0x020ull	/* levels 1 and up */
#define ZPCI_TYPE 0x00cull	/* levels 1 and up: (level - 1) << 2 */
#define ZPCI_LENGTH 0x003ull	/* levels 2 and up */

/* Bits of VT-d second-stage entries. */
#define VTD_READ 0x001ull
#define VTD_WRITE 0x002ull
#define VTD_LARGE 0x080ull	/* PS, levels 1 and 2 */
#define VTD_RESERVED_HIGH (1ull << 51)

/* Bits of entries of x86's first stage. */
#define X86_PRESENT 0x001ull
#define X86_WRITE 0x002ull
#define X86_USER 0x004ull
#define X86_LARGE 0x080ull	/* PS, levels 1 and 2 */

struct ioat_format;

struct ioat {
	const struct ioat_format *format;
	struct kiommu_area *area;
	uint32_t levels;
	uint64_t root;	/* GPA of the top table */
};

/*
 * Tables without a mapping. @format: KVM_IOMMU_FORMAT_ZPCI, _VTD_SS or _X86_FS.
 * @levels: zPCI 2 (segment table) to 5 (region-first), VT-d 3 to 5.
 * Allocate @t in the area if the guest is to use it.
 */
void ioat_init(struct ioat *t, uint32_t format, uint32_t levels,
	       struct kiommu_area *area);

/* An ioat in the area, initialised. */
struct ioat *ioat_new(struct kiommu_area *area, uint32_t format, uint32_t levels);

/* The arguments of KVM_IOMMU_REGISTER_IOAT for @t. */
uint32_t ioat_format_id(const struct ioat *t);
uint64_t ioat_iota(const struct ioat *t);
struct kvm_iommu_register_ioat ioat_anchor(const struct ioat *t);

/* Bytes that an entry of @level spans. */
uint64_t ioat_span(const struct ioat *t, uint32_t level);

/*
 * Maps one page or frame: a leaf of @level. @rights: KVM_IOMMU_READ and
 * KVM_IOMMU_WRITE. zPCI pages are always readable.
 */
void ioat_map(struct ioat *t, uint64_t iova, uint64_t gpa, uint32_t level,
	      uint32_t rights);

/* Maps @count pages of 4K, contiguous in both spaces. */
void ioat_map_pages(struct ioat *t, uint64_t iova, uint64_t gpa,
		    uint64_t count, uint32_t rights);

/* Invalidates the entry of @level at @iova: a page, or all that it spans. */
void ioat_unmap(struct ioat *t, uint64_t iova, uint32_t level);
void ioat_unmap_pages(struct ioat *t, uint64_t iova, uint64_t count);

/* Removes the right to write from the entry of @level, leaf or table. */
void ioat_protect(struct ioat *t, uint64_t iova, uint32_t level);

/*
 * Finds the entry of @level for @iova. Tables that are missing above it are
 * created if @create is set; otherwise NULL is returned.
 */
uint64_t *ioat_entry(struct ioat *t, uint64_t iova, uint32_t level, bool create);

/* Entries as numbers, whatever the byte order of the format. */
uint64_t ioat_read(const struct ioat *t, const uint64_t *entry);
void ioat_write(struct ioat *t, uint64_t *entry, uint64_t value);

/* Values of well-formed entries, for tests that store them elsewhere. */
uint64_t ioat_table_value(const struct ioat *t, uint32_t level, uint64_t gpa);
uint64_t ioat_leaf_value(const struct ioat *t, uint32_t level, uint64_t gpa,
			 uint32_t rights);

#endif
