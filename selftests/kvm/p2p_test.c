// SPDX-License-Identifier: GPL-2.0-only
/*
 * Device memory: a BAR of one device is in the guest's tables, and another
 * device accesses it. Register 4 of an edu holds the complement of what was
 * last written there, so what a DMA wrote can be read back.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <sys/mman.h>

#include "kvm_test_harness.h"
#include "kvm_util.h"

#include "kiommu_util.h"
#include "ring.h"

#define PAGE KIOMMU_PAGE
#define MEM (KIOMMU_IOVA_BASE + 0x1000000ull) /* IOVA of self->mem */
#define P2P (KIOMMU_IOVA_BASE + 0x2000000ull) /* IOVA of device 0's BAR */
#define EDU_ID 0x00
#define EDU_LIVE 0x04

FIXTURE(p2p) {
	struct kiommu k;
	int fd;
	struct ioat *t;
	char *mem;
	struct kiommu_device *target; /* device 0 */
	uint32_t value; /* last value written */
};

FIXTURE_VARIANT(p2p) {
	bool own_domains;
};

FIXTURE_VARIANT_ADD(p2p, one_domain) { };
FIXTURE_VARIANT_ADD(p2p, own_domains) { .own_domains = true };

FIXTURE_SETUP(p2p)
{
	if (kiommu_host_lacks(KIOMMU_BARS))
		SKIP(return, "%s", kiommu_host_lacks(KIOMMU_BARS));
	if (kiommu_device_count() < 2)
		SKIP(return, "one device has no other to reach");
	kiommu_set_param("domain_per_group", variant->own_domains ? "1" : "0");
	kiommu_setup(&self->k, VFIO_KVM_IOMMU);
	kiommu_set_param("domain_per_group", "0");
	self->fd = self->k.vfio.fd;
	self->target = &self->k.vfio.dev[0];
	self->mem = kiommu_alloc_page(self->k.vm.area);
	self->t = ioat_new(self->k.vm.area, KVM_IOMMU_FORMAT_VTD_SS, 3);
	self->value = 0x12340000;
	ASSERT_EQ(0, kiommu_register_tables(self->fd, self->t));
	ioat_map(self->t, MEM, kiommu_gpa(self->k.vm.area, self->mem), 0, IOAT_RW);
	ioat_map_pages(self->t, P2P, KIOMMU_BAR_GPA(0),
		       self->target->bar_size / PAGE, IOAT_RW);
	ASSERT_EQ(0, kiommu_refresh(self->fd, MEM, PAGE, NULL));
}

FIXTURE_TEARDOWN(p2p)
{
	kiommu_teardown(&self->k);
}

static int map_target(FIXTURE_DATA(p2p) *self)
{
	return kiommu_refresh(self->fd, P2P, self->target->bar_size, NULL);
}

static uint32_t read_target(FIXTURE_DATA(p2p) *self, uint32_t reg)
{
	return READ_ONCE(*(uint32_t *)((char *)self->target->bar + reg));
}

/*
 * Device @i writes a new value to the register. No ioctl of the container is
 * called, because it could make up for what should have been done before.
 */
static void store(struct __test_metadata *_metadata, FIXTURE_DATA(p2p) *self,
		  unsigned int i)
{
	self->value++;
	memcpy(self->mem, &self->value, sizeof(self->value));
	ASSERT_EQ(0, kiommu_guest_call(&self->k.vm, kiommu_dma_load, self->k.dma[i],
				       MEM, 0, 4));
	ASSERT_EQ(0, kiommu_guest_call(&self->k.vm, kiommu_dma_store, self->k.dma[i],
				       P2P + EDU_LIVE, 0, 4));
}

#define EXPECT_REACHES(_i) do {						\
	store(_metadata, self, _i);					\
	EXPECT_EQ(~self->value, read_target(self, EDU_LIVE));		\
} while (0)

#define EXPECT_BLOCKED(_i) do {						\
	uint32_t before = read_target(self, EDU_LIVE);			\
	store(_metadata, self, _i);					\
	EXPECT_EQ(before, read_target(self, EDU_LIVE));			\
	EXPECT_NE(~self->value, before);				\
} while (0)

