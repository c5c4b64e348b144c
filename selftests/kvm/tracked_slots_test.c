// SPDX-License-Identifier: GPL-2.0-only
/*
 * Mode TRACKED and memory slots of system management mode: KVM has them in an
 * address space of their own, which devices do not see. They come and go over
 * the guest's tables, as with QEMU, and the tables are followed as before.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <sys/mman.h>

#include "kvm_test_harness.h"
#include "kvm_util.h"

#include "faults.h"
#include "kiommu_util.h"
#include "tracked.h"

#define PAGE KIOMMU_PAGE
#define IOVA (KIOMMU_IOVA_BASE + 0x40000000ull)
#define GPA KIOMMU_FREE_GPA /* GPA of self->table */
#define SLOT KIOMMU_FREE_SLOT
#define SMM_SLOT (1u << 16 | 1) /* in address space 1 */
#define PAGES 8ull
#define TABLE_PAGES 4ull
#define BYTES 64ull

FIXTURE(smm) {
	struct kiommu k;
	int fd;
	int faults;
	struct ioat *t;
	char *mem; /* PAGES pages, mapped at IOVA */
	uint64_t gpa;
	uint64_t *table; /* maps IOVA + 2M; TABLE_PAGES pages, in SLOT */
	uint64_t pins;
};

/* @mem NULL deletes the slot. */
static int set_smm_slot(FIXTURE_DATA(smm) *self, uint64_t gpa, uint64_t size,
			void *mem)
{
	return kiommu_vm_set_slot(&self->k.vm, SMM_SLOT, 0, gpa, mem ? size : 0, mem);
}

/* A slot over all of the area, where the upper tables are. */
static int set_area(FIXTURE_DATA(smm) *self, bool there)
{
	return set_smm_slot(self, KIOMMU_AREA_GPA, KIOMMU_AREA_SIZE,
			    there ? addr_gpa2hva(self->k.vm.vm, KIOMMU_AREA_GPA) :
			    NULL);
}

FIXTURE_SETUP(smm)
{
	struct kiommu_area *area;
	uint64_t *entry;

	self->pins = kiommu_pins();
	kiommu_setup(&self->k, VFIO_KVM_IOMMU);
	if (vm_check_cap(self->k.vm.vm, KVM_CAP_MULTI_ADDRESS_SPACE) < 2) {
		kiommu_teardown(&self->k);
		SKIP(return, "KVM has no system management mode");
	}
	area = self->k.vm.area;
	self->fd = self->k.vfio.fd;
	self->faults = kiommu_open_faults(self->fd, 0);
	ASSERT_LE(0, self->faults);
	self->mem = kiommu_alloc(area, PAGES * PAGE, PAGE);
	self->gpa = kiommu_gpa(area, self->mem);
	self->table = kiommu_vm_add_memory(&self->k.vm, SLOT, GPA, TABLE_PAGES, 0);
	memset(self->table, 0, TABLE_PAGES * PAGE);
	self->t = ioat_new(area, KVM_IOMMU_FORMAT_VTD_SS, 3);
	ioat_map_pages(self->t, IOVA, self->gpa, PAGES, IOAT_RW);
	entry = ioat_entry(self->t, IOVA + KIOMMU_2M, 1, true);
	ioat_write(self->t, entry, ioat_table_value(self->t, 1, GPA));
	ioat_write(self->t, self->table, ioat_leaf_value(self->t, 0, self->gpa,
							 IOAT_RW));
	ASSERT_EQ(0, kiommu_register_tables(self->fd, self->t));
	ASSERT_EQ(0, kiommu_set_tracked(self->fd, 0));
	ASSERT_EQ(4, kiommu_tracked_pages(self->fd));
	/* Replaces what other tests have left in the device's buffer. */
	kiommu_fill(self->mem, BYTES, 3);
	kiommu_dma_load(self->k.dma[0], IOVA, 0, BYTES);
}

FIXTURE_TEARDOWN(smm)
{
	close(self->faults);
	kiommu_teardown(&self->k);
	EXPECT_EQ(self->k.locked_vm, kiommu_locked_vm());
	EXPECT_EQ(self->pins, kiommu_pins());
	EXPECT_EQ(0, kiommu_await_refs(0));
}

