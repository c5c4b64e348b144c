// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a zPCI function reaches: a virtio disk, whose data and queue go through
 * tables of the zPCI format that the guest writes, in big-endian memory. Data
 * that went to the disk through some IOVAs comes back through others; what the
 * tables do not allow must be refused.
 *
 * Tests use a window of IOVAs at either end of what the host can translate
 * (which must be all that its tables reach: s390_iommu_aperture=0). The first
 * pages of the window are for data, its last one for the queue.
 */
#include <errno.h>

#include "kvm_test_harness.h"
#include "kvm_util.h"

#include "kiommu_util.h"
#include "zpci_disk.h"

#define ZPCI KVM_IOMMU_FORMAT_ZPCI
#define PAGE KIOMMU_PAGE
#define SECTOR VIRTIO_BLK_SECTOR
#define WINDOW_PAGES 4096ull
#define MEMORY_PAGES 1024ull
#define FRAME_PAGES 256ull /* of 1M */
#define RUN 32ull

FIXTURE(zpci_dma) {
	struct kiommu k;
	int fd;
	struct ioat *t;
	uint64_t iova;	/* that of the window */
	char *mem;	/* MEMORY_PAGES, aligned to 4M */
	uint64_t gpa;
	struct zpci_disk disk;
};

FIXTURE_VARIANT(zpci_dma) {
	uint32_t levels;
	bool last;	/* the window ends where the host's aperture does */
};

FIXTURE_VARIANT_ADD(zpci_dma, region_third) { .levels = 3 };
FIXTURE_VARIANT_ADD(zpci_dma, region_third_last) { .levels = 3, .last = true };
FIXTURE_VARIANT_ADD(zpci_dma, region_second_last) { .levels = 4, .last = true };
FIXTURE_VARIANT_ADD(zpci_dma, region_first) { .levels = 5 };

FIXTURE_SETUP(zpci_dma)
{
	struct kvm_iommu_info info;
	struct kiommu *k = &self->k;

	kiommu_setup(k, VFIO_KVM_IOMMU);
	self->fd = k->vfio.fd;
	self->mem = kiommu_alloc(k->vm.area, MEMORY_PAGES * PAGE, 2 * KIOMMU_2M);
	self->gpa = kiommu_gpa(k->vm.area, self->mem);
	self->t = ioat_new(k->vm.area, ZPCI, variant->levels);
	ASSERT_EQ(0, kiommu_get_info(self->fd, &info));
	self->iova = variant->last ?
		info.aperture_last + 1 - WINDOW_PAGES * PAGE : KIOMMU_IOVA_BASE;
	ASSERT_EQ(0, kiommu_register_tables(self->fd, self->t));
	ASSERT_EQ(0, zpci_disk_open(&self->disk, &k->vm, self->fd, &k->vfio.dev[0],
				    self->t,
				    self->iova + (WINDOW_PAGES - 1) * PAGE));
}

FIXTURE_TEARDOWN(zpci_dma)
{
	zpci_disk_close(&self->disk);
	kiommu_teardown(&self->k);
	EXPECT_EQ(self->k.locked_vm, kiommu_locked_vm());
}

#define GUEST(...) kiommu_guest_call(&self->k.vm, __VA_ARGS__)

/* Page @_i of the window; of memory. */
#define AT(_i) (self->iova + (_i) * PAGE)
#define MEM(_i) (self->mem + (_i) * PAGE)

#define MAP(_i, _page, _rights)						\
	GUEST(ioat_map, self->t, AT(_i), self->gpa + (_page) * PAGE, 0, _rights)
#define REFRESH(_i, _pages)						\
	kiommu_refresh(self->fd, AT(_i), (_pages) * PAGE, NULL)
#define FILL(_page, _pages, _seed)					\
	GUEST(kiommu_fill, MEM(_page), (_pages) * PAGE, _seed)
#define HOLDS(_page, _pages, _seed)					\
	(kiommu_count_equal(MEM(_page), (_pages) * PAGE, _seed) == (_pages) * PAGE)

