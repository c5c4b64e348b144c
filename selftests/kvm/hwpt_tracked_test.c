// SPDX-License-Identifier: GPL-2.0-only
/*
 * Domains that are HWPTs of an iommufd and follow the stores of a KVM's guest, whose
 * memory is the IOAS: what the guest stores to its tables reaches devices with its
 * next instruction, and nobody calls IOMMU_HWPT_INVALIDATE.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include <sys/mman.h>
#include <sys/wait.h>
#include <linux/iommufd.h>

#include "kvm_test_harness.h"
#include "kvm_util.h"

#include "counters.h"
#include "dma.h"
#include "faults.h"
#include "guest_vm.h"
#include "hwpt.h"
#include "tracked.h"

#define PAGE KIOMMU_PAGE
#define IOVA (KIOMMU_IOVA_BASE + 0x40000000ull)
#define PAGES 16ull
#define BYTES 128ull
#define RW (IOMMU_IOAS_MAP_READABLE | IOMMU_IOAS_MAP_WRITEABLE)
/* A table of the lowest level in a slot of its own, beside the area. */
#define TABLE_GPA KIOMMU_FREE_GPA
#define TABLE_SLOT KIOMMU_FREE_SLOT
#define TABLE_IOVA (IOVA + KIOMMU_2M)

FIXTURE(hwpt_tracked) {
	struct kiommu_hwpt h;
	struct kiommu_vm vm;
	struct ioat *t;
	char *mem; /* PAGES pages, mapped at IOVA */
	uint64_t gpa;
	uint64_t *table;
	int faults;
	uint64_t pins;
	long kvm_refs;
};

FIXTURE_SETUP(hwpt_tracked)
{
	struct kiommu_area *area;
	uint64_t *entry;

	if (kiommu_hwpt_lacks())
		SKIP(return, "%s", kiommu_hwpt_lacks());
	self->pins = kiommu_pins();
	self->kvm_refs = kiommu_kvm_refs();
	self->faults = -1;
	kiommu_hwpt_setup(&self->h);
	kiommu_vm_create(&self->vm, KIOMMU_AREA_SIZE, VM_MEM_SRC_ANONYMOUS);
	area = self->vm.area;
	ASSERT_EQ(0, kiommu_ioas_use_guest(&self->h, area));
	self->table = kiommu_vm_add_memory(&self->vm, TABLE_SLOT, TABLE_GPA, 1, 0);
	virt_map(self->vm.vm, (uint64_t)self->table, TABLE_GPA, 1);
	memset(self->table, 0, PAGE);
	ASSERT_EQ(0, kiommu_ioas_map_at(&self->h, self->table, TABLE_GPA, PAGE, RW));
	self->mem = kiommu_alloc(area, PAGES * PAGE, PAGE);
	self->gpa = kiommu_gpa(area, self->mem);
	self->t = ioat_new(area, KVM_IOMMU_FORMAT_VTD_SS, 3);
	ioat_map_pages(self->t, IOVA, self->gpa, 2, IOAT_RW);
	entry = ioat_entry(self->t, TABLE_IOVA, 1, true);
	ioat_write(self->t, entry, ioat_table_value(self->t, 1, TABLE_GPA));
	ioat_write(self->t, self->table, ioat_leaf_value(self->t, 0, self->gpa, IOAT_RW));
}

FIXTURE_TEARDOWN(hwpt_tracked)
{
	if (self->faults >= 0)
		close(self->faults);
	kiommu_hwpt_teardown(&self->h);
	kiommu_vm_free(&self->vm);
	EXPECT_EQ(0, kiommu_await_refs(0));
	KIOMMU_EXPECT_NOTHING_LEFT();
}

static int alloc(FIXTURE_DATA(hwpt_tracked) *self, int kvm_fd, uint32_t *id, uint32_t *status)
{
	struct kvm_iommu_hwpt data = kiommu_hwpt_data(self->t);
	int ret;

	data.kvm_fd = kvm_fd;
	data.flags = KVM_IOMMU_HWPT_FAULT_FD;
	ret = kiommu_hwpt_alloc_with(&self->h, 0, self->h.parent, &data, sizeof(data), id);
	*status = data.status;
	if (!ret)
		self->faults = data.fault_fd;
	return ret;
}

