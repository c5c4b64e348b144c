// SPDX-License-Identifier: GPL-2.0-only
/*
 * Mode TRACKED in two containers of one KVM, whose tables share pages: a store
 * reaches both shadows, and both devices; when one container leaves, in
 * whatever way, the other one still follows; when both have left, KVM tracks
 * nothing.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <sys/eventfd.h>

#include <linux/compiler.h>

#include "kvm_test_harness.h"
#include "kvm_util.h"
#include "processor.h"

#include "faults.h"
#include "kiommu_util.h"
#include "ring.h"
#include "tracked.h"

#define PAGE KIOMMU_PAGE
#define IOVA (KIOMMU_IOVA_BASE + 0x40000000ull)
#define FROM (IOVA + 16 * PAGE) /* a page for devices to read */
#define PAGES 64ull
#define BYTES 256ull

FIXTURE(containers) {
	struct kiommu k;
	int fd[2]; /* containers: all devices but 1; device 1; or -1 */
	struct ioat *t;
	char *mem; /* PAGES pages */
	uint64_t gpa;
	uint64_t pins;
};

/* Sets both containers up, with the same anchor. */
static void set_up(FIXTURE_DATA(containers) *self)
{
	struct kiommu_area *area;

	kiommu_setup(&self->k, VFIO_KVM_IOMMU);
	area = self->k.vm.area;
	TEST_ASSERT(self->k.vfio.count > 1, "needs two devices");
	self->fd[0] = self->k.vfio.fd;
	self->fd[1] = kiommu_move_device(&self->k, 1);
	self->mem = kiommu_alloc(area, PAGES * PAGE, PAGE);
	self->gpa = kiommu_gpa(area, self->mem);
	self->t = ioat_new(area, KVM_IOMMU_FORMAT_VTD_SS, 3);
	ioat_map(self->t, FROM, self->gpa, 0, IOAT_RW);
	for (int i = 0; i < 2; i++) {
		TEST_ASSERT(!kiommu_register_tables(self->fd[i], self->t), "anchor");
		TEST_ASSERT(!kiommu_set_tracked(self->fd[i], 0), "TRACKED");
	}
}

static void tear_down(FIXTURE_DATA(containers) *self)
{
	kiommu_teardown(&self->k);
	if (self->fd[1] >= 0)
		close(self->fd[1]);
	TEST_ASSERT(kiommu_locked_vm() == self->k.locked_vm, "locked_vm");
	TEST_ASSERT(kiommu_pins() == self->pins, "pins");
	TEST_ASSERT(!kiommu_await_refs(0), "references");
}

FIXTURE_SETUP(containers)
{
	self->pins = kiommu_pins();
	set_up(self);
}

FIXTURE_TEARDOWN(containers)
{
	tear_down(self);
}

/* A store, and what devices write to @iova directly after it. */
static uint64_t store_and_write(uint64_t *entry, uint64_t value, uint64_t iova,
				void *dma0, void *dma1)
{
	WRITE_ONCE(*entry, value);
	if (dma0 && kiommu_dma_store(dma0, iova, 0, BYTES))
		return 1;
	if (dma1 && kiommu_dma_store(dma1, iova + PAGE / 2, 0, BYTES))
		return 1;
	return 0;
}

static void fill_device(FIXTURE_DATA(containers) *self, unsigned int i)
{
	kiommu_fill(self->mem, BYTES, i + 1);
	TEST_ASSERT(!kiommu_dma_load(self->k.dma[i], FROM, 0, BYTES), "device %u",
		    i);
}

/* Whether device @i has written to page @page of self->mem. */
static bool has_written(FIXTURE_DATA(containers) *self, unsigned int i,
			uint64_t page)
{
	return kiommu_count_equal(self->mem + page * PAGE + i * PAGE / 2, BYTES,
				  i + 1) == BYTES;
}

/* The guest maps page @page at IOVA + @at pages; -1 unmaps that. */
static void store_page(FIXTURE_DATA(containers) *self, uint64_t at, int page)
{
	uint64_t *entry = ioat_entry(self->t, IOVA + at * PAGE, 0, false);
	uint64_t value = page < 0 ? 0 :
		ioat_leaf_value(self->t, 0, self->gpa + page * PAGE, IOAT_RW);

	kiommu_guest_call(&self->k.vm, kiommu_store, entry, value);
}

static bool maps(FIXTURE_DATA(containers) *self, int i, uint64_t at, int page)
{
	return kiommu_maps(self->fd[i], IOVA + at * PAGE,
			   self->gpa + page * PAGE);
}

