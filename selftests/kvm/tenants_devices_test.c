// SPDX-License-Identifier: GPL-2.0-only
/*
 * Devices of a container are opened and closed while a process waits: for a
 * page of its memory in a call, or for mmap_lock to register the guest. Opening
 * and closing wait for neither, and what they bring is not lost when the
 * process that waits is killed.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
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
#include "userfault.h"

#define PATH "stuck"
#define GPA KIOMMU_FREE_GPA

FIXTURE(tenants_devices) {
	uint64_t pins;
	long kvm_refs;
};

FIXTURE_SETUP(tenants_devices)
{
	if (kiommu_device_count() < 2)
		SKIP(return, "needs two devices");
	self->pins = kiommu_pins();
	self->kvm_refs = kiommu_kvm_refs();
	ASSERT_EQ(0, prctl(PR_SET_CHILD_SUBREAPER, 1));
}

/* Reaps all processes that are left, so that nothing of a failed test stays. */
FIXTURE_TEARDOWN(tenants_devices)
{
	while (waitpid(-1, NULL, 0) > 0)
		;
	kiommu_await_refs(0);
	KIOMMU_EXPECT_NOTHING_LEFT();
}

/* A tenant with a call that waits for @late, a page of its memory. */
struct stuck_call {
	struct kiommu_tenant t;
	int uffd;
	void *late;
	pthread_t thread;
	int ret;
	bool done; /* atomic */
};

static void *refresh_late(void *arg)
{
	struct stuck_call *c = arg;

	c->ret = kiommu_refresh(c->t.vfio.fd, GPA, KIOMMU_PAGE, NULL);
	__atomic_store_n(&c->done, true, __ATOMIC_RELEASE);
	return NULL;
}