/* An HWPT that follows, with device 0 attached. */
static uint32_t following(FIXTURE_DATA(hwpt_tracked) *self)
{
	uint32_t id, status;
	int ret = alloc(self, self->vm.fd, &id, &status);

	TEST_ASSERT(!ret, "HWPT_ALLOC: %d, status %u", ret, status);
	TEST_ASSERT(!kiommu_hwpt_attach(&self->h, 0, id), "attach");
	return id;
}

/* Whether device 0 can read page 0 of the memory at IOVA and store it at @iova. */
static bool stores(FIXTURE_DATA(hwpt_tracked) *self, uint64_t iova, uint64_t page, uint8_t seed)
{
	char *there = self->mem + page * PAGE + PAGE / 2;
	void *bar = self->h.devices.dev[0].bar;

	kiommu_fill(self->mem, BYTES, seed);
	kiommu_fill(there, BYTES, (uint8_t)~seed);
	TEST_ASSERT(!kiommu_dma_copy(bar, iova + PAGE / 2, IOVA, BYTES), "DMA");
	return kiommu_count_equal(there, BYTES, seed) == BYTES;
}

static void guest_stores(FIXTURE_DATA(hwpt_tracked) *self, uint64_t *entry, uint64_t value)
{
	kiommu_guest_call(&self->vm, kiommu_store, entry, value);
}

static uint64_t leaf(FIXTURE_DATA(hwpt_tracked) *self, uint64_t page)
{
	return ioat_leaf_value(self->t, 0, self->gpa + page * PAGE, IOAT_RW);
}

TEST_F_TIMEOUT(hwpt_tracked, follows_stores, 240)
{
	uint64_t *entry = ioat_entry(self->t, IOVA, 0, false);
	uint32_t id = following(self);

	/* What the tables say already. */
	EXPECT_TRUE(stores(self, IOVA + PAGE, 1, 1));
	EXPECT_TRUE(stores(self, TABLE_IOVA, 0, 2));
	EXPECT_FALSE(stores(self, IOVA + 5 * PAGE, 5, 3));
	/* From now on nobody calls. */
	for (uint8_t i = 0; i < 4; i++) {
		guest_stores(self, entry + 5, leaf(self, 5 + i));
		EXPECT_TRUE(stores(self, IOVA + 5 * PAGE, 5 + i, 10 + i));
		guest_stores(self, entry + 5, 0);
		EXPECT_FALSE(stores(self, IOVA + 5 * PAGE, 5 + i, 20 + i));
	}
	/* The table in a slot and an area of its own; a table that goes. */
	guest_stores(self, self->table + 7, leaf(self, 7));
	EXPECT_TRUE(stores(self, TABLE_IOVA + 7 * PAGE, 7, 30));
	guest_stores(self, ioat_entry(self->t, TABLE_IOVA, 1, false), 0);
	EXPECT_FALSE(stores(self, TABLE_IOVA + 7 * PAGE, 7, 31));
	EXPECT_EQ(0, kiommu_poll_now(self->faults));
	/* Not attached, it follows all the same. */
	ASSERT_EQ(0, kiommu_hwpt_detach(&self->h, 0));
	guest_stores(self, entry + 6, leaf(self, 6));
	ASSERT_EQ(0, kiommu_hwpt_attach(&self->h, 0, id));
	EXPECT_TRUE(stores(self, IOVA + 6 * PAGE, 6, 32));
}

/* A bad entry blocks what it maps, and nothing else. */
TEST_F_TIMEOUT(hwpt_tracked, bad_entries, 120)
{
	uint64_t *entry = ioat_entry(self->t, IOVA, 0, false);
	struct kvm_iommu_fault fault;

	following(self);
	guest_stores(self, entry + 3, leaf(self, 3) | VTD_RESERVED_HIGH);
	guest_stores(self, entry + 4, leaf(self, 4));
	EXPECT_FALSE(stores(self, IOVA + 3 * PAGE, 3, 1));
	EXPECT_TRUE(stores(self, IOVA + 4 * PAGE, 4, 2));
	ASSERT_EQ(sizeof(fault), kiommu_read_faults(self->faults, &fault, sizeof(fault)));
	EXPECT_EQ(IOVA + 3 * PAGE, fault.iova);
	guest_stores(self, entry + 3, leaf(self, 3));
	EXPECT_TRUE(stores(self, IOVA + 3 * PAGE, 3, 3));
	/* No memory of the IOAS, although the KVM has it. */
	guest_stores(self, entry + 3, ioat_leaf_value(self->t, 0, 0, IOAT_RW));
	EXPECT_FALSE(stores(self, IOVA + 3 * PAGE, 3, 4));
}

