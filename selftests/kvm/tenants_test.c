// SPDX-License-Identifier: GPL-2.0-only
/*
 * Two processes, each with a guest and a device of its own. One of them has its
 * mmap_lock held for as long as it likes, and then registers its guest, which
 * needs that lock for writing. The other one must not notice; threads that wait
 * can be killed; and when the lock is free, all go on, or have gone without a
 * trace.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "kvm_test_harness.h"
#include "kvm_util.h"

#include "kiommu_util.h"
#include "stuck_file.h"
#include "tenant.h"

#define PATH "stuck"

enum { OPEN, START, THREADS };

/* Shared by the processes. */
struct shared {
	pid_t tid[THREADS]; /* of the stuck process: open a device; START */
	int ret[THREADS];
	bool done[THREADS];
};

FIXTURE(tenants) {
	struct kiommu_stuck_file file;
	struct shared *shared;
	pid_t stuck, other;
	int to_stuck[2], to_other[2]; /* a byte starts the next step */
	int from_stuck[2], from_other[2]; /* a byte: the step has succeeded */
	uint64_t pins;
	long kvm_refs;
};

struct waiter {
	FIXTURE_DATA(tenants) *self;
	struct kiommu_tenant *t;
	int which;
};

/* Registers the guest: by a call after the device was opened, or by START. */
static void *register_guest(void *arg)
{
	struct waiter *w = arg;
	struct shared *shared = w->self->shared;
	int ret;

	kiommu_await(w->self->to_stuck);
	__atomic_store_n(&shared->tid[w->which], syscall(SYS_gettid),
			 __ATOMIC_RELEASE);
	if (w->which == OPEN) {
		ret = kiommu_device_open(w->t->dev);
		if (!ret)
			kiommu_get_state(w->t->vfio.fd);
	} else {
		ret = kiommu_start(w->t->vfio.fd, w->t->vm.fd);
	}
	shared->ret[w->which] = ret;
	__atomic_store_n(&shared->done[w->which], true, __ATOMIC_RELEASE);
	return NULL;
}

