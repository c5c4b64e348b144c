// SPDX-License-Identifier: GPL-2.0-only
/*
 * type1 works as ever alongside kvm-iommu: a guest's device reads and writes
 * guest memory through mappings that the VMM makes. All tests but the last need
 * no kvm_iommu.ko, so they also show whether the machine and this library work.
 *
 * With the kernel's driver, and with ours in its place (module parameter type1).
 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "kvm_test_harness.h"
#include "kvm_util.h"

#include "kiommu_util.h"
#include "type1.h"

#define IOVA_FROM (KIOMMU_IOVA_BASE + 0x100000ull)
#define IOVA_TO (KIOMMU_IOVA_BASE + 0x123456000ull) /* above 4G */
#define SIZE 4096ull
#define RIGHTS (VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE)

FIXTURE(type1) {
	struct kiommu k;
	char *from;
	char *to;
};

FIXTURE_VARIANT(type1) {
	bool ours;
};

FIXTURE_VARIANT_ADD(type1, kernel) { .ours = false };
FIXTURE_VARIANT_ADD(type1, kvm_iommu) { .ours = true };

FIXTURE_SETUP(type1)
{
	if (variant->ours && !kiommu_is_loaded())
		SKIP(return, "needs kvm_iommu.ko");
	kiommu_serve_type1(variant->ours);
	kiommu_setup(&self->k, VFIO_TYPE1v2_IOMMU);
	kiommu_serve_type1(false);
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
	ASSERT_TRUE(kiommu_dma_present(self->k.dma[0]));
	ASSERT_TRUE(kiommu_guest_call(&self->k.vm, kiommu_dma_present, self->k.dma[0]));
}

TEST_F_TIMEOUT(type1, device_copies_guest_memory, 120)
{
	int fd = self->k.vfio.fd;

	ASSERT_EQ(0, kiommu_map_dma(fd, self->from, IOVA_FROM, SIZE, RIGHTS));
	ASSERT_EQ(0, kiommu_map_dma(fd, self->to, IOVA_TO, SIZE, RIGHTS));
	EXPECT_EQ(self->k.locked_vm + 2 * SIZE, kiommu_locked_vm());
	ASSERT_EQ(0, kiommu_guest_call(&self->k.vm, kiommu_dma_copy, self->k.dma[0],
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
	ASSERT_EQ(0, kiommu_guest_call(&self->k.vm, kiommu_dma_copy, self->k.dma[0],
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
	EXPECT_TRUE(kiommu_guest_call(&self->k.vm, kiommu_dma_present, self->k.dma[0]));
}

/*
 * One process, one guest, two containers: one device is mapped by type1, the
 * other one by the guest's tables, at the same IOVAs.
 */
TEST_F_TIMEOUT(type1, both_types_at_once, 120)
{
	struct kiommu_container *c = &self->k.vfio;
	struct kiommu_area *area = self->k.vm.area;
	struct kiommu_device *dev = &c->dev[1];
	struct kiommu_container ours;
	struct ioat *t;
	char *page;

	if (c->count < 2 || access("/sys/module/kvm_iommu", F_OK))
		SKIP(return, "needs two devices and kvm_iommu.ko");
	ours.fd = open_path_or_exit("/dev/vfio/vfio", O_RDWR);
	kiommu_close_device(&self->k, 1);
	ASSERT_EQ(0, kiommu_group_detach(dev));
	ASSERT_EQ(0, kiommu_group_attach(&ours, dev));
	ASSERT_EQ(0, kiommu_set_iommu(ours.fd, VFIO_KVM_IOMMU));
	EXPECT_EQ(0, kiommu_check_extension(ours.fd, VFIO_TYPE1v2_IOMMU));
	EXPECT_EQ(1, kiommu_check_extension(c->fd, VFIO_TYPE1v2_IOMMU));
	EXPECT_EQ(variant->ours, kiommu_check_extension(c->fd, VFIO_KVM_IOMMU));
	kiommu_open_device(&self->k, 1);
	ASSERT_EQ(KVM_IOMMU_STATE_STARTED, kiommu_get_state(ours.fd));
	/* Both types enforce coherency for devices of one IOMMU, or neither. */
	EXPECT_EQ(kiommu_check_extension(c->fd, VFIO_DMA_CC_IOMMU),
		  kiommu_check_extension(ours.fd, VFIO_DMA_CC_IOMMU));

	page = kiommu_alloc(area, 2 * SIZE, SIZE);
	kiommu_fill(page, SIZE, 3);
	t = ioat_new(area, KVM_IOMMU_FORMAT_ZPCI, 3);
	ioat_map(t, IOVA_FROM, kiommu_gpa(area, page), 0, IOAT_RW);
	ioat_map(t, IOVA_TO, kiommu_gpa(area, page + SIZE), 0, IOAT_RW);
	ASSERT_EQ(0, kiommu_register_tables(ours.fd, t));
	ASSERT_EQ(0, kiommu_refresh(ours.fd, IOVA_FROM, SIZE, NULL));
	ASSERT_EQ(0, kiommu_refresh(ours.fd, IOVA_TO, SIZE, NULL));
	ASSERT_EQ(0, kiommu_map_dma(c->fd, self->from, IOVA_FROM, SIZE, RIGHTS));
	ASSERT_EQ(0, kiommu_map_dma(c->fd, self->to, IOVA_TO, SIZE, RIGHTS));
	EXPECT_EQ(self->k.locked_vm + 4 * SIZE, kiommu_locked_vm());

	ASSERT_EQ(0, kiommu_guest_call(&self->k.vm, kiommu_dma_copy, self->k.dma[0],
				       IOVA_TO, IOVA_FROM, SIZE));
	ASSERT_EQ(0, kiommu_guest_call(&self->k.vm, kiommu_dma_copy, self->k.dma[1],
				       IOVA_TO, IOVA_FROM, SIZE));
	EXPECT_EQ(SIZE, kiommu_count_equal(self->to, SIZE, 1));
	EXPECT_EQ(SIZE, kiommu_count_equal(page + SIZE, SIZE, 3));

	/* Our mappings go, those of type1 stay. */
	ASSERT_EQ(0, kiommu_unregister(ours.fd));
	EXPECT_EQ(self->k.locked_vm + 2 * SIZE, kiommu_locked_vm());
	kiommu_fill(self->to, SIZE, 4);
	ASSERT_EQ(0, kiommu_guest_call(&self->k.vm, kiommu_dma_copy, self->k.dma[0],
				       IOVA_TO, IOVA_FROM, SIZE));
	EXPECT_EQ(SIZE, kiommu_count_equal(self->to, SIZE, 1));
	close(ours.fd);
}

TEST_HARNESS_MAIN