/* From memory to the disk, from the disk to memory. */
#define SAVE(_iova, _sector, _bytes)					\
	zpci_disk_write(&self->disk, _iova, _sector, _bytes)
#define LOAD(_iova, _sector, _bytes)					\
	zpci_disk_read(&self->disk, _iova, _sector, _bytes)
#define REFUSED(_transfer) zpci_disk_refused(&self->disk, _transfer)

/* Where the pages of a run lie: in order, in reverse order, mixed. */
static uint64_t place(unsigned int order, uint64_t i)
{
	switch (order) {
	case 0:
		return i;
	case 1:
		return RUN - 1 - i;
	default:
		return i * 13 % RUN;
	}
}

TEST_F_TIMEOUT(zpci_dma, data_comes_back_through_other_iovas, 120)
{
	const uint64_t source = 1, target = RUN + 2;

	for (unsigned int order = 0; order < 9; order++) {
		const unsigned int to = order / 3, from = order % 3;
		const uint64_t in = 40 * to, out = 200 + 40 * from;

		FILL(source, RUN, order);
		FILL(target, RUN, 90);
		/* The pages around. */
		for (uint64_t i = 0; i < 3; i++)
			FILL(i * (RUN + 1), 1, 91 + i);
		for (uint64_t i = 0; i < RUN; i++) {
			MAP(in + i, source + place(to, i), IOAT_RW);
			MAP(out + i, target + place(from, i), IOAT_RW);
		}
		ASSERT_EQ(0, REFRESH(0, 400));
		ASSERT_EQ(0, SAVE(AT(in), 8, RUN * PAGE));
		ASSERT_EQ(0, LOAD(AT(out), 8, RUN * PAGE));
		for (uint64_t i = 0; i < RUN; i++)
			EXPECT_EQ(0, memcmp(MEM(source + place(to, i)),
					    MEM(target + place(from, i)), PAGE));
		EXPECT_TRUE(HOLDS(source, RUN, order));
		for (uint64_t i = 0; i < 3; i++)
			EXPECT_TRUE(HOLDS(i * (RUN + 1), 1, 91 + i));
	}
}

/* Parts of odd sizes at odd places, some of which cross pages. */
TEST_F_TIMEOUT(zpci_dma, parts_of_pages, 120)
{
	static const struct virtio_blk_part parts[] = {
		{ 10 * PAGE + 4000, 200 }, { 3 * PAGE + 77, 5000 },
		{ 20 * PAGE + 4095, 1 }, { 21 * PAGE, 3 }, { 6 * PAGE + 4090, 7 },
		{ 40 * PAGE + 2, 9000 }, { 15 * PAGE + 1, 3000 },
		{ 30 * PAGE + 100, 197 },
	};
	const uint64_t bytes = 34 * SECTOR, offset = 1234;
	struct virtio_blk_part at[ARRAY_SIZE(parts)];
	uint64_t done = 0;

	/* Neighbours in IOVA are not neighbours in memory. */
	for (uint64_t i = 0; i < 64; i++) {
		MAP(i, i * 29 % 64, IOAT_RW);
		MAP(100 + i, 100 + i, IOAT_RW);
	}
	ASSERT_EQ(0, REFRESH(0, 200));
	FILL(0, 64, 1);
	FILL(100, 64, 2);
	for (unsigned int i = 0; i < ARRAY_SIZE(parts); i++) {
		at[i] = parts[i];
		at[i].iova += self->iova;
	}
	ASSERT_EQ(0, virtio_blk_writev(&self->disk.blk, at, ARRAY_SIZE(at), 3));
	ASSERT_EQ(0, LOAD(AT(100) + offset, 3, bytes));
	for (unsigned int i = 0; i < ARRAY_SIZE(parts); i++) {
		for (uint64_t b = 0; b < parts[i].bytes; b++, done++) {
			uint64_t from = parts[i].iova + b;

			ASSERT_EQ(MEM(from / PAGE * 29 % 64)[from % PAGE],
				  MEM(100)[offset + done]);
		}
	}
	EXPECT_EQ(bytes, done);
	EXPECT_EQ(offset, kiommu_count_equal(MEM(100), offset, 2));
	/* And back into such parts of other memory. */
	for (uint64_t i = 0; i < 64; i++)
		MAP(i, 200 + i * 29 % 64, IOAT_RW);
	ASSERT_EQ(0, REFRESH(0, 64));
	ASSERT_EQ(0, virtio_blk_readv(&self->disk.blk, at, ARRAY_SIZE(at), 3));
	for (unsigned int i = 0; i < ARRAY_SIZE(parts); i++) {
		for (uint64_t b = 0; b < parts[i].bytes; b++) {
			uint64_t from = parts[i].iova + b;
			uint64_t page = from / PAGE * 29 % 64;

			ASSERT_EQ(MEM(page)[from % PAGE],
				  MEM(200 + page)[from % PAGE]);
		}
	}
}

