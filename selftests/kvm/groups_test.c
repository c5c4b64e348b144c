// SPDX-License-Identifier: GPL-2.0-only
/*
 * Several groups in one container: each device reaches the same memory,
 * whenever its group joined, whether groups share a host domain or have one
 * each. And the IOVAs that hosts reserve. v4, defect 16: several devices.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "kvm_test_harness.h"
#include "kvm_util.h"

#include "kiommu_util.h"

#define PAGE KIOMMU_PAGE
#define IOVA (KIOMMU_IOVA_BASE + 0x40000000ull)
#define PAGES 1024ull
#define BYTES 128ull

FIXTURE(groups) {
	struct kiommu k;
	int fd;
	struct ioat *t;
	char *mem; /* PAGES, aligned to 4M */
	uint64_t gpa;
};

FIXTURE_VARIANT(groups) {
	const char *domain_per_group;
};

FIXTURE_VARIANT_ADD(groups, one_domain) { .domain_per_group = "0" };
FIXTURE_VARIANT_ADD(groups, own_domains) { .domain_per_group = "1" };

FIXTURE_SETUP(groups)
{
	struct kiommu_area *area;

	if (kiommu_device_count() < 2)
		SKIP(return, "needs two devices");
	kiommu_set_param("domain_per_group", variant->domain_per_group);
	kiommu_setup(&self->k, VFIO_KVM_IOMMU);
	area = self->k.vm.area;
	self->fd = self->k.vfio.fd;
	self->mem = kiommu_alloc(area, PAGES * PAGE, 2 * KIOMMU_2M);
	self->gpa = kiommu_gpa(area, self->mem);
	self->t = ioat_new(area, KVM_IOMMU_FORMAT_VTD_SS, 3);
	ASSERT_EQ(0, kiommu_register_tables(self->fd, self->t));
}

FIXTURE_TEARDOWN(groups)
{
	kiommu_teardown(&self->k);
	kiommu_set_param("domain_per_group", "0");
	EXPECT_EQ(self->k.locked_vm, kiommu_locked_vm());
}

/* The device copies page @from of the buffer to page @to, by their IOVAs. */
static int copy(FIXTURE_DATA(groups) *self, unsigned int dev, uint64_t to,
		uint64_t from)
{
	return kiommu_guest_call(&self->k.vm, kiommu_dma_copy, self->k.dma[dev],
				 IOVA + to * PAGE, IOVA + from * PAGE, BYTES);
}

#define HOLDS(_i, _seed) \
	(kiommu_count_equal(self->mem + (_i) * PAGE, BYTES, _seed) == BYTES)

/* Device @dev reads page 0 and writes page @to. */
#define EXPECT_REACHES(_dev, _to, _seed) do {				\
	kiommu_fill(self->mem, PAGE, _seed);				\
	kiommu_fill(self->mem + (_to) * PAGE, PAGE, 99);		\
	EXPECT_EQ(0, copy(self, _dev, _to, 0));				\
	EXPECT_TRUE(HOLDS(_to, _seed));					\
} while (0)

/* ... or cannot write it. */
#define EXPECT_CANNOT_WRITE(_dev, _to) do {				\
	kiommu_fill(self->mem + (_to) * PAGE, PAGE, 98);		\
	EXPECT_EQ(0, copy(self, _dev, _to, 0));				\
	EXPECT_TRUE(HOLDS(_to, 98));					\
} while (0)

TEST_F_TIMEOUT(groups, each_device_sees_each_change, 120)
{
	char *other = kiommu_alloc_page(self->k.vm.area);

	ioat_map(self->t, IOVA, self->gpa, 1, IOAT_RW);
	ASSERT_EQ(0, kiommu_refresh(self->fd, IOVA, KIOMMU_2M, NULL));
	for (unsigned int i = 0; i < self->k.vfio.count; i++)
		EXPECT_REACHES(i, 10 + i, 50 + i);
	/* One pin and one charge, no matter how many host tables there are. */
	EXPECT_EQ(512, kiommu_mapped_pages(self->fd));
	EXPECT_EQ(512, kiommu_pinned_pages(self->fd));
	EXPECT_EQ(self->k.locked_vm + KIOMMU_2M, kiommu_locked_vm());

	/* Page 0 is replaced, page 20 is gone. */
	ioat_unmap(self->t, IOVA, 1);
	ioat_map_pages(self->t, IOVA, self->gpa, 20, IOAT_RW);
	ioat_map(self->t, IOVA, kiommu_gpa(self->k.vm.area, other), 0, IOAT_RW);
	ASSERT_EQ(0, kiommu_refresh(self->fd, IOVA, KIOMMU_2M, NULL));
	kiommu_fill(other, PAGE, 77);
	for (unsigned int i = 0; i < self->k.vfio.count; i++) {
		EXPECT_EQ(0, copy(self, i, 10 + i, 0));
		EXPECT_TRUE(HOLDS(10 + i, 77));
		EXPECT_CANNOT_WRITE(i, 20);
	}
}