/*
 * Tables whose area of the IOAS goes are forgotten, and what they map is blocked, when
 * IOMMU_IOAS_UNMAP returns, although no page of the area is mapped.
 */
TEST_F_TIMEOUT(hwpt_tracked, area_goes, 120)
{
	uint32_t id = following(self), status;

	ASSERT_TRUE(stores(self, TABLE_IOVA, 0, 1));
	ASSERT_EQ(0, kiommu_ioas_unmap_at(&self->h, TABLE_GPA, PAGE));
	EXPECT_FALSE(stores(self, TABLE_IOVA, 0, 2));
	EXPECT_TRUE(stores(self, IOVA + PAGE, 1, 3));
	guest_stores(self, self->table + 7, leaf(self, 7));
	EXPECT_FALSE(stores(self, TABLE_IOVA + 7 * PAGE, 7, 4));
	EXPECT_NE(0, kiommu_hwpt_refresh(&self->h, id, TABLE_IOVA, KIOMMU_2M, &status));
	ASSERT_EQ(0, kiommu_ioas_map_at(&self->h, self->table, TABLE_GPA, PAGE, RW));
	ASSERT_EQ(0, kiommu_hwpt_refresh(&self->h, id, TABLE_IOVA, KIOMMU_2M, NULL));
	EXPECT_TRUE(stores(self, TABLE_IOVA, 0, 5));
	EXPECT_TRUE(stores(self, TABLE_IOVA + 7 * PAGE, 7, 6));
	/* Tracked again. */
	guest_stores(self, self->table + 7, 0);
	EXPECT_FALSE(stores(self, TABLE_IOVA + 7 * PAGE, 7, 7));
}

/*
 * KVM forgets which pages it tracked when their slot goes. The memory is still in the
 * IOAS, so what the tables in it map must be blocked: nobody would tell of the stores
 * once the slot is there again.
 */
TEST_F_TIMEOUT(hwpt_tracked, slot_goes, 120)
{
	uint32_t id = following(self);

	ASSERT_TRUE(stores(self, TABLE_IOVA, 0, 1));
	ASSERT_EQ(0, kiommu_vm_set_slot(&self->vm, TABLE_SLOT, 0, TABLE_GPA, 0, NULL));
	EXPECT_FALSE(stores(self, TABLE_IOVA, 0, 2));
	EXPECT_TRUE(stores(self, IOVA + PAGE, 1, 3));
	ASSERT_EQ(0, kiommu_vm_set_slot(&self->vm, TABLE_SLOT, 0, TABLE_GPA, PAGE, self->table));
	guest_stores(self, self->table, 0);
	guest_stores(self, self->table + 7, leaf(self, 7));
	EXPECT_FALSE(stores(self, TABLE_IOVA, 0, 4));
	ASSERT_EQ(0, kiommu_hwpt_refresh(&self->h, id, TABLE_IOVA, KIOMMU_2M, NULL));
	EXPECT_FALSE(stores(self, TABLE_IOVA, 0, 5));
	EXPECT_TRUE(stores(self, TABLE_IOVA + 7 * PAGE, 7, 6));
	guest_stores(self, self->table + 7, 0);
	EXPECT_FALSE(stores(self, TABLE_IOVA + 7 * PAGE, 7, 7));
}

/* A slot of the KVM that has no tables goes: nothing changes for devices. */
TEST_F_TIMEOUT(hwpt_tracked, another_slot_goes, 120)
{
	uint64_t *entry = ioat_entry(self->t, IOVA, 0, false);
	void *mem;

	mem = kiommu_vm_add_memory(&self->vm, TABLE_SLOT + 1, TABLE_GPA + KIOMMU_2M, 4, 0);
	ASSERT_EQ(0, kiommu_ioas_map_at(&self->h, mem, TABLE_GPA + KIOMMU_2M, 4 * PAGE, RW));
	following(self);
	guest_stores(self, entry + 9, ioat_leaf_value(self->t, 0, TABLE_GPA + KIOMMU_2M,
						      IOAT_RW));
	kiommu_vm_del_memory(&self->vm, TABLE_SLOT + 1, mem, 4);
	EXPECT_TRUE(stores(self, IOVA + PAGE, 1, 1));
	guest_stores(self, entry + 8, leaf(self, 8));
	EXPECT_TRUE(stores(self, IOVA + 8 * PAGE, 8, 2));
	EXPECT_EQ(0, kiommu_poll_now(self->faults));
	ASSERT_EQ(0, kiommu_ioas_unmap_at(&self->h, TABLE_GPA + KIOMMU_2M, 4 * PAGE));
}