TEST_F_TIMEOUT(containers, a_store_reaches_both, 120)
{
	uint64_t *entry = ioat_entry(self->t, IOVA, 0, false);

	fill_device(self, 0);
	fill_device(self, 1);
	for (int page = 1; page < 4; page++) {
		uint64_t value = ioat_leaf_value(self->t, 0,
						 self->gpa + page * PAGE, IOAT_RW);

		ASSERT_EQ(0, kiommu_guest_call(&self->k.vm, store_and_write, entry,
					       value, IOVA, self->k.dma[0],
					       self->k.dma[1]));
		for (int i = 0; i < 2; i++) {
			EXPECT_TRUE(has_written(self, i, page));
			EXPECT_TRUE(maps(self, i, 0, page));
		}
		/* Unmapped: nothing arrives any more. */
		memset(self->mem + page * PAGE, 0, PAGE);
		ASSERT_EQ(0, kiommu_guest_call(&self->k.vm, store_and_write, entry,
					       0, IOVA, self->k.dma[0],
					       self->k.dma[1]));
		for (int i = 0; i < 2; i++) {
			EXPECT_FALSE(has_written(self, i, page));
			EXPECT_TRUE(kiommu_blocks(self->fd[i], IOVA));
		}
	}
	EXPECT_EQ(3, kiommu_tracked_pages(self->fd[0]));
	EXPECT_EQ(3, kiommu_tracked_pages(self->fd[1]));
}

/* One leaf table for both; each links it by tables of its own. */
TEST_F_TIMEOUT(containers, other_tables_above, 120)
{
	struct kiommu_area *area = self->k.vm.area;
	struct ioat *other = ioat_new(area, KVM_IOMMU_FORMAT_VTD_SS, 4);
	uint64_t *leaf = ioat_entry(self->t, IOVA, 0, false);
	uint64_t table = kiommu_gpa(area, leaf) & ~(PAGE - 1);
	uint64_t iova = KIOMMU_IOVA_BASE + 8 * KIOMMU_2M;
	uint64_t *middle;

	ASSERT_EQ(0, kiommu_unregister(self->fd[1]));
	ASSERT_EQ(0, kiommu_register_tables(self->fd[1], other));
	EXPECT_EQ(1, kiommu_tracked_pages(self->fd[1]));
	/* Linked twice, by stores of the guest. */
	middle = ioat_entry(other, iova, 1, true);
	ASSERT_EQ(0, kiommu_refresh(self->fd[1], iova, PAGE, NULL));
	EXPECT_EQ(3, kiommu_tracked_pages(self->fd[1]));
	for (int i = 0; i < 2; i++)
		kiommu_guest_call(&self->k.vm, kiommu_store, middle + i,
				  ioat_table_value(other, 1, table));
	EXPECT_EQ(4, kiommu_tracked_pages(self->fd[1]));
	store_page(self, 3, 5);
	EXPECT_TRUE(maps(self, 0, 3, 5));
	for (int i = 0; i < 2; i++)
		EXPECT_TRUE(kiommu_maps(self->fd[1],
					iova + i * KIOMMU_2M + 3 * PAGE,
					self->gpa + 5 * PAGE));
	/* What one of them unlinks, the other one still has. */
	kiommu_guest_call(&self->k.vm, kiommu_store,
			  ioat_entry(self->t, IOVA, 1, false), 0);
	EXPECT_EQ(2, kiommu_tracked_pages(self->fd[0]));
	EXPECT_EQ(0, kiommu_mapped_pages(self->fd[0]));
	kiommu_guest_call(&self->k.vm, kiommu_store, leaf + 3, 0);
	kiommu_guest_call(&self->k.vm, kiommu_store, leaf + 4,
			  ioat_leaf_value(self->t, 0, self->gpa, IOAT_RW));
	for (int i = 0; i < 2; i++) {
		uint64_t at = iova + i * KIOMMU_2M;

		EXPECT_TRUE(kiommu_blocks(self->fd[1], at + 3 * PAGE));
		EXPECT_TRUE(kiommu_maps(self->fd[1], at + 4 * PAGE, self->gpa));
	}
}

/*
 * The top table of the second container is the middle one of the first, so
 * pages that the first maps are tables of the second: an entry that maps a page
 * in one links a table in the other.
 */
