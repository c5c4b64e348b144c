// SPDX-License-Identifier: GPL-2.0-only
/*
 * REFRESH and TRANSLATE on well-formed tables: exactly the range, all levels,
 * what the guest unmaps, rights, large frames; UNMAP_DMA. With tables of each
 * format.
 */
#include <errno.h>

#include "kvm_test_harness.h"
#include "kvm_util.h"

#include "kiommu_util.h"

#define ZPCI KVM_IOMMU_FORMAT_ZPCI
#define VTD KVM_IOMMU_FORMAT_VTD_SS
#define READ KVM_IOMMU_READ
#define PAGE KIOMMU_PAGE
#define IOVA (KIOMMU_IOVA_BASE + 0x40000000ull)
#define BUFFER_PAGES 2048ull

FIXTURE(refresh) {
	struct kiommu k;
	int fd;
	struct ioat *t;
	uint64_t gpa; /* that of BUFFER_PAGES pages, aligned to 4M */
};

FIXTURE_VARIANT(refresh) {
	uint32_t format;
	uint32_t levels;
};

FIXTURE_VARIANT_ADD(refresh, zpci) { .format = ZPCI, .levels = 3 };
FIXTURE_VARIANT_ADD(refresh, vtd) { .format = VTD, .levels = 4 };

FIXTURE_SETUP(refresh)
{
	struct kiommu_area *area;

	kiommu_setup(&self->k, VFIO_KVM_IOMMU);
	area = self->k.vm.area;
	self->fd = self->k.vfio.fd;
	self->gpa = kiommu_gpa(area, kiommu_alloc(area, BUFFER_PAGES * PAGE,
						  2 * KIOMMU_2M));
	self->t = ioat_new(area, variant->format, variant->levels);
	ASSERT_EQ(0, kiommu_register_tables(self->fd, self->t));
}

FIXTURE_TEARDOWN(refresh)
{
	ASSERT_EQ(0, kiommu_unregister(self->fd));
	EXPECT_EQ(self->k.locked_vm, kiommu_locked_vm());
	kiommu_teardown(&self->k);
}

/* REFRESH succeeds; it has mapped @_mapped pages and unmapped @_unmapped. */
#define EXPECT_REFRESH(_iova, _pages, _mapped, _unmapped) do {		\
	uint64_t _from = (_iova), _bytes = (_pages) * PAGE;		\
	struct kvm_iommu_refresh r;					\
									\
	EXPECT_EQ(0, kiommu_refresh(self->fd, _from, _bytes, &r));	\
	EXPECT_EQ(KVM_IOMMU_STATUS_OK, r.status);			\
	EXPECT_EQ(_from + _bytes, r.stopped_iova);			\
	EXPECT_EQ(_mapped, r.mapped);					\
	EXPECT_EQ(_unmapped, r.unmapped);				\
} while (0)

/* @_mapped pages are mapped, for which @_pinned pages of memory are pinned. */
#define EXPECT_HELD(_mapped, _pinned) do {				\
	EXPECT_EQ(_mapped, kiommu_mapped_pages(self->fd));		\
	EXPECT_EQ(_pinned, kiommu_pinned_pages(self->fd));		\
	EXPECT_EQ(self->k.locked_vm + (_pinned) * PAGE, kiommu_locked_vm()); \
} while (0)

/* 2M of contiguous memory stay pinned while one page of them is mapped. */
#define EXPECT_MAPPED(_mapped, _most_pinned) do {			\
	uint64_t pinned = kiommu_pinned_pages(self->fd);		\
	EXPECT_EQ(_mapped, kiommu_mapped_pages(self->fd));		\
	EXPECT_LE(_mapped, pinned);					\
	EXPECT_GE(_most_pinned, pinned);				\
	EXPECT_EQ(self->k.locked_vm + pinned * PAGE, kiommu_locked_vm()); \
} while (0)

