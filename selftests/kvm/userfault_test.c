// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory whose page faults a thread of the process answers (userfaultfd), as in
 * a VMM during incoming migration: a call that touches it waits for the answer.
 * That must not stop other calls forever, and not at all if the waiting call
 * holds no lock. A process with a call that waits can be killed.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include <sys/mman.h>
#include <sys/wait.h>

#include "kvm_test_harness.h"
#include "kvm_util.h"

#include "kiommu_util.h"
#include "ring.h"
#include "tracked.h"
#include "userfault.h"

#define PAGE KIOMMU_PAGE
#define GPA KIOMMU_FREE_GPA /* GPA of self->late */
#define SLOT KIOMMU_FREE_SLOT
#define LOG_GPA (GPA + 0x100000ull) /* GPA of self->mem */
#define IOVA (KIOMMU_IOVA_BASE + 0x10000000ull)
#define LATE_IOVA (IOVA + 64 * KIOMMU_2M)
#define PAGES 8ull
/* How long a call is seen to wait; how long one that must end may take. */
#define WHILE_MS 300
#define SECONDS 60

FIXTURE(userfault) {
	struct kiommu k;
	struct kiommu_vcpu other;
	int fd;
	struct ioat *t;
	char *mem; /* PAGES pages at LOG_GPA */
	char *late; /* PAGES pages at GPA, missing until they are answered */
	char *bitmap; /* a page, likewise; no memory of the guest */
	int uffd;
	uint64_t pins;
};

static void *map_page(void)
{
	void *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	TEST_ASSERT(page != MAP_FAILED, "mmap: %d", errno);
	return page;
}

static void set_up(FIXTURE_DATA(userfault) *self)
{
	kiommu_setup(&self->k, VFIO_KVM_IOMMU);
	if (kiommu_host_has(KIOMMU_KVM))
		kiommu_vm_add_vcpu(&self->k.vm, &self->other);
	self->fd = self->k.vfio.fd;
	self->t = ioat_new(self->k.vm.area, KVM_IOMMU_FORMAT_VTD_SS, 3);
	TEST_ASSERT(!kiommu_register_tables(self->fd, self->t), "anchor");
	self->mem = kiommu_vm_add_memory(&self->k.vm, SLOT + 1, LOG_GPA, PAGES, 0);
	self->late = kiommu_vm_add_memory(&self->k.vm, SLOT, GPA, PAGES, 0);
	self->bitmap = map_page();
	self->uffd = kiommu_uffd_open();
	kiommu_uffd_add(self->uffd, self->late, PAGES * PAGE);
	kiommu_uffd_add(self->uffd, self->bitmap, PAGE);
	/* Otherwise each unmap waits for all others, to trim the pins. */
	TEST_ASSERT(!kiommu_set_idle_limit(self->fd, 1000), "idle pins");
	ioat_map_pages(self->t, IOVA, LOG_GPA, PAGES, IOAT_RW);
	TEST_ASSERT(!kiommu_refresh(self->fd, IOVA, PAGES * PAGE, NULL), "map");
}

FIXTURE_SETUP(userfault)
{
	if (kiommu_uffd_lacks())
		SKIP(return, "%s", kiommu_uffd_lacks());
	self->pins = kiommu_pins();
	set_up(self);
}

FIXTURE_TEARDOWN(userfault)
{
	kiommu_teardown(&self->k);
	close(self->uffd);
	munmap(self->bitmap, PAGE);
	EXPECT_EQ(self->k.locked_vm, kiommu_locked_vm());
	EXPECT_EQ(self->pins, kiommu_pins());
	EXPECT_EQ(0, kiommu_await_refs(0));
}

/* A call on a thread of its own. */
struct caller {
	FIXTURE_DATA(userfault) *self;
	pthread_t thread;
	int (*fn)(FIXTURE_DATA(userfault) *self);
	int ret;
	bool done; /* atomic */
};

static void *call(void *arg)
{
	struct caller *c = arg;

	c->ret = c->fn(c->self);
	__atomic_store_n(&c->done, true, __ATOMIC_RELEASE);
	return NULL;
}

static void start(struct caller *c, FIXTURE_DATA(userfault) *self,
		  int (*fn)(FIXTURE_DATA(userfault) *self))
{
	memset(c, 0, sizeof(*c));
	c->self = self;
	c->fn = fn;
	TEST_ASSERT(!pthread_create(&c->thread, NULL, call, c), "no thread");
}

static bool is_done(struct caller *c)
{
	return __atomic_load_n(&c->done, __ATOMIC_ACQUIRE);
}