/* Prepares all before the lock is held: even a malloc() may wait for it. */
static void be_stuck(FIXTURE_DATA(tenants) *self)
{
	struct waiter w[THREADS];
	pthread_t thread[THREADS];
	struct kiommu_tenant t;
	int hold[2];

	close(self->file.dev);
	kiommu_tenant_set_up(&t, 0);
	TEST_ASSERT(!pipe(hold), "pipe");
	kiommu_stuck_file_hold_mmap_lock(PATH, hold[0]);
	for (int i = 0; i < THREADS; i++) {
		w[i] = (struct waiter){ .self = self, .t = &t, .which = i };
		TEST_ASSERT(!pthread_create(&thread[i], NULL, register_guest, &w[i]),
			    "no thread");
	}
	kiommu_tell(hold);
	for (int i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	TEST_ASSERT(kiommu_get_state(t.vfio.fd) == KVM_IOMMU_STATE_STARTED,
		    "not registered");
	kiommu_tenant_tear_down(&t);
	_exit(0);
}

/* Registers and leaves in each possible way. */
static void live(FIXTURE_DATA(tenants) *self)
{
	struct kiommu_tenant t;

	close(self->file.dev);
	kiommu_await(self->to_other);
	kiommu_tenant_set_up(&t, 1);
	TEST_ASSERT(!kiommu_device_open(t.dev), "open");
	TEST_ASSERT(kiommu_get_state(t.vfio.fd) == KVM_IOMMU_STATE_STARTED, "state");
	kiommu_tell(self->from_other);
	TEST_ASSERT(!kiommu_stop(t.vfio.fd), "STOP");
	TEST_ASSERT(!kiommu_start(t.vfio.fd, t.vm.fd), "START");
	TEST_ASSERT(!kiommu_register_identity(t.vfio.fd, 0), "anchor");
	kiommu_tell(self->from_other);
	kiommu_device_close(t.dev);
	kiommu_tenant_tear_down(&t);
	kiommu_tell(self->from_other);
	_exit(0);
}

FIXTURE_SETUP(tenants)
{
	if (kiommu_stuck_file_lacks())
		SKIP(return, "%s", kiommu_stuck_file_lacks());
	if (kiommu_device_count() < 2)
		SKIP(return, "needs two devices");
	self->pins = kiommu_pins();
	self->kvm_refs = kiommu_kvm_refs();
	self->shared = mmap(NULL, KIOMMU_PAGE, PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, (void *)self->shared);
	ASSERT_EQ(0, pipe(self->to_stuck) | pipe(self->to_other) |
			     pipe(self->from_stuck) | pipe(self->from_other));
	kiommu_stuck_file_create(&self->file, PATH);
	self->stuck = fork();
	if (!self->stuck)
		be_stuck(self);
	self->other = fork();
	if (!self->other)
		live(self);
}

/* One thread waits for mmap_lock, and the other one for the first. */
static void get_stuck(struct __test_metadata *_metadata,
		      FIXTURE_DATA(tenants) *self)
{
	ASSERT_TRUE(kiommu_stuck_file_wanted(&self->file));
	for (int i = 0; i < THREADS; i++)
		kiommu_tell(self->to_stuck);
	for (int i = 0; i < THREADS; i++)
		ASSERT_TRUE(kiommu_thread_reaches(self->stuck,
						  &self->shared->tid[i], 'D'));
	for (int i = 0; i < THREADS; i++)
		ASSERT_FALSE(self->shared->done[i]);
}

static void expect_exit(struct __test_metadata *_metadata, pid_t pid, int expected)
{
	int status = -1;

	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(expected, status);
}

FIXTURE_TEARDOWN(tenants)
{
	kiommu_stuck_file_let_go(&self->file);
	kill(self->stuck, SIGKILL);
	kill(self->other, SIGKILL);
	while (waitpid(-1, NULL, 0) > 0)
		;
	kiommu_stuck_file_remove(&self->file, PATH);
	kiommu_await_refs(0);
	KIOMMU_EXPECT_NOTHING_LEFT();
}

/* The other process opens, starts, stops and closes while this one waits. */
TEST_F_TIMEOUT(tenants, other_one_does_not_wait, 240)
{
	get_stuck(_metadata, self);
	kiommu_tell(self->to_other);
	for (int i = 0; i < 3; i++) {
		ASSERT_TRUE(kiommu_comes(self->from_other)) {
			TH_LOG("step %d", i);
		}
	}
	for (int i = 0; i < THREADS; i++)
		EXPECT_FALSE(self->shared->done[i]);
	kiommu_stuck_file_let_go(&self->file);
	expect_exit(_metadata, self->other, 0);
	expect_exit(_metadata, self->stuck, 0);
	EXPECT_EQ(0, self->shared->ret[OPEN]);
	/* A START that comes before the device is open fails. */
	EXPECT_TRUE(!self->shared->ret[START] ||
		    self->shared->ret[START] == -ENODEV);
}

/*
 * The thread that holds the lock cannot be killed; those that wait for it can.
 */
TEST_F_TIMEOUT(tenants, who_waits_is_killed, 240)
{
	get_stuck(_metadata, self);
	ASSERT_EQ(0, kill(self->stuck, SIGKILL));
	for (int i = 0; i < THREADS; i++) {
		EXPECT_TRUE(kiommu_thread_reaches(self->stuck,
						  &self->shared->tid[i], 0)) {
			TH_LOG("thread %d", i);
		}
	}
	kiommu_tell(self->to_other);
	for (int i = 0; i < 3; i++)
		EXPECT_TRUE(kiommu_comes(self->from_other));
	kiommu_stuck_file_let_go(&self->file);
	expect_exit(_metadata, self->stuck, SIGKILL);
	expect_exit(_metadata, self->other, 0);
}

struct foreign {
	struct kiommu_stuck_file file;
	int ready[2], hold[2], go[2], result[2];
};

/*
 * Opens a device without a guest; then names the parent's, whose file it has.
 */
static void start_foreign(struct foreign *f, int kvm_fd)
{
	struct kiommu_container vfio;

	kiommu_container_open(&vfio);
	TEST_ASSERT(!kiommu_group_open(&vfio, &vfio.dev[1]) &&
		    !kiommu_group_attach(&vfio, &vfio.dev[1]) &&
		    !kiommu_set_iommu(vfio.fd, VFIO_KVM_IOMMU) &&
		    !kiommu_device_open(&vfio.dev[1]), "container");
	kiommu_tell(f->ready);
	kiommu_await(f->go);
	TEST_ASSERT(kiommu_start(vfio.fd, kvm_fd) == -EPERM, "START");
	TEST_ASSERT(kiommu_get_state(vfio.fd) == KVM_IOMMU_STATE_CREATED, "state");
	kiommu_tell(f->result);
	kiommu_await(f->go);
	kiommu_container_close(&vfio);
	_exit(0);
}

static void have_foreign(struct foreign *f)
{
	struct kiommu_vm vm;

	close(f->file.dev);
	kiommu_vm_create_bare(&vm);
	if (!fork())
		start_foreign(f, vm.fd);
	kiommu_stuck_file_hold_mmap_lock(PATH, f->hold[0]);
	for (;;)
		pause();
}

/*
 * A guest of another process is refused before it is registered: a START that
 * names the guest of a process whose mmap_lock is held fails at once.
 */
TEST(guest_of_another_process)
{
	struct foreign f;
	pid_t child;
	long refs;

	if (kiommu_stuck_file_lacks())
		SKIP(return, "%s", kiommu_stuck_file_lacks());
	if (kiommu_device_count() < 2)
		SKIP(return, "needs two devices");
	ASSERT_EQ(0, prctl(PR_SET_CHILD_SUBREAPER, 1));
	ASSERT_EQ(0, pipe(f.ready) | pipe(f.hold) | pipe(f.go) | pipe(f.result));
	kiommu_stuck_file_create(&f.file, PATH);
	child = fork();
	if (!child)
		have_foreign(&f);
	ASSERT_TRUE(kiommu_comes(f.ready));
	kiommu_tell(f.hold);
	ASSERT_TRUE(kiommu_stuck_file_wanted(&f.file));
	refs = kiommu_module_refs();
	kiommu_tell(f.go);
	EXPECT_TRUE(kiommu_comes(f.result));
	/* Nor does anything else register it meanwhile. */
	EXPECT_EQ(refs, kiommu_await_refs(refs));
	kiommu_tell(f.go);
	kiommu_stuck_file_let_go(&f.file);
	kill(child, SIGKILL);
	while (waitpid(-1, NULL, 0) > 0)
		;
	kiommu_stuck_file_remove(&f.file, PATH);
	EXPECT_EQ(0, kiommu_await_refs(0));
}

TEST_HARNESS_MAIN