/*
 * Sector 0 holds the pattern 7, which was read from page 1; page 2 is mapped to
 * see what the disk holds.
 */
#define WITNESS() do {							\
	MAP(1, 1, IOAT_RW);						\
	MAP(2, 2, IOAT_RW);						\
	ASSERT_EQ(0, REFRESH(1, 2));					\
	FILL(1, 1, 7);							\
	ASSERT_EQ(0, SAVE(AT(1), 0, PAGE));				\
} while (0)

/* The device cannot write the page of memory that is, or was, at AT(@_i). */
#define EXPECT_NOT_WRITTEN(_i, _page) do {				\
	FILL(_page, 1, 33);						\
	EXPECT_EQ(0, REFUSED(LOAD(AT(_i), 0, PAGE)));			\
	EXPECT_TRUE(HOLDS(_page, 1, 33));				\
} while (0)

/* Nor can it read the page: the disk stays as it was. */
#define EXPECT_BLOCKED(_i, _page) do {					\
	EXPECT_NOT_WRITTEN(_i, _page);					\
	EXPECT_EQ(0, REFUSED(SAVE(AT(_i), 0, PAGE)));			\
	FILL(2, 1, 44);							\
	ASSERT_EQ(0, LOAD(AT(2), 0, PAGE));				\
	EXPECT_TRUE(HOLDS(2, 1, 7));					\
} while (0)

/* The device can write the page, which then has what the disk holds. */
#define EXPECT_REACHED(_i, _page) do {					\
	FILL(_page, 1, 55);						\
	ASSERT_EQ(0, LOAD(AT(_i), 0, PAGE));				\
	EXPECT_TRUE(HOLDS(_page, 1, 7));				\
} while (0)

/* v4, defect 9. The protection is in the page's entry, or above. */
TEST_F_TIMEOUT(zpci_dma, protected_page_refuses_writes, 120)
{
	WITNESS();
	for (uint32_t level = 0; level < variant->levels; level++) {
		uint64_t *entry, value;

		MAP(50, 50, IOAT_RW);
		ASSERT_EQ(0, REFRESH(50, 1));
		EXPECT_REACHED(50, 50);
		entry = ioat_entry(self->t, AT(50), level, false);
		value = ioat_read(self->t, entry);
		GUEST(ioat_protect, self->t, AT(50), level);
		ASSERT_EQ(0, REFRESH(50, 1));
		EXPECT_NOT_WRITTEN(50, 50);
		/* The page can be read. */
		FILL(50, 1, 60 + level);
		ASSERT_EQ(0, SAVE(AT(50), 8, PAGE));
		ASSERT_EQ(0, LOAD(AT(2), 8, PAGE));
		EXPECT_TRUE(HOLDS(2, 1, 60 + level));
		GUEST(ioat_write, self->t, entry, value);
	}
}

/* A transfer is refused as a whole where one page of it must not be written. */
TEST_F_TIMEOUT(zpci_dma, protected_page_in_the_middle, 120)
{
	WITNESS();
	for (uint64_t i = 10; i < 15; i++)
		MAP(i, i, i == 12 ? KVM_IOMMU_READ : IOAT_RW);
	ASSERT_EQ(0, REFRESH(10, 5));
	FILL(12, 1, 33);
	EXPECT_EQ(0, REFUSED(LOAD(AT(10), 0, 5 * PAGE)));
	EXPECT_TRUE(HOLDS(12, 1, 33));
	EXPECT_REACHED(11, 11);
	EXPECT_REACHED(13, 13);
}

