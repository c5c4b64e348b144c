// SPDX-License-Identifier: GPL-2.0-only
/*
 * Dirty pages as clients of type1 get them: VFIO_IOMMU_DIRTY_PAGES and
 * VFIO_IOMMU_UNMAP_DMA with a bitmap. Calls fail for the same reasons as in
 * type1, so each test also runs with that, and with our driver in its place.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <sys/mman.h>

#include "kvm_test_harness.h"
#include "kvm_util.h"

#include "kiommu_util.h"
#include "type1.h"

#define PAGE KIOMMU_PAGE
#define IOVA (KIOMMU_IOVA_BASE + 0x10000000ull)
#define PAGES 128ull
#define SIZE (PAGES * PAGE)
#define RW (VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE)
#define BITMAP_MAX (((1ull << 31) + 63) / 64 * 8)

FIXTURE(dirty) {
	struct kiommu k;
	int fd;
	struct ioat *t; /* NULL: type1 */
	char *mem; /* SIZE bytes */
	uint64_t *bits; /* a page; the one behind it is a hole */
};

FIXTURE_VARIANT(dirty) {
	unsigned long type;
	bool serve;
};

FIXTURE_VARIANT_ADD(dirty, type1) { .type = VFIO_TYPE1v2_IOMMU };
FIXTURE_VARIANT_ADD(dirty, kvm_iommu) { .type = VFIO_KVM_IOMMU };
FIXTURE_VARIANT_ADD(dirty, ours_as_type1) {
	.type = VFIO_TYPE1v2_IOMMU,
	.serve = true,
};

FIXTURE_SETUP(dirty)
{
	struct kiommu_area *area;

	kiommu_serve_type1(variant->serve);
	kiommu_setup(&self->k, variant->type);
	kiommu_serve_type1(false);
	self->fd = self->k.vfio.fd;
	area = self->k.vm.area;
	self->mem = kiommu_alloc(area, SIZE, PAGE);
	if (variant->type == VFIO_KVM_IOMMU) {
		self->t = ioat_new(area, KVM_IOMMU_FORMAT_VTD_SS, 3);
		ASSERT_EQ(0, kiommu_register_tables(self->fd, self->t));
		ioat_map_pages(self->t, IOVA, kiommu_gpa(area, self->mem), PAGES,
			       IOAT_RW);
	}
	self->bits = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, (void *)self->bits);
	ASSERT_EQ(0, munmap((char *)self->bits + PAGE, PAGE));
}

FIXTURE_TEARDOWN(dirty)
{
	kiommu_teardown(&self->k);
	EXPECT_EQ(self->k.locked_vm, kiommu_locked_vm());
}

static int map(FIXTURE_DATA(dirty) *self, uint64_t first, uint64_t count)
{
	return kiommu_map_dma(self->fd, self->mem + first * PAGE,
			      IOVA + first * PAGE, count * PAGE, RW);
}

#define START VFIO_IOMMU_DIRTY_PAGES_FLAG_START
#define STOP VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP
#define GET VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP

TEST_F_TIMEOUT(dirty, flags_and_sizes, 120)
{
	struct {
		struct vfio_iommu_type1_dirty_bitmap head;
		struct vfio_iommu_type1_dirty_bitmap_get range;
	} arg = { .head.argsz = sizeof(arg) };
	const uint32_t flags[] = { START | STOP, START | GET, STOP | GET, 8,
				   START | 8, 1u << 31 };

	EXPECT_EQ(-EFAULT, kiommu_ioctl(self->fd, VFIO_IOMMU_DIRTY_PAGES, NULL));
	arg.head.flags = START;
	arg.head.argsz = sizeof(arg.head) - 1;
	EXPECT_EQ(-EINVAL, kiommu_ioctl(self->fd, VFIO_IOMMU_DIRTY_PAGES, &arg));
	for (size_t i = 0; i < ARRAY_SIZE(flags); i++)
		EXPECT_EQ(-EINVAL, kiommu_dirty_pages(self->fd, flags[i]));
	/* The struct ends before the range. */
	arg.head.flags = GET;
	arg.head.argsz = sizeof(arg) - 1;
	EXPECT_EQ(-EINVAL, kiommu_ioctl(self->fd, VFIO_IOMMU_DIRTY_PAGES, &arg));
	EXPECT_EQ(-EINVAL, kiommu_dirty_pages(self->fd, GET));
	/* Both may be repeated. */
	EXPECT_EQ(0, kiommu_dirty_pages(self->fd, STOP));
	EXPECT_EQ(0, kiommu_dirty_pages(self->fd, START));
	EXPECT_EQ(0, kiommu_dirty_pages(self->fd, START));
	EXPECT_EQ(0, kiommu_dirty_pages(self->fd, STOP));
	EXPECT_EQ(0, kiommu_dirty_pages(self->fd, STOP));
}