/* The KVM lives as long as the HWPT, in each order of closing. */
TEST_F_TIMEOUT(hwpt_tracked, lifetime, 120)
{
	long refs = kiommu_kvm_refs();
	uint32_t id = following(self);

	EXPECT_LT(refs, kiommu_kvm_refs());
	ASSERT_EQ(-EBUSY, kiommu_iommufd_destroy(&self->h, id));
	ASSERT_EQ(0, kiommu_hwpt_detach(&self->h, 0));
	ASSERT_EQ(0, kiommu_iommufd_destroy(&self->h, id));
	EXPECT_EQ(refs, kiommu_kvm_refs());
	close(self->faults);
	following(self);
	close(self->faults);
	self->faults = -1;
	kiommu_vm_free(&self->vm);
	kiommu_hwpt_teardown(&self->h);
	EXPECT_EQ(0, kiommu_await_refs(0));
	EXPECT_EQ(self->kvm_refs, kiommu_kvm_refs());
}

TEST_F_TIMEOUT(hwpt_tracked, what_is_no_kvm, 120)
{
	uint32_t id, status;
	int pipes[2], child;
	pid_t pid;

	ASSERT_EQ(0, pipe(pipes));
	EXPECT_EQ(-EBADF, alloc(self, -2, &id, &status));
	EXPECT_EQ(-EBADF, alloc(self, 1 << 20, &id, &status));
	EXPECT_EQ(-EINVAL, alloc(self, pipes[0], &id, &status));
	EXPECT_EQ(-EINVAL, alloc(self, self->h.iommufd, &id, &status));
	EXPECT_EQ(KVM_IOMMU_STATUS_OTHER, (int)status);
	pid = fork();
	if (!pid)
		_exit(alloc(self, self->vm.fd, &id, &status) == -EPERM ? 0 : 1);
	ASSERT_EQ(pid, waitpid(pid, &child, 0));
	EXPECT_EQ(0, child);
	close(pipes[0]);
	close(pipes[1]);
}

/*
 * A slot of system management mode goes, which devices do not see: the KVM tracks the
 * tables as before.
 */
TEST_F_TIMEOUT(hwpt_tracked, smm_slot_goes, 120)
{
	const uint32_t smm = 1u << 16 | 1;

	if (vm_check_cap(self->vm.vm, KVM_CAP_MULTI_ADDRESS_SPACE) < 2)
		SKIP(return, "KVM has no system management mode");
	following(self);
	ASSERT_TRUE(stores(self, TABLE_IOVA, 0, 1));
	ASSERT_EQ(0, kiommu_vm_set_slot(&self->vm, smm, 0, TABLE_GPA, PAGE, self->table));
	ASSERT_EQ(0, kiommu_vm_set_slot(&self->vm, smm, 0, TABLE_GPA, 0, NULL));
	EXPECT_TRUE(stores(self, TABLE_IOVA, 0, 2));
	guest_stores(self, self->table + 7, leaf(self, 7));
	EXPECT_TRUE(stores(self, TABLE_IOVA + 7 * PAGE, 7, 3));
	EXPECT_EQ(0, kiommu_poll_now(self->faults));
}

/*
 * As area_goes, but other memory takes the place of the area at once: what the table
 * said that was there must not stay.
 */
TEST_F_TIMEOUT(hwpt_tracked, area_is_replaced, 120)
{
	void *other = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			   -1, 0);

	following(self);
	ASSERT_TRUE(stores(self, TABLE_IOVA, 0, 1));
	ASSERT_EQ(0, kiommu_ioas_unmap_at(&self->h, TABLE_GPA, PAGE));
	ASSERT_EQ(0, kiommu_ioas_map_at(&self->h, other, TABLE_GPA, PAGE, RW));
	EXPECT_FALSE(stores(self, TABLE_IOVA, 0, 2));
	EXPECT_NE(0, kiommu_poll_now(self->faults));
	EXPECT_EQ(0, munmap(other, PAGE));
}