/* v4, defects 5 and 17. */
TEST_F_TIMEOUT(zpci_dma, remapped_page_is_the_new_one, 120)
{
	WITNESS();
	FILL(20, 1, 33);
	for (uint64_t i = 20; i < 25; i++) {
		MAP(5, i, IOAT_RW);
		ASSERT_EQ(0, REFRESH(5, 1));
		EXPECT_REACHED(5, i);
		/* The page that was mapped before keeps its contents. */
		FILL(i - 1, 1, 33);
		EXPECT_REACHED(5, i);
		EXPECT_TRUE(HOLDS(i - 1, 1, 33));
	}
}

/* v4, defect 2: the entry that goes is the page's, or one above it. */
TEST_F_TIMEOUT(zpci_dma, unmapped_page_is_blocked, 240)
{
	WITNESS();
	for (uint32_t level = 0; level < variant->levels; level++) {
		uint64_t *entry, value;

		MAP(50, 50, IOAT_RW);
		ASSERT_EQ(0, REFRESH(50, 1));
		EXPECT_REACHED(50, 50);
		entry = ioat_entry(self->t, AT(50), level, false);
		value = ioat_read(self->t, entry);
		GUEST(ioat_unmap, self->t, AT(50), level);
		ASSERT_EQ(0, REFRESH(50, 1));
		EXPECT_BLOCKED(50, 50);
		/* Back: the block is not remembered. */
		GUEST(ioat_write, self->t, entry, value);
		ASSERT_EQ(0, REFRESH(50, 1));
		EXPECT_REACHED(50, 50);
	}
}

TEST_F_TIMEOUT(zpci_dma, never_mapped, 120)
{
	WITNESS();
	/* Not in the tables; in them, but not refreshed. */
	EXPECT_BLOCKED(60, 60);
	MAP(60, 60, IOAT_RW);
	EXPECT_BLOCKED(60, 60);
	/* From a page that is mapped into one that is not. */
	MAP(69, 69, IOAT_RW);
	ASSERT_EQ(0, REFRESH(69, 1));
	FILL(70, 1, 33);
	EXPECT_EQ(0, REFUSED(LOAD(AT(69) + PAGE - SECTOR, 0, 2 * SECTOR)));
	EXPECT_TRUE(HOLDS(70, 1, 33));
	ASSERT_EQ(0, REFRESH(60, 1));
	EXPECT_REACHED(60, 60);
}

/* A frame of 1M, and a table for half of it that replaces it. */
TEST_F_TIMEOUT(zpci_dma, frame, 120)
{
	const uint64_t frame = AT(FRAME_PAGES), table = AT(2 * FRAME_PAGES);
	const uint64_t first = FRAME_PAGES;	/* of memory, aligned to 1M */

	WITNESS();
	GUEST(ioat_map, self->t, frame, self->gpa + first * PAGE, 1, IOAT_RW);
	GUEST(ioat_map_pages, self->t, table, self->gpa + 2 * first * PAGE,
	      FRAME_PAGES, IOAT_RW);
	ASSERT_EQ(0, REFRESH(FRAME_PAGES, 2 * FRAME_PAGES));
	FILL(first, FRAME_PAGES, 3);
	ASSERT_EQ(0, SAVE(frame, 64, FRAME_PAGES * PAGE));
	ASSERT_EQ(0, LOAD(table, 64, FRAME_PAGES * PAGE));
	EXPECT_TRUE(HOLDS(2 * first, FRAME_PAGES, 3));
	GUEST(ioat_unmap, self->t, frame, 1);
	GUEST(ioat_map_pages, self->t, frame, self->gpa + first * PAGE,
	      FRAME_PAGES / 2, IOAT_RW);
	ASSERT_EQ(0, REFRESH(FRAME_PAGES, FRAME_PAGES));
	EXPECT_REACHED(FRAME_PAGES + FRAME_PAGES / 2 - 1,
		       first + FRAME_PAGES / 2 - 1);
	EXPECT_BLOCKED(FRAME_PAGES + FRAME_PAGES / 2, first + FRAME_PAGES / 2);
}

