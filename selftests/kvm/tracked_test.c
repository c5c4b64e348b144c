// SPDX-License-Identifier: GPL-2.0-only
/*
 * Mode TRACKED with a KVM guest: what the guest stores to its tables is in the
 * shadow, and reaches devices, with its next instruction. There is no exit to
 * the test: each change is within one kiommu_guest_call(), as is what shows it.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <linux/compiler.h>

#include "kvm_test_harness.h"
#include "kvm_util.h"
#include "processor.h"

#include "faults.h"
#include "kiommu_util.h"
#include "nic.h"
#include "ring.h"
#include "tracked.h"

#define PAGE KIOMMU_PAGE
#define IOVA (KIOMMU_IOVA_BASE + 0x40000000ull)
#define PAGES 64ull
#define NOWHERE (1ull << 45)

FIXTURE(tracked) {
	struct kiommu k;
	int fd;
	struct ioat *t;
	uint64_t gpa; /* that of PAGES pages */
	uint64_t pins;
};

FIXTURE_SETUP(tracked)
{
	struct kiommu_area *area;

	self->pins = kiommu_pins();
	if (!kiommu_nic_lacks())
		kiommu_nic_first();
	kiommu_setup(&self->k, VFIO_KVM_IOMMU);
	area = self->k.vm.area;
	self->fd = self->k.vfio.fd;
	self->gpa = kiommu_gpa(area, kiommu_alloc(area, PAGES * PAGE, PAGE));
	self->t = ioat_new(area, KVM_IOMMU_FORMAT_VTD_SS, 3);
	ioat_map(self->t, IOVA, self->gpa, 0, IOAT_RW);
	ASSERT_EQ(0, kiommu_register_tables(self->fd, self->t));
	ASSERT_EQ(0, kiommu_set_tracked(self->fd, 0));
}

FIXTURE_TEARDOWN(tracked)
{
	kiommu_teardown(&self->k);
	EXPECT_EQ(self->k.locked_vm, kiommu_locked_vm());
	EXPECT_EQ(self->pins, kiommu_pins());
	EXPECT_EQ(0, kiommu_await_refs(0));
}

TEST_F_TIMEOUT(tracked, begins_with_what_the_tables_say, 120)
{
	EXPECT_TRUE(kiommu_maps(self->fd, IOVA, self->gpa));
	EXPECT_EQ(3, kiommu_tracked_pages(self->fd));
	EXPECT_EQ(0, kiommu_unsynced_pages(self->fd));
}

/*
 * Stores of each kind to an entry.
 */
static uint64_t store4(uint32_t *entry, uint64_t value)
{
	WRITE_ONCE(entry[1], value >> 32);
	WRITE_ONCE(entry[0], value);
	return 0;
}

static uint64_t store2(uint16_t *entry, uint64_t value)
{
	for (int i = 3; i >= 0; i--)
		WRITE_ONCE(entry[i], value >> (16 * i));
	return 0;
}

static uint64_t store1(uint8_t *entry, uint64_t value)
{
	for (int i = 7; i >= 0; i--)
		WRITE_ONCE(entry[i], value >> (8 * i));
	return 0;
}

static uint64_t store_nt(uint64_t *entry, uint64_t value)
{
	asm volatile("movnti %1, %0" : "=m"(*entry) : "r"(value));
	return 0;
}

static uint64_t store_cmpxchg(uint64_t *entry, uint64_t value)
{
	uint64_t old = *entry;

	asm volatile("lock cmpxchg %2, %0"
		     : "+m"(*entry), "+a"(old) : "r"(value) : "cc");
	return 0;
}

static uint64_t store_xchg(uint64_t *entry, uint64_t value)
{
	asm volatile("xchg %1, %0" : "+m"(*entry), "+r"(value));
	return 0;
}

/* Stores 16 bytes: the next entry is stored as it was. */
static uint64_t store_sse(uint64_t *entry, uint64_t value)
{
	uint64_t pair[2] __aligned(16) = { value, entry[1] };

	asm volatile("movdqa %1, %%xmm0; movups %%xmm0, %0"
		     : "=m"(*(uint64_t(*)[2])entry) : "m"(pair) : "xmm0");
	return 0;
}

