// SPDX-License-Identifier: GPL-2.0-only
/*
 * HWPTs of the data type that VT-d has for nesting (vtd_s1=1), on a host that cannot
 * nest: only calls that a VMM makes which was written for hardware, and knows nothing
 * of us. The guest's stores to first-stage tables reach its device; it invalidates
 * what it has changed or unmapped, as with hardware.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <linux/iommufd.h>

#include "kvm_test_harness.h"
#include "kvm_util.h"

#include "counters.h"
#include "dma.h"
#include "guest_vm.h"
#include "hwpt.h"
#include "tracked.h"

#define PAGE KIOMMU_PAGE
#define IOVA (KIOMMU_IOVA_BASE + 0x40000000ull)
#define PAGES 16ull
#define BYTES 128ull
#define RW (IOMMU_IOAS_MAP_READABLE | IOMMU_IOAS_MAP_WRITEABLE)
/* The capability registers: VT-d specification, chapter 11.4. */
#define CAP_FS1GP (1ull << 56)
#define ECAP_NEST (1ull << 26)
#define ECAP_FSTS (1ull << 47)

FIXTURE(hwpt_vtd) {
	struct kiommu_hwpt h;
	struct kiommu_vm vm;
	struct ioat *t;
	char *mem; /* PAGES pages, in a huge page of its own */
	uint64_t gpa;
	int kvm_vfio;
	uint64_t pins;
	long kvm_refs;
};

static const char *lacks(void)
{
	const char *host = getenv("KIOMMU_HOST") ?: "";

	return kiommu_hwpt_lacks() ?:
	       strncmp(host, "intel-iommu", 11) ? "the host has no VT-d" : NULL;
}

FIXTURE_SETUP(hwpt_vtd)
{
	struct kiommu_area *area;

	if (lacks())
		SKIP(return, "%s", lacks());
	self->pins = kiommu_pins();
	self->kvm_refs = kiommu_kvm_refs();
	kiommu_set_param("vtd_s1", "1");
	kiommu_vm_create(&self->vm, KIOMMU_AREA_SIZE, VM_MEM_SRC_ANONYMOUS);
	self->kvm_vfio = kvm_create_device(self->vm.vm, KVM_DEV_TYPE_VFIO);
	kiommu_hwpt_setup_with(&self->h, self->kvm_vfio, IOMMU_HWPT_ALLOC_NEST_PARENT);
	area = self->vm.area;
	ASSERT_EQ(0, kiommu_ioas_use_guest(&self->h, area));
	self->mem = kiommu_alloc(area, KIOMMU_2M, KIOMMU_2M);
	self->gpa = kiommu_gpa(area, self->mem);
	self->t = ioat_new(area, KVM_IOMMU_FORMAT_X86_FS, 4);
	ioat_map_pages(self->t, IOVA, self->gpa, 2, IOAT_RW);
}

FIXTURE_TEARDOWN(hwpt_vtd)
{
	kiommu_hwpt_teardown(&self->h);
	if (self->kvm_vfio >= 0)
		close(self->kvm_vfio);
	kiommu_vm_free(&self->vm);
	kiommu_set_param("vtd_s1", "0");
	EXPECT_EQ(0, kiommu_await_refs(0));
	KIOMMU_EXPECT_NOTHING_LEFT();
}

static struct iommu_hwpt_vtd_s1 first_stage(const struct ioat *t)
{
	return (struct iommu_hwpt_vtd_s1){
		.pgtbl_addr = ioat_iota(t),
		.addr_width = t->levels == 4 ? 48 : 57,
	};
}

static int alloc_with(FIXTURE_DATA(hwpt_vtd) *self, unsigned int device,
		      struct iommu_hwpt_vtd_s1 data, uint32_t *id)
{
	struct iommu_hwpt_alloc cmd = {
		.pt_id = self->h.parent,
		.data_type = IOMMU_HWPT_DATA_VTD_S1,
		.data_len = sizeof(data),
		.data_uptr = (uintptr_t)&data,
	};

	return kiommu_hwpt_alloc_any(&self->h, device, &cmd, id);
}

/* An HWPT of these tables, with device 0 attached. */
static uint32_t attached(FIXTURE_DATA(hwpt_vtd) *self)
{
	uint32_t id = 0;
	int ret = alloc_with(self, 0, first_stage(self->t), &id);

	TEST_ASSERT(!ret, "HWPT_ALLOC: %d", ret);
	TEST_ASSERT(!kiommu_hwpt_attach(&self->h, 0, id), "attach");
	return id;
}

static int invalidate_with(FIXTURE_DATA(hwpt_vtd) *self, uint32_t id,
			   struct iommu_hwpt_vtd_s1_invalidate *entries, uint32_t *count)
{
	struct iommu_hwpt_invalidate cmd = {
		.hwpt_id = id,
		.data_uptr = (uintptr_t)entries,
		.data_type = IOMMU_HWPT_INVALIDATE_DATA_VTD_S1,
		.entry_len = sizeof(*entries),
		.entry_num = *count,
	};
	int ret = kiommu_hwpt_invalidate_any(&self->h, &cmd);