/* Whether the call ends within @ms; then ret is valid. */
static bool ends(struct caller *c, unsigned int ms)
{
	for (unsigned int i = 0; i < ms && !is_done(c); i++)
		usleep(1000);
	if (!is_done(c))
		return false;
	pthread_join(c->thread, NULL);
	return true;
}

/* Other calls, which do not touch missing pages. */
static int other_refresh(FIXTURE_DATA(userfault) *self)
{
	return kiommu_refresh(self->fd, IOVA, PAGE, NULL);
}

static int other_unmap(FIXTURE_DATA(userfault) *self)
{
	uint64_t size = PAGE;

	return kiommu_unmap_dma(self->fd, IOVA + PAGE, &size, 0);
}

static int other_translate(FIXTURE_DATA(userfault) *self)
{
	struct kvm_iommu_translate result;

	return kiommu_translate(self->fd, IOVA, &result);
}

static int other_info(FIXTURE_DATA(userfault) *self)
{
	return kiommu_get_state(self->fd) != KVM_IOMMU_STATE_ANCHORED;
}

static uint64_t add_one(uint64_t number)
{
	return number + 1;
}

static int other_vcpu(FIXTURE_DATA(userfault) *self)
{
	if (kiommu_host_lacks(KIOMMU_KVM))
		return 0;
	return kiommu_vcpu_call(&self->other, add_one, 6) != 7;
}

/* Changes memory of the process: mmap_lock, notifiers. */
static int other_munmap(FIXTURE_DATA(userfault) *self)
{
	char *page = map_page();

	(void)self;
	page[0] = 1;
	return munmap(page, PAGE);
}

/* These wait for all calls under way: locks for writing, SRCU. */
static int change_mode(FIXTURE_DATA(userfault) *self)
{
	return kiommu_set_explicit(self->fd);
}

static int change_slot(FIXTURE_DATA(userfault) *self)
{
	return kiommu_vm_set_slot(&self->k.vm, SLOT + 2, 0, GPA + 0x200000, PAGE,
				  self->mem) ?:
	       kiommu_vm_set_slot(&self->k.vm, SLOT + 2, 0, GPA + 0x200000, 0, NULL);
}

static int change_memory(FIXTURE_DATA(userfault) *self)
{
	/* Mapped memory of the guest: the module must unmap it. */
	return madvise(self->mem + 7 * PAGE, PAGE, MADV_DONTNEED);
}

static int (*const others[])(FIXTURE_DATA(userfault) *self) = {
	other_refresh, other_unmap, other_translate, other_info, other_vcpu,
	other_munmap,
};

static int (*const changes[])(FIXTURE_DATA(userfault) *self) = {
	change_mode, change_slot, change_memory, other_refresh,
};

/* Each of these works while a call waits for an answer. */
static void try_others(struct __test_metadata *_metadata,
		       FIXTURE_DATA(userfault) *self)
{
	struct caller c;

	for (unsigned int i = 0; i < ARRAY_SIZE(others); i++) {
		start(&c, self, others[i]);
		ASSERT_TRUE(ends(&c, SECONDS * 1000)) {
			TH_LOG("call %u waits", i);
		}
		EXPECT_EQ(0, c.ret) {
			TH_LOG("call %u", i);
		}
	}
}

static int read_log(FIXTURE_DATA(userfault) *self)
{
	return kiommu_dirty_read(self->fd, LOG_GPA, PAGES * PAGE, self->bitmap,
				 NULL);
}

static uint8_t read_log_now(FIXTURE_DATA(userfault) *self)
{
	uint64_t bits = 0;

	TEST_ASSERT(!kiommu_dirty_read(self->fd, LOG_GPA, PAGES * PAGE, &bits,
				       NULL), "READ");
	return *(uint8_t *)&bits;
}

static const char zeroes[PAGE];

/* The bitmap is stored with no lock held, so no other call waits. */
TEST_F_TIMEOUT(userfault, bitmap_of_the_log, 240)
{
	struct caller reader, c;

	ASSERT_EQ(0, kiommu_dirty_log(self->fd, KVM_IOMMU_DIRTY_START));
	ioat_unmap_pages(self->t, IOVA, 3);
	ASSERT_EQ(0, kiommu_refresh(self->fd, IOVA, 3 * PAGE, NULL));
	ioat_map_pages(self->t, IOVA, LOG_GPA, 3, IOAT_RW);
	start(&reader, self, read_log);
	ASSERT_EQ(self->bitmap, kiommu_uffd_next(self->uffd));
	try_others(_metadata, self);
	for (unsigned int i = 0; i < ARRAY_SIZE(changes); i++) {
		start(&c, self, changes[i]);
		ASSERT_TRUE(ends(&c, SECONDS * 1000)) {
			TH_LOG("change %u waits", i);
		}
		EXPECT_EQ(0, c.ret);
	}
	/* Another reader gets what is mapped now, and what went since then. */
	EXPECT_EQ(0xf9, read_log_now(self));
	EXPECT_FALSE(is_done(&reader));
	ASSERT_EQ(0, kiommu_uffd_answer(self->uffd, self->bitmap, zeroes));
	ASSERT_TRUE(ends(&reader, SECONDS * 1000));
	EXPECT_EQ(0, reader.ret);
	EXPECT_EQ((char)0xff, self->bitmap[0]);
}

