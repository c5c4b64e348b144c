// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a real device reaches: guest code writes I/O tables and drives the
 * device's DMA through them. With tables of each format.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "kvm_test_harness.h"
#include "kvm_util.h"

#include "kiommu_util.h"

#define ZPCI KVM_IOMMU_FORMAT_ZPCI
#define VTD KVM_IOMMU_FORMAT_VTD_SS
#define PAGE KIOMMU_PAGE
#define IOVA (KIOMMU_IOVA_BASE + 0x123400000ull) /* above 4G */
#define BYTES 192ull
#define BUFFER_PAGES 1024ull

FIXTURE(dma) {
	struct kiommu k;
	int fd;
	struct ioat *t;
	char *mem; /* BUFFER_PAGES, aligned to 4M */
	uint64_t gpa;
};

FIXTURE_VARIANT(dma) {
	uint32_t format;
	uint32_t levels;
};

FIXTURE_VARIANT_ADD(dma, zpci) { .format = ZPCI, .levels = 3 };
FIXTURE_VARIANT_ADD(dma, vtd) { .format = VTD, .levels = 3 };

FIXTURE_SETUP(dma)
{
	struct kiommu_area *area;

	kiommu_setup(&self->k, VFIO_KVM_IOMMU);
	area = self->k.vm.area;
	self->fd = self->k.vfio.fd;
	self->mem = kiommu_alloc(area, BUFFER_PAGES * PAGE, 2 * KIOMMU_2M);
	self->gpa = kiommu_gpa(area, self->mem);
	self->t = ioat_new(area, variant->format, variant->levels);
	ASSERT_EQ(0, kiommu_register_tables(self->fd, self->t));
}

FIXTURE_TEARDOWN(dma)
{
	kiommu_teardown(&self->k);
	EXPECT_EQ(self->k.locked_vm, kiommu_locked_vm());
}

#define GUEST(...) kiommu_guest_call(&self->k.vm, __VA_ARGS__)
#define LOAD(_iova) GUEST(kiommu_dma_load, self->k.dma[0], _iova, 0, BYTES)
#define STORE(_iova) GUEST(kiommu_dma_store, self->k.dma[0], _iova, 0, BYTES)
#define COPY(_to, _from) \
	GUEST(kiommu_dma_copy, self->k.dma[0], _to, _from, BYTES)
#define REFRESH(_iova, _pages) \
	kiommu_refresh(self->fd, _iova, (_pages) * PAGE, NULL)

/* Page @i of the buffer holds the pattern @seed, as the test sees it. */
#define HOLDS(_i, _seed) \
	(kiommu_count_equal(self->mem + (_i) * PAGE, BYTES, _seed) == BYTES)

TEST_F_TIMEOUT(dma, scattered_and_contiguous_pages, 120)
{
	static const uint64_t at[] = { 700, 3, 511, 512, 4 };

	for (uint64_t i = 0; i < ARRAY_SIZE(at); i++) {
		GUEST(ioat_map, self->t, IOVA + i * PAGE, self->gpa + at[i] * PAGE, 0,
		      IOAT_RW);
		GUEST(kiommu_fill, self->mem + at[i] * PAGE, PAGE, 10 + i);
	}
	GUEST(ioat_map_pages, self->t, IOVA + 16 * PAGE, self->gpa + 100 * PAGE, 8,
	      IOAT_RW);
	ASSERT_EQ(0, REFRESH(IOVA, 64));
	/* Each scattered page goes to one of those in a row. */
	for (uint64_t i = 0; i < ARRAY_SIZE(at); i++) {
		ASSERT_EQ(0, COPY(IOVA + (17 + i) * PAGE, IOVA + i * PAGE));
		EXPECT_TRUE(HOLDS(101 + i, 10 + i));
	}
	/* A transfer across the end of a page, into one that is elsewhere. */
	ASSERT_EQ(0, LOAD(IOVA + PAGE - 100));
	ASSERT_EQ(0, STORE(IOVA + 16 * PAGE));
	kiommu_fill(self->mem, PAGE, 10);
	EXPECT_EQ(0, memcmp(self->mem + PAGE - 100, self->mem + 100 * PAGE, 100));
	EXPECT_EQ(0, memcmp(self->mem + 3 * PAGE, self->mem + 100 * PAGE + 100,
			    BYTES - 100));
}