	*count = cmd.entry_num;
	return ret;
}

static int invalidate(FIXTURE_DATA(hwpt_vtd) *self, uint32_t id, uint64_t addr,
		      uint64_t npages)
{
	struct iommu_hwpt_vtd_s1_invalidate entry = { .addr = addr, .npages = npages };
	uint32_t count = 1;
	int ret = invalidate_with(self, id, &entry, &count);

	TEST_ASSERT(count == !ret, "HWPT_INVALIDATE: %d, %u entries done", ret, count);
	return ret;
}

/* Whether device 0 can read page 0 of the memory at IOVA and store it at @iova. */
static bool stores(FIXTURE_DATA(hwpt_vtd) *self, uint64_t iova, uint64_t page, uint8_t seed)
{
	char *there = self->mem + page * PAGE + PAGE / 2;
	void *bar = self->h.devices.dev[0].bar;

	kiommu_fill(self->mem, BYTES, seed);
	kiommu_fill(there, BYTES, (uint8_t)~seed);
	TEST_ASSERT(!kiommu_dma_copy(bar, iova + PAGE / 2, IOVA, BYTES), "DMA");
	return kiommu_count_equal(there, BYTES, seed) == BYTES;
}

static void guest_stores(FIXTURE_DATA(hwpt_vtd) *self, uint64_t *entry, uint64_t value)
{
	kiommu_guest_call(&self->vm, kiommu_store, entry, value);
}

static uint64_t leaf(FIXTURE_DATA(hwpt_vtd) *self, uint64_t page)
{
	return ioat_leaf_value(self->t, 0, self->gpa + page * PAGE, IOAT_RW);
}

static uint64_t *entry_of(FIXTURE_DATA(hwpt_vtd) *self, uint64_t page)
{
	return ioat_entry(self->t, IOVA, 0, false) + page;
}

static struct iommu_hw_info_vtd info_of(FIXTURE_DATA(hwpt_vtd) *self)
{
	struct iommu_hw_info_vtd vtd = {};
	struct iommu_hw_info cmd = {
		.data_len = sizeof(vtd),
		.data_uptr = (uintptr_t)&vtd,
	};
	int ret = kiommu_hw_info(&self->h, 0, &cmd);

	TEST_ASSERT(!ret && cmd.out_data_type == IOMMU_HW_INFO_TYPE_INTEL_VTD,
		    "GET_HW_INFO: %d", ret);
	TEST_ASSERT(!(cmd.out_capabilities & IOMMU_HW_CAP_DIRTY_TRACKING), "dirty pages");
	return vtd;
}

static int alloc_parent(FIXTURE_DATA(hwpt_vtd) *self, uint32_t *id)
{
	struct iommu_hwpt_alloc cmd = {
		.flags = IOMMU_HWPT_ALLOC_NEST_PARENT,
		.pt_id = self->h.ioas,
	};

	return kiommu_hwpt_alloc_any(&self->h, 0, &cmd, id);
}

/* A host that cannot nest says that it can, unless it is told not to. */
TEST_F_TIMEOUT(hwpt_vtd, says_that_it_nests, 120)
{
	uint32_t id;

	EXPECT_EQ(ECAP_NEST | ECAP_FSTS, info_of(self).ecap_reg & (ECAP_NEST | ECAP_FSTS));
	EXPECT_TRUE(info_of(self).cap_reg & CAP_FS1GP);
	kiommu_set_param("vtd_s1", "0");
	EXPECT_FALSE(info_of(self).ecap_reg & (ECAP_NEST | ECAP_FSTS));
	EXPECT_EQ(-EOPNOTSUPP, alloc_parent(self, &id));
	EXPECT_NE(0, alloc_with(self, 0, first_stage(self->t), &id));
	kiommu_set_param("vtd_s1", "1");
	ASSERT_EQ(0, alloc_parent(self, &id));
	EXPECT_EQ(0, kiommu_iommufd_destroy(&self->h, id));
	ASSERT_EQ(0, alloc_with(self, 0, first_stage(self->t), &id));
	EXPECT_EQ(0, kiommu_iommufd_destroy(&self->h, id));
}