TEST_F_TIMEOUT(containers, other_levels, 120)
{
	struct kiommu_area *area = self->k.vm.area;
	uint64_t *middle = ioat_entry(self->t, IOVA, 1, false);
	struct kvm_iommu_register_ioat anchor = ioat_anchor(self->t);
	uint64_t *table = (uint64_t *)(self->mem + 5 * PAGE);
	uint64_t iova = KIOMMU_IOVA_BASE + 9 * KIOMMU_2M;

	/* Its entry 0 links the leaf table, and spans the first GiB there. */
	ASSERT_EQ(0, (uint64_t)middle & (PAGE - 1));
	anchor.iota = kiommu_gpa(area, middle);
	ASSERT_EQ(0, kiommu_unregister(self->fd[1]));
	kiommu_guest_call(&self->k.vm, kiommu_store,
			  ioat_entry(self->t, FROM, 0, false), 0);
	ASSERT_EQ(0, kiommu_register(self->fd[1], &anchor));
	EXPECT_EQ(2, kiommu_tracked_pages(self->fd[1]));
	table[1] = ioat_leaf_value(self->t, 0, self->gpa + 6 * PAGE, IOAT_RW);
	store_page(self, 9, 5);
	EXPECT_TRUE(maps(self, 0, 9, 5));
	EXPECT_TRUE(kiommu_maps(self->fd[1], iova + PAGE, self->gpa + 6 * PAGE));
	EXPECT_EQ(1, kiommu_mapped_pages(self->fd[0]));
	EXPECT_EQ(1, kiommu_mapped_pages(self->fd[1]));
	EXPECT_EQ(3, kiommu_tracked_pages(self->fd[0]));
	EXPECT_EQ(3, kiommu_tracked_pages(self->fd[1]));
	/* What is data for one container is a table for the other. */
	kiommu_guest_call(&self->k.vm, kiommu_store, table + 2,
			  ioat_leaf_value(self->t, 0, self->gpa, IOAT_RW));
	EXPECT_TRUE(kiommu_maps(self->fd[1], iova + 2 * PAGE, self->gpa));
	EXPECT_EQ(1, kiommu_mapped_pages(self->fd[0]));
	/* When the first one leaves, the second one keeps its tables. */
	ASSERT_EQ(0, kiommu_unregister(self->fd[0]));
	kiommu_guest_call(&self->k.vm, kiommu_store, table + 1, 0);
	EXPECT_TRUE(kiommu_blocks(self->fd[1], iova + PAGE));
	store_page(self, 9, -1);
	EXPECT_TRUE(kiommu_blocks(self->fd[1], iova + 2 * PAGE));
	EXPECT_EQ(2, kiommu_tracked_pages(self->fd[1]));
}

/* How a container leaves. */
enum way { EXPLICIT, RING, UNTRACK, UNREGISTER, STOP, DEVICES, CLOSE, WAYS };

static const char *const way_names[WAYS] = {
	"EXPLICIT", "RING", "UNTRACK", "UNREGISTER", "STOP", "devices", "close",
};

static bool is_of(int who, unsigned int device)
{
	return (device == 1) == (who == 1);
}

static void close_devices(FIXTURE_DATA(containers) *self, int who, bool groups)
{
	struct kiommu_container *c = &self->k.vfio;

	for (unsigned int i = 0; i < c->count; i++) {
		if (!is_of(who, i))
			continue;
		kiommu_close_device(&self->k, i);
		if (!groups)
			continue;
		TEST_ASSERT(!kiommu_kvm_del_group(self->k.kvm_vfio, &c->dev[i]),
			    "FILE_DEL");
		kiommu_group_close(&c->dev[i]);
	}
}

static int set_ring(FIXTURE_DATA(containers) *self, int fd)
{
	struct kiommu_ring *ring = kiommu_ring_new(self->k.vm.area, 8);
	int kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	int ret = kiommu_set_ring(fd, ring, 0, kick, -1);

	close(kick);
	return ret;
}

static int leave(FIXTURE_DATA(containers) *self, int who, enum way way)
{
	uint64_t *entry = ioat_entry(self->t, IOVA, 0, false);
	int fd = self->fd[who];

	switch (way) {
	case EXPLICIT:
		return kiommu_set_explicit(fd);
	case RING:
		return set_ring(self, fd);
	case UNTRACK:
		return kiommu_untrack(fd, kiommu_gpa(self->k.vm.area, entry) &
				      ~(PAGE - 1), PAGE) != 1;
	case UNREGISTER:
		return kiommu_unregister(fd);
	case STOP:
		return kiommu_stop(fd);
	case CLOSE:
		close_devices(self, who, true);
		close(fd);
		if (!who)
			self->k.vfio.fd = -1;
		self->fd[who] = -1;
		return 0;
	default:
		close_devices(self, who, false);
		/* The file of a domain keeps its guest. */
		return kiommu_front_is_file() ? kiommu_stop(fd) : 0;
	}
}

