// SPDX-License-Identifier: GPL-2.0-only
/*
 * HWPTs of the data type that VT-d has for nesting (vtd_s1=1), on a host that cannot
 * nest: only calls that a VMM makes which was written for hardware, and knows nothing
 * of us. The guest's stores to first-stage tables reach its device; it invalidates
 * what it has changed or unmapped, as with hardware.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sys/wait.h>
#include <linux/iommufd.h>

#include "kvm_test_harness.h"
#include "kvm_util.h"

#include "counters.h"
#include "dma.h"
#include "faults.h"
#include "guest_vm.h"
#include "hwpt_vtd.h"
#include "tracked.h"

#define PAGE KIOMMU_PAGE
#define IOVA (KIOMMU_IOVA_BASE + 0x40000000ull)
#define PAGES 16ull
#define BYTES 128ull

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

FIXTURE_SETUP(hwpt_vtd)
{
	struct kiommu_area *area;

	if (kiommu_vtd_lacks())
		SKIP(return, "%s", kiommu_vtd_lacks());
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

/* An HWPT of these tables, with device 0 attached. */
static uint32_t attached(FIXTURE_DATA(hwpt_vtd) *self)
{
	uint32_t id = 0;
	int ret = kiommu_vtd_alloc(&self->h, 0, kiommu_vtd_s1(self->t), &id);

	TEST_ASSERT(!ret, "HWPT_ALLOC: %d", ret);
	TEST_ASSERT(!kiommu_hwpt_attach(&self->h, 0, id), "attach");
	return id;
}

/* Whether a device can read page 0 of the memory at IOVA and store it at @iova. */
static bool device_stores(FIXTURE_DATA(hwpt_vtd) *self, unsigned int i, uint64_t iova,
			  uint64_t page, uint8_t seed)
{
	char *there = self->mem + page * PAGE + PAGE / 2;
	void *bar = self->h.devices.dev[i].bar;

	kiommu_fill(self->mem, BYTES, seed);
	kiommu_fill(there, BYTES, (uint8_t)~seed);
	TEST_ASSERT(!kiommu_dma_copy(bar, iova + PAGE / 2, IOVA, BYTES), "DMA");
	return kiommu_count_equal(there, BYTES, seed) == BYTES;
}

static bool stores(FIXTURE_DATA(hwpt_vtd) *self, uint64_t iova, uint64_t page, uint8_t seed)
{
	return device_stores(self, 0, iova, page, seed);
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
		ASSERT_EQ(0, kiommu_vtd_invalidate(&self->h, id, IOVA + 5 * PAGE, 1));
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
	ASSERT_EQ(0, kiommu_vtd_invalidate(&self->h, id, IOVA + 3 * PAGE, 1));
	EXPECT_TRUE(stores(self, IOVA + 3 * PAGE, 3, 2));
	EXPECT_FALSE(stores(self, IOVA + 4 * PAGE, 4, 3));
	/* Nothing; to the end and beyond; everything. */
	ASSERT_EQ(0, kiommu_vtd_invalidate(&self->h, id, IOVA + 4 * PAGE, 0));
	EXPECT_FALSE(stores(self, IOVA + 4 * PAGE, 4, 4));
	ASSERT_EQ(0, kiommu_vtd_invalidate(&self->h, id, IOVA + 4 * PAGE, UINT64_MAX - 1));
	EXPECT_TRUE(stores(self, IOVA + 4 * PAGE, 4, 5));
	ioat_write(self->t, entry_of(self, 3), 0);
	EXPECT_TRUE(stores(self, IOVA + 3 * PAGE, 3, 6));
	ASSERT_EQ(0, kiommu_vtd_invalidate(&self->h, id, 0, UINT64_MAX));
	EXPECT_FALSE(stores(self, IOVA + 3 * PAGE, 3, 7));
	EXPECT_TRUE(stores(self, IOVA + 5 * PAGE, 5, 8));
	/* Far away from all tables. */
	EXPECT_EQ(0, kiommu_vtd_invalidate(&self->h, id, 1ull << 62, 512));
}