/* Whether the device, whose buffer holds something else, can write to @page. */
static bool reaches(FIXTURE_DATA(smm) *self, uint64_t page)
{
	char *mem = self->mem + page * PAGE;

	kiommu_fill(mem, BYTES, 7);
	kiommu_dma_store(self->k.dma[0], IOVA + page * PAGE, 0, BYTES);
	return kiommu_count_equal(mem, BYTES, 7) != BYTES;
}

/*
 * The guest unmaps @page and maps it again: each shows right after the store.
 */
static void store_shows(struct __test_metadata *_metadata,
			FIXTURE_DATA(smm) *self, uint64_t page)
{
	uint64_t iova = IOVA + page * PAGE;
	uint64_t *entry = ioat_entry(self->t, iova, 0, false);
	uint64_t value = *entry;

	kiommu_guest_call(&self->k.vm, kiommu_store, entry, 0);
	EXPECT_TRUE(kiommu_blocks(self->fd, iova));
	EXPECT_FALSE(reaches(self, page));
	kiommu_guest_call(&self->k.vm, kiommu_store, entry, value);
	EXPECT_TRUE(kiommu_maps(self->fd, iova, self->gpa + page * PAGE));
	EXPECT_TRUE(reaches(self, page));
}

static void all_is_followed(struct __test_metadata *_metadata,
			    FIXTURE_DATA(smm) *self)
{
	EXPECT_EQ(4, kiommu_tracked_pages(self->fd));
	EXPECT_EQ(0, kiommu_unsynced_pages(self->fd));
	for (uint64_t page = 0; page < PAGES; page += 3)
		store_shows(_metadata, self, page);
	EXPECT_EQ(4, kiommu_tracked_pages(self->fd));
}

TEST_F_TIMEOUT(smm, slot_over_the_tables_goes, 120)
{
	for (int i = 0; i < 3; i++) {
		ASSERT_EQ(0, set_area(self, true));
		all_is_followed(_metadata, self);
		ASSERT_EQ(0, set_area(self, false));
		all_is_followed(_metadata, self);
	}
}

/* The slot begins before that of the tables, and ends behind it. */
TEST_F_TIMEOUT(smm, slot_reaches_out_of_the_tables, 120)
{
	const uint64_t before = 16 * PAGE, size = KIOMMU_AREA_SIZE + 2 * before;
	void *other = mmap(NULL, size, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	ASSERT_EQ(0, set_smm_slot(self, KIOMMU_AREA_GPA - before, size, other));
	ASSERT_EQ(0, set_smm_slot(self, KIOMMU_AREA_GPA - before, 0, NULL));
	all_is_followed(_metadata, self);
}

/* The slot of a table goes while one of the other address space stays there. */
TEST_F_TIMEOUT(smm, slot_stays_and_the_tables_go, 120)
{
	struct kvm_iommu_fault fault;

	ASSERT_EQ(0, set_smm_slot(self, GPA, TABLE_PAGES * PAGE, self->table));
	ASSERT_EQ(0, kiommu_vm_set_slot(&self->k.vm, SLOT, 0, GPA, 0, NULL));
	EXPECT_TRUE(kiommu_blocks(self->fd, IOVA + KIOMMU_2M));
	EXPECT_EQ(3, kiommu_tracked_pages(self->fd));
	EXPECT_TRUE(kiommu_next_fault(self->faults, KVM_IOMMU_FAULT_SYNC, &fault));
	EXPECT_EQ(GPA, fault.gpa);
	ASSERT_EQ(0, set_smm_slot(self, GPA, 0, NULL));
	for (uint64_t page = 0; page < PAGES; page += 3)
		store_shows(_metadata, self, page);
	ASSERT_EQ(0, kiommu_vm_set_slot(&self->k.vm, SLOT, 0, GPA,
					TABLE_PAGES * PAGE, self->table));
	ASSERT_EQ(0, kiommu_refresh(self->fd, IOVA + KIOMMU_2M, PAGE, NULL));
	EXPECT_TRUE(kiommu_maps(self->fd, IOVA + KIOMMU_2M, self->gpa));
	EXPECT_EQ(0, kiommu_unsynced_pages(self->fd));
	EXPECT_EQ(4, kiommu_tracked_pages(self->fd));
}

TEST_HARNESS_MAIN