TEST_F_TIMEOUT(refresh, bad_ranges, 120)
{
	struct kvm_iommu_refresh sentinel = {
		.size = sizeof(sentinel), .iova = IOVA + 1, .length = PAGE,
		.stopped_iova = 11, .mapped = 12, .unmapped = 13, .status = 14,
	};
	struct kvm_iommu_info info;
	int fd = self->fd;

	ioat_map_pages(self->t, IOVA, self->gpa, 4, IOAT_RW);
	EXPECT_REFRESH(IOVA, 4, 4, 0);
	EXPECT_EQ(-EINVAL, kiommu_ioctl(fd, KVM_IOMMU_REFRESH, &sentinel));
	EXPECT_EQ(0, sentinel.mapped);
	EXPECT_EQ(0, sentinel.unmapped);
	EXPECT_EQ(KVM_IOMMU_STATUS_MISALIGNED, sentinel.status);
	EXPECT_EQ(-EINVAL, kiommu_refresh(fd, IOVA + 0x800, PAGE, NULL));
	EXPECT_EQ(-EINVAL, kiommu_refresh(fd, IOVA, 0, NULL));
	EXPECT_EQ(-EINVAL, kiommu_refresh(fd, IOVA, 1, NULL));
	EXPECT_EQ(-EINVAL, kiommu_refresh(fd, IOVA, PAGE + 1, NULL));
	EXPECT_EQ(-EOVERFLOW, kiommu_refresh(fd, -PAGE, 2 * PAGE, NULL));
	EXPECT_EQ(-EOVERFLOW, kiommu_refresh(fd, IOVA, -PAGE, NULL));
	ASSERT_EQ(0, kiommu_get_info(fd, &info));
	if (info.aperture_last != ~0ull) {
		EXPECT_EQ(-EINVAL, kiommu_refresh(fd, info.aperture_last + 1, PAGE,
						  NULL));
		EXPECT_EQ(-EINVAL, kiommu_refresh(fd, info.aperture_last + 1 - PAGE,
						  2 * PAGE, NULL));
	}
	/* The end is 2^64, which is no overflow, but beyond the tables. */
	EXPECT_EQ(-EINVAL, kiommu_refresh(fd, -PAGE, PAGE, NULL));
	EXPECT_HELD(4, 4);
}

TEST_F_TIMEOUT(refresh, exactly_the_range, 120)
{
	int fd = self->fd;

	ioat_map_pages(self->t, IOVA, self->gpa, 10, IOAT_RW);
	EXPECT_REFRESH(IOVA + 3 * PAGE, 3, 3, 0);
	for (uint64_t i = 0; i < 10; i++)
		EXPECT_EQ(i >= 3 && i <= 5 ? IOAT_RW : 0,
			  kiommu_shadow_rights(fd, IOVA + i * PAGE));
	EXPECT_HELD(3, 3);
	/* Nothing is done if nothing has changed. */
	EXPECT_REFRESH(IOVA + 3 * PAGE, 3, 0, 0);
	/* Changes outside of the range are not looked at. */
	ioat_map(self->t, IOVA + 4 * PAGE, self->gpa + 20 * PAGE, 0, IOAT_RW);
	ioat_unmap(self->t, IOVA + 3 * PAGE, 0);
	EXPECT_REFRESH(IOVA + 4 * PAGE, 1, 1, 1);
	EXPECT_EQ(IOAT_RW, kiommu_shadow_rights(fd, IOVA + 3 * PAGE));
	EXPECT_HELD(3, 3);
	EXPECT_REFRESH(IOVA, 10, 7, 1);
	EXPECT_HELD(9, 9);
}

TEST_F_TIMEOUT(refresh, written_by_the_guest, 120)
{
	struct kiommu_vm *vm = &self->k.vm;

	/* Backwards, so that no two neighbours are contiguous. */
	for (uint64_t i = 0; i < 64; i++)
		kiommu_guest_call(vm, ioat_map, self->t, IOVA + i * PAGE,
				  self->gpa + (63 - i) * 3 * PAGE, 0, IOAT_RW);
	EXPECT_REFRESH(IOVA, 64, 64, 0);
	for (uint64_t i = 0; i < 64; i++) {
		struct kvm_iommu_translate answer;

		ASSERT_EQ(0, kiommu_translate(self->fd, IOVA + i * PAGE + i, &answer));
		ASSERT_EQ(self->gpa + (63 - i) * 3 * PAGE + i, answer.gpa);
		ASSERT_EQ(IOAT_RW, answer.shadow_rights);
	}
	kiommu_guest_call(vm, ioat_unmap_pages, self->t, IOVA, 32);
	EXPECT_REFRESH(IOVA, 64, 0, 32);
	EXPECT_HELD(32, 32);
}