/*
 * A page that the guest lets the device only write is mapped like that. If the
 * host cannot express it, the device can read that page, but no other one
 * (design.md).
 */
TEST_F_TIMEOUT(dma, write_only_page, 120)
{
	/* Pages of zPCI tables can always be read. */
	const bool readable = variant->format == ZPCI;
	struct kvm_iommu_translate answer;

	for (int i = 0; i < 4; i++)
		GUEST(kiommu_fill, self->mem + i * PAGE, PAGE, 1 + i);
	GUEST(ioat_map, self->t, IOVA, self->gpa, 0, KVM_IOMMU_WRITE);
	GUEST(ioat_map, self->t, IOVA + PAGE, self->gpa + PAGE, 0, IOAT_RW);
	GUEST(ioat_map, self->t, IOVA + 2 * PAGE, self->gpa + 2 * PAGE, 0, IOAT_RW);
	ASSERT_EQ(0, REFRESH(IOVA, 4));
	ASSERT_EQ(0, kiommu_translate(self->fd, IOVA, &answer));
	EXPECT_EQ(readable ? IOAT_RW : KVM_IOMMU_WRITE, answer.rights);
	EXPECT_EQ(answer.rights, answer.shadow_rights);
	/* What the device reads there, it writes to the next page. */
	ASSERT_EQ(0, LOAD(IOVA + 2 * PAGE));
	ASSERT_EQ(0, LOAD(IOVA));
	ASSERT_EQ(0, STORE(IOVA + PAGE));
	EXPECT_EQ(readable || !kiommu_host_has(KIOMMU_WRITE_ONLY), HOLDS(1, 1));
	/* The page can be written, and its neighbours do not change. */
	ASSERT_EQ(0, COPY(IOVA, IOVA + 2 * PAGE));
	EXPECT_TRUE(HOLDS(0, 3));
	EXPECT_TRUE(HOLDS(2, 3));
	EXPECT_TRUE(HOLDS(3, 4));
	/* Once it is unmapped, it cannot be read, on any host. */
	GUEST(ioat_unmap, self->t, IOVA, 0);
	ASSERT_EQ(0, REFRESH(IOVA, 1));
	GUEST(kiommu_fill, self->mem, PAGE, 5);
	ASSERT_EQ(0, LOAD(IOVA + 2 * PAGE));
	ASSERT_EQ(0, LOAD(IOVA));
	ASSERT_EQ(0, STORE(IOVA + PAGE));
	EXPECT_FALSE(HOLDS(1, 5));
}

/* A right to write to protected memory is not turned into a right to read. */
TEST_F_TIMEOUT(dma, write_only_page_of_a_read_only_slot, 120)
{
	const bool readable = variant->format == ZPCI;
	struct kvm_iommu_refresh result;
	char *mem;

	mem = kiommu_vm_add_memory(&self->k.vm, KIOMMU_FREE_SLOT, KIOMMU_FREE_GPA, 1,
				   KVM_MEM_READONLY);
	kiommu_fill(mem, PAGE, 7);
	GUEST(kiommu_fill, self->mem, PAGE, 1);
	GUEST(ioat_map, self->t, IOVA, KIOMMU_FREE_GPA, 0, KVM_IOMMU_WRITE);
	GUEST(ioat_map, self->t, IOVA + PAGE, self->gpa, 0, IOAT_RW);
	EXPECT_EQ(readable ? 0 : -EIO,
		  kiommu_refresh(self->fd, IOVA, PAGE, &result));
	EXPECT_EQ(readable ? KVM_IOMMU_STATUS_OK : KVM_IOMMU_STATUS_READ_ONLY,
		  result.status);
	ASSERT_EQ(0, REFRESH(IOVA + PAGE, 1));
	ASSERT_EQ(0, LOAD(IOVA));
	ASSERT_EQ(0, STORE(IOVA + PAGE));
	EXPECT_EQ(readable, HOLDS(0, 7));
	ASSERT_EQ(0, COPY(IOVA, IOVA + PAGE));
	EXPECT_EQ(PAGE, kiommu_count_equal(mem, PAGE, 7));
	kiommu_vm_del_memory(&self->k.vm, KIOMMU_FREE_SLOT, mem, 1);
}