/* Without an anchor or a guest nothing is reached, not even the queue. */
TEST_F_TIMEOUT(zpci_dma, nothing_without_an_anchor, 120)
{
	const uint64_t queue = WINDOW_PAGES - 1;

	WITNESS();
	MAP(50, 50, IOAT_RW);
	ASSERT_EQ(0, REFRESH(50, 1));
	EXPECT_REACHED(50, 50);
	for (int stop = 0; stop < 2; stop++) {
		ASSERT_EQ(0, zpci_disk_rest(&self->disk));
		ASSERT_EQ(0, kiommu_unregister(self->fd));
		if (stop)
			ASSERT_EQ(0, kiommu_stop(self->fd));
		EXPECT_NOT_WRITTEN(50, 50);
		if (stop)
			ASSERT_EQ(0, kiommu_start(self->fd, self->k.vm.fd));
		/* Registered, but not refreshed; only the queue; everything. */
		ASSERT_EQ(0, kiommu_register_tables(self->fd, self->t));
		EXPECT_NOT_WRITTEN(50, 50);
		ASSERT_EQ(0, REFRESH(queue, 1));
		EXPECT_NOT_WRITTEN(50, 50);
		ASSERT_EQ(0, REFRESH(0, 100));
		EXPECT_REACHED(50, 50);
	}
}

/*
 * Tables that Linux never uses reach 2G, which is below what the host can map.
 */
TEST_F_TIMEOUT(zpci_dma, segment_table_alone, 120)
{
	struct ioat *t = ioat_new(self->k.vm.area, ZPCI, 2);
	const uint64_t low = 0x100000;
	struct kvm_iommu_refresh result;

	WITNESS();
	GUEST(ioat_map, t, low, self->gpa + 50 * PAGE, 0, IOAT_RW);
	ASSERT_EQ(0, zpci_disk_rest(&self->disk));
	ASSERT_EQ(0, kiommu_unregister(self->fd));
	ASSERT_EQ(0, kiommu_register_tables(self->fd, t));
	EXPECT_EQ(-EIO, kiommu_refresh(self->fd, low, PAGE, &result));
	EXPECT_EQ(KVM_IOMMU_STATUS_RESERVED_IOVA, result.status);
	FILL(50, 1, 33);
	EXPECT_EQ(0, REFUSED(LOAD(low, 0, PAGE)));
	EXPECT_TRUE(HOLDS(50, 1, 33));
}

/* Firmware uses no tables, but an offset. */
TEST_F_TIMEOUT(zpci_dma, identity, 120)
{
	const uint64_t offset = 1ull << 32;
	struct zpci_disk *disk = &self->disk;
	uint64_t gpa = kiommu_gpa(self->k.vm.area, disk->ring);

	ASSERT_EQ(0, zpci_disk_rest(disk));
	ASSERT_EQ(0, kiommu_unregister(self->fd));
	ASSERT_EQ(0, kiommu_register_identity(self->fd, offset));
	ASSERT_EQ(0, kiommu_refresh(self->fd, gpa + offset, PAGE, NULL));
	ASSERT_EQ(0, kiommu_refresh(self->fd, self->gpa + offset, 64 * PAGE, NULL));
	disk->iova = gpa + offset;
	FILL(0, 32, 1);
	ASSERT_EQ(0, SAVE(self->gpa + offset, 0, 32 * PAGE));
	ASSERT_EQ(0, LOAD(self->gpa + offset + 32 * PAGE, 0, 32 * PAGE));
	EXPECT_TRUE(HOLDS(32, 32, 1));
	FILL(64, 1, 33);
	EXPECT_EQ(0, REFUSED(LOAD(self->gpa + offset + 64 * PAGE, 0, PAGE)));
	EXPECT_TRUE(HOLDS(64, 1, 33));
}

TEST_HARNESS_MAIN