/* As with hardware, the guest's mistakes are no errors of the VMM. */
TEST_F_TIMEOUT(hwpt_vtd, bad_entries, 120)
{
	uint32_t id = attached(self);

	guest_stores(self, entry_of(self, 3), 1ull << 45 | X86_PRESENT | X86_USER);
	guest_stores(self, entry_of(self, 4), leaf(self, 4) & ~X86_USER);
	guest_stores(self, entry_of(self, 5), leaf(self, 5));
	EXPECT_EQ(0, kiommu_vtd_invalidate(&self->h, id, IOVA, PAGES));
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
	EXPECT_EQ(-EOPNOTSUPP, kiommu_vtd_invalidate_with(&self->h, id, entries,
							  sizeof(entries[0]), &count));
	EXPECT_EQ(2, count);
	EXPECT_TRUE(stores(self, IOVA + 3 * PAGE, 3, 1));
	EXPECT_TRUE(stores(self, IOVA + 4 * PAGE, 4, 2));
	EXPECT_FALSE(stores(self, IOVA + 5 * PAGE, 5, 3));
	entries[0].__reserved = 1;
	count = 1;
	EXPECT_EQ(-EOPNOTSUPP, kiommu_vtd_invalidate_with(&self->h, id, entries,
							  sizeof(entries[0]), &count));
	EXPECT_EQ(0, count);
	EXPECT_EQ(-EINVAL, kiommu_vtd_invalidate(&self->h, id, IOVA + 1, 1));
	EXPECT_EQ(-EINVAL, kiommu_vtd_invalidate(&self->h, id, IOVA, UINT64_MAX));
	/* Entries of another type. */
	count = 1;
	EXPECT_EQ(-EINVAL, kiommu_hwpt_invalidate(&self->h, id, entries, sizeof(entries[0]),
						  &count));
}

TEST_F_TIMEOUT(hwpt_vtd, refused_tables, 120)
{
	const struct iommu_hwpt_vtd_s1 good = kiommu_vtd_s1(self->t);
	struct iommu_hwpt_vtd_s1 bad;
	uint32_t id = 0;

#define REFUSED(errno_, field, value) do {				\
		bad = good;						\
		bad.field = value;					\
		EXPECT_EQ(-(errno_), kiommu_vtd_alloc(&self->h, 0, bad, &id));	\
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
	ASSERT_EQ(0, kiommu_vtd_alloc(&self->h, 0, bad, &id));
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
	EXPECT_EQ(-EOPNOTSUPP, kiommu_vtd_alloc(&self->h, 0, kiommu_vtd_s1(self->t), &id));
}

/*
 * What a VMM does as the guest turns its IOMMU on, changes to other tables, and turns
 * it off.
 */