/* The KVM leaves while its log is read. */
TEST_F_TIMEOUT(userfault, bitmap_outlives_the_kvm, 240)
{
	struct caller reader;

	ASSERT_EQ(0, kiommu_dirty_log(self->fd, KVM_IOMMU_DIRTY_START));
	start(&reader, self, read_log);
	ASSERT_EQ(self->bitmap, kiommu_uffd_next(self->uffd));
	ASSERT_EQ(0, kiommu_stop(self->fd));
	ASSERT_EQ(KVM_IOMMU_STATE_CREATED, kiommu_get_state(self->fd));
	ASSERT_EQ(0, kiommu_start(self->fd, self->k.vm.fd));
	ASSERT_EQ(0, kiommu_register_tables(self->fd, self->t));
	ASSERT_EQ(0, kiommu_refresh(self->fd, IOVA, PAGES * PAGE, NULL));
	ASSERT_EQ(0, kiommu_uffd_answer(self->uffd, self->bitmap, zeroes));
	ASSERT_TRUE(ends(&reader, SECONDS * 1000));
	EXPECT_EQ(0, reader.ret);
	EXPECT_EQ((char)0xff, self->bitmap[0]);
}

/* The page is unmapped instead: what was taken from the log is put back. */
TEST_F_TIMEOUT(userfault, bitmap_goes_away, 240)
{
	struct caller reader;

	ASSERT_EQ(0, kiommu_dirty_log(self->fd, KVM_IOMMU_DIRTY_START));
	ioat_unmap_pages(self->t, IOVA, PAGES);
	ASSERT_EQ(0, kiommu_refresh(self->fd, IOVA, PAGES * PAGE, NULL));
	start(&reader, self, read_log);
	ASSERT_EQ(self->bitmap, kiommu_uffd_next(self->uffd));
	EXPECT_EQ(0, read_log_now(self));
	ASSERT_EQ(0, munmap(self->bitmap, PAGE));
	ASSERT_EQ(0, kiommu_uffd_wake(self->uffd, self->bitmap));
	ASSERT_TRUE(ends(&reader, SECONDS * 1000));
	EXPECT_EQ(-EFAULT, reader.ret);
	EXPECT_EQ(0xff, read_log_now(self));
	self->bitmap = map_page();
}

/*
 * The missing page of guest memory is one that a device is to reach; a table.
 */
static int refresh_late(FIXTURE_DATA(userfault) *self)
{
	return kiommu_refresh(self->fd, LATE_IOVA, PAGE, NULL);
}

static void map_late(FIXTURE_DATA(userfault) *self, bool table)
{
	uint64_t *entry = ioat_entry(self->t, LATE_IOVA, table ? 1 : 0, true);

	ioat_write(self->t, entry, table ? ioat_table_value(self->t, 1, GPA) :
		   ioat_leaf_value(self->t, 0, GPA, IOAT_RW));
}

/*
 * Other calls go on, until one comes that waits for all; when the page is
 * there, all have gone on.
 */
static void try_guest_memory(struct __test_metadata *_metadata,
			     FIXTURE_DATA(userfault) *self, bool table,
			     int (*fn)(FIXTURE_DATA(userfault) *self))
{
	struct caller late, c[ARRAY_SIZE(changes)];
	uint64_t content[512] = {};

	ioat_write(self->t, &content[0],
		   ioat_leaf_value(self->t, 0, LOG_GPA, IOAT_RW));
	start(&late, self, fn);
	ASSERT_EQ(self->late, kiommu_uffd_next(self->uffd));
	try_others(_metadata, self);
	for (unsigned int i = 0; i < ARRAY_SIZE(changes); i++)
		start(&c[i], self, changes[i]);
	usleep(WHILE_MS * 1000);
	EXPECT_FALSE(is_done(&late));
	/* A call that needs none of their locks never waits. */
	EXPECT_EQ(0, other_munmap(self));
	ASSERT_EQ(0, kiommu_uffd_answer(self->uffd, self->late, content));
	ASSERT_TRUE(ends(&late, SECONDS * 1000));
	EXPECT_EQ(0, late.ret);
	for (unsigned int i = 0; i < ARRAY_SIZE(changes); i++) {
		ASSERT_TRUE(ends(&c[i], SECONDS * 1000)) {
			TH_LOG("change %u waits", i);
		}
		EXPECT_EQ(0, c[i].ret);
	}
	EXPECT_TRUE(kiommu_maps(self->fd, LATE_IOVA, table ? LOG_GPA : GPA));
}