static uint64_t store_stos(uint64_t *entry, uint64_t value)
{
	uint64_t count = 1;

	asm volatile("rep stosq"
		     : "+D"(entry), "+c"(count) : "a"(value) : "memory");
	return 0;
}

static uint64_t store_movs(uint64_t *entry, uint64_t value)
{
	const uint64_t *from = &value;
	uint64_t count = 8;

	asm volatile("rep movsb"
		     : "+D"(entry), "+S"(from), "+c"(count) : : "memory");
	return 0;
}

TEST_F_TIMEOUT(tracked, each_kind_of_store, 240)
{
	static const struct {
		const char *name;
		void *fn;
	} kinds[] = {
		{ "8 bytes", kiommu_store }, { "4 bytes", store4 },
		{ "2 bytes", store2 }, { "1 byte", store1 },
		{ "movnti", store_nt }, { "lock cmpxchg", store_cmpxchg },
		{ "xchg", store_xchg }, { "16 bytes", store_sse },
		{ "rep stosq", store_stos }, { "rep movsb", store_movs },
	};
	uint64_t iova = IOVA + 5 * PAGE;
	uint64_t *entry = ioat_entry(self->t, iova, 0, false);

	for (unsigned int i = 0; i < ARRAY_SIZE(kinds); i++) {
		uint64_t gpa = self->gpa + (i + 1) * PAGE;
		uint64_t value = ioat_leaf_value(self->t, 0, gpa, IOAT_RW);

		TH_LOG("%s", kinds[i].name);
		kiommu_guest_call(&self->k.vm, kinds[i].fn, entry, value);
		EXPECT_TRUE(kiommu_maps(self->fd, iova, gpa));
		kiommu_guest_call(&self->k.vm, kinds[i].fn, entry, 0);
		EXPECT_TRUE(kiommu_blocks(self->fd, iova));
	}
	EXPECT_TRUE(kiommu_maps(self->fd, IOVA, self->gpa));
}

/*
 * Stores the high half of a page's last entry and the low half of the next one.
 */
static uint64_t store_crossing(char *page, uint64_t low, uint64_t high)
{
	uint64_t value = low >> 32 | high << 32;

	asm volatile("movq %1, %0"
		     : "=m"(*(uint64_t *)(page + PAGE - 4)) : "r"(value));
	return 0;
}

/* Two tables are neighbours in memory, so two spans change. */
TEST_F_TIMEOUT(tracked, store_across_pages, 120)
{
	struct kiommu_area *area = self->k.vm.area;
	uint64_t *tables = kiommu_alloc(area, 2 * PAGE, PAGE);
	uint64_t iova = IOVA + 4 * KIOMMU_2M;
	uint64_t rights = ioat_leaf_value(self->t, 0, 0, IOAT_RW);
	uint64_t high = 1ull << 32; /* makes an address wrong */

	memset(tables, 0, 2 * PAGE);
	tables[511] = (high + self->gpa) & ~0xffffffffull;
	tables[511] |= (uint32_t)self->gpa | rights;
	tables[512] = (self->gpa & 0xffffffff00000000ull) | 0;
	for (int i = 0; i < 2; i++) {
		kiommu_guest_call(&self->k.vm, kiommu_store,
				  ioat_entry(self->t, iova + i * KIOMMU_2M, 1,
					     true),
				  ioat_table_value(self->t, 1,
						   kiommu_gpa(area, tables) +
						   i * PAGE));
	}
	EXPECT_EQ(5, kiommu_tracked_pages(self->fd));
	EXPECT_TRUE(kiommu_blocks(self->fd, iova + KIOMMU_2M - PAGE));
	EXPECT_TRUE(kiommu_blocks(self->fd, iova + KIOMMU_2M));
	kiommu_guest_call(&self->k.vm, store_crossing, tables,
			  self->gpa | rights, self->gpa | rights);
	EXPECT_TRUE(kiommu_maps(self->fd, iova + KIOMMU_2M - PAGE, self->gpa));
	EXPECT_TRUE(kiommu_maps(self->fd, iova + KIOMMU_2M, self->gpa));
}