/* A table is in the IOAS, but in no slot of the KVM: the others are followed. */
TEST_F_TIMEOUT(hwpt_tracked, table_in_no_slot, 120)
{
	const uint64_t iova = TABLE_IOVA + KIOMMU_2M;
	uint64_t *entry;
	uint32_t id;

	ioat_map_pages(self->t, iova, self->gpa, 2, IOAT_RW);
	entry = ioat_entry(self->t, iova, 0, false);
	ASSERT_EQ(0, kiommu_vm_set_slot(&self->vm, TABLE_SLOT, 0, TABLE_GPA, 0, NULL));
	id = following(self);
	EXPECT_TRUE(stores(self, IOVA + PAGE, 1, 1));
	/* Above the one that cannot be tracked. */
	EXPECT_TRUE(stores(self, iova + PAGE, 1, 2));
	EXPECT_EQ(0, kiommu_hwpt_refresh(&self->h, id, IOVA, 3 * KIOMMU_2M, NULL));
	EXPECT_TRUE(stores(self, TABLE_IOVA, 0, 3));
	EXPECT_TRUE(stores(self, iova + PAGE, 1, 4));
	/* Followed from now on: the table, and the one above all of them. */
	guest_stores(self, entry + 5, leaf(self, 5));
	EXPECT_TRUE(stores(self, iova + 5 * PAGE, 5, 5));
	guest_stores(self, ioat_entry(self->t, iova, 1, false), 0);
	EXPECT_FALSE(stores(self, iova + PAGE, 1, 6));
	ASSERT_EQ(0, kiommu_vm_set_slot(&self->vm, TABLE_SLOT, 0, TABLE_GPA, PAGE, self->table));
}

struct refresher {
	struct kiommu_hwpt *h;
	uint32_t id;
	atomic_bool stop;
};

static void *refresh_always(void *arg)
{
	struct refresher *r = arg;
	uint32_t status;

	/* EINVAL while the table has no slot, EAGAIN never. */
	while (!r->stop)
		kiommu_hwpt_refresh(r->h, r->id, TABLE_IOVA, KIOMMU_2M, &status);
	return NULL;
}

/*
 * Two threads unmap the area of a table, and a third one keeps the HWPT's locks busy: the
 * one that has unmapped it knows that what the table maps is blocked, also if the other
 * one began to tell the HWPT before it.
 */
struct unmapper {
	struct kiommu_hwpt *h;
	pthread_barrier_t *together;
	int faults;
	int ret;
	short told;
};

static void *unmap_table(void *arg)
{
	struct unmapper *u = arg;

	pthread_barrier_wait(u->together);
	u->ret = kiommu_ioas_unmap_at(u->h, TABLE_GPA, PAGE);
	u->told = kiommu_poll_now(u->faults);
	return NULL;
}

TEST_F_TIMEOUT(hwpt_tracked, two_unmap_an_area, 240)
{
	struct refresher r = { .h = &self->h, .id = following(self) };
	struct kvm_iommu_fault records[16];
	pthread_barrier_t together;
	pthread_t threads[3];

	pthread_barrier_init(&together, NULL, 2);
	ASSERT_EQ(0, pthread_create(&threads[2], NULL, refresh_always, &r));
	for (unsigned int round = 0; round < 200; round++) {
		struct unmapper u[2];
		unsigned int done = 0;

		for (unsigned int i = 0; i < 2; i++) {
			u[i] = (struct unmapper){ .h = &self->h, .together = &together,
						  .faults = self->faults };
			ASSERT_EQ(0, pthread_create(&threads[i], NULL, unmap_table, &u[i]));
		}
		for (unsigned int i = 0; i < 2; i++)
			pthread_join(threads[i], NULL);
		for (unsigned int i = 0; i < 2; i++) {
			/* EBUSY: the other one was about to take it out. */
			if (u[i].ret) {
				EXPECT_TRUE(u[i].ret == -ENOENT || u[i].ret == -EBUSY);
				continue;
			}
			done++;
			EXPECT_NE(0, u[i].told) {
				TH_LOG("round %u", round);
			}
		}
		EXPECT_EQ(1, done);
		while (kiommu_poll_now(self->faults))
			ASSERT_LT(0, kiommu_read_faults(self->faults, records,
							sizeof(records)));
		ASSERT_EQ(0, kiommu_ioas_map_at(&self->h, self->table, TABLE_GPA, PAGE, RW));
		ASSERT_EQ(0, kiommu_hwpt_refresh(&self->h, r.id, TABLE_IOVA, KIOMMU_2M, NULL));
	}
	r.stop = true;
	pthread_join(threads[2], NULL);
	EXPECT_TRUE(stores(self, TABLE_IOVA, 0, 1));
}