/* What is mapped when a group joins is mapped for it, too, with its rights. */
TEST_F_TIMEOUT(groups, group_joins_while_mapped, 120)
{
	struct kiommu_container *c = &self->k.vfio;
	uint64_t size = PAGE;

	kiommu_close_device(&self->k, 1);
	ASSERT_EQ(0, kiommu_group_detach(&c->dev[1]));
	ioat_map(self->t, IOVA, self->gpa, 1, IOAT_RW);
	ioat_map_pages(self->t, IOVA + KIOMMU_2M, self->gpa + KIOMMU_2M, 16,
		       KVM_IOMMU_READ);
	ASSERT_EQ(0, kiommu_refresh(self->fd, IOVA, 2 * KIOMMU_2M, NULL));
	ASSERT_EQ(0, kiommu_unmap_dma(self->fd, IOVA + 5 * PAGE, &size, 0));
	EXPECT_EQ(527, kiommu_mapped_pages(self->fd));

	ASSERT_EQ(0, kiommu_group_attach(c, &c->dev[1]));
	EXPECT_EQ(KVM_IOMMU_STATE_ANCHORED, kiommu_get_state(self->fd));
	EXPECT_EQ(527, kiommu_mapped_pages(self->fd));
	/* 2M of contiguous memory are pinned as a whole. */
	EXPECT_LE(527, kiommu_pinned_pages(self->fd));
	EXPECT_GE(528, kiommu_pinned_pages(self->fd));
	kiommu_open_device(&self->k, 1);
	for (unsigned int i = 0; i < 2; i++) {
		EXPECT_REACHES(i, 4, 60 + i);
		EXPECT_REACHES(i, 511, 62 + i);
		EXPECT_CANNOT_WRITE(i, 5);
		EXPECT_CANNOT_WRITE(i, 512);
		kiommu_fill(self->mem + 512 * PAGE, PAGE, 64);
		EXPECT_EQ(0, copy(self, i, 6, 512));
		EXPECT_TRUE(HOLDS(6, 64));
	}
	/* It is unmapped for both. */
	size = 0;
	ASSERT_EQ(0, kiommu_unmap_dma(self->fd, 0, &size, VFIO_DMA_UNMAP_FLAG_ALL));
	EXPECT_EQ(527 * PAGE, size);
	for (unsigned int i = 0; i < 2; i++)
		EXPECT_CANNOT_WRITE(i, 4);
}

/* The group for which the domain was created leaves before the others. */
TEST_F_TIMEOUT(groups, first_group_leaves, 120)
{
	struct kiommu_container *c = &self->k.vfio;

	ioat_map(self->t, IOVA, self->gpa, 1, IOAT_RW);
	ASSERT_EQ(0, kiommu_refresh(self->fd, IOVA, KIOMMU_2M, NULL));
	EXPECT_EQ(-EBUSY, kiommu_group_detach(&c->dev[0]));
	kiommu_close_device(&self->k, 0);
	ASSERT_EQ(0, kiommu_group_detach(&c->dev[0]));
	EXPECT_EQ(512, kiommu_mapped_pages(self->fd));
	EXPECT_REACHES(1, 10, 70);
	ASSERT_EQ(0, kiommu_group_attach(c, &c->dev[0]));
	EXPECT_EQ(-EINVAL, kiommu_group_attach(c, &c->dev[0]));
	kiommu_open_device(&self->k, 0);
	EXPECT_REACHES(0, 11, 71);
	EXPECT_REACHES(1, 12, 72);
}

/* After the last group has left, the container can get a type again. */
TEST_F_TIMEOUT(groups, all_groups_leave, 120)
{
	struct kiommu_container *c = &self->k.vfio;
	const bool file = kiommu_front_is_file();
	long refs = kiommu_await_refs(kiommu_front_refs(1));
	const uint64_t used = self->k.locked_vm;

	for (int round = 0; round < 3; round++) {
		uint64_t mapped;

		ASSERT_EQ(0, kiommu_refresh(self->fd, IOVA, KIOMMU_2M, NULL));
		mapped = kiommu_mapped_pages(self->fd);
		for (unsigned int i = 0; i < c->count; i++) {
			kiommu_close_device(&self->k, i);
			ASSERT_EQ(0, kiommu_group_detach(&c->dev[i]));
		}
		/* The file of a domain has it as it was. */
		EXPECT_EQ(file ? KVM_IOMMU_STATE_ANCHORED : -EINVAL,
			  kiommu_get_state(self->fd));
		/* So does the container, if it is one. */
		EXPECT_EQ(refs - !kiommu_front_is_cdev(),
			  kiommu_await_refs(refs - !kiommu_front_is_cdev()));
		EXPECT_EQ(used + (file ? mapped * PAGE : 0), kiommu_locked_vm());
		for (unsigned int i = 0; i < c->count; i++)
			ASSERT_EQ(0, kiommu_group_attach(c, &c->dev[i]));
		ASSERT_EQ(0, kiommu_set_iommu(self->fd, VFIO_KVM_IOMMU));
		for (unsigned int i = 0; i < c->count; i++)
			kiommu_open_device(&self->k, i);
		/* KVM still holds the groups, and registers with the device. */
		EXPECT_EQ(KVM_IOMMU_STATE_STARTED, kiommu_get_state(self->fd));
		ASSERT_EQ(0, kiommu_register_tables(self->fd, self->t));
		ioat_map_pages(self->t, IOVA, self->gpa, 32, IOAT_RW);
		ASSERT_EQ(0, kiommu_refresh(self->fd, IOVA, 32 * PAGE, NULL));
		EXPECT_REACHES(round % 2, 10, 80 + round);
	}
}