/* Links a table, or unlinks it, and stores to its page. */
static uint64_t link_and_store(uint64_t *entry, uint64_t value, uint64_t *table,
			       uint64_t stores)
{
	WRITE_ONCE(*entry, value);
	for (uint64_t i = 0; i < stores; i++)
		WRITE_ONCE(table[i], i);
	return 0;
}

TEST_F_TIMEOUT(tracked, tables_come_and_go, 120)
{
	uint64_t iova = IOVA + 2 * KIOMMU_2M;
	uint64_t *table = kiommu_alloc_page(self->k.vm.area);
	uint64_t *entry = ioat_entry(self->t, iova, 1, true);

	memset(table, 0, PAGE);
	for (unsigned int i = 0; i < PAGES; i++)
		table[i * 8] = ioat_leaf_value(self->t, 0, self->gpa + i * PAGE,
					       IOAT_RW);
	kiommu_guest_call(&self->k.vm, kiommu_store, entry,
			  ioat_table_value(self->t, 1,
					   kiommu_gpa(self->k.vm.area, table)));
	EXPECT_EQ(4, kiommu_tracked_pages(self->fd));
	for (unsigned int i = 0; i < PAGES; i++)
		EXPECT_TRUE(kiommu_maps(self->fd, iova + i * 8 * PAGE,
					self->gpa + i * PAGE));
	/* It is ordinary memory at once: what is stored there means nothing. */
	kiommu_guest_call(&self->k.vm, link_and_store, entry, 0, table, 512);
	EXPECT_EQ(3, kiommu_tracked_pages(self->fd));
	for (unsigned int i = 0; i < PAGES; i++)
		EXPECT_TRUE(kiommu_blocks(self->fd, iova + i * 8 * PAGE));
	EXPECT_EQ(1, kiommu_mapped_pages(self->fd));
}

/* Sends a frame to the page that the instruction before has mapped. */
static uint64_t map_and_send(uint64_t *entry, uint64_t value,
			     struct kiommu_nic *nic, uint64_t to, uint64_t from)
{
	WRITE_ONCE(*entry, value);
	return kiommu_nic_send(nic, to, from, 1024);
}

TEST_F_TIMEOUT(tracked, dma_directly_after_the_store, 120)
{
	struct kiommu_area *area = self->k.vm.area;
	char *from, *one, *two;
	struct kiommu_nic *nic;
	uint64_t *entry;
	uint64_t value;

	if (kiommu_nic_lacks())
		SKIP(return, "%s", kiommu_nic_lacks());
	from = kiommu_alloc_page(area);
	one = kiommu_alloc_page(area);
	two = kiommu_alloc_page(area);
	nic = kiommu_nic_open(&self->k.vfio.dev[0], &self->k.vm,
			      IOVA + 32 * PAGE);
	kiommu_guest_call(&self->k.vm, kiommu_nic_map, nic, self->t);
	kiommu_guest_call(&self->k.vm, ioat_map, self->t, IOVA + PAGE,
			  kiommu_gpa(area, from), 0, IOAT_RW);
	entry = ioat_entry(self->t, IOVA, 0, false);
	for (int round = 1; round < 20; round++) {
		kiommu_fill(from, PAGE, round);
		memset(one, 0, PAGE);
		memset(two, 0, PAGE);
		/* Mapped: it arrives. Another page: it arrives there. */
		value = ioat_leaf_value(self->t, 0, kiommu_gpa(area, one),
					IOAT_RW);
		EXPECT_EQ(1, kiommu_guest_call(&self->k.vm, map_and_send, entry,
					       value, nic, IOVA, IOVA + PAGE));
		EXPECT_EQ(0, memcmp(one, from, 1024));
		value = ioat_leaf_value(self->t, 0, kiommu_gpa(area, two),
					IOAT_RW);
		kiommu_guest_call(&self->k.vm, map_and_send, entry, value, nic,
				  IOVA, IOVA + PAGE);
		EXPECT_EQ(0, memcmp(two, from, 1024));
		/* Unmapped: nothing arrives any more. */
		kiommu_fill(from, PAGE, round + 100);
		kiommu_guest_call(&self->k.vm, map_and_send, entry, 0, nic,
				  IOVA, IOVA + PAGE);
		EXPECT_NE(0, memcmp(one, from, 1024));
		EXPECT_NE(0, memcmp(two, from, 1024));
	}
}