/* v4, defect 9: the device must not write where the guest said read-only. */
TEST_F_TIMEOUT(dma, read_only_page_refuses_writes, 120)
{
	GUEST(kiommu_fill, self->mem, PAGE, 1);
	GUEST(kiommu_fill, self->mem + PAGE, PAGE, 2);
	GUEST(ioat_map, self->t, IOVA, self->gpa, 0, KVM_IOMMU_READ);
	GUEST(ioat_map, self->t, IOVA + PAGE, self->gpa + PAGE, 0, IOAT_RW);
	ASSERT_EQ(0, REFRESH(IOVA, 2));
	ASSERT_EQ(0, LOAD(IOVA + PAGE));
	ASSERT_EQ(0, STORE(IOVA));
	EXPECT_EQ(PAGE, kiommu_count_equal(self->mem, PAGE, 1));
	/* The page can be read. */
	ASSERT_EQ(0, LOAD(IOVA));
	ASSERT_EQ(0, STORE(IOVA + PAGE));
	EXPECT_TRUE(HOLDS(1, 1));
	/* Protecting the table above affects the other page, too. */
	GUEST(ioat_protect, self->t, IOVA, 1);
	GUEST(kiommu_fill, self->mem + PAGE, PAGE, 2);
	ASSERT_EQ(0, REFRESH(IOVA, 2));
	ASSERT_EQ(0, STORE(IOVA + PAGE));
	EXPECT_TRUE(HOLDS(1, 2));
}

/* Data loaded from a blocked IOVA is not what memory holds. */
#define EXPECT_BLOCKED(_iova, _i) do {					\
	GUEST(kiommu_fill, self->mem + (_i) * PAGE, PAGE, 33);		\
	GUEST(kiommu_fill, self->mem + 900 * PAGE, PAGE, 44);		\
	ASSERT_EQ(0, LOAD(IOVA + 900 * PAGE));				\
	ASSERT_EQ(0, STORE(_iova));					\
	EXPECT_TRUE(HOLDS(_i, 33));					\
	ASSERT_EQ(0, LOAD(_iova));					\
	ASSERT_EQ(0, STORE(IOVA + 900 * PAGE));				\
	EXPECT_GT(BYTES / 2, kiommu_count_equal(self->mem + 900 * PAGE,	\
						BYTES, 33));		\
} while (0)

/* Page 900 stays mapped for EXPECT_BLOCKED. */
#define MAP_WITNESS()							\
	GUEST(ioat_map, self->t, IOVA + 900 * PAGE,			\
	      self->gpa + 900 * PAGE, 0, IOAT_RW)

TEST_F_TIMEOUT(dma, blocked_unless_refreshed, 120)
{
	MAP_WITNESS();
	GUEST(ioat_map, self->t, IOVA, self->gpa, 0, IOAT_RW);
	ASSERT_EQ(0, REFRESH(IOVA + 900 * PAGE, 1));
	/* Never refreshed, although the tables map it. */
	EXPECT_BLOCKED(IOVA, 0);
	ASSERT_EQ(0, REFRESH(IOVA, 1));
	ASSERT_EQ(0, STORE(IOVA));
	EXPECT_TRUE(!HOLDS(0, 33));
	/* Unmapped by the guest. */
	GUEST(ioat_unmap, self->t, IOVA, 0);
	ASSERT_EQ(0, REFRESH(IOVA, 1));
	EXPECT_BLOCKED(IOVA, 0);
	/* v4, defect 2: an upper-level entry cleared. */
	GUEST(ioat_map, self->t, IOVA, self->gpa, 0, IOAT_RW);
	ASSERT_EQ(0, REFRESH(IOVA, 1024));
	ASSERT_EQ(0, STORE(IOVA));
	EXPECT_TRUE(!HOLDS(0, 33));
	GUEST(ioat_unmap, self->t, IOVA, 1);
	ASSERT_EQ(0, REFRESH(IOVA, 16));
	EXPECT_BLOCKED(IOVA, 0);
}