TEST_F_TIMEOUT(refresh, translate, 120)
{
	struct kvm_iommu_translate a;
	int fd = self->fd;

	ASSERT_EQ(0, kiommu_translate(fd, IOVA, &a));
	EXPECT_EQ(KVM_IOMMU_STATUS_NOT_MAPPED, a.status);
	EXPECT_EQ(0, a.gpa | a.page_size | a.rights | a.shadow_rights);

	ioat_map(self->t, IOVA, self->gpa, 0, IOAT_RW);
	ioat_map(self->t, IOVA + PAGE, self->gpa, 0, READ);
	ASSERT_EQ(0, kiommu_translate(fd, IOVA + 0x123, &a));
	EXPECT_EQ(KVM_IOMMU_STATUS_OK, a.status);
	EXPECT_EQ(self->gpa + 0x123, a.gpa);
	EXPECT_EQ(PAGE, a.page_size);
	EXPECT_EQ(IOAT_RW, a.rights);
	EXPECT_EQ(0, a.shadow_rights); /* no refresh yet */
	ASSERT_EQ(0, kiommu_translate(fd, IOVA + PAGE, &a));
	EXPECT_EQ(READ, a.rights);
	EXPECT_HELD(0, 0); /* asking maps nothing */

	EXPECT_REFRESH(IOVA, 2, 2, 0);
	ASSERT_EQ(0, kiommu_translate(fd, IOVA + PAGE, &a));
	EXPECT_EQ(READ, a.shadow_rights);
	/* A refresh is due: tables and shadow differ. */
	ioat_unmap(self->t, IOVA, 0);
	ASSERT_EQ(0, kiommu_translate(fd, IOVA + 0xfff, &a));
	EXPECT_EQ(KVM_IOMMU_STATUS_NOT_MAPPED, a.status);
	EXPECT_EQ(0, a.rights);
	EXPECT_EQ(IOAT_RW, a.shadow_rights);
}

TEST_F_TIMEOUT(refresh, each_number_of_levels, 120)
{
	uint32_t most = 5, least = variant->format == ZPCI ? 2 : 3;
	struct kvm_iommu_translate a;
	struct kvm_iommu_info info;

	ASSERT_EQ(0, kiommu_get_info(self->fd, &info));
	for (uint32_t levels = least; levels <= most; levels++) {
		struct ioat *t = ioat_new(self->k.vm.area, variant->format, levels);
		uint64_t reach = ioat_span(t, levels - 1) <<
			(variant->format == ZPCI ? 11 : 9);
		uint64_t last = reach - 1 < info.aperture_last ?
			reach - 1 : info.aperture_last;
		uint64_t top = last + 1 - PAGE;

		TH_LOG("%u levels", levels);
		if (reach <= IOVA) {
			TH_LOG("the host maps nothing that these tables reach");
			continue;
		}
		ASSERT_EQ(0, kiommu_unregister(self->fd));
		ASSERT_EQ(0, kiommu_register_tables(self->fd, t));
		ioat_map(t, IOVA, self->gpa, 0, IOAT_RW);
		ioat_map(t, top, self->gpa + PAGE, 0, READ);
		/* Everything in one call: absent spans are skipped. */
		if (last != ~0ull)
			EXPECT_REFRESH(0, (last + 1) / PAGE, 2, 0);
		else
			EXPECT_REFRESH(PAGE, last / PAGE, 2, 0);
		ASSERT_EQ(0, kiommu_translate(self->fd, top + 1, &a));
		EXPECT_EQ(self->gpa + PAGE + 1, a.gpa);
		EXPECT_EQ(READ, a.shadow_rights);
		EXPECT_HELD(2, 2);
	}
}

/*
 * v4, defects 1 and 2: an invalid upper-level entry did not unmap what was
 * below it, and what lay beyond it was skipped.
 */
