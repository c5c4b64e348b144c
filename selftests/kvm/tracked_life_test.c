// SPDX-License-Identifier: GPL-2.0-only
/*
 * Mode TRACKED at the end of a process: it is killed while two vCPUs store to
 * tables, or while its mode, its slots and its tables change at the same time.
 * Nothing is left, and the module can be unloaded and loaded again. While the
 * module is used, it cannot be unloaded, and trying to does no harm.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <sys/mman.h>
#include <sys/wait.h>

#include <linux/compiler.h>

#include "kvm_test_harness.h"
#include "kvm_util.h"
#include "processor.h"

#include "kiommu_util.h"
#include "ring.h"
#include "tracked.h"

#define PAGE KIOMMU_PAGE
#define IOVA (KIOMMU_IOVA_BASE + 0x40000000ull)
#define PAGES 64ull
#define STORES 100ull /* per call of the guest */
#define VCPUS 2
/* More tables, all full: reading them takes a while, under all locks. */
#define TABLES 32ull

/* A guest whose vCPUs store to its tables, each on a thread. */
struct storer {
	struct kiommu k;
	struct kiommu_vcpu vcpu[VCPUS];
	pthread_t thread[VCPUS];
	uint64_t *calls; /* of the guest that have returned, per vCPU */
	int fd;
	struct ioat *t;
	uint64_t *table; /* entry of IOVA */
	uint64_t *above; /* the entry above, which is not always linked */
	uint64_t gpa; /* that of PAGES pages */
	bool stop;
};

static void set_up(struct storer *s, uint64_t *calls)
{
	struct kiommu_area *area;

	memset(s, 0, sizeof(*s));
	s->calls = calls;
	kiommu_setup(&s->k, VFIO_KVM_IOMMU);
	area = s->k.vm.area;
	s->vcpu[0].vcpu = s->k.vm.vcpu;
	s->vcpu[0].call = s->k.vm.call;
	kiommu_vm_add_vcpu(&s->k.vm, &s->vcpu[1]);
	s->fd = s->k.vfio.fd;
	s->gpa = kiommu_gpa(area, kiommu_alloc(area, PAGES * PAGE, PAGE));
	s->t = ioat_new(area, KVM_IOMMU_FORMAT_VTD_SS, 3);
	ioat_map(s->t, IOVA, s->gpa, 0, IOAT_RW);
	for (uint64_t i = 0; i < TABLES * 512; i++)
		ioat_map(s->t, IOVA + 8 * KIOMMU_2M + i * PAGE,
			 s->gpa + i % PAGES * PAGE, 0, IOAT_RW);
	s->table = ioat_entry(s->t, IOVA, 0, false);
	s->above = ioat_entry(s->t, IOVA, 1, false);
	TEST_ASSERT(!kiommu_register_tables(s->fd, s->t), "anchor");
	TEST_ASSERT(!kiommu_set_tracked(s->fd, 0), "TRACKED");
}

/* All vCPUs store to the same entries: pages come and go, as does the table. */
static uint64_t store_pages(uint64_t *table, uint64_t *above, uint64_t gpa,
			    uint64_t seed)
{
	uint64_t link = READ_ONCE(*above);

	for (uint64_t i = 0; i < STORES; i++) {
		uint64_t page = (seed + i * 7) % PAGES;

		seed = seed * 6364136223846793005ull + 1442695040888963407ull;
		WRITE_ONCE(table[page], seed >> 60 & 1 ? (gpa + page * PAGE) | 3 : 0);
		if (link && i == STORES / 2) {
			WRITE_ONCE(*above, 0);
			WRITE_ONCE(*above, link);
		}
	}
	return 0;
}

static void *run_vcpu(struct storer *s, unsigned int i)
{
	while (!READ_ONCE(s->stop)) {
		kiommu_vcpu_call(&s->vcpu[i], store_pages, s->table, s->above, s->gpa,
				 s->calls[i] * VCPUS + i);
		__atomic_fetch_add(&s->calls[i], 1, __ATOMIC_RELEASE);
	}
	return NULL;
}

static void *run_first(void *arg)
{
	return run_vcpu(arg, 0);
}

static void *run_second(void *arg)
{
	return run_vcpu(arg, 1);
}

static void start_vcpus(struct storer *s)
{
	TEST_ASSERT(!pthread_create(&s->thread[0], NULL, run_first, s) &&
		    !pthread_create(&s->thread[1], NULL, run_second, s), "threads");
}

static void stop_vcpus(struct storer *s)
{
	WRITE_ONCE(s->stop, true);
	for (int i = 0; i < VCPUS; i++)
		pthread_join(s->thread[i], NULL);
}

static uint64_t count_calls(const uint64_t *calls, unsigned int i)
{
	return __atomic_load_n(&calls[i], __ATOMIC_ACQUIRE);
}

/* Waits until each vCPU has made one more call. @child: its process, or -1. */
static void wait_for_calls(const uint64_t *calls, pid_t child)
{
	for (unsigned int i = 0; i < VCPUS; i++) {
		uint64_t before = count_calls(calls, i);

		while (count_calls(calls, i) == before) {
			TEST_ASSERT(waitpid(child, NULL, WNOHANG) <= 0,
				    "the child is gone");
			usleep(1000);
		}
	}
}

FIXTURE(life) {
	uint64_t pins;
	long kvm_refs;
	uint64_t *calls; /* shared with children */
};

FIXTURE_SETUP(life)
{
	self->pins = kiommu_pins();
	self->kvm_refs = kiommu_kvm_refs();
	self->calls = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
			   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, (void *)self->calls);
	ASSERT_EQ(0, kiommu_await_refs(0));
}