/*
 * v4, defects 5 and 17: old translations stayed in the IOTLB, and hosts in
 * caching mode were not told of new ones.
 */
TEST_F_TIMEOUT(dma, remapped_page_is_the_new_one, 120)
{
	MAP_WITNESS();
	for (uint64_t i = 0; i < 4; i++) {
		GUEST(kiommu_fill, self->mem + i * PAGE, PAGE, 20 + i);
		GUEST(ioat_map, self->t, IOVA, self->gpa + i * PAGE, 0, IOAT_RW);
		ASSERT_EQ(0, REFRESH(IOVA, 1024));
		ASSERT_EQ(0, LOAD(IOVA));
		ASSERT_EQ(0, STORE(IOVA + 900 * PAGE));
		EXPECT_TRUE(HOLDS(900, 20 + i));
	}
	/* Blocked, then mapped: the block is not remembered. */
	ASSERT_EQ(0, LOAD(IOVA + 8 * PAGE));
	GUEST(ioat_map, self->t, IOVA + 8 * PAGE, self->gpa, 0, IOAT_RW);
	ASSERT_EQ(0, REFRESH(IOVA + 8 * PAGE, 1));
	ASSERT_EQ(0, LOAD(IOVA + 8 * PAGE));
	ASSERT_EQ(0, STORE(IOVA + 900 * PAGE));
	EXPECT_TRUE(HOLDS(900, 20));
}

TEST_F_TIMEOUT(dma, large_frame_taken_apart, 120)
{
	uint64_t span = ioat_span(self->t, 1);
	uint64_t base = IOVA & ~(span - 1);
	uint64_t pages = span / PAGE, size = PAGE;

	MAP_WITNESS();
	GUEST(ioat_map, self->t, base + 8 * span, self->gpa, 1, IOAT_RW);
	ASSERT_EQ(0, REFRESH(base, 16 * pages));
	base += 8 * span;
	GUEST(kiommu_fill, self->mem, span, 1);
	/* All of it can be used. */
	ASSERT_EQ(0, COPY(base + span - PAGE, base));
	EXPECT_TRUE(HOLDS(pages - 1, 1));
	/* One page of it is unmapped; those around it stay usable. */
	ASSERT_EQ(0, kiommu_unmap_dma(self->fd, base + 7 * PAGE, &size, 0));
	EXPECT_EQ(PAGE, size);
	EXPECT_BLOCKED(base + 7 * PAGE, 7);
	kiommu_fill(self->mem + 6 * PAGE, PAGE, 3);
	ASSERT_EQ(0, COPY(base + 8 * PAGE, base + 6 * PAGE));
	EXPECT_TRUE(HOLDS(8, 3));
	ASSERT_EQ(0, COPY(base + span - PAGE, base + 6 * PAGE));
	EXPECT_TRUE(HOLDS(pages - 1, 3));
	/* And it is mapped again. */
	ASSERT_EQ(0, REFRESH(base, pages));
	ASSERT_EQ(0, COPY(base + 7 * PAGE, base + 6 * PAGE));
	EXPECT_TRUE(HOLDS(7, 3));
	/* The guest replaces the frame by a table that maps half of it. */
	GUEST(ioat_unmap, self->t, base, 1);
	GUEST(ioat_map_pages, self->t, base, self->gpa, pages / 2, IOAT_RW);
	ASSERT_EQ(0, REFRESH(base, pages));
	EXPECT_BLOCKED(base + pages / 2 * PAGE, pages / 2);
	EXPECT_EQ(pages / 2 + 1, kiommu_mapped_pages(self->fd));
}

/*
 * A run of pages that no power of two aligns, which a host may keep as one
 * call: it must be neither lost nor kept as a whole.
 */