/* @who has left: the other one follows, and its device sees that at once. */
static void check_other(struct __test_metadata *_metadata,
			FIXTURE_DATA(containers) *self, int who, enum way way)
{
	uint64_t *entry = ioat_entry(self->t, IOVA, 0, false);
	uint64_t value = ioat_leaf_value(self->t, 0, self->gpa + PAGE, IOAT_RW);
	int stays = !who;

	ASSERT_EQ(0, kiommu_guest_call(&self->k.vm, store_and_write, entry, value,
				       IOVA, stays ? NULL : self->k.dma[0],
				       stays ? self->k.dma[1] : NULL));
	EXPECT_TRUE(has_written(self, stays, 1));
	EXPECT_TRUE(maps(self, stays, 0, 1));
	EXPECT_EQ(3, kiommu_tracked_pages(self->fd[stays]));
	if (way <= UNTRACK)
		EXPECT_TRUE(kiommu_blocks(self->fd[who], IOVA));
	if (way < CLOSE)
		EXPECT_EQ(way == UNTRACK ? 2 : 0,
			  kiommu_tracked_pages(self->fd[who]));
	store_page(self, 0, -1);
	EXPECT_TRUE(kiommu_blocks(self->fd[stays], IOVA));
}

TEST_F_TIMEOUT(containers, one_leaves, 240)
{
	for (int round = 0; round < 2 * WAYS; round++) {
		enum way way = round / 2;
		int who = round % 2;

		TH_LOG("%s of the %s one", way_names[way], who ? "second" : "first");
		fill_device(self, !who);
		ASSERT_EQ(0, leave(self, who, way));
		check_other(_metadata, self, who, way);
		/* Restore what it had: it follows again. */
		if (way == UNREGISTER)
			ASSERT_EQ(0, kiommu_register_tables(self->fd[who], self->t));
		if (way < UNREGISTER)
			ASSERT_EQ(0, kiommu_set_tracked(self->fd[who], 0));
		if (way <= UNREGISTER) {
			store_page(self, 2, 7);
			EXPECT_TRUE(maps(self, 0, 2, 7));
			EXPECT_TRUE(maps(self, 1, 2, 7));
		}
		tear_down(self);
		set_up(self);
	}
}

/* KVM cannot emulate this: the vCPU exits as long as the page is tracked. */
static uint64_t store_cmpxchg16b(uint64_t *entry, uint64_t value)
{
	uint64_t low = entry[0], high = entry[1];

	/* This ends the call; from now on the test runs the vCPU. */
	GUEST_SYNC(0);
	asm volatile("lock cmpxchg16b %0"
		     : "+m"(*(uint64_t(*)[2])entry), "+a"(low), "+d"(high)
		     : "b"(value), "c"(high) : "cc");
	return 0;
}

/* KVM tracks a page once, until the last container has let it go. */
TEST_F_TIMEOUT(containers, tracked_until_the_last_leaves, 120)
{
	uint64_t *entry = ioat_entry(self->t, IOVA, 0, false);
	struct kvm_vcpu *vcpu = self->k.vm.vcpu;
	struct ucall uc;

	vm_enable_cap(self->k.vm.vm, KVM_CAP_EXIT_ON_EMULATION_FAILURE, 1);
	for (int who = 0; who < 2; who++) {
		kiommu_guest_call(&self->k.vm, store_cmpxchg16b, entry, 0);
		for (int i = 0; i < 2; i++) {
			ASSERT_EQ(0, _vcpu_run(vcpu));
			ASSERT_EQ(KVM_EXIT_INTERNAL_ERROR, vcpu->run->exit_reason);
			ASSERT_EQ(0, leave(self, who ^ i,
					   i ? EXPLICIT : UNTRACK));
		}
		ASSERT_EQ(0, _vcpu_run(vcpu));
		ASSERT_EQ(UCALL_SYNC, get_ucall(vcpu, &uc));
		for (int i = 0; i < 2; i++)
			ASSERT_EQ(0, kiommu_set_tracked(self->fd[i], 0));
	}
}

TEST_HARNESS_MAIN