TEST_F_TIMEOUT(refresh, absent_upper_entry, 120)
{
	uint64_t span = ioat_span(self->t, 1);
	uint64_t pages = span / PAGE, before = kiommu_pins();

	ioat_map_pages(self->t, IOVA, self->gpa, 2 * pages, IOAT_RW);
	EXPECT_REFRESH(IOVA, 3 * pages, 2 * pages, 0);
	EXPECT_HELD(2 * pages, 2 * pages);
	ioat_unmap(self->t, IOVA, 1);
	ioat_map(self->t, IOVA + 2 * span, self->gpa, 0, IOAT_RW);
	/* In a part of the span, only that part is unmapped. */
	EXPECT_REFRESH(IOVA + 8 * PAGE, 8, 0, 8);
	EXPECT_MAPPED(2 * pages - 8, 2 * pages);
	EXPECT_REFRESH(IOVA, 3 * pages, 1, pages - 8);
	EXPECT_EQ(IOAT_RW, kiommu_shadow_rights(self->fd, IOVA + span));
	EXPECT_MAPPED(pages + 1, 2 * pages);
	/* The top entry goes, and with it everything. */
	ioat_unmap(self->t, IOVA, self->t->levels - 1);
	EXPECT_REFRESH(0, (4 * IOVA) / PAGE, 0, pages + 1);
	EXPECT_HELD(0, 0);
	EXPECT_EQ(before, kiommu_pins());
}

/* v4, defect 4: tables that the guest had replaced were still read. */
TEST_F_TIMEOUT(refresh, replaced_table, 120)
{
	uint64_t old, new;

	ioat_map_pages(self->t, IOVA, self->gpa, 4, IOAT_RW);
	EXPECT_REFRESH(IOVA, 8, 4, 0);
	old = ioat_read(self->t, ioat_entry(self->t, IOVA, 1, false));
	ioat_unmap(self->t, IOVA, 1);
	ioat_map_pages(self->t, IOVA + 2 * PAGE, self->gpa + 100 * PAGE, 4, IOAT_RW);
	new = ioat_read(self->t, ioat_entry(self->t, IOVA, 1, false));
	ASSERT_NE(old, new);
	EXPECT_REFRESH(IOVA, 8, 4, 4);
	EXPECT_EQ(0, kiommu_shadow_rights(self->fd, IOVA));
	EXPECT_HELD(4, 4);
	/* And back: the first table has not changed. */
	ioat_write(self->t, ioat_entry(self->t, IOVA, 1, false), old);
	EXPECT_REFRESH(IOVA, 8, 4, 4);
	EXPECT_EQ(IOAT_RW, kiommu_shadow_rights(self->fd, IOVA));
}

/* v4, defect 9: protection was ignored, and read-only became writable. */
TEST_F_TIMEOUT(refresh, protection_accumulates, 120)
{
	struct kvm_iommu_translate a;

	for (uint32_t level = 0; level < self->t->levels; level++) {
		uint64_t iova = IOVA + level * 16 * PAGE;
		uint64_t *entry;
		uint64_t value;

		ioat_map(self->t, iova, self->gpa, 0, IOAT_RW);
		EXPECT_REFRESH(iova, 1, 1, 0);
		entry = ioat_entry(self->t, iova, level, false);
		value = ioat_read(self->t, entry);
		ioat_protect(self->t, iova, level);
		ASSERT_EQ(0, kiommu_translate(self->fd, iova, &a));
		EXPECT_EQ(READ, a.rights);
		EXPECT_EQ(IOAT_RW, a.shadow_rights);
		EXPECT_REFRESH(iova, 1, 1, 1);
		EXPECT_EQ(READ, kiommu_shadow_rights(self->fd, iova));
		ioat_write(self->t, entry, value);
		EXPECT_REFRESH(iova, 1, 1, 1);
		EXPECT_EQ(IOAT_RW, kiommu_shadow_rights(self->fd, iova));
	}
}

