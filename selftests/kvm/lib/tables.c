// SPDX-License-Identifier: GPL-2.0-only
/*
 * Builder of I/O translation tables over a description of the format; runs in
 * the test and in the guest, so it calls nothing of libc.
 */
#include <endian.h>
#include <stddef.h>

#include "tables.h"
#include "tables_format.h"

static uint32_t index_bits(const struct ioat *t, uint32_t level)
{
	return level ? t->format->table_bits : t->format->page_bits;
}

static uint32_t level_shift(const struct ioat *t, uint32_t level)
{
	if (!level)
		return 12;
	return 12 + t->format->page_bits + (level - 1) * t->format->table_bits;
}

uint64_t ioat_span(const struct ioat *t, uint32_t level)
{
	return 1ull << level_shift(t, level);
}

uint64_t ioat_read(const struct ioat *t, const uint64_t *entry)
{
	uint64_t raw = __atomic_load_n(entry, __ATOMIC_RELAXED);

	return t->format->big_endian ? be64toh(raw) : le64toh(raw);
}

void ioat_write(struct ioat *t, uint64_t *entry, uint64_t value)
{
	uint64_t raw = t->format->big_endian ? htobe64(value) : htole64(value);

	__atomic_store_n(entry, raw, __ATOMIC_RELEASE);
}

static uint64_t new_table(struct ioat *t, uint32_t level)
{
	uint64_t count = 1ull << index_bits(t, level);
	uint64_t bytes = count * sizeof(uint64_t);
	uint64_t *table = kiommu_alloc(t->area, bytes, bytes);

	for (uint64_t i = 0; i < count; i++)
		ioat_write(t, &table[i], t->format->absent(level));
	return kiommu_gpa(t->area, table);
}

static const struct ioat_format *find_format(uint32_t id)
{
	switch (id) {
	case KVM_IOMMU_FORMAT_ZPCI:
		return &ioat_zpci;
	case KVM_IOMMU_FORMAT_X86_FS:
		return &ioat_x86_fs;
	default:
		return &ioat_vtd_ss;
	}
}

void ioat_init(struct ioat *t, uint32_t format, uint32_t levels,
	       struct kiommu_area *area)
{
	t->format = find_format(format);
	t->area = area;
	t->levels = levels;
	t->root = new_table(t, levels - 1);
}

struct ioat *ioat_new(struct kiommu_area *area, uint32_t format, uint32_t levels)
{
	struct ioat *t = kiommu_alloc(area, sizeof(*t), 64);

	ioat_init(t, format, levels, area);
	return t;
}

uint32_t ioat_format_id(const struct ioat *t)
{
	return t->format->id;
}

uint64_t ioat_iota(const struct ioat *t)
{
	return t->format->iota(t->levels, t->root);
}

struct kvm_iommu_register_ioat ioat_anchor(const struct ioat *t)
{
	bool zpci = t->format->id == KVM_IOMMU_FORMAT_ZPCI;

	return (struct kvm_iommu_register_ioat){
		.size = sizeof(struct kvm_iommu_register_ioat),
		.format = t->format->id,
		.levels = zpci ? 0 : t->levels,
		.iota = ioat_iota(t),
		.rights = KVM_IOMMU_READ | KVM_IOMMU_WRITE,
	};
}

uint64_t *ioat_entry(struct ioat *t, uint64_t iova, uint32_t level, bool create)
{
	uint64_t table = t->root;

	for (uint32_t at = t->levels - 1;; at--) {
		uint64_t mask = (1ull << index_bits(t, at)) - 1;
		uint64_t index = (iova >> level_shift(t, at)) & mask;
		uint64_t *entry = kiommu_ptr(t->area, table);

		if (!entry)
			return NULL;
		entry += index;
		if (at == level)
			return entry;
		if (!t->format->is_table(at, ioat_read(t, entry))) {
			if (!create)
				return NULL;
			table = new_table(t, at - 1);
			ioat_write(t, entry, t->format->table(at, table));
		}
		table = t->format->table_gpa(at, ioat_read(t, entry));
	}
}

void ioat_map(struct ioat *t, uint64_t iova, uint64_t gpa, uint32_t level,
	      uint32_t rights)
{
	uint64_t *entry = ioat_entry(t, iova, level, true);

	ioat_write(t, entry, t->format->leaf(level, gpa, rights));
}

void ioat_map_pages(struct ioat *t, uint64_t iova, uint64_t gpa,
		    uint64_t count, uint32_t rights)
{
	for (uint64_t i = 0; i < count; i++)
		ioat_map(t, iova + i * KIOMMU_PAGE, gpa + i * KIOMMU_PAGE, 0,
			 rights);
}

void ioat_unmap(struct ioat *t, uint64_t iova, uint32_t level)
{
	uint64_t *entry = ioat_entry(t, iova, level, false);

	if (entry)
		ioat_write(t, entry, t->format->absent(level));
}

void ioat_unmap_pages(struct ioat *t, uint64_t iova, uint64_t count)
{
	for (uint64_t i = 0; i < count; i++)
		ioat_unmap(t, iova + i * KIOMMU_PAGE, 0);
}

void ioat_protect(struct ioat *t, uint64_t iova, uint32_t level)
{
	uint64_t *entry = ioat_entry(t, iova, level, false);

	if (entry)
		ioat_write(t, entry, t->format->protect(ioat_read(t, entry)));
}

uint64_t ioat_table_value(const struct ioat *t, uint32_t level, uint64_t gpa)
{
	return t->format->table(level, gpa);
}

uint64_t ioat_leaf_value(const struct ioat *t, uint32_t level, uint64_t gpa,
			 uint32_t rights)
{
	return t->format->leaf(level, gpa, rights);
}