TEST_F_TIMEOUT(p2p, device_reaches_device, 120)
{
	const uint64_t pages = self->target->bar_size / PAGE;
	struct kvm_iommu_refresh r;
	struct kvm_iommu_info info;
	uint32_t id = 0;

	EXPECT_BLOCKED(1);
	ASSERT_EQ(0, kiommu_refresh(self->fd, P2P, pages * PAGE, &r));
	EXPECT_EQ(pages, r.mapped);
	EXPECT_EQ(IOAT_RW, kiommu_shadow_rights(self->fd, P2P));
	EXPECT_EQ(IOAT_RW, kiommu_shadow_rights(self->fd, P2P + (pages - 1) * PAGE));
	EXPECT_REACHES(1);
	/* It can be read, too. */
	ASSERT_EQ(0, kiommu_guest_call(&self->k.vm, kiommu_dma_load, self->k.dma[1],
				       P2P + EDU_ID, 0, 4));
	ASSERT_EQ(0, kiommu_guest_call(&self->k.vm, kiommu_dma_store, self->k.dma[1],
				       MEM, 0, 4));
	memcpy(&id, self->mem, sizeof(id));
	EXPECT_EQ(read_target(self, EDU_ID), id);
	/* Device memory is neither pinned nor charged. */
	ASSERT_EQ(0, kiommu_get_info(self->fd, &info));
	EXPECT_EQ(pages + 1, info.mapped_pages);
	EXPECT_EQ(1, info.pinned_pages);
	EXPECT_EQ(self->k.locked_vm + PAGE, kiommu_locked_vm());
	/* Nothing has changed: nothing is done. */
	ASSERT_EQ(0, kiommu_refresh(self->fd, P2P, pages * PAGE, &r));
	EXPECT_EQ(0, r.mapped | r.unmapped);
	/* The guest unmaps the first page. */
	ioat_unmap(self->t, P2P, 0);
	ASSERT_EQ(0, kiommu_refresh(self->fd, P2P, pages * PAGE, &r));
	EXPECT_EQ(1, r.unmapped);
	EXPECT_EQ(IOAT_RW, kiommu_shadow_rights(self->fd, P2P + PAGE));
	EXPECT_BLOCKED(1);
	ASSERT_EQ(0, kiommu_unregister(self->fd));
	EXPECT_EQ(0, kiommu_mapped_pages(self->fd));
}

/* The guest lets devices only read. */
TEST_F_TIMEOUT(p2p, read_only_entry, 120)
{
	ioat_protect(self->t, P2P, 0);
	ASSERT_EQ(0, map_target(self));
	EXPECT_EQ(KVM_IOMMU_READ, kiommu_shadow_rights(self->fd, P2P));
	EXPECT_BLOCKED(1);
}

/* The process itself must not write. */
TEST_F_TIMEOUT(p2p, read_only_mapping, 120)
{
	struct kvm_iommu_refresh r;

	ASSERT_EQ(0, map_target(self));
	EXPECT_REACHES(1);
	ASSERT_EQ(0, mprotect(self->target->bar, PAGE, PROT_READ));
	EXPECT_BLOCKED(1);
	EXPECT_EQ(-EIO, kiommu_refresh(self->fd, P2P, PAGE, &r));
	EXPECT_EQ(KVM_IOMMU_STATUS_READ_ONLY, r.status);
	ioat_protect(self->t, P2P, 0);
	ASSERT_EQ(0, map_target(self));
	EXPECT_EQ(KVM_IOMMU_READ, kiommu_shadow_rights(self->fd, P2P));
	EXPECT_EQ(IOAT_RW, kiommu_shadow_rights(self->fd, P2P + PAGE));
	EXPECT_BLOCKED(1);
}

TEST_F_TIMEOUT(p2p, bar_unmapped, 120)
{
	void *old = self->target->bar;
	struct kvm_iommu_refresh r;

	ASSERT_EQ(0, map_target(self));
	EXPECT_REACHES(1);
	/*
	 * Another mapping, which the guest's slot does not know of. It is made
	 * first, because it could take the place of what is unmapped.
	 */
	kiommu_device_map(self->target);
	ASSERT_NE(old, self->target->bar);
	ASSERT_EQ(0, munmap(old, PAGE));
	EXPECT_BLOCKED(1);
	EXPECT_EQ(0, kiommu_shadow_rights(self->fd, P2P));
	/* The rest of the old one is still there. */
	EXPECT_EQ(IOAT_RW, kiommu_shadow_rights(self->fd, P2P + PAGE));
	EXPECT_EQ(-EIO, kiommu_refresh(self->fd, P2P, PAGE, &r));
	EXPECT_EQ(KVM_IOMMU_STATUS_UNBACKED, r.status);
	ASSERT_EQ(0, munmap((char *)old + PAGE, self->target->bar_size - PAGE));
	EXPECT_EQ(1, kiommu_mapped_pages(self->fd));
	/* For the teardown. */
	ASSERT_EQ(0, munmap(self->target->bar, self->target->bar_size));
	self->target->bar = old;
}

