// SPDX-License-Identifier: GPL-2.0-only
/*
 * A call of a process waits for a lock that another process holds for as long
 * as it likes: the mmap_lock of the caller, or the lock of the file that is its
 * memory. The caller is killed, and exits while the lock is still held. When
 * the lock is free, all goes on for a process that has the container, too.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "kvm_test_harness.h"
#include "kvm_util.h"

#include "kiommu_util.h"
#include "stuck_file.h"
#include "tenant.h"
#include "userfault.h"

#define PATH "stuck"
#define PAGE KIOMMU_PAGE
#define GPA KIOMMU_FREE_GPA
#define PAGES 8ull
#define MAPPED 4ull /* of them, before the lock is held */

/* Shared by the processes. */
struct shared {
	pid_t tid; /* the thread that calls */
	char *stuck; /* the file at PATH, mapped in the caller */
	uint64_t calls; /* calls that have returned */
	bool held; /* atomic: the test holds the lock */
};

FIXTURE(killed) {
	struct kiommu_stuck_file file;
	struct shared *shared;
	pid_t caller;
	int ready[2], go[2], heir[2];
	pthread_t holder;
	int other; /* a memfd */
	int uffd;
	char *late; /* a page that is missing until let_go() */
	uint64_t pins;
	long kvm_refs;
};

/* The process that is killed. */
struct caller {
	struct kiommu k;
	char *mem; /* PAGES pages at GPA */
	int other;
};

static int refresh(struct caller *c)
{
	return kiommu_refresh(c->k.vfio.fd, GPA, PAGES * PAGE, NULL);
}

static int unmap(struct caller *c)
{
	uint64_t size = MAPPED * PAGE;

	return kiommu_unmap_dma(c->k.vfio.fd, GPA, &size, 0);
}

static int unregister(struct caller *c)
{
	return kiommu_unregister(c->k.vfio.fd);
}

static int stop(struct caller *c)
{
	return kiommu_stop(c->k.vfio.fd);
}

static int pin_memory(struct caller *c)
{
	return kiommu_pin_memory(c->k.vfio.fd, GPA, PAGES * PAGE);
}

/*
 * Maps memory of a file whose lock is held: calls wait for a tenth of a second.
 */
static int exchange_page(struct caller *c)
{
	if (c->other >= 0 &&
	    mmap(c->mem, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
		 c->other, 0) == MAP_FAILED)
		return -errno;
	close(c->other);
	c->other = -1;
	return kiommu_refresh(c->k.vfio.fd, GPA + PAGE, PAGE, NULL);
}

FIXTURE_VARIANT(killed) {
	int (*call)(struct caller *c);
	bool inode; /* the lock of the file, which is only tried repeatedly */
};

FIXTURE_VARIANT_ADD(killed, refresh) { .call = refresh };
FIXTURE_VARIANT_ADD(killed, unmap) { .call = unmap };
FIXTURE_VARIANT_ADD(killed, unregister) { .call = unregister };
FIXTURE_VARIANT_ADD(killed, stop) { .call = stop };
FIXTURE_VARIANT_ADD(killed, pin_memory) { .call = pin_memory };
FIXTURE_VARIANT_ADD(killed, memory_changed) {
	.call = exchange_page,
	.inode = true,
};

static void set_up(struct caller *c, FIXTURE_DATA(killed) *self)
{
	int fd = open(PATH, O_RDONLY | O_CLOEXEC);
	struct stat stat;

	kiommu_setup(&c->k, VFIO_KVM_IOMMU);
	c->other = self->other;
	c->mem = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	TEST_ASSERT(c->mem != MAP_FAILED, "mmap: %d", errno);
	TEST_ASSERT(!kiommu_vm_set_slot(&c->k.vm, KIOMMU_FREE_SLOT, 0, GPA,
					PAGES * PAGE, c->mem), "slot");
	TEST_ASSERT(!kiommu_register_identity(c->k.vfio.fd, 0), "anchor");
	/* So that calls charge what they pin, and uncharge what they unpin. */
	TEST_ASSERT(!kiommu_set_idle_limit(c->k.vfio.fd, 0), "limit");
	TEST_ASSERT(!kiommu_refresh(c->k.vfio.fd, GPA, MAPPED * PAGE, NULL), "map");
	/* The kernel learns the size of the file by the first stat(). */
	TEST_ASSERT(fd >= 0 && !fstat(fd, &stat), "%s", PATH);
	self->shared->stuck = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, fd, 0);
	TEST_ASSERT(self->shared->stuck != MAP_FAILED, "mmap: %d", errno);
	/* Now: a close() is not answered while the server is stuck. */
	close(fd);
}

/* Has all files of the process that is killed. */
static void inherit(struct caller *c, FIXTURE_DATA(killed) *self)
{
	struct kvm_iommu_info info;

	kiommu_await(self->heir);
	TEST_ASSERT(!kiommu_get_info(c->k.vfio.fd, &info), "GET_INFO");
	if (info.state != KVM_IOMMU_STATE_CREATED)
		TEST_ASSERT(!kiommu_stop(c->k.vfio.fd), "STOP");
	TEST_ASSERT(kiommu_get_state(c->k.vfio.fd) == KVM_IOMMU_STATE_CREATED,
		    "state");
	_exit(0);
}

