// SPDX-License-Identifier: GPL-2.0-only
/*
 * Mode TRACKED and what can happen at the same time: two vCPUs store to the
 * same entries; a vCPU stores while memory slots come and go, and while the
 * mode changes; a guest stores garbage into its own tables and links them below
 * themselves, for as long as it likes.
 *
 * When all have stopped, the shadow is what memory says, and in the end all
 * pins and charges are given back. selftests/vm/run checks the kernel's log.
 */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

#include <linux/compiler.h>

#include "kvm_test_harness.h"
#include "kvm_util.h"
#include "processor.h"

#include "kiommu_util.h"
#include "timeouts.h"
#include "ring.h"
#include "tracked.h"

#define PAGE KIOMMU_PAGE
#define IOVA (KIOMMU_IOVA_BASE + 0x40000000ull)
#define PAGES 64ull
#define TABLES 8ull
#define STORES 200ull /* per call of the guest */
#define SECONDS 3

FIXTURE(tracked_race) {
	struct kiommu k;
	struct kiommu_vcpu other;
	int fd;
	struct ioat *t;
	uint64_t gpa; /* that of PAGES pages */
	uint64_t *tables; /* TABLES pages, which the guest links at will */
	uint64_t pins;
	bool stop;
	/* What the other vCPU does until it is told to stop. */
	pthread_t thread;
	uint64_t call[1 + KIOMMU_CALL_ARGS];
};

static struct kvm_iommu_info get_info(int fd)
{
	struct kvm_iommu_info info = { .size = sizeof(info) };

	TEST_ASSERT(!kiommu_get_info(fd, &info), "GET_INFO");
	return info;
}

FIXTURE_SETUP(tracked_race)
{
	struct kiommu_area *area;

	self->pins = kiommu_pins();
	kiommu_setup(&self->k, VFIO_KVM_IOMMU);
	area = self->k.vm.area;
	kiommu_vm_add_vcpu(&self->k.vm, &self->other);
	self->fd = self->k.vfio.fd;
	self->gpa = kiommu_gpa(area, kiommu_alloc(area, PAGES * PAGE, PAGE));
	self->tables = kiommu_alloc(area, TABLES * PAGE, PAGE);
	memset(self->tables, 0, TABLES * PAGE);
	self->t = ioat_new(area, KVM_IOMMU_FORMAT_VTD_SS, 3);
	ioat_map(self->t, IOVA, self->gpa, 0, IOAT_RW);
	ASSERT_EQ(0, kiommu_register_tables(self->fd, self->t));
	ASSERT_EQ(0, kiommu_set_tracked(self->fd, 0));
}

FIXTURE_TEARDOWN(tracked_race)
{
	kiommu_teardown(&self->k);
	EXPECT_EQ(self->k.locked_vm, kiommu_locked_vm());
	EXPECT_EQ(self->pins, kiommu_pins());
	EXPECT_EQ(0, kiommu_await_refs(0));
}

static void *run_other(void *arg)
{
	FIXTURE_DATA(tracked_race) *self = arg;

	while (!READ_ONCE(self->stop)) {
		kiommu_vcpu_run(&self->other, self->call);
		self->call[2] += 0x9e3779b97f4a7c15ull;
	}
	return NULL;
}

/* The other vCPU repeats fn(a, seed, b, c) until stop_other(). */
static void start_other(FIXTURE_DATA(tracked_race) *self, void *fn, void *a,
			uint64_t b, uint64_t c)
{
	const uint64_t call[] = { (uint64_t)fn, (uint64_t)a, 77, b, c, 0, 0 };

	memcpy(self->call, call, sizeof(call));
	self->stop = false;
	TEST_ASSERT(!pthread_create(&self->thread, NULL, run_other, self),
		    "no thread");
}

static void stop_other(FIXTURE_DATA(tracked_race) *self)
{
	WRITE_ONCE(self->stop, true);
	pthread_join(self->thread, NULL);
}

static bool time_left(time_t seconds, time_t *begin)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	if (!*begin)
		*begin = now.tv_sec;
	return now.tv_sec - *begin < seconds;
}

static uint64_t guest_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* Pages come and go in the first PAGES entries of a table. */
static uint64_t store_pages(uint64_t *table, uint64_t seed,
			    uint64_t gpa, uint64_t stores)
{
	seed |= 1;
	for (uint64_t i = 0; i < stores; i++) {
		uint64_t random = guest_random(&seed);
		uint64_t value = gpa + (random >> 8) % PAGES * PAGE;

		WRITE_ONCE(table[random % PAGES], random & 64 ? value | 3 : 0);
	}
	return 0;
}

TEST_F_TIMEOUT(tracked_race, two_vcpus_agree_with_memory, 240)
{
	uint64_t *table = ioat_entry(self->t, IOVA, 0, false);
	time_t begin = 0;
	uint64_t seed = 1;

	while (time_left(SECONDS, &begin)) {
		start_other(self, store_pages, table, self->gpa, STORES);
		for (int i = 0; i < 3; i++)
			kiommu_guest_call(&self->k.vm, store_pages, table,
					  seed++, self->gpa, STORES);
		stop_other(self);
		for (uint64_t i = 0; i < PAGES; i++) {
			struct kvm_iommu_translate result;

			ASSERT_EQ(0, kiommu_translate(self->fd, IOVA + i * PAGE,
						      &result));
			ASSERT_EQ(table[i] & 3, result.shadow_rights);
		}
	}
	EXPECT_EQ(3, get_info(self->fd).tracked_pages);
}