static bool both_follow(FIXTURE_DATA(hwpt_tracked) *self, const uint32_t *ids, uint8_t seed)
{
	bool follow = true;

	for (unsigned int i = 0; i < 2; i++) {
		TEST_ASSERT(!kiommu_hwpt_attach(&self->h, 0, ids[i]), "attach");
		guest_stores(self, self->table + 7, leaf(self, 7));
		follow &= stores(self, TABLE_IOVA + 7 * PAGE, 7, seed);
		guest_stores(self, self->table + 7, 0);
		follow &= !stores(self, TABLE_IOVA + 7 * PAGE, 7, seed + 1);
	}
	return follow;
}

/*
 * Two HWPTs follow one KVM. The slot of a table goes, and comes back, while one of
 * them is invalidated: KVM finds a slot that is about to go, and would let pages of it
 * be tracked after it has told that it forgets them.
 */
TEST_F_TIMEOUT(hwpt_tracked, two_follow, 240)
{
	struct refresher r = { .h = &self->h };
	uint32_t ids[2] = { following(self) };
	struct kvm_iommu_hwpt data = kiommu_hwpt_data(self->t);
	pthread_t thread;

	data.kvm_fd = self->vm.fd;
	ASSERT_EQ(0, kiommu_hwpt_alloc_with(&self->h, 0, self->h.parent, &data, sizeof(data),
					    &ids[1]));
	EXPECT_TRUE(both_follow(self, ids, 1));
	for (uint8_t i = 0; i < 10; i++) {
		r.id = ids[i % 2];
		r.stop = false;
		ASSERT_EQ(0, pthread_create(&thread, NULL, refresh_always, &r));
		usleep(i * 300);
		ASSERT_EQ(0, kiommu_vm_set_slot(&self->vm, TABLE_SLOT, 0, TABLE_GPA, 0, NULL));
		r.stop = true;
		pthread_join(thread, NULL);
		ASSERT_EQ(0, kiommu_vm_set_slot(&self->vm, TABLE_SLOT, 0, TABLE_GPA, PAGE,
						self->table));
		for (unsigned int k = 0; k < 2; k++)
			ASSERT_EQ(0, kiommu_hwpt_refresh(&self->h, ids[k], TABLE_IOVA,
							 KIOMMU_2M, NULL));
		EXPECT_TRUE(both_follow(self, ids, 2 * i));
	}
}

/* A KVM counts who tracks a page, and not without end. */
TEST_F_TIMEOUT(hwpt_tracked, too_many_follow, 240)
{
	struct kvm_iommu_hwpt data = kiommu_hwpt_data(self->t);
	uint32_t ids[1025];
	unsigned int count;
	int ret = 0;

	data.kvm_fd = self->vm.fd;
	for (count = 0; count < 1025 && !ret; count += !ret)
		ret = kiommu_hwpt_alloc_with(&self->h, 0, self->h.parent, &data, sizeof(data),
					     &ids[count]);
	EXPECT_EQ(-EBUSY, ret);
	EXPECT_EQ(KVM_IOMMU_STATUS_BUSY, (int)data.status);
	EXPECT_EQ(1024, count);
	/* Without a KVM there can be more; and in the place of one, another. */
	data.kvm_fd = -1;
	ASSERT_EQ(0, kiommu_hwpt_alloc_with(&self->h, 0, self->h.parent, &data, sizeof(data),
					    &ids[1024]));
	EXPECT_EQ(0, kiommu_iommufd_destroy(&self->h, ids[1024]));
	EXPECT_EQ(0, kiommu_iommufd_destroy(&self->h, ids[0]));
	data.kvm_fd = self->vm.fd;
	ASSERT_EQ(0, kiommu_hwpt_alloc_with(&self->h, 0, self->h.parent, &data, sizeof(data),
					    &ids[0]));
	while (count--)
		EXPECT_EQ(0, kiommu_iommufd_destroy(&self->h, ids[count]));
}

TEST_HARNESS_MAIN