static int get(FIXTURE_DATA(dirty) *self, uint64_t iova, uint64_t size,
	       uint64_t bytes)
{
	return kiommu_get_dirty_pages(self->fd, iova, size, self->bits, bytes);
}

static int get_by(FIXTURE_DATA(dirty) *self, uint64_t pgsize)
{
	struct {
		struct vfio_iommu_type1_dirty_bitmap head;
		struct vfio_iommu_type1_dirty_bitmap_get range;
	} arg = {
		.head = { .argsz = sizeof(arg), .flags = GET },
		.range = { .iova = IOVA, .size = KIOMMU_2M,
			   .bitmap = { .pgsize = pgsize, .size = PAGE,
				       .data = (__u64 *)self->bits } },
	};

	return kiommu_ioctl(self->fd, VFIO_IOMMU_DIRTY_PAGES, &arg);
}

/* A client's own mappings are not cut by a bitmap, either. */
TEST_F_TIMEOUT(dirty, no_part_of_a_mapping, 120)
{
	if (self->t)
		SKIP(return, "there are tables, and no mappings");
	ASSERT_EQ(0, kiommu_dirty_pages(self->fd, START));
	ASSERT_EQ(0, map(self, 8, 64));
	EXPECT_EQ(-EINVAL, get(self, IOVA, 64 * PAGE, PAGE));
	EXPECT_EQ(-EINVAL, get(self, IOVA + 16 * PAGE, 64 * PAGE, PAGE));
	EXPECT_EQ(-EINVAL, get(self, IOVA + 16 * PAGE, 16 * PAGE, PAGE));
	EXPECT_EQ(0, get(self, IOVA, 8 * PAGE, PAGE));
	EXPECT_EQ(0, get(self, IOVA, SIZE, PAGE));
	EXPECT_EQ(0, get(self, IOVA + 8 * PAGE, 64 * PAGE, PAGE));
	EXPECT_EQ(~0ull, self->bits[0]);
}

/* The errno for a range that wraps around. That of type1 is another one in 7.3. */
static int wraps(unsigned long type)
{
	return type == VFIO_TYPE1v2_IOMMU && kiommu_on_kernel_7() ?
	       -EOVERFLOW : -EINVAL;
}

TEST_F_TIMEOUT(dirty, ranges, 120)
{
	/* Not started. */
	EXPECT_EQ(-EINVAL, get(self, IOVA, SIZE, 16));
	ASSERT_EQ(0, kiommu_dirty_pages(self->fd, START));
	EXPECT_EQ(0, get(self, IOVA, SIZE, 16));
	EXPECT_EQ(0, get(self, IOVA, SIZE, PAGE));
	EXPECT_EQ(-EINVAL, get(self, IOVA, SIZE, 15));
	EXPECT_EQ(-EINVAL, get(self, IOVA, SIZE + PAGE, 16));
	EXPECT_EQ(-EINVAL, get(self, IOVA, SIZE, 0));
	EXPECT_EQ(-EINVAL, get(self, IOVA, SIZE, BITMAP_MAX + 8));
	EXPECT_EQ(-EINVAL, get(self, IOVA, 0, 16));
	EXPECT_EQ(-EINVAL, get(self, IOVA + 1, SIZE, 16));
	EXPECT_EQ(-EINVAL, get(self, IOVA, SIZE + 1, 32));
	EXPECT_EQ(wraps(variant->type), get(self, -PAGE, 2 * PAGE, 16));
	EXPECT_EQ(-EINVAL, get(self, 0, -PAGE, 1ull << 49));
	EXPECT_EQ(-EINVAL, get_by(self, 2 * PAGE));
	EXPECT_EQ(-EINVAL, get_by(self, KIOMMU_2M));
	EXPECT_EQ(-EINVAL, get_by(self, PAGE / 2));
	EXPECT_EQ(0, get_by(self, PAGE));
	if (!KIOMMU_ANY_ADDRESS)
		EXPECT_EQ(-EINVAL, kiommu_get_dirty_pages(self->fd, IOVA, SIZE,
							  (uint64_t *)-16, 1024));
	/* type1 writes only the bits of mappings. */
	ASSERT_EQ(0, map(self, 0, PAGES));
	EXPECT_EQ(-EFAULT, kiommu_get_dirty_pages(self->fd, IOVA, SIZE,
						  self->bits + PAGE / 8, 16));
	EXPECT_EQ(-EFAULT, kiommu_get_dirty_pages(self->fd, IOVA, SIZE,
						  self->bits + PAGE / 8 - 1, 16));
	EXPECT_EQ(0, kiommu_get_dirty_pages(self->fd, IOVA, SIZE,
					    self->bits + PAGE / 8 - 2, 16));
}