/* Stores anything anywhere in TABLES pages and the entries above them. */
static uint64_t store_garbage(uint64_t *tables, uint64_t seed, uint64_t gpa,
			      uint64_t top)
{
	uint64_t tables_gpa = gpa + PAGES * PAGE;

	seed |= 1;
	for (uint64_t i = 0; i < STORES; i++) {
		uint64_t random = guest_random(&seed);
		uint64_t table = tables_gpa + (random >> 8) % TABLES * PAGE;
		uint64_t page = gpa + (random >> 16) % PAGES * PAGE;
		uint64_t index = (random >> 24) % 6;
		uint64_t *entry =
			&tables[(random >> 32) % TABLES * 512 + index];
		uint64_t value;

		switch (random % 8) {
		case 0:
			value = 0;
			break;
		case 1:
			value = guest_random(&seed);
			break;
		case 2:
			value = page | 3;
			break;
		case 3: /* a slot that comes and goes */
			value = (KIOMMU_FREE_GPA + (random >> 40) % 4 * PAGE) | 3;
			break;
		default:
			value = table | 3;
		}
		if (random & 0x40)
			entry = (uint64_t *)top + index + 4;
		if (random & 0x80)
			WRITE_ONCE(*(uint32_t *)entry, value);
		else
			WRITE_ONCE(*entry, value);
	}
	return 0;
}

/* The tables must lie behind the PAGES pages, so that one GPA gives both. */
static void check_layout(FIXTURE_DATA(tracked_race) *self)
{
	TEST_ASSERT(kiommu_gpa(self->k.vm.area, self->tables) ==
		    self->gpa + PAGES * PAGE, "the area was used meanwhile");
}

/* A guest that does its worst, while slots come and go and modes change. */
TEST_F_TIMEOUT(tracked_race, hostile_guest, 600)
{
	uint64_t *top = ioat_entry(self->t, IOVA, 2, false);
	uint64_t *middle = ioat_entry(self->t, IOVA, 1, false);
	uint64_t rounds = 0;
	uint64_t seed = 99;
	time_t begin = 0;
	uint64_t *memory;

	check_layout(self);
	start_other(self, store_garbage, self->tables, self->gpa,
		    (uint64_t)middle);
	while (time_left(kiommu_soak_seconds(), &begin) || rounds < 3) {
		memory = kiommu_vm_add_memory(&self->k.vm, KIOMMU_FREE_SLOT,
					      KIOMMU_FREE_GPA, 4, 0);
		for (int i = 0; i < 4; i++) {
			memory[i * 512] = (KIOMMU_FREE_GPA + i * PAGE) | 3;
			memory[i * 512 + 1] = self->gpa | 3;
		}
		kiommu_guest_call(&self->k.vm, store_garbage, self->tables,
				  seed++, self->gpa,
				  (uint64_t)(rounds % 4 ? middle : top));
		kiommu_refresh(self->fd, IOVA, 64 * KIOMMU_2M, NULL);
		kiommu_vm_del_memory(&self->k.vm, KIOMMU_FREE_SLOT, memory, 4);
		if (rounds % 8 == 5)
			ASSERT_EQ(0, kiommu_set_tracked(self->fd, rounds % 3 * 20));
		if (rounds % 8 == 7) {
			ASSERT_EQ(0, kiommu_unregister(self->fd));
			ASSERT_EQ(0, kiommu_register_tables(self->fd, self->t));
		}
		rounds++;
	}
	stop_other(self);
	TH_LOG("%llu rounds", (unsigned long long)rounds);
	/* Once the guest is at rest, it is followed again. */
	ASSERT_EQ(0, kiommu_set_explicit(self->fd));
	EXPECT_EQ(0, get_info(self->fd).tracked_pages);
	EXPECT_EQ(0, get_info(self->fd).unsynced_pages);
	memset(self->tables, 0, TABLES * PAGE);
	memset(top, 0, PAGE - ((uint64_t)top & (PAGE - 1)));
	memset(middle, 0, PAGE - ((uint64_t)middle & (PAGE - 1)));
	ASSERT_EQ(0, kiommu_set_tracked(self->fd, 0));
	EXPECT_EQ(0, get_info(self->fd).mapped_pages);
	EXPECT_EQ(1, get_info(self->fd).tracked_pages);
}

/* Modes change, and the KVM leaves, while vCPUs store. */
TEST_F_TIMEOUT(tracked_race, modes_change_under_stores, 240)
{
	uint64_t *table = ioat_entry(self->t, IOVA, 0, false);
	time_t begin = 0;

	start_other(self, store_pages, table, self->gpa, STORES);
	while (time_left(SECONDS, &begin)) {
		ASSERT_EQ(0, kiommu_set_explicit(self->fd));
		ASSERT_EQ(0, kiommu_set_tracked(self->fd, 0));
		ASSERT_EQ(0, kiommu_set_tracked(self->fd, 3));
		ASSERT_EQ(0, kiommu_stop(self->fd));
		ASSERT_EQ(0, get_info(self->fd).tracked_pages);
		ASSERT_EQ(0, kiommu_start(self->fd, self->k.vm.fd));
		ASSERT_EQ(0, kiommu_set_tracked(self->fd, 0));
		ASSERT_EQ(0, kiommu_register_tables(self->fd, self->t));
	}
	stop_other(self);
	for (uint64_t i = 0; i < PAGES; i++) {
		struct kvm_iommu_translate result;

		ASSERT_EQ(0, kiommu_translate(self->fd, IOVA + i * PAGE,
					      &result));
		EXPECT_EQ(table[i] & 3, result.shadow_rights);
	}
}

TEST_HARNESS_MAIN