TEST_F_TIMEOUT(tracked, bad_entries_are_reported, 120)
{
	uint64_t *entry = ioat_entry(self->t, IOVA + KIOMMU_2M, 1, true);
	struct kvm_iommu_fault fault;
	int fd = kiommu_open_faults(self->fd, 0);

	ASSERT_LE(0, fd);
	kiommu_guest_call(&self->k.vm, kiommu_store, entry,
			  ioat_leaf_value(self->t, 1, PAGE, IOAT_RW));
	ASSERT_TRUE(kiommu_next_fault(fd, KVM_IOMMU_FAULT_ENTRY, &fault));
	EXPECT_EQ(IOVA + KIOMMU_2M, fault.iova);
	EXPECT_EQ(KVM_IOMMU_STATUS_ENTRY_RESERVED, fault.status);
	EXPECT_EQ(KVM_IOMMU_FORMAT_VTD_SS, fault.format);
	EXPECT_EQ(2, fault.level);
	EXPECT_FALSE(fault.flags & KVM_IOMMU_FAULT_HAS_GPA);
	EXPECT_TRUE(kiommu_maps(self->fd, IOVA, self->gpa));
	/* A page outside of all slots. */
	kiommu_guest_call(&self->k.vm, kiommu_store,
			  ioat_entry(self->t, IOVA, 0, true),
			  ioat_leaf_value(self->t, 0, NOWHERE, IOAT_RW));
	ASSERT_TRUE(kiommu_next_fault(fd, KVM_IOMMU_FAULT_ENTRY, &fault));
	EXPECT_EQ(IOVA, fault.iova);
	EXPECT_EQ(KVM_IOMMU_STATUS_NO_SLOT, fault.status);
	EXPECT_EQ(1, fault.level);
	EXPECT_TRUE(fault.flags & KVM_IOMMU_FAULT_HAS_GPA);
	EXPECT_EQ(NOWHERE, fault.gpa);
	EXPECT_FALSE(kiommu_maps(self->fd, IOVA, self->gpa));
	close(fd);
}

static uint64_t store_many(uint64_t *entry, uint64_t value, uint64_t count)
{
	for (uint64_t i = 0; i < count; i++)
		WRITE_ONCE(entry[i], value + i * PAGE);
	return 0;
}

TEST_F_TIMEOUT(tracked, bursts_go_out_of_sync, 120)
{
	uint64_t iova = IOVA + 8 * PAGE;
	uint64_t *entry = ioat_entry(self->t, iova, 0, false);
	uint64_t value = ioat_leaf_value(self->t, 0, self->gpa, IOAT_RW);

	ASSERT_EQ(0, kiommu_set_tracked(self->fd, 8));
	/* Each time, half as many stores are followed as before. */
	for (int followed = 8; followed >= 1; followed /= 2) {
		EXPECT_EQ(3, kiommu_tracked_pages(self->fd));
		kiommu_guest_call(&self->k.vm, store_many, entry, value, 20);
		EXPECT_EQ(1, kiommu_unsynced_pages(self->fd));
		for (int i = 0; i < 20; i++)
			EXPECT_EQ(i < followed,
				  kiommu_maps(self->fd, iova + i * PAGE,
					      self->gpa + i * PAGE));
		EXPECT_EQ(0, kiommu_refresh(self->fd, iova, 20 * PAGE, NULL));
		EXPECT_EQ(0, kiommu_unsynced_pages(self->fd));
		for (int i = 0; i < 20; i++) {
			EXPECT_TRUE(kiommu_maps(self->fd, iova + i * PAGE,
						self->gpa + i * PAGE));
			/* By the test: not followed until a refresh. */
			entry[i] = 0;
		}
		EXPECT_EQ(0, kiommu_unmap_dma(self->fd, iova,
					      &(uint64_t){ 20 * PAGE }, 0));
	}
}