TEST_F_TIMEOUT(dirty, unmap_with_a_bitmap_refused, 120)
{
	struct {
		struct vfio_iommu_type1_dma_unmap head;
		struct vfio_bitmap bitmap;
	} arg = {
		.head = { .argsz = sizeof(arg) - 1,
			  .flags = VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP,
			  .iova = IOVA, .size = SIZE },
		.bitmap = { .pgsize = PAGE, .size = 16,
			    .data = (__u64 *)self->bits },
	};
	uint64_t size = SIZE;

	ASSERT_EQ(0, map(self, 0, PAGES));
	EXPECT_EQ(-EINVAL, kiommu_unmap_dirty(self->fd, IOVA, &size, self->bits, 16));
	ASSERT_EQ(0, kiommu_dirty_pages(self->fd, START));
	EXPECT_EQ(-EINVAL, kiommu_ioctl(self->fd, VFIO_IOMMU_UNMAP_DMA, &arg));
	arg.head.argsz = sizeof(arg);
	arg.head.flags |= VFIO_DMA_UNMAP_FLAG_ALL;
	EXPECT_EQ(-EINVAL, kiommu_ioctl(self->fd, VFIO_IOMMU_UNMAP_DMA, &arg));
	arg.head.flags ^= VFIO_DMA_UNMAP_FLAG_ALL | VFIO_DMA_UNMAP_FLAG_VADDR;
	EXPECT_EQ(-EINVAL, kiommu_ioctl(self->fd, VFIO_IOMMU_UNMAP_DMA, &arg));
	arg.head.flags ^= VFIO_DMA_UNMAP_FLAG_VADDR;
	arg.bitmap.pgsize = 2 * PAGE;
	EXPECT_EQ(-EINVAL, kiommu_ioctl(self->fd, VFIO_IOMMU_UNMAP_DMA, &arg));
	EXPECT_EQ(-EINVAL, kiommu_unmap_dirty(self->fd, IOVA, &size, self->bits, 8));
	EXPECT_EQ(-EINVAL, kiommu_unmap_dirty(self->fd, IOVA + 1, &size, self->bits, 16));
	size = 0;
	EXPECT_EQ(-EINVAL, kiommu_unmap_dirty(self->fd, IOVA, &size, self->bits, 16));
	size = 2 * PAGE;
	EXPECT_EQ(wraps(variant->type),
		  kiommu_unmap_dirty(self->fd, -PAGE, &size, self->bits, 16));
	size = SIZE;
	EXPECT_EQ(-EFAULT, kiommu_unmap_dirty(self->fd, IOVA, &size,
					      self->bits + PAGE / 8, 16));
	/* None of these calls has unmapped anything. */
	ASSERT_EQ(0, get(self, IOVA, SIZE, 16));
	EXPECT_EQ(~0ull, self->bits[0]);
	EXPECT_EQ(~0ull, self->bits[1]);
}

/* type1 sets more bits, which it has shifted for earlier calls. */
#define EXPECT_BITS(_want, _bits)					\
	EXPECT_EQ(_want, (_bits) & (self->t ? ~0ull : (_want)))