static void call_forever(int (*call)(struct caller *c), FIXTURE_DATA(killed) *self)
{
	static struct caller c;

	close(self->file.dev);
	set_up(&c, self);
	if (!fork())
		inherit(&c, self);
	kiommu_tell(self->ready);
	kiommu_await(self->go);
	__atomic_store_n(&self->shared->tid, syscall(SYS_gettid), __ATOMIC_RELEASE);
	for (;;) {
		call(&c);
		__atomic_fetch_add(&self->shared->calls, 1, __ATOMIC_RELEASE);
	}
}

/* Reads a page of the caller that does not arrive. */
static void *hold_mmap_lock(void *arg)
{
	FIXTURE_DATA(killed) *self = arg;
	char path[64], byte;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/mem", self->caller);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	TEST_ASSERT(fd >= 0, "%s: %d", path, errno);
	TEST_ASSERT(pread(fd, &byte, 1, (off_t)(uintptr_t)self->shared->stuck) == 1,
		    "%s: %d", path, errno);
	__atomic_store_n(&self->shared->held, false, __ATOMIC_RELEASE);
	close(fd);
	return NULL;
}

/* Writes from a page that does not arrive. */
static void *hold_inode_lock(void *arg)
{
	FIXTURE_DATA(killed) *self = arg;

	TEST_ASSERT(pwrite(self->other, self->late, PAGE, PAGE) == PAGE,
		    "write: %d", errno);
	__atomic_store_n(&self->shared->held, false, __ATOMIC_RELEASE);
	return NULL;
}

FIXTURE_SETUP(killed)
{
	if (kiommu_stuck_file_lacks())
		SKIP(return, "%s", kiommu_stuck_file_lacks());
	if (variant->inode && kiommu_uffd_lacks())
		SKIP(return, "%s", kiommu_uffd_lacks());
	self->pins = kiommu_pins();
	self->kvm_refs = kiommu_kvm_refs();
	self->shared = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, (void *)self->shared);
	self->shared->held = true;
	self->other = memfd_create("other", 0);
	ASSERT_EQ(0, ftruncate(self->other, 2 * PAGE));
	ASSERT_EQ(0, pipe(self->ready) | pipe(self->go) | pipe(self->heir));
	ASSERT_EQ(0, prctl(PR_SET_CHILD_SUBREAPER, 1));
	kiommu_stuck_file_create(&self->file, PATH);
	self->caller = fork();
	if (!self->caller)
		call_forever(variant->call, self);
	ASSERT_TRUE(kiommu_comes(self->ready));
}

FIXTURE_TEARDOWN(killed)
{
	kiommu_stuck_file_remove(&self->file, PATH);
	KIOMMU_EXPECT_NOTHING_LEFT();
}

static bool hold(FIXTURE_DATA(killed) *self, bool inode)
{
	if (!inode)
		return !pthread_create(&self->holder, NULL, hold_mmap_lock, self) &&
		       kiommu_stuck_file_wanted(&self->file);
	self->uffd = kiommu_uffd_open();
	self->late = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	kiommu_uffd_add(self->uffd, self->late, PAGE);
	return !pthread_create(&self->holder, NULL, hold_inode_lock, self) &&
	       kiommu_uffd_next(self->uffd) == self->late;
}

static void let_go(FIXTURE_DATA(killed) *self, bool inode)
{
	static const char content[PAGE];

	kiommu_stuck_file_let_go(&self->file);
	if (inode)
		TEST_ASSERT(!kiommu_uffd_answer(self->uffd, self->late, content),
			    "answer");
	pthread_join(self->holder, NULL);
}

/* A call that waits sleeps in the kernel; one that only tries is repeated. */
static bool has_tried(FIXTURE_DATA(killed) *self, bool inode)
{
	if (!inode)
		return kiommu_thread_reaches(self->caller, &self->shared->tid, 'D');
	for (int i = 0; i < KIOMMU_TENANT_MS / 10; i++) {
		if (__atomic_load_n(&self->shared->calls, __ATOMIC_ACQUIRE) > 1)
			return true;
		usleep(10000);
	}
	return false;
}

TEST_F_TIMEOUT(killed, while_the_lock_is_held, 240)
{
	int status;

	ASSERT_TRUE(hold(self, variant->inode));
	kiommu_tell(self->go);
	EXPECT_TRUE(has_tried(self, variant->inode));
	ASSERT_EQ(0, kill(self->caller, SIGKILL));
	EXPECT_TRUE(kiommu_thread_reaches(self->caller, &self->shared->tid, 'Z'));
	EXPECT_TRUE(__atomic_load_n(&self->shared->held, __ATOMIC_ACQUIRE));
	let_go(self, variant->inode);
	ASSERT_EQ(self->caller, waitpid(self->caller, &status, 0));
	EXPECT_EQ(SIGKILL, status);
	kiommu_tell(self->heir);
	ASSERT_LT(0, waitpid(-1, &status, 0));
	EXPECT_EQ(0, status);
}

TEST_HARNESS_MAIN