FIXTURE_TEARDOWN(life)
{
	KIOMMU_EXPECT_NOTHING_LEFT();
	munmap(self->calls, PAGE);
}

/* Checks that a guest is followed: everything works that was used before. */
static void fresh_life(struct __test_metadata *_metadata,
		       FIXTURE_DATA(life) *self)
{
	struct storer s;

	set_up(&s, self->calls);
	kiommu_guest_call(&s.k.vm, kiommu_store, s.table + 1,
			  ioat_leaf_value(s.t, 0, s.gpa, IOAT_RW));
	EXPECT_TRUE(kiommu_maps(s.fd, IOVA + PAGE, s.gpa));
	kiommu_fill(kiommu_ptr(s.k.vm.area, s.gpa), 128, 7);
	EXPECT_EQ(0, kiommu_dma_copy(s.k.dma[0], IOVA + PAGE + 1024, IOVA, 128));
	EXPECT_EQ(128, kiommu_count_equal(kiommu_ptr(s.k.vm.area, s.gpa + 1024),
					  128, 7));
	kiommu_teardown(&s.k);
	EXPECT_EQ(s.k.locked_vm, kiommu_locked_vm());
}

/* What the process repeats while its vCPUs run. */
static void only_wait(struct storer *s)
{
	(void)s;
	pause();
}

static void change_modes(struct storer *s)
{
	kiommu_set_tracked(s->fd, 3);
	kiommu_refresh(s->fd, IOVA, KIOMMU_2M, NULL);
	kiommu_set_explicit(s->fd);
	kiommu_set_tracked(s->fd, 0);
}

static void change_slots(struct storer *s)
{
	void *mem = kiommu_vm_add_memory(&s->k.vm, KIOMMU_FREE_SLOT,
					 KIOMMU_FREE_GPA, 4, 0);

	/* The process links a table in it, which only the refresh sees. */
	WRITE_ONCE(s->above[1], KIOMMU_FREE_GPA | 3);
	kiommu_refresh(s->fd, IOVA, 2 * KIOMMU_2M, NULL);
	kiommu_vm_del_memory(&s->k.vm, KIOMMU_FREE_SLOT, mem, 4);
}

static void change_anchors(struct storer *s)
{
	kiommu_unregister(s->fd);
	kiommu_register_tables(s->fd, s->t);
}

static void live(uint64_t *calls, void (*step)(struct storer *s))
{
	struct storer s;

	set_up(&s, calls);
	start_vcpus(&s);
	for (;;)
		step(&s);
}

static void kill_in(struct __test_metadata *_metadata, FIXTURE_DATA(life) *self,
		    void (*step)(struct storer *s), useconds_t after)
{
	int status = -1;
	pid_t child;

	memset(self->calls, 0, PAGE);
	child = fork();
	if (!child)
		live(self->calls, step);
	wait_for_calls(self->calls, child);
	usleep(after);
	ASSERT_EQ(0, kill(child, SIGKILL));
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_TRUE(WIFSIGNALED(status));
	EXPECT_EQ(SIGKILL, WTERMSIG(status));
	KIOMMU_EXPECT_NOTHING_LEFT();
}

TEST_F_TIMEOUT(life, killed_under_stores, 240)
{
	for (unsigned int i = 0; i < 8; i++)
		kill_in(_metadata, self, only_wait, 7000 * i);
	ASSERT_EQ(0, kiommu_module_unload());
	EXPECT_EQ(-1, kiommu_await_refs(-1));
	kiommu_module_load();
	fresh_life(_metadata, self);
}

TEST_F_TIMEOUT(life, killed_under_changes, 240)
{
	void (*const steps[])(struct storer *s) = {
		change_modes, change_slots, change_anchors,
	};

	for (unsigned int i = 0; i < 3 * ARRAY_SIZE(steps); i++)
		kill_in(_metadata, self, steps[i % ARRAY_SIZE(steps)], 11000 * i);
	/* Right after the last kill. */
	ASSERT_EQ(0, kiommu_module_unload());
	kiommu_module_load();
	fresh_life(_metadata, self);
}

/* Whether the shadow of each page is what its entry says. */
static bool is_followed(struct storer *s)
{
	for (uint64_t i = 0; i < PAGES; i++)
		if (kiommu_shadow_rights(s->fd, IOVA + i * PAGE) !=
		    (s->table[i] & 3))
			return false;
	return true;
}

TEST_F_TIMEOUT(life, no_unload_under_stores, 240)
{
	struct storer s;
	uint64_t tries = 0;
	time_t end;

	memset(self->calls, 0, PAGE);
	set_up(&s, self->calls);
	start_vcpus(&s);
	wait_for_calls(self->calls, -1);
	for (end = time(NULL) + 3; tries < 20 || time(NULL) < end; tries++)
		ASSERT_EQ(-EAGAIN, kiommu_module_unload());
	/* The vCPUs go on, and everything is followed. */
	wait_for_calls(self->calls, -1);
	stop_vcpus(&s);
	EXPECT_TRUE(is_followed(&s));
	EXPECT_EQ(3 + TABLES, kiommu_tracked_pages(s.fd));
	/* A container without a guest is a user, too. */
	ASSERT_EQ(0, kiommu_stop(s.fd));
	EXPECT_EQ(-EAGAIN, kiommu_module_unload());
	kiommu_teardown(&s.k);
	KIOMMU_EXPECT_NOTHING_LEFT();
	ASSERT_EQ(0, kiommu_module_unload());
	kiommu_module_load();
	fresh_life(_metadata, self);
}

TEST_HARNESS_MAIN
