// SPDX-License-Identifier: GPL-2.0-only
/*
 * type1 works as ever beside kvm-iommu: a guest's device reads and writes
 * guest memory through mappings that the VMM makes. Needs no kvm_iommu.ko,
 * so it also tells whether the machine and this library are sound.
 */
#include <errno.h>

#include "kvm_test_harness.h"
#include "kvm_util.h"

#include "kiommu_util.h"

#define IOVA_FROM 0x100000ull
#define IOVA_TO 0x123456000ull /* above 4G */
#define SIZE 4096ull
#define RIGHTS (VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE)

FIXTURE(type1) {
	struct kiommu k;
	char *from;
	char *to;
};

FIXTURE_SETUP(type1)
{
	kiommu_setup(&self->k, VFIO_TYPE1v2_IOMMU);
	self->from = kiommu_alloc_page(self->k.vm.area);
	self->to = kiommu_alloc_page(self->k.vm.area);
	kiommu_guest_call(&self->k.vm, kiommu_fill, self->from, SIZE, 1);
}

FIXTURE_TEARDOWN(type1)
{
	kiommu_teardown(&self->k);
}

TEST_F_TIMEOUT(type1, guest_reaches_device, 120)
{
	ASSERT_TRUE(edu_present(self->k.bar[0]));
	ASSERT_TRUE(kiommu_guest_call(&self->k.vm, edu_present, self->k.bar[0]));
}

TEST_F_TIMEOUT(type1, device_copies_guest_memory, 120)
{
	int fd = self->k.vfio.fd;

	ASSERT_EQ(0, kiommu_map_dma(fd, self->from, IOVA_FROM, SIZE, RIGHTS));
	ASSERT_EQ(0, kiommu_map_dma(fd, self->to, IOVA_TO, SIZE, RIGHTS));
	EXPECT_EQ(self->k.locked_vm + 2 * SIZE, kiommu_locked_vm());
	ASSERT_EQ(0, kiommu_guest_call(&self->k.vm, edu_copy, self->k.bar[0],
				       IOVA_TO, IOVA_FROM, SIZE));
	EXPECT_EQ(SIZE, kiommu_count_equal(self->to, SIZE, 1));
	EXPECT_EQ(SIZE, kiommu_guest_call(&self->k.vm, kiommu_count_equal,
					  self->to, SIZE, 1));
}

TEST_F_TIMEOUT(type1, unmapped_iova_is_blocked, 120)
{
	uint64_t size = SIZE;
	int fd = self->k.vfio.fd;

	ASSERT_EQ(0, kiommu_map_dma(fd, self->from, IOVA_FROM, SIZE, RIGHTS));
	ASSERT_EQ(0, kiommu_map_dma(fd, self->to, IOVA_TO, SIZE, RIGHTS));
	ASSERT_EQ(0, kiommu_unmap_dma(fd, IOVA_TO, &size, 0));
	ASSERT_EQ(SIZE, size);
	kiommu_fill(self->to, SIZE, 2);
	ASSERT_EQ(0, kiommu_guest_call(&self->k.vm, edu_copy, self->k.bar[0],
				       IOVA_TO, IOVA_FROM, SIZE));
	EXPECT_EQ(SIZE, kiommu_count_equal(self->to, SIZE, 2));
	size = SIZE;
	ASSERT_EQ(0, kiommu_unmap_dma(fd, IOVA_FROM, &size, 0));
	EXPECT_EQ(self->k.locked_vm, kiommu_locked_vm());
}

/* The devices can be closed and opened again under a running guest. */
TEST_F_TIMEOUT(type1, reopened_device_works, 120)
{
	kiommu_close_devices(&self->k);
	kiommu_open_devices(&self->k);
	EXPECT_TRUE(kiommu_guest_call(&self->k.vm, edu_present, self->k.bar[0]));
}

TEST_HARNESS_MAIN