TEST_F_TIMEOUT(dma, run_taken_apart, 120)
{
	uint64_t size = PAGE, at = IOVA + 3 * PAGE;

	MAP_WITNESS();
	GUEST(ioat_map_pages, self->t, at, self->gpa + 3 * PAGE, 11, IOAT_RW);
	ASSERT_EQ(0, REFRESH(IOVA, 1024));
	/*
	 * The VMM unmaps a page in the middle, the guest one at the end. Pages
	 * 4 to 11 are two blocks of the host's page sizes, but one call of its
	 * driver.
	 */
	ASSERT_EQ(0, kiommu_unmap_dma(self->fd, at + 2 * PAGE, &size, 0));
	EXPECT_EQ(PAGE, size);
	EXPECT_BLOCKED(at + 2 * PAGE, 5);
	GUEST(ioat_unmap, self->t, at + 10 * PAGE, 0);
	ASSERT_EQ(0, REFRESH(at + 10 * PAGE, 1));
	EXPECT_BLOCKED(at + 10 * PAGE, 13);
	EXPECT_EQ(9 + 1, kiommu_mapped_pages(self->fd)); /* and the witness */
	kiommu_fill(self->mem + 3 * PAGE, PAGE, 5);
	ASSERT_EQ(0, COPY(at + 6 * PAGE, at));
	ASSERT_EQ(0, COPY(at + 9 * PAGE, at + 6 * PAGE));
	EXPECT_TRUE(HOLDS(12, 5));
	ASSERT_EQ(0, REFRESH(at, 11));
	ASSERT_EQ(0, COPY(at + 2 * PAGE, at));
	EXPECT_TRUE(HOLDS(5, 5));
}

/* Firmware and bypass: no tables. */
TEST_F_TIMEOUT(dma, identity, 120)
{
	uint64_t offset = variant->format == ZPCI ? 0 : 1ull << 32;
	uint64_t iova = self->gpa + offset;

	ASSERT_EQ(0, kiommu_unregister(self->fd));
	ASSERT_EQ(0, kiommu_register_identity(self->fd, offset));
	GUEST(kiommu_fill, self->mem, PAGE, 1);
	ASSERT_EQ(0, REFRESH(iova, BUFFER_PAGES));
	ASSERT_EQ(0, COPY(iova + 1000 * PAGE, iova));
	EXPECT_TRUE(HOLDS(1000, 1));
}

/* Unset, stopped, closed: the device reaches nothing. v4, defect 5. */
TEST_F_TIMEOUT(dma, nothing_after_the_anchor, 120)
{
	GUEST(kiommu_fill, self->mem, PAGE, 1);
	GUEST(kiommu_fill, self->mem + PAGE, PAGE, 2);
	GUEST(ioat_map_pages, self->t, IOVA, self->gpa, 2, IOAT_RW);
	ASSERT_EQ(0, REFRESH(IOVA, 2));
	ASSERT_EQ(0, LOAD(IOVA));
	ASSERT_EQ(0, kiommu_unregister(self->fd));
	ASSERT_EQ(0, STORE(IOVA + PAGE));
	EXPECT_TRUE(HOLDS(1, 2));
	ASSERT_EQ(0, kiommu_register_tables(self->fd, self->t));
	ASSERT_EQ(0, STORE(IOVA + PAGE));
	EXPECT_TRUE(HOLDS(1, 2));
	ASSERT_EQ(0, REFRESH(IOVA, 2));
	ASSERT_EQ(0, kiommu_stop(self->fd));
	ASSERT_EQ(0, STORE(IOVA + PAGE));
	EXPECT_TRUE(HOLDS(1, 2));
	ASSERT_EQ(0, kiommu_start(self->fd, self->k.vm.fd));
	ASSERT_EQ(0, kiommu_register_tables(self->fd, self->t));
	ASSERT_EQ(0, REFRESH(IOVA, 2));
	ASSERT_EQ(0, LOAD(IOVA));
	ASSERT_EQ(0, STORE(IOVA + PAGE));
	EXPECT_TRUE(HOLDS(1, 1));
}

TEST_HARNESS_MAIN