/* The guest maps [@first, @last] and a page on each side of it. */
static void expect_reserved(struct __test_metadata *_metadata,
			    FIXTURE_DATA(groups) *self, uint64_t first,
			    uint64_t last)
{
	const uint64_t below = first - PAGE;
	uint64_t pages = (last - first + 1) / PAGE;
	struct kvm_iommu_refresh r;

	TH_LOG("%llx to %llx", (unsigned long long)first, (unsigned long long)last);
	if (pages > 64)
		pages = 64;
	ioat_map_pages(self->t, below, self->gpa, pages + 2, IOAT_RW);
	EXPECT_EQ(-EIO, kiommu_refresh(self->fd, below, (pages + 2) * PAGE, &r));
	EXPECT_EQ(KVM_IOMMU_STATUS_RESERVED_IOVA, r.status);
	EXPECT_EQ(first, r.stopped_iova);
	EXPECT_EQ(1, r.mapped);
	EXPECT_EQ(-EIO, kiommu_refresh(self->fd, first + (pages - 1) * PAGE, PAGE, &r));
	EXPECT_EQ(KVM_IOMMU_STATUS_RESERVED_IOVA, r.status);
	EXPECT_EQ(0, kiommu_shadow_rights(self->fd, first));
	/* A large frame across the start of the window is mapped up to it. */
	ioat_map(self->t, below, self->gpa & ~(KIOMMU_2M - 1), 1, IOAT_RW);
	EXPECT_EQ(-EIO, kiommu_refresh(self->fd, below & ~(KIOMMU_2M - 1),
				       2 * KIOMMU_2M, &r));
	EXPECT_TRUE(r.stopped_iova == first ||
		    r.stopped_iova == (below | (KIOMMU_2M - 1)) + 1);
	ioat_unmap(self->t, below, self->t->levels - 1);
	ioat_unmap(self->t, first, self->t->levels - 1);
	EXPECT_EQ(0, kiommu_refresh(self->fd, below & ~(KIOMMU_2M - 1),
				    2 * KIOMMU_2M, &r));
	EXPECT_EQ(0, kiommu_mapped_pages(self->fd));
}

/*
 * For a window that begins at 0: the guest maps a page on each side of its end.
 */
static void expect_reserved_below(struct __test_metadata *_metadata,
				  FIXTURE_DATA(groups) *self, uint64_t end)
{
	struct kvm_iommu_refresh r;

	TH_LOG("below %llx", (unsigned long long)end);
	ioat_map_pages(self->t, end - PAGE, self->gpa, 2, IOAT_RW);
	EXPECT_EQ(-EIO, kiommu_refresh(self->fd, end - PAGE, 2 * PAGE, &r));
	EXPECT_EQ(KVM_IOMMU_STATUS_RESERVED_IOVA, r.status);
	EXPECT_EQ(end - PAGE, r.stopped_iova);
	EXPECT_EQ(0, r.mapped);
	EXPECT_EQ(0, kiommu_refresh(self->fd, end, PAGE, &r));
	EXPECT_EQ(1, r.mapped);
	EXPECT_EQ(0, kiommu_shadow_rights(self->fd, end - PAGE));
	ioat_unmap_pages(self->t, end - PAGE, 2);
	EXPECT_EQ(0, kiommu_refresh(self->fd, end - PAGE, 2 * PAGE, &r));
	EXPECT_EQ(0, kiommu_mapped_pages(self->fd));
}

TEST_F_TIMEOUT(groups, reserved_windows_are_never_mapped, 120)
{
	unsigned long long first, last;
	struct kvm_iommu_info info;
	char path[96], type[32];
	unsigned int windows = 0;
	FILE *file;

	ASSERT_EQ(0, kiommu_get_info(self->fd, &info));
	snprintf(path, sizeof(path), "/sys/kernel/iommu_groups/%d/reserved_regions",
		 self->k.vfio.dev[0].group_id);
	file = fopen(path, "r");
	ASSERT_NE(NULL, file);
	while (fscanf(file, "%llx %llx %31s", &first, &last, type) == 3) {
		if (!strcmp(type, "direct-relaxable") ||
		    last >= info.aperture_last || last >= 1ull << 39)
			continue;
		if (first)
			expect_reserved(_metadata, self, first, last);
		else
			expect_reserved_below(_metadata, self, last + 1);
		windows++;
	}
	fclose(file);
	/* At least the MSI window, or what is below a function's IOVAs. */
	EXPECT_LE(1, windows);
}

TEST_HARNESS_MAIN
