// SPDX-License-Identifier: GPL-2.0-only
/*
 * UNTRACK of the largest possible ranges, far beyond all memory, and of many
 * tables at once: its cost depends on the tables, not on the size of the range.
 * Other calls go on meanwhile, and a process that is killed in it dies.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <sys/mman.h>
#include <sys/wait.h>

#include "kvm_test_harness.h"
#include "kvm_util.h"

#include "kiommu_util.h"
#include "ring.h"
#include "tracked.h"

#define PAGE KIOMMU_PAGE
#define IOVA (KIOMMU_IOVA_BASE + 0x40000000ull)
#define TABLES 1024ull
#define FAR (1ull << 40) /* behind all memory */
#define HUGE_LENGTH (1ull << 62)
#define ROUNDS 3

/* Progress of the process that is killed. */
struct progress {
	uint64_t untracked; /* calls of UNTRACK that have returned */
	uint64_t others; /* rounds of other calls */
	int failed; /* the error of a call that failed */
};

struct tenant {
	struct progress *progress;
	struct kiommu k;
	uint64_t tracked; /* the number of tracked pages */
	bool many; /* untrack all tracked pages, not a range without any */
};

/* Creates many tables without entries. */
static void set_up(struct tenant *t)
{
	struct ioat *tables;

	kiommu_setup(&t->k, VFIO_KVM_IOMMU);
	tables = ioat_new(t->k.vm.area, KVM_IOMMU_FORMAT_VTD_SS, 3);
	for (uint64_t i = 0; i < TABLES; i++)
		ioat_entry(tables, IOVA + i * KIOMMU_2M, 0, true);
	TEST_ASSERT(!kiommu_register_tables(t->k.vfio.fd, tables), "anchor");
	TEST_ASSERT(!kiommu_set_tracked(t->k.vfio.fd, 0), "TRACKED");
	t->tracked = kiommu_tracked_pages(t->k.vfio.fd);
	TEST_ASSERT(t->tracked > TABLES, "%lu pages", t->tracked);
}

static int untrack_far(struct tenant *t)
{
	return kiommu_untrack(t->k.vfio.fd, FAR, HUGE_LENGTH);
}

/*
 * Untracks all pages, and tracks them again. A page that a concurrent refresh
 * brings back at once is counted twice.
 */
static int untrack_many(struct tenant *t)
{
	int fd = t->k.vfio.fd;
	int ret = kiommu_untrack(fd, 0, 1ull << 63);

	if (ret >= 0 && (uint64_t)ret < t->tracked)
		return -ERANGE;
	return ret < 0 ? ret : kiommu_set_explicit(fd) ?: kiommu_set_tracked(fd, 0);
}

static void *untrack(void *arg)
{
	struct tenant *t = arg;
	struct progress *progress = t->progress;

	for (;;) {
		int ret = t->many ? untrack_many(t) : untrack_far(t);

		if (ret)
			__atomic_store_n(&progress->failed, ret, __ATOMIC_RELEASE);
		__atomic_fetch_add(&progress->untracked, 1, __ATOMIC_RELEASE);
	}
	return NULL;
}

/* Calls that share the locks, calls that take them alone, and memory slots. */
static int call_others(struct tenant *t, void *mem)
{
	struct kvm_iommu_translate result;
	int fd = t->k.vfio.fd;

	return kiommu_translate(fd, IOVA, &result) ?:
	       kiommu_refresh(fd, IOVA, PAGE, NULL) ?:
	       kiommu_set_idle_limit(fd, 0) ?:
	       kiommu_vm_set_slot(&t->k.vm, KIOMMU_FREE_SLOT, 0, KIOMMU_FREE_GPA,
				  PAGE, mem) ?:
	       kiommu_vm_set_slot(&t->k.vm, KIOMMU_FREE_SLOT, 0, KIOMMU_FREE_GPA,
				  0, NULL);
}

static void live(struct progress *progress, bool many)
{
	static struct tenant t;
	pthread_t thread;
	void *mem;

	t.progress = progress;
	t.many = many;
	set_up(&t);
	mem = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
		   -1, 0);
	TEST_ASSERT(mem != MAP_FAILED && !pthread_create(&thread, NULL, untrack, &t),
		    "no thread");
	for (;;) {
		int ret = call_others(&t, mem);

		if (ret)
			__atomic_store_n(&progress->failed, ret, __ATOMIC_RELEASE);
		__atomic_fetch_add(&progress->others, 1, __ATOMIC_RELEASE);
	}
}

/* Waits until both have made some calls, or forever. */
static void await_both(struct progress *progress)
{
	while (__atomic_load_n(&progress->untracked, __ATOMIC_ACQUIRE) < 4 ||
	       __atomic_load_n(&progress->others, __ATOMIC_ACQUIRE) < 4)
		usleep(10000);
}

FIXTURE(untrack) {
	struct progress *progress;
	uint64_t pins;
	long kvm_refs;
};

FIXTURE_VARIANT(untrack) {
	bool many;
};

FIXTURE_VARIANT_ADD(untrack, nothing_far_away) { .many = false };
FIXTURE_VARIANT_ADD(untrack, many_pages) { .many = true };

FIXTURE_SETUP(untrack)
{
	self->pins = kiommu_pins();
	self->kvm_refs = kiommu_kvm_refs();
	self->progress = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
			      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, (void *)self->progress);
}

FIXTURE_TEARDOWN(untrack)
{
	KIOMMU_EXPECT_NOTHING_LEFT();
}

/* The process is nearly always in UNTRACK when it is killed. */
TEST_F_TIMEOUT(untrack, others_go_on_and_it_is_killed, 240)
{
	int status;

	for (int i = 0; i < ROUNDS; i++) {
		pid_t child;

		*self->progress = (struct progress){};
		child = fork();
		if (!child)
			live(self->progress, variant->many);
		await_both(self->progress);
		ASSERT_EQ(0, kill(child, SIGKILL));
		ASSERT_EQ(child, waitpid(child, &status, 0));
		EXPECT_EQ(SIGKILL, status);
		EXPECT_EQ(0, self->progress->failed);
		EXPECT_EQ(0, kiommu_await_refs(0));
	}
}

TEST_HARNESS_MAIN