TEST_F_TIMEOUT(tracked, modes_change, 120)
{
	uint64_t *entry = ioat_entry(self->t, IOVA, 0, false);
	uint64_t value = ioat_leaf_value(self->t, 0, self->gpa + PAGE, IOAT_RW);

	struct kvm_iommu_set_sync cmd = { .size = sizeof(cmd), .burst = 1 };

	EXPECT_EQ(-EOPNOTSUPP, kiommu_set_sync(self->fd, &cmd));
	ASSERT_EQ(0, kiommu_set_explicit(self->fd));
	EXPECT_EQ(0, kiommu_tracked_pages(self->fd));
	EXPECT_EQ(-ENXIO, kiommu_untrack(self->fd, self->gpa, PAGE));
	kiommu_guest_call(&self->k.vm, kiommu_store, entry, value);
	kiommu_guest_call(&self->k.vm, kiommu_store, entry + 1, value);
	EXPECT_TRUE(kiommu_blocks(self->fd, IOVA + PAGE));
	ASSERT_EQ(0, kiommu_set_tracked(self->fd, 0));
	EXPECT_TRUE(kiommu_maps(self->fd, IOVA + PAGE, self->gpa + PAGE));
	EXPECT_EQ(3, kiommu_tracked_pages(self->fd));
	/* Anchors come and go. */
	ASSERT_EQ(0, kiommu_unregister(self->fd));
	EXPECT_EQ(0, kiommu_tracked_pages(self->fd));
	EXPECT_EQ(0, kiommu_mapped_pages(self->fd));
	kiommu_guest_call(&self->k.vm, kiommu_store, entry, value + PAGE);
	ASSERT_EQ(0, kiommu_register_tables(self->fd, self->t));
	EXPECT_TRUE(kiommu_maps(self->fd, IOVA, self->gpa + 2 * PAGE));
	kiommu_guest_call(&self->k.vm, kiommu_store, entry, value);
	EXPECT_TRUE(kiommu_maps(self->fd, IOVA, self->gpa + PAGE));
	/* The mode ends with the KVM. */
	ASSERT_EQ(0, kiommu_stop(self->fd));
	EXPECT_EQ(0, kiommu_tracked_pages(self->fd));
	kiommu_guest_call(&self->k.vm, kiommu_store, entry, value + PAGE);
	EXPECT_EQ(-ENODEV, kiommu_set_tracked(self->fd, 0));
	ASSERT_EQ(0, kiommu_start(self->fd, self->k.vm.fd));
	EXPECT_EQ(-ENXIO, kiommu_untrack(self->fd, self->gpa, PAGE));
}

/* A table is in a slot that is deleted, and added again. */
TEST_F_TIMEOUT(tracked, slot_of_a_table_goes, 120)
{
	uint64_t iova = IOVA + 3 * KIOMMU_2M;
	uint64_t *entry = ioat_entry(self->t, iova, 1, true);
	struct kvm_iommu_fault fault;
	uint64_t *table;
	int fd = kiommu_open_faults(self->fd, 0);

	ASSERT_LE(0, fd);
	for (int round = 0; round < 3; round++) {
		table = kiommu_vm_add_memory(&self->k.vm, KIOMMU_FREE_SLOT,
					     KIOMMU_FREE_GPA, 4, 0);
		table[0] = ioat_leaf_value(self->t, 0, self->gpa, IOAT_RW);
		kiommu_guest_call(&self->k.vm, kiommu_store, entry,
				  ioat_table_value(self->t, 1,
						   KIOMMU_FREE_GPA));
		EXPECT_TRUE(kiommu_maps(self->fd, iova, self->gpa));
		EXPECT_EQ(4, kiommu_tracked_pages(self->fd));
		kiommu_vm_del_memory(&self->k.vm, KIOMMU_FREE_SLOT, table, 4);
		EXPECT_TRUE(kiommu_blocks(self->fd, iova));
		EXPECT_EQ(3, kiommu_tracked_pages(self->fd));
		EXPECT_TRUE(kiommu_next_fault(fd, KVM_IOMMU_FAULT_SYNC, &fault));
		EXPECT_EQ(KIOMMU_FREE_GPA, fault.gpa);
		EXPECT_EQ(iova, fault.iova);
		EXPECT_TRUE(kiommu_maps(self->fd, IOVA, self->gpa));
	}
	close(fd);
}

TEST_HARNESS_MAIN