TEST_F_TIMEOUT(hwpt_vtd, replaces, 240)
{
	struct ioat *other = ioat_new(self->vm.area, KVM_IOMMU_FORMAT_X86_FS, 4);
	uint32_t first, second = 0;

	ioat_map_pages(other, IOVA, self->gpa, 1, IOAT_RW);
	ioat_map_pages(other, IOVA + 9 * PAGE, self->gpa + 9 * PAGE, 1, IOAT_RW);
	ASSERT_EQ(0, kiommu_hwpt_attach(&self->h, 0, self->h.parent));
	first = attached(self);
	EXPECT_TRUE(stores(self, IOVA + PAGE, 1, 1));
	EXPECT_FALSE(stores(self, IOVA + 9 * PAGE, 9, 2));
	ASSERT_EQ(0, kiommu_vtd_alloc(&self->h, 0, kiommu_vtd_s1(other), &second));
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

/* As hardware without FS5LP: the host's tables do not reach so far. */
TEST_F_TIMEOUT(hwpt_vtd, refuses_5_levels, 120)
{
	struct ioat *five = ioat_new(self->vm.area, KVM_IOMMU_FORMAT_X86_FS, 5);
	uint64_t capabilities;
	uint32_t id = 0;

	ASSERT_FALSE(kiommu_vtd_info(&self->h, &capabilities).cap_reg & VTD_CAP_FS5LP);
	EXPECT_EQ(-EINVAL, kiommu_vtd_alloc(&self->h, 0, kiommu_vtd_s1(five), &id));
}

/* KVM lets only its own process track pages. */
TEST_F_TIMEOUT(hwpt_vtd, another_process, 120)
{
	int status = -1;
	uint32_t id;
	pid_t child = fork();

	if (!child)
		_exit(kiommu_vtd_alloc(&self->h, 0, kiommu_vtd_s1(self->t), &id) ==
		      -EPERM ? 0 : 1);
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
}

TEST_F_TIMEOUT(hwpt_vtd, two_devices, 240)
{
	uint32_t id = attached(self);

	if (self->h.devices.count < 2)
		SKIP(return, "needs two devices");
	kiommu_hwpt_open_device(&self->h, 1);
	ASSERT_EQ(0, kiommu_hwpt_attach(&self->h, 1, id));
	guest_stores(self, entry_of(self, 5), leaf(self, 5));
	for (unsigned int i = 0; i < 2; i++)
		EXPECT_TRUE(device_stores(self, i, IOVA + 5 * PAGE, 5, i));
	guest_stores(self, entry_of(self, 5), 0);
	ASSERT_EQ(0, kiommu_vtd_invalidate(&self->h, id, IOVA + 5 * PAGE, 1));
	for (unsigned int i = 0; i < 2; i++)
		EXPECT_FALSE(device_stores(self, i, IOVA + 5 * PAGE, 5, 10 + i));
	/* One goes on without the other. */
	ASSERT_EQ(0, kiommu_hwpt_detach(&self->h, 0));
	EXPECT_EQ(-EBUSY, kiommu_iommufd_destroy(&self->h, id));
	EXPECT_TRUE(device_stores(self, 1, IOVA + PAGE, 1, 20));
}

/* Sizes that older and newer user space would have. */
TEST_F_TIMEOUT(hwpt_vtd, sizes, 120)
{
	struct { struct iommu_hwpt_vtd_s1 data; uint64_t more[4]; } data = {
		.data = kiommu_vtd_s1(self->t),
	};
	struct { struct iommu_hwpt_vtd_s1_invalidate entry; uint64_t more[4]; } entry = {
		.entry = { .addr = IOVA + 3 * PAGE, .npages = 1 },
	};
	const uint32_t least = sizeof(data.data), shortest = sizeof(entry.entry);
	struct kiommu_hwpt *h = &self->h;
	uint32_t id = 0, count = 1;

	EXPECT_EQ(-EINVAL, kiommu_vtd_alloc_with(h, 0, &data, 8, &id));
	EXPECT_EQ(-EINVAL, kiommu_vtd_alloc_with(h, 0, &data, least - 1, &id));
	EXPECT_EQ(-EFAULT, kiommu_vtd_alloc_with(h, 0, (void *)8, least, &id));
	EXPECT_EQ(-E2BIG, kiommu_vtd_alloc_with(h, 0, &data, PAGE + 1, &id));
	data.more[3] = 1;
	EXPECT_EQ(-E2BIG, kiommu_vtd_alloc_with(h, 0, &data, sizeof(data), &id));
	/* What is behind the end is not looked at. */
	ASSERT_EQ(0, kiommu_vtd_alloc_with(h, 0, &data, sizeof(data) - 8, &id));
	ASSERT_EQ(0, kiommu_hwpt_attach(h, 0, id));
	ioat_write(self->t, entry_of(self, 3), leaf(self, 3));

	EXPECT_EQ(-EINVAL, kiommu_vtd_invalidate_with(h, id, &entry, shortest - 1, &count));
	EXPECT_EQ(0, count);
	count = 1;
	entry.more[3] = 1;
	EXPECT_EQ(-E2BIG, kiommu_vtd_invalidate_with(h, id, &entry, sizeof(entry), &count));
	EXPECT_EQ(0, count);
	EXPECT_FALSE(stores(self, IOVA + 3 * PAGE, 3, 1));
	count = 1;
	EXPECT_EQ(0, kiommu_vtd_invalidate_with(h, id, &entry, sizeof(entry) - 8, &count));
	EXPECT_EQ(1, count);
	EXPECT_TRUE(stores(self, IOVA + 3 * PAGE, 3, 2));
	count = 1;
	EXPECT_EQ(-EFAULT, kiommu_vtd_invalidate_with(h, id, (void *)8, shortest, &count));
	EXPECT_EQ(0, count);
	count = 0;
	EXPECT_EQ(0, kiommu_vtd_invalidate_with(h, id, NULL, 0, &count));
}

/* Ranges that end where the addresses do, a page before that, and a page behind it. */
TEST_F_TIMEOUT(hwpt_vtd, up_to_the_last_address, 120)
{
	const uint64_t addr = IOVA + 4 * PAGE, all = -addr / PAGE;
	uint32_t id = attached(self);

	for (uint64_t i = 0; i < 3; i++) {
		ioat_write(self->t, entry_of(self, 4), i % 2 ? 0 : leaf(self, 4));
		ASSERT_EQ(0, kiommu_vtd_invalidate(&self->h, id, addr, all - 1 + i));
		EXPECT_EQ(i % 2 == 0, stores(self, addr, 4, i));
	}
	/* From there on there is nothing, but it is no mistake to ask. */
	for (uint64_t npages = 1; npages < 4; npages++)
		EXPECT_EQ(0, kiommu_vtd_invalidate(&self->h, id, -2 * PAGE, npages));
}

/*
 * More tables than are read under the locks at once (32768): one page of them, named by
 * all entries of another one, which many entries of a third one name.
 */
TEST_F_TIMEOUT(hwpt_vtd, more_than_one_step, 280)
{
	const uint64_t first = 100 * KIOMMU_1G, last = 170 * KIOMMU_1G;
	uint64_t *table = kiommu_alloc(self->vm.area, PAGE, PAGE);
	uint64_t *above = kiommu_alloc(self->vm.area, PAGE, PAGE);
	uint32_t id = attached(self);

	memset(table, 0, PAGE);
	memset(above, 0, PAGE);
	for (uint64_t iova = first; iova <= last; iova += KIOMMU_1G)
		ioat_write(self->t, ioat_entry(self->t, iova, 2, true),
			   ioat_table_value(self->t, 2, kiommu_gpa(self->vm.area, above)));
	for (unsigned int i = 0; i < 512; i++)
		ioat_write(self->t, above + i,
			   ioat_table_value(self->t, 1, kiommu_gpa(self->vm.area, table)));
	/* At the end of the range, and at its beginning. */
	for (unsigned int i = 0; i < 2; i++) {
		const uint64_t iova = i ? first : last + 511 * KIOMMU_2M;

		ioat_write(self->t, table + 5 + i, leaf(self, 5 + i));
		ASSERT_EQ(0, kiommu_vtd_invalidate(&self->h, id, 0, UINT64_MAX));
		EXPECT_TRUE(stores(self, iova + (5 + i) * PAGE, 5 + i, i));
	}
	memset(above, 0, PAGE);
	ASSERT_EQ(0, kiommu_vtd_invalidate(&self->h, id, 0, UINT64_MAX));
	EXPECT_FALSE(stores(self, first + 5 * PAGE, 5, 3));
}

/* A table that cannot be followed is read again when what it maps is invalidated. */
TEST_F_TIMEOUT(hwpt_vtd, out_of_sync, 240)
{
	const uint64_t iova = IOVA + KIOMMU_2M;
	uint64_t *table = kiommu_vm_add_memory(&self->vm, KIOMMU_FREE_SLOT, KIOMMU_FREE_GPA,
					       1, 0);
	struct kiommu_vm *vm = &self->vm;
	uint32_t id;

	virt_map(vm->vm, (uint64_t)table, KIOMMU_FREE_GPA, 1);
	memset(table, 0, PAGE);
	ASSERT_EQ(0, kiommu_ioas_map_at(&self->h, table, KIOMMU_FREE_GPA, PAGE,
					IOMMU_IOAS_MAP_READABLE | IOMMU_IOAS_MAP_WRITEABLE));
	ioat_write(self->t, ioat_entry(self->t, iova, 1, true),
		   ioat_table_value(self->t, 1, KIOMMU_FREE_GPA));
	ioat_write(self->t, table, leaf(self, 3));
	id = attached(self);
	EXPECT_TRUE(stores(self, iova, 3, 1));
	ASSERT_EQ(0, kiommu_vm_set_slot(vm, KIOMMU_FREE_SLOT, 0, KIOMMU_FREE_GPA, 0, NULL));
	EXPECT_FALSE(stores(self, iova, 3, 2));
	/* In no slot it can be read, but not followed. */
	ASSERT_EQ(0, kiommu_vtd_invalidate(&self->h, id, iova, 1));
	ASSERT_EQ(0, kiommu_vm_set_slot(vm, KIOMMU_FREE_SLOT, 0, KIOMMU_FREE_GPA, PAGE, table));
	/* One page of it, but then all of it is followed again. */
	ASSERT_EQ(0, kiommu_vtd_invalidate(&self->h, id, iova, 1));
	EXPECT_TRUE(stores(self, iova, 3, 3));
	guest_stores(self, table + 4, leaf(self, 4));
	EXPECT_TRUE(stores(self, iova + 4 * PAGE, 4, 4));
	guest_stores(self, table + 4, 0);
	EXPECT_FALSE(stores(self, iova + 4 * PAGE, 4, 5));
}

static void write_to(const char *path, const char *value)
{
	int fd = open(path, O_WRONLY);

	TEST_ASSERT(fd >= 0 && write(fd, value, strlen(value)) > 0, "%s: %d", path, errno);
	close(fd);
}

/* N of vfioN, which no other device gets while anybody holds the one that had it. */
static int vfio_number(const struct kiommu_device *dev)
{
	char path[128];
	struct dirent *entry;
	int number = -1;
	DIR *dir;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/vfio-dev", dev->bdf);
	dir = opendir(path);
	TEST_ASSERT(dir, "%s: %d", path, errno);
	while (number < 0 && (entry = readdir(dir)))
		sscanf(entry->d_name, "vfio%d", &number);
	closedir(dir);
	return number;
}

static void give_up(FIXTURE_DATA(hwpt_vtd) *self)
{
	close(self->kvm_vfio);
	self->kvm_vfio = -1;
	self->h.kvm_vfio = 0;
	kiommu_device_close(&self->h.devices.dev[0]);
	write_to("/sys/bus/pci/drivers/vfio-pci/unbind", self->h.devices.dev[0].bdf);
}

/*
 * The KVM is found by the device of VFIO, a child of the PCI device: not by another
 * child of that, and it is not held longer than the call.
 */
TEST_F_TIMEOUT(hwpt_vtd, device_is_bound_anew, 120)
{
	struct kiommu_device *dev = &self->h.devices.dev[0];
	uint32_t id = attached(self);
	int number = vfio_number(dev);
	bool claims;
	char child[64];

	ASSERT_EQ(0, kiommu_hwpt_detach(&self->h, 0));
	ASSERT_EQ(0, kiommu_iommufd_destroy(&self->h, id));
	give_up(self);
	snprintf(child, sizeof(child), "child=%s", dev->bdf);
	claims = kiommu_load_claims(child);
	write_to("/sys/bus/pci/drivers_probe", dev->bdf);
	EXPECT_EQ(number, vfio_number(dev));
	self->kvm_vfio = kvm_create_device(self->vm.vm, KVM_DEV_TYPE_VFIO);
	self->h.kvm_vfio = self->kvm_vfio;
	kiommu_hwpt_open_device(&self->h, 0);
	ASSERT_EQ(0, kiommu_vtd_alloc_parent(&self->h, IOMMU_HWPT_ALLOC_NEST_PARENT,
					     &self->h.parent));
	attached(self);
	EXPECT_TRUE(stores(self, IOVA + PAGE, 1, 1));
	/* As it was. */
	give_up(self);
	if (claims)
		kiommu_unload_claims();
	write_to("/sys/bus/pci/drivers_probe", dev->bdf);
}

TEST_HARNESS_MAIN