static void *map_page(void)
{
	void *page = mmap(NULL, KIOMMU_PAGE, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	TEST_ASSERT(page != MAP_FAILED, "mmap: %d", errno);
	return page;
}

static void get_stuck(struct stuck_call *c)
{
	kiommu_tenant_set_up(&c->t, 0);
	TEST_ASSERT(!kiommu_device_open(c->t.dev), "open");
	TEST_ASSERT(kiommu_get_state(c->t.vfio.fd) == KVM_IOMMU_STATE_STARTED,
		    "state");
	c->late = map_page();
	c->uffd = kiommu_uffd_open();
	kiommu_uffd_add(c->uffd, c->late, KIOMMU_PAGE);
	TEST_ASSERT(!kiommu_vm_set_slot(&c->t.vm, KIOMMU_FREE_SLOT, 0, GPA,
					KIOMMU_PAGE, c->late), "slot");
	TEST_ASSERT(!kiommu_register_identity(c->t.vfio.fd, 0), "anchor");
	TEST_ASSERT(!pthread_create(&c->thread, NULL, refresh_late, c), "no thread");
	TEST_ASSERT(kiommu_uffd_next(c->uffd) == c->late, "nobody waits");
}

/*
 * The guest comes and goes with the device, without a call. If it is not a KVM, or
 * its domain has a file, the library registers it by a call, which would wait.
 */
static bool comes_by_itself(void)
{
	return kiommu_host_has(KIOMMU_KVM) && !kiommu_front_is_file();
}

/* Sends a byte for each step, all of which happen while the call waits. */
static void close_while_stuck(const int *go, const int *done)
{
	static struct stuck_call c;

	get_stuck(&c);
	kiommu_device_close(c.t.dev);
	kiommu_tell(done);
	if (comes_by_itself())
		TEST_ASSERT(!kiommu_device_open(c.t.dev), "open");
	kiommu_tell(done);
	kiommu_await(go);
	TEST_ASSERT(!__atomic_load_n(&c.done, __ATOMIC_ACQUIRE), "did not wait");
	TEST_ASSERT(!kiommu_uffd_answer(c.uffd, c.late, map_page()), "answer");
	pthread_join(c.thread, NULL);
	TEST_ASSERT(!c.ret, "refresh: %d", c.ret);
	/* The guest left when the device was closed, and came with it again. */
	if (comes_by_itself())
		TEST_ASSERT(kiommu_get_state(c.t.vfio.fd) ==
			    KVM_IOMMU_STATE_STARTED, "state");
	kiommu_tenant_tear_down(&c.t);
	_exit(0);
}

/* Another tenant opens and closes its device. */
static void live(const int *go, const int *done)
{
	struct kiommu_tenant t;

	kiommu_await(go);
	kiommu_tenant_set_up(&t, 1);
	for (int i = 0; i < 2; i++) {
		TEST_ASSERT(!kiommu_device_open(t.dev), "open");
		TEST_ASSERT(kiommu_get_state(t.vfio.fd) == KVM_IOMMU_STATE_STARTED,
			    "state");
		kiommu_device_close(t.dev);
		kiommu_tell(done);
	}
	kiommu_tenant_tear_down(&t);
	kiommu_tell(done);
	_exit(0);
}

static void expect_exit(struct __test_metadata *_metadata, pid_t pid, int expected)
{
	int status = -1;

	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(expected, status);
}

/* VFIO holds the lock of the device set meanwhile, so both would wait. */
TEST_F_TIMEOUT(tenants_devices, closed_while_a_call_waits, 240)
{
	int go[2][2], done[2][2];
	pid_t stuck, other;

	if (kiommu_uffd_lacks())
		SKIP(return, "%s", kiommu_uffd_lacks());
	for (int i = 0; i < 2; i++)
		ASSERT_EQ(0, pipe(go[i]) | pipe(done[i]));
	stuck = fork();
	if (!stuck)
		close_while_stuck(go[0], done[0]);
	other = fork();
	if (!other)
		live(go[1], done[1]);
	for (int i = 0; i < 2; i++) {
		EXPECT_TRUE(kiommu_comes(done[0])) {
			TH_LOG("it waits, step %d", i);
		}
	}
	kiommu_tell(go[1]);
	for (int i = 0; i < 3; i++) {
		EXPECT_TRUE(kiommu_comes(done[1])) {
			TH_LOG("the other one waits, step %d", i);
		}
	}
	if (!_metadata->exit_code) {
		kiommu_tell(go[0]);
		expect_exit(_metadata, stuck, 0);
		expect_exit(_metadata, other, 0);
	}
	kill(stuck, SIGKILL);
	kill(other, SIGKILL);
}

struct first_caller {
	struct kiommu_stuck_file file;
	int hold[2], go[2], check[2], result[2];
	pid_t *caller; /* shared */
};

/* Makes the first call after the device was opened. */
static void call_first(struct first_caller *f, int fd)
{
	kiommu_await(f->go);
	__atomic_store_n(f->caller, syscall(SYS_gettid), __ATOMIC_RELEASE);
	kiommu_get_state(fd);
	_exit(0);
}

/* A guest whose registration waits; another process has its container, too. */
static void be_registered(struct first_caller *f)
{
	struct kiommu_tenant t;

	close(f->file.dev);
	signal(SIGCHLD, SIG_IGN); /* a killed child is gone at once */
	kiommu_tenant_set_up(&t, 0);
	TEST_ASSERT(!kiommu_device_open(t.dev), "open");
	if (!fork())
		call_first(f, t.vfio.fd);
	kiommu_stuck_file_hold_mmap_lock(PATH, f->hold[0]);
	kiommu_tell(f->result);
	kiommu_await(f->check);
	TEST_ASSERT(kiommu_get_state(t.vfio.fd) == KVM_IOMMU_STATE_STARTED,
		    "the KVM is forgotten");
	kiommu_tenant_tear_down(&t);
	_exit(0);
}

/*
 * The first call registers the guest that the device brought, and waits for
 * that, in a process that is killed. The next call, of another process,
 * registers it.
 */
TEST_F_TIMEOUT(tenants_devices, first_caller_is_killed, 240)
{
	struct first_caller f;
	pid_t guest;

	if (kiommu_front_lacks(KIOMMU_CONTAINER_RULES))
		SKIP(return, "%s", kiommu_front_lacks(KIOMMU_CONTAINER_RULES));
	if (kiommu_stuck_file_lacks())
		SKIP(return, "%s", kiommu_stuck_file_lacks());
	if (kiommu_host_lacks(KIOMMU_KVM))
		SKIP(return, "%s", kiommu_host_lacks(KIOMMU_KVM));
	f.caller = mmap(NULL, KIOMMU_PAGE, PROT_READ | PROT_WRITE,
			MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, (void *)f.caller);
	ASSERT_EQ(0, pipe(f.hold) | pipe(f.go) | pipe(f.check) | pipe(f.result));
	kiommu_stuck_file_create(&f.file, PATH);
	guest = fork();
	if (!guest)
		be_registered(&f);
	ASSERT_TRUE(kiommu_comes(f.result));
	kiommu_tell(f.hold);
	ASSERT_TRUE(kiommu_stuck_file_wanted(&f.file));
	kiommu_tell(f.go);
	EXPECT_TRUE(kiommu_thread_reaches(0, f.caller, 'D'));
	EXPECT_EQ(0, kill(*f.caller, SIGKILL));
	EXPECT_TRUE(kiommu_thread_reaches(0, f.caller, 0));
	kiommu_stuck_file_let_go(&f.file);
	kiommu_tell(f.check);
	expect_exit(_metadata, guest, 0);
	kiommu_stuck_file_remove(&f.file, PATH);
}

TEST_HARNESS_MAIN