TEST_F_TIMEOUT(dirty, what_is_mapped, 120)
{
	uint64_t size = 8 * PAGE;

	ASSERT_EQ(0, kiommu_dirty_pages(self->fd, START));
	memset(self->bits, 0, PAGE);
	ASSERT_EQ(0, map(self, 0, 8));
	ASSERT_EQ(0, map(self, 66, 2));
	ASSERT_EQ(0, get(self, IOVA, SIZE, 16));
	EXPECT_BITS(0xff, self->bits[0]);
	EXPECT_BITS(0xc, self->bits[1]);
	EXPECT_EQ(0, self->bits[2]);
	/* An unmap reports the pages that it unmaps; no later call does. */
	memset(self->bits, 0, PAGE);
	ASSERT_EQ(0, kiommu_unmap_dirty(self->fd, IOVA, &size, self->bits, 16));
	EXPECT_EQ(8 * PAGE, size);
	EXPECT_BITS(0xff, self->bits[0]);
	memset(self->bits, 0, PAGE);
	ASSERT_EQ(0, get(self, IOVA, SIZE, 16));
	EXPECT_EQ(0, self->bits[0]);
	EXPECT_BITS(0xc, self->bits[1]);
	size = SIZE - 8 * PAGE;
	memset(self->bits, 0, PAGE);
	ASSERT_EQ(0, kiommu_unmap_dirty(self->fd, IOVA + 8 * PAGE, &size,
					self->bits, 16));
	EXPECT_EQ(2 * PAGE, size);
	EXPECT_BITS(3ull << 58, self->bits[0]);
}

TEST_F_TIMEOUT(dirty, capabilities, 120)
{
	struct vfio_iommu_type1_info *info = (void *)self->bits;
	struct vfio_iommu_type1_info_cap_migration *migration = NULL;
	struct vfio_iommu_type1_info_dma_avail *avail = NULL;
	struct vfio_info_cap_header *cap;
	uint32_t before;

	memset(info, 0, PAGE);
	info->argsz = PAGE;
	ASSERT_EQ(0, kiommu_ioctl(self->fd, VFIO_IOMMU_GET_INFO, info));
	for (uint32_t at = info->cap_offset; at; at = cap->next) {
		cap = (void *)((char *)info + at);
		if (cap->id == VFIO_IOMMU_TYPE1_INFO_CAP_MIGRATION)
			migration = (void *)cap;
		if (cap->id == VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL)
			avail = (void *)cap;
	}
	ASSERT_NE(NULL, migration);
	EXPECT_EQ(1, migration->header.version);
	EXPECT_EQ(0, migration->flags);
	EXPECT_EQ(PAGE, migration->pgsize_bitmap);
	EXPECT_EQ(BITMAP_MAX, migration->max_dirty_bitmap_size);
	ASSERT_NE(NULL, avail);
	EXPECT_EQ(1, avail->header.version);
	before = avail->avail;
	EXPECT_LT(1000, before);
	ASSERT_EQ(0, map(self, 0, 1));
	ASSERT_EQ(0, kiommu_ioctl(self->fd, VFIO_IOMMU_GET_INFO, info));
	EXPECT_GT(before, avail->avail);
}

/* By IOVA, and by GPA for the pages that type1's interface does not report. */
TEST_F_TIMEOUT(dirty, what_the_guest_unmaps_is_told_by_gpa, 120)
{
	uint64_t gpa = kiommu_gpa(self->k.vm.area, self->mem);
	uint64_t bits[2], size = 64 * PAGE;

	if (!self->t)
		SKIP(return, "of kvm_iommu alone");
	ASSERT_EQ(0, kiommu_dirty_pages(self->fd, START));
	ASSERT_EQ(0, kiommu_dirty_log(self->fd, KVM_IOMMU_DIRTY_START));
	ASSERT_EQ(0, map(self, 0, 8));
	ioat_unmap_pages(self->t, IOVA, 4);
	ioat_map_pages(self->t, IOVA + 4 * PAGE, gpa + 4 * PAGE, 2, KVM_IOMMU_READ);
	ASSERT_EQ(0, map(self, 0, 8));
	ASSERT_EQ(0, get(self, IOVA, SIZE, 16));
	EXPECT_EQ(0xc0, self->bits[0]);
	ASSERT_EQ(0, kiommu_dirty_read(self->fd, gpa, SIZE, bits, NULL));
	EXPECT_EQ(0xff, *(uint8_t *)bits);
	ASSERT_EQ(0, kiommu_unmap_dirty(self->fd, IOVA, &size, self->bits, 8));
	EXPECT_EQ(4 * PAGE, size);
	EXPECT_EQ(0xc0, self->bits[0]);
	/* As in type1, GET_BITMAP works in each state. */
	ASSERT_EQ(0, kiommu_unregister(self->fd));
	EXPECT_EQ(0, get(self, IOVA, SIZE, 16));
	ASSERT_EQ(0, kiommu_stop(self->fd));
	EXPECT_EQ(0, get(self, IOVA, SIZE, 16));
	EXPECT_EQ(0, self->bits[0]);
	EXPECT_EQ(-ENODEV, kiommu_unmap_dirty(self->fd, IOVA, &size, self->bits, 8));
}

TEST_HARNESS_MAIN
