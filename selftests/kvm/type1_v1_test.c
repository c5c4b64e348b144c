// SPDX-License-Identifier: GPL-2.0-only
/*
 * The first version of type1 (VFIO_TYPE1_IOMMU), which QEMU's driver of NVMe and DPDK
 * ask for: a range that cuts mappings is no error of an unmap. The kernel's driver,
 * and ours in its place (module parameter type1): the same calls with the same results.
 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include <sys/mman.h>

#include "kvm_test_harness.h"
#include "kvm_util.h"

#include "counters.h"
#include "kiommu_util.h"
#include "type1.h"

#define PAGE KIOMMU_PAGE
#define IOVA (KIOMMU_IOVA_BASE + 0x10000000ull)
#define PAGES 16ull
#define SIZE (PAGES * PAGE)
#define RW (VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE)

FIXTURE(v1) {
	struct kiommu k;
	int fd;
	char *mem; /* SIZE bytes, not the guest's */
	uint64_t locked;
	uint64_t pins;
	long kvm_refs;
};

FIXTURE_VARIANT(v1) {
	bool ours;
};

FIXTURE_VARIANT_ADD(v1, kernel) { .ours = false };
FIXTURE_VARIANT_ADD(v1, kvm_iommu) { .ours = true };

FIXTURE_SETUP(v1)
{
	self->kvm_refs = kiommu_kvm_refs();
	self->pins = kiommu_pins();
	kiommu_serve_type1(variant->ours);
	kiommu_setup(&self->k, VFIO_TYPE1_IOMMU);
	kiommu_serve_type1(false);
	self->fd = self->k.vfio.fd;
	ASSERT_EQ(variant->ours, kiommu_check_extension(self->fd, VFIO_KVM_IOMMU));
	self->mem = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			 -1, 0);
	ASSERT_NE(MAP_FAILED, self->mem);
	kiommu_fill(self->mem, SIZE, 1);
	self->locked = kiommu_locked_vm();
}

FIXTURE_TEARDOWN(v1)
{
	kiommu_teardown(&self->k);
	KIOMMU_EXPECT_NOTHING_LEFT();
	EXPECT_EQ(self->k.locked_vm, kiommu_locked_vm());
	munmap(self->mem, SIZE);
}

/* Pages are counted from IOVA and mem. */
static int map(FIXTURE_DATA(v1) *self, uint64_t first, uint64_t count)
{
	return kiommu_map_dma(self->fd, self->mem + first * PAGE, IOVA + first * PAGE,
			      count * PAGE, RW);
}

/* Return: pages that were unmapped, or -errno. */
static int64_t unmap(FIXTURE_DATA(v1) *self, uint64_t first, uint64_t count)
{
	uint64_t size = count * PAGE;
	int ret = kiommu_unmap_dma(self->fd, IOVA + first * PAGE, &size, 0);

	return ret ? ret : (int64_t)(size / PAGE);
}

static uint64_t locked_pages(FIXTURE_DATA(v1) *self)
{
	return (kiommu_locked_vm() - self->locked) / PAGE;
}

/* Whether a device can copy the first bytes of a page to another one. */
static bool copies(FIXTURE_DATA(v1) *self, uint64_t to, uint64_t from)
{
	static uint64_t seed = 2;
	char *source = self->mem + from * PAGE, *target = self->mem + to * PAGE;

	kiommu_fill(source, KIOMMU_DMA_BUFFER, ++seed);
	kiommu_fill(target, KIOMMU_DMA_BUFFER, 1);
	TEST_ASSERT(!kiommu_dma_copy(self->k.dma[0], IOVA + to * PAGE,
				     IOVA + from * PAGE, KIOMMU_DMA_BUFFER), "DMA");
	return kiommu_count_equal(target, KIOMMU_DMA_BUFFER, seed) == KIOMMU_DMA_BUFFER;
}

TEST_F_TIMEOUT(v1, extensions, 120)
{
	EXPECT_EQ(1, kiommu_check_extension(self->fd, VFIO_TYPE1_IOMMU));
	EXPECT_EQ(1, kiommu_check_extension(self->fd, VFIO_TYPE1v2_IOMMU));
	EXPECT_EQ(1, kiommu_check_extension(self->fd, VFIO_UNMAP_ALL));
}

TEST_F_TIMEOUT(v1, nothing_goes_from_within_a_mapping, 120)
{
	ASSERT_EQ(0, map(self, 2, 6));
	ASSERT_EQ(0, map(self, 8, 4));
	EXPECT_EQ(0, unmap(self, 3, 1));
	EXPECT_EQ(0, unmap(self, 3, 5));
	/* Nor what follows. */
	EXPECT_EQ(0, unmap(self, 3, 13));
	EXPECT_EQ(10, locked_pages(self));
	EXPECT_TRUE(copies(self, 3, 11));
	EXPECT_EQ(10, unmap(self, 0, 16));
	EXPECT_EQ(0, locked_pages(self));
	EXPECT_FALSE(copies(self, 3, 11));
}

TEST_F_TIMEOUT(v1, a_mapping_goes_as_a_whole, 120)
{
	ASSERT_EQ(0, map(self, 2, 6));
	ASSERT_EQ(0, map(self, 8, 4));
	ASSERT_EQ(0, map(self, 12, 4));
	EXPECT_EQ(0, unmap(self, 0, 2));
	EXPECT_EQ(6, unmap(self, 2, 1));
	EXPECT_EQ(8, locked_pages(self));
	EXPECT_FALSE(copies(self, 7, 8));
	EXPECT_TRUE(copies(self, 11, 12));
	ASSERT_EQ(0, map(self, 2, 6));
	EXPECT_EQ(10, unmap(self, 0, 9));
	EXPECT_EQ(4, locked_pages(self));
	EXPECT_FALSE(copies(self, 13, 11));
	EXPECT_TRUE(copies(self, 12, 15));
	EXPECT_EQ(-EINVAL, unmap(self, 0, 0));
	ASSERT_EQ(0, map(self, 0, 4));
	EXPECT_EQ(-EEXIST, map(self, 3, 4));
	EXPECT_EQ(4, unmap(self, 0, 4));
	EXPECT_EQ(4, unmap(self, 12, 4));
	EXPECT_EQ(0, locked_pages(self));
}

TEST_F_TIMEOUT(v1, all_of_them, 120)
{
	uint64_t size = 0;

	ASSERT_EQ(0, map(self, 0, 4));
	ASSERT_EQ(0, map(self, 8, 4));
	ASSERT_EQ(0, kiommu_unmap_dma(self->fd, 0, &size, VFIO_DMA_UNMAP_FLAG_ALL));
	EXPECT_EQ(8 * PAGE, size);
	EXPECT_EQ(0, locked_pages(self));
}

TEST_F_TIMEOUT(v1, no_dirty_pages, 120)
{
	EXPECT_EQ(-EACCES, kiommu_dirty_pages(self->fd,
					      VFIO_IOMMU_DIRTY_PAGES_FLAG_START));
	EXPECT_EQ(-EACCES, kiommu_dirty_pages(self->fd,
					      VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP));
}

TEST_HARNESS_MAIN