TEST_F_TIMEOUT(refresh, page_mapped_twice_counts_once, 120)
{
	for (uint64_t i = 0; i < 5; i++)
		ioat_map(self->t, IOVA + i * 7 * PAGE, self->gpa, 0, IOAT_RW);
	ioat_map(self->t, IOVA + PAGE, self->gpa, 0, READ);
	EXPECT_REFRESH(IOVA, 64, 6, 0);
	EXPECT_HELD(6, 1);
	ioat_unmap(self->t, IOVA, 0);
	EXPECT_REFRESH(IOVA, 1, 0, 1);
	EXPECT_HELD(5, 1);
	for (uint64_t i = 1; i < 5; i++)
		ioat_unmap(self->t, IOVA + i * 7 * PAGE, 0);
	EXPECT_REFRESH(IOVA, 64, 0, 4);
	EXPECT_HELD(1, 1);
}

TEST_F_TIMEOUT(refresh, large_frames, 120)
{
	uint64_t span = ioat_span(self->t, 1);
	uint64_t pages = span / PAGE;
	struct kvm_iommu_translate a;

	ioat_map(self->t, IOVA, self->gpa, 1, IOAT_RW);
	ioat_map(self->t, IOVA + span, self->gpa + span, 1, READ);
	ASSERT_EQ(0, kiommu_translate(self->fd, IOVA + span + 0x1234, &a));
	EXPECT_EQ(self->gpa + span + 0x1234, a.gpa);
	EXPECT_EQ(span, a.page_size);
	EXPECT_EQ(READ, a.rights);
	/* A part of a frame. */
	EXPECT_REFRESH(IOVA + 3 * PAGE, 5, 5, 0);
	EXPECT_HELD(5, 5);
	EXPECT_REFRESH(IOVA, 2 * pages, 2 * pages - 5, 0);
	EXPECT_EQ(IOAT_RW, kiommu_shadow_rights(self->fd, IOVA + span - 1));
	EXPECT_EQ(READ, kiommu_shadow_rights(self->fd, IOVA + span));
	EXPECT_HELD(2 * pages, 2 * pages);
	/* The same pages by a table: nothing to do. */
	ioat_unmap(self->t, IOVA, 1);
	ioat_map_pages(self->t, IOVA, self->gpa, pages, IOAT_RW);
	EXPECT_REFRESH(IOVA, 2 * pages, 0, 0);
	ioat_unmap(self->t, IOVA + span, 1);
	EXPECT_REFRESH(IOVA, 2 * pages, 0, pages);
	EXPECT_HELD(pages, pages);
}

TEST_F_TIMEOUT(refresh, unmap_dma, 120)
{
	uint64_t size = 8 * PAGE;
	int fd = self->fd;

	ioat_map_pages(self->t, IOVA, self->gpa, 32, IOAT_RW);
	EXPECT_REFRESH(IOVA, 32, 32, 0);
	ASSERT_EQ(0, kiommu_unmap_dma(fd, IOVA + 28 * PAGE, &size, 0));
	EXPECT_EQ(4 * PAGE, size); /* what was mapped of the range */
	EXPECT_HELD(28, 28);
	EXPECT_EQ(0, kiommu_shadow_rights(fd, IOVA + 28 * PAGE));
	EXPECT_EQ(IOAT_RW, kiommu_shadow_rights(fd, IOVA + 27 * PAGE));
	size = 8 * PAGE;
	ASSERT_EQ(0, kiommu_unmap_dma(fd, IOVA + 28 * PAGE, &size, 0));
	EXPECT_EQ(0, size);
	size = IOVA;
	ASSERT_EQ(0, kiommu_unmap_dma(fd, 0, &size, 0));
	EXPECT_EQ(0, size);
	size = 0;
	ASSERT_EQ(0, kiommu_unmap_dma(fd, 0, &size, VFIO_DMA_UNMAP_FLAG_ALL));
	EXPECT_EQ(28 * PAGE, size);
	EXPECT_HELD(0, 0);
	/* The anchor is still set: the tables can be mapped again. */
	EXPECT_EQ(0, kiommu_map_dma(fd, NULL, IOVA, 32 * PAGE,
				    VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE));
	EXPECT_HELD(32, 32);
}

TEST_HARNESS_MAIN