/* What becomes present is reached without an invalidation, what goes is not. */
TEST_F_TIMEOUT(hwpt_vtd, follows_stores, 240)
{
	uint64_t *entry = entry_of(self, 0);
	uint32_t id = attached(self);

	EXPECT_TRUE(stores(self, IOVA + PAGE, 1, 1));
	for (uint8_t i = 0; i < 4; i++) {
		guest_stores(self, entry + 5, leaf(self, 5 + i));
		EXPECT_TRUE(stores(self, IOVA + 5 * PAGE, 5 + i, 10 + i));
		guest_stores(self, entry + 5, 0);
		ASSERT_EQ(0, invalidate(self, id, IOVA + 5 * PAGE, 1));
		EXPECT_FALSE(stores(self, IOVA + 5 * PAGE, 5 + i, 20 + i));
	}
	/* A read-only entry, and a huge page. */
	guest_stores(self, entry + 6, leaf(self, 6) & ~X86_WRITE);
	EXPECT_FALSE(stores(self, IOVA + 6 * PAGE, 6, 30));
	guest_stores(self, ioat_entry(self->t, IOVA + KIOMMU_2M, 1, true),
		     ioat_leaf_value(self->t, 1, self->gpa, IOAT_RW));
	EXPECT_TRUE(stores(self, IOVA + KIOMMU_2M + 7 * PAGE, 7, 31));
}

/* Stores of the VMM are not told of: an invalidation of their range reads them. */
TEST_F_TIMEOUT(hwpt_vtd, invalidations_read_again, 240)
{
	uint32_t id = attached(self);

	for (uint64_t i = 3; i < 6; i++)
		ioat_write(self->t, entry_of(self, i), leaf(self, i));
	EXPECT_FALSE(stores(self, IOVA + 3 * PAGE, 3, 1));
	ASSERT_EQ(0, invalidate(self, id, IOVA + 3 * PAGE, 1));
	EXPECT_TRUE(stores(self, IOVA + 3 * PAGE, 3, 2));
	EXPECT_FALSE(stores(self, IOVA + 4 * PAGE, 4, 3));
	/* Nothing; to the end and beyond; everything. */
	ASSERT_EQ(0, invalidate(self, id, IOVA + 4 * PAGE, 0));
	EXPECT_FALSE(stores(self, IOVA + 4 * PAGE, 4, 4));
	ASSERT_EQ(0, invalidate(self, id, IOVA + 4 * PAGE, UINT64_MAX - 1));
	EXPECT_TRUE(stores(self, IOVA + 4 * PAGE, 4, 5));
	ioat_write(self->t, entry_of(self, 3), 0);
	EXPECT_TRUE(stores(self, IOVA + 3 * PAGE, 3, 6));
	ASSERT_EQ(0, invalidate(self, id, 0, UINT64_MAX));
	EXPECT_FALSE(stores(self, IOVA + 3 * PAGE, 3, 7));
	EXPECT_TRUE(stores(self, IOVA + 5 * PAGE, 5, 8));
	/* Far away from all tables. */
	EXPECT_EQ(0, invalidate(self, id, 1ull << 62, 512));
}

/* As with hardware, the guest's mistakes are no errors of the VMM. */
TEST_F_TIMEOUT(hwpt_vtd, bad_entries, 120)
{
	uint32_t id = attached(self);

	guest_stores(self, entry_of(self, 3), 1ull << 45 | X86_PRESENT | X86_USER);
	guest_stores(self, entry_of(self, 4), leaf(self, 4) & ~X86_USER);
	guest_stores(self, entry_of(self, 5), leaf(self, 5));
	EXPECT_EQ(0, invalidate(self, id, IOVA, PAGES));
	EXPECT_FALSE(stores(self, IOVA + 3 * PAGE, 3, 1));
	EXPECT_FALSE(stores(self, IOVA + 4 * PAGE, 4, 2));
	EXPECT_TRUE(stores(self, IOVA + 5 * PAGE, 5, 3));
	guest_stores(self, entry_of(self, 3), leaf(self, 3));
	EXPECT_TRUE(stores(self, IOVA + 3 * PAGE, 3, 4));
}

TEST_F_TIMEOUT(hwpt_vtd, refused_invalidations, 120)
{
	struct iommu_hwpt_vtd_s1_invalidate entries[4] = {
		{ .addr = IOVA + 3 * PAGE, .npages = 1 },
		{ .addr = IOVA + 4 * PAGE, .npages = 1, .flags = 1 },
		{ .addr = IOVA, .npages = 1, .flags = 2 },
		{ .addr = IOVA + 5 * PAGE, .npages = 1 },
	};
	uint32_t id = attached(self), count = 4;

	for (uint64_t i = 3; i < 6; i++)
		ioat_write(self->t, entry_of(self, i), leaf(self, i));
	/* Those before the bad one are done. */
	EXPECT_EQ(-EOPNOTSUPP, invalidate_with(self, id, entries, &count));
	EXPECT_EQ(2, count);
	EXPECT_TRUE(stores(self, IOVA + 3 * PAGE, 3, 1));
	EXPECT_TRUE(stores(self, IOVA + 4 * PAGE, 4, 2));
	EXPECT_FALSE(stores(self, IOVA + 5 * PAGE, 5, 3));
	entries[0].__reserved = 1;
	count = 1;
	EXPECT_EQ(-EOPNOTSUPP, invalidate_with(self, id, entries, &count));
	EXPECT_EQ(0, count);
	EXPECT_EQ(-EINVAL, invalidate(self, id, IOVA + 1, 1));
	EXPECT_EQ(-EINVAL, invalidate(self, id, IOVA, UINT64_MAX));
	/* Entries of another type. */
	count = 1;
	EXPECT_EQ(-EINVAL, kiommu_hwpt_invalidate(&self->h, id, entries, sizeof(entries[0]),
						  &count));
}