TEST_F_TIMEOUT(p2p, memory_space_disabled, 120)
{
	struct kvm_iommu_refresh r;

	ASSERT_EQ(0, map_target(self));
	EXPECT_REACHES(1);
	kiommu_device_enable(self->target, 0);
	EXPECT_EQ(1, kiommu_mapped_pages(self->fd));
	EXPECT_EQ(-EIO, kiommu_refresh(self->fd, P2P, PAGE, &r));
	EXPECT_EQ(KVM_IOMMU_STATUS_MMIO, r.status);
	/* The device decodes again, but nothing is mapped. */
	kiommu_device_enable(self->target, 1);
	EXPECT_BLOCKED(1);
	ASSERT_EQ(0, map_target(self));
	EXPECT_REACHES(1);
	/* The same, without a call in between. */
	kiommu_device_enable(self->target, 0);
	kiommu_device_enable(self->target, 1);
	EXPECT_BLOCKED(1);
	EXPECT_EQ(1, kiommu_mapped_pages(self->fd));
}

TEST_F_TIMEOUT(p2p, device_closed, 120)
{
	ASSERT_EQ(0, map_target(self));
	EXPECT_REACHES(1);
	kiommu_close_device(&self->k, 0);
	kiommu_open_device(&self->k, 0);
	EXPECT_BLOCKED(1);
	EXPECT_EQ(1, kiommu_mapped_pages(self->fd));
	ASSERT_EQ(0, map_target(self));
	EXPECT_REACHES(1);
}

TEST_F_TIMEOUT(p2p, slot_deleted, 120)
{
	struct kvm_iommu_refresh r;

	kiommu_lose_slots_at_once(self->fd);
	ASSERT_EQ(0, map_target(self));
	EXPECT_REACHES(1);
	ASSERT_EQ(0, kiommu_vm_set_slot(&self->k.vm, KIOMMU_BAR_SLOT(0), 0,
					KIOMMU_BAR_GPA(0), 0, NULL));
	EXPECT_BLOCKED(1);
	EXPECT_EQ(1, kiommu_mapped_pages(self->fd));
	EXPECT_EQ(-EIO, kiommu_refresh(self->fd, P2P, PAGE, &r));
	EXPECT_EQ(KVM_IOMMU_STATUS_NO_SLOT, r.status);
	ASSERT_EQ(0, kiommu_vm_set_slot(&self->k.vm, KIOMMU_BAR_SLOT(0), 0,
					KIOMMU_BAR_GPA(0), self->target->bar_size,
					self->target->bar));
	ASSERT_EQ(0, map_target(self));
	EXPECT_REACHES(1);
}

/* What is mapped when a group joins is mapped for it as well. */
TEST_F_TIMEOUT(p2p, group_joins, 120)
{
	struct kiommu_device *dev;

	if (self->k.vfio.count < 3)
		SKIP(return, "there is no third device");
	dev = &self->k.vfio.dev[2];
	kiommu_close_device(&self->k, 2);
	ASSERT_EQ(0, kiommu_kvm_del_group(self->k.kvm_vfio, dev));
	ASSERT_EQ(0, kiommu_group_detach(dev));
	ASSERT_EQ(0, map_target(self));
	kiommu_set_param("domain_per_group", variant->own_domains ? "1" : "0");
	ASSERT_EQ(0, kiommu_group_attach(&self->k.vfio, dev));
	kiommu_set_param("domain_per_group", "0");
	ASSERT_EQ(0, kiommu_kvm_add_group(self->k.kvm_vfio, dev));
	kiommu_open_device(&self->k, 2);
	EXPECT_REACHES(1);
	EXPECT_REACHES(2);
	kiommu_device_enable(self->target, 0);
	kiommu_device_enable(self->target, 1);
	EXPECT_BLOCKED(1);
	EXPECT_BLOCKED(2);
}

TEST_HARNESS_MAIN