TEST_F_TIMEOUT(userfault, page_to_be_pinned, 240)
{
	map_late(self, false);
	try_guest_memory(_metadata, self, false, refresh_late);
}

TEST_F_TIMEOUT(userfault, page_of_tables, 240)
{
	map_late(self, true);
	try_guest_memory(_metadata, self, true, refresh_late);
}

/* A vCPU links the table, and waits within its store. */
static int store_late(FIXTURE_DATA(userfault) *self)
{
	uint64_t *entry = ioat_entry(self->t, LATE_IOVA, 1, false);

	return kiommu_guest_call(&self->k.vm, kiommu_store, entry,
				 ioat_table_value(self->t, 1, GPA));
}

TEST_F_TIMEOUT(userfault, table_that_is_linked, 240)
{
	if (kiommu_host_lacks(KIOMMU_KVM))
		SKIP(return, "%s", kiommu_host_lacks(KIOMMU_KVM));
	ioat_entry(self->t, LATE_IOVA, 1, true);
	ASSERT_EQ(0, kiommu_set_tracked(self->fd, 0));
	try_guest_memory(_metadata, self, true, store_late);
}

/* A process with a call that waits is killed, with all that it has. */
static void wait_in_vain(int (*prepare)(FIXTURE_DATA(userfault) *self),
			 int (*fn)(FIXTURE_DATA(userfault) *self), int ready)
{
	FIXTURE_DATA(userfault) self = {};
	struct caller c, stuck;

	set_up(&self);
	TEST_ASSERT(!prepare(&self), "prepare");
	start(&c, &self, fn);
	TEST_ASSERT(kiommu_uffd_next(self.uffd), "nobody waits");
	/* Two more calls that wait for what the first one holds. */
	start(&stuck, &self, change_slot);
	start(&c, &self, change_mode);
	usleep(WHILE_MS * 1000);
	TEST_ASSERT(write(ready, "", 1) == 1, "ready");
	for (;;)
		pause();
}

static int prepare_log(FIXTURE_DATA(userfault) *self)
{
	return kiommu_dirty_log(self->fd, KVM_IOMMU_DIRTY_START);
}

static int prepare_page(FIXTURE_DATA(userfault) *self)
{
	map_late(self, false);
	return 0;
}

static int prepare_table(FIXTURE_DATA(userfault) *self)
{
	map_late(self, true);
	return 0;
}

static int prepare_link(FIXTURE_DATA(userfault) *self)
{
	ioat_entry(self->t, LATE_IOVA, 1, true);
	return kiommu_set_tracked(self->fd, 0);
}

TEST(killed_while_it_waits)
{
	const struct {
		int (*prepare)(FIXTURE_DATA(userfault) *self);
		int (*fn)(FIXTURE_DATA(userfault) *self);
		bool kvm;
	} cases[] = {
		{ prepare_log, read_log, false },
		{ prepare_page, refresh_late, false },
		{ prepare_table, refresh_late, false },
		{ prepare_link, store_late, true },
	};
	uint64_t pins = kiommu_pins();
	long kvm_refs = kiommu_kvm_refs();
	int ready[2], status;
	char byte;
	pid_t child;

	if (kiommu_uffd_lacks())
		SKIP(return, "%s", kiommu_uffd_lacks());
	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		if (cases[i].kvm && kiommu_host_lacks(KIOMMU_KVM))
			continue;
		ASSERT_EQ(0, pipe(ready));
		child = fork();
		if (!child)
			wait_in_vain(cases[i].prepare, cases[i].fn, ready[1]);
		close(ready[1]);
		ASSERT_EQ(1, read(ready[0], &byte, 1));
		ASSERT_EQ(0, kill(child, SIGKILL));
		ASSERT_EQ(child, waitpid(child, &status, 0));
		EXPECT_TRUE(WIFSIGNALED(status));
		EXPECT_EQ(0, kiommu_await_refs(0));
		EXPECT_EQ(kvm_refs, kiommu_kvm_refs());
		EXPECT_EQ(pins, kiommu_pins());
		close(ready[0]);
	}
}

TEST_HARNESS_MAIN