TEST_F_TIMEOUT(hwpt_vtd, refused_tables, 120)
{
	const struct iommu_hwpt_vtd_s1 good = first_stage(self->t);
	struct iommu_hwpt_vtd_s1 bad;
	uint32_t id = 0;

#define REFUSED(errno_, field, value) do {				\
		bad = good;						\
		bad.field = value;					\
		EXPECT_EQ(-(errno_), alloc_with(self, 0, bad, &id));	\
	} while (0)
	REFUSED(EOPNOTSUPP, flags, IOMMU_VTD_S1_EAFE);
	REFUSED(EOPNOTSUPP, flags, 1ull << 40);
	REFUSED(EOPNOTSUPP, __reserved, 1);
	REFUSED(EINVAL, addr_width, 39);
	REFUSED(EINVAL, addr_width, 0);
	REFUSED(EINVAL, pgtbl_addr, good.pgtbl_addr + 8);
	REFUSED(EINVAL, pgtbl_addr, 1ull << 46);
	bad = good;
	bad.flags = IOMMU_VTD_S1_SRE | IOMMU_VTD_S1_WPE;
	ASSERT_EQ(0, alloc_with(self, 0, bad, &id));
	EXPECT_EQ(0, kiommu_iommufd_destroy(&self->h, id));
}

/* A KVM comes with the device, before it is bound, or not at all. */
TEST_F_TIMEOUT(hwpt_vtd, needs_a_kvm, 120)
{
	uint32_t id;

	/* It holds the device's file. */
	close(self->kvm_vfio);
	self->kvm_vfio = -1;
	self->h.kvm_vfio = 0;
	kiommu_device_close(&self->h.devices.dev[0]);
	kiommu_hwpt_open_device(&self->h, 0);
	EXPECT_EQ(-EOPNOTSUPP, alloc_with(self, 0, first_stage(self->t), &id));
}

/*
 * What a VMM does as the guest turns its IOMMU on, changes to other tables, and turns
 * it off.
 */
TEST_F_TIMEOUT(hwpt_vtd, replaces, 240)
{
	struct ioat *other = ioat_new(self->vm.area, KVM_IOMMU_FORMAT_X86_FS, 5);
	uint32_t first, second = 0;

	ioat_map_pages(other, IOVA, self->gpa, 1, IOAT_RW);
	ioat_map_pages(other, IOVA + 9 * PAGE, self->gpa + 9 * PAGE, 1, IOAT_RW);
	ASSERT_EQ(0, kiommu_hwpt_attach(&self->h, 0, self->h.parent));
	first = attached(self);
	EXPECT_TRUE(stores(self, IOVA + PAGE, 1, 1));
	EXPECT_FALSE(stores(self, IOVA + 9 * PAGE, 9, 2));
	ASSERT_EQ(0, alloc_with(self, 0, first_stage(other), &second));
	ASSERT_EQ(0, kiommu_hwpt_attach(&self->h, 0, second));
	EXPECT_EQ(0, kiommu_iommufd_destroy(&self->h, first));
	EXPECT_FALSE(stores(self, IOVA + PAGE, 1, 3));
	EXPECT_TRUE(stores(self, IOVA + 9 * PAGE, 9, 4));
	guest_stores(self, ioat_entry(other, IOVA + 9 * PAGE, 0, false), 0);
	EXPECT_FALSE(stores(self, IOVA + 9 * PAGE, 9, 5));
	EXPECT_EQ(-EBUSY, kiommu_iommufd_destroy(&self->h, second));
	ASSERT_EQ(0, kiommu_hwpt_attach(&self->h, 0, self->h.parent));
	EXPECT_EQ(0, kiommu_iommufd_destroy(&self->h, second));
}

/* The KVM goes first, with the HWPT attached. */
TEST_F_TIMEOUT(hwpt_vtd, kvm_goes_first, 120)
{
	attached(self);
	ASSERT_TRUE(stores(self, IOVA + PAGE, 1, 1));
	close(self->kvm_vfio);
	self->kvm_vfio = -1;
	kiommu_vm_free(&self->vm);
	EXPECT_LT(self->kvm_refs, kiommu_kvm_refs());
}

TEST_HARNESS_MAIN
