// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory changes while another thread holds the lock of its file for as long as
 * it likes, so that what is there now cannot be found out. Calls go on
 * meanwhile. Pages that may be gone stay mapped and pinned until that is known,
 * and go then.
 */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include <sys/mman.h>

#include "kvm_test_harness.h"
#include "kvm_util.h"

#include "kiommu_util.h"
#include "userfault.h"

#define PAGE KIOMMU_PAGE
#define GPA KIOMMU_FREE_GPA
#define SLOT KIOMMU_FREE_SLOT
#define IOVA (KIOMMU_IOVA_BASE + 0x10000000ull)
#define SIZE KIOMMU_2M
#define PAGES (SIZE / PAGE)

FIXTURE(held_lock) {
	struct kiommu k;
	int fd;
	struct ioat *t;
	char *mem; /* SIZE bytes of a memfd, in SLOT at GPA, mapped at IOVA */
	int other; /* a memfd whose lock is held */
	int uffd;
	char *late; /* a page that is missing until let_go() */
	pthread_t writer;
	uint64_t pins;
};

static int make_file(void)
{
	int fd = memfd_create("guest", 0);

	TEST_ASSERT(fd >= 0 && !ftruncate(fd, SIZE), "memfd: %d", errno);
	return fd;
}

static void *map_file(void *at, uint64_t size, int fd)
{
	void *mem = mmap(at, size, PROT_READ | PROT_WRITE,
			 MAP_SHARED | (at ? MAP_FIXED : 0), fd, 0);

	TEST_ASSERT(mem != MAP_FAILED, "mmap: %d", errno);
	return mem;
}

/* Holds the lock of the file until the page that it writes from is there. */
static void *write_late_page(void *data)
{
	FIXTURE_DATA(held_lock) *self = data;

	TEST_ASSERT(pwrite(self->other, self->late, PAGE, SIZE - PAGE) == PAGE,
		    "write: %d", errno);
	return NULL;
}

static void set_up(FIXTURE_DATA(held_lock) *self)
{
	self->pins = kiommu_pins();
	kiommu_setup(&self->k, VFIO_KVM_IOMMU);
	self->fd = self->k.vfio.fd;
	self->t = ioat_new(self->k.vm.area, KVM_IOMMU_FORMAT_VTD_SS, 3);
	TEST_ASSERT(!kiommu_register_tables(self->fd, self->t), "anchor");
	self->mem = map_file(NULL, SIZE, make_file());
	self->other = make_file();
	TEST_ASSERT(!kiommu_vm_set_slot(&self->k.vm, SLOT, 0, GPA, SIZE, self->mem),
		    "slot");
	ioat_map_pages(self->t, IOVA, GPA, PAGES, IOAT_RW);
	TEST_ASSERT(!kiommu_refresh(self->fd, IOVA, SIZE, NULL), "map");
	self->uffd = kiommu_uffd_open();
	self->late = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	kiommu_uffd_add(self->uffd, self->late, PAGE);
	pthread_create(&self->writer, NULL, write_late_page, self);
	TEST_ASSERT(kiommu_uffd_next(self->uffd) == self->late, "the writer waits");
}

FIXTURE_SETUP(held_lock)
{
	if (kiommu_uffd_lacks())
		SKIP(return, "%s", kiommu_uffd_lacks());
	set_up(self);
}

FIXTURE_TEARDOWN(held_lock)
{
	if (kiommu_uffd_lacks())
		return;
	close(self->uffd);
	kiommu_teardown(&self->k);
	EXPECT_EQ(self->k.locked_vm, kiommu_locked_vm());
	EXPECT_EQ(self->pins, kiommu_pins());
}

static void let_go(FIXTURE_DATA(held_lock) *self)
{
	/* The contents do not matter. */
	TEST_ASSERT(!kiommu_uffd_answer(self->uffd, self->late, self->mem), "answer");
	pthread_join(self->writer, NULL);
}

/* Only the other file's page cache can tell, and it lacks the page. */
TEST_F_TIMEOUT(held_lock, stale_page_goes_when_it_is_free, 120)
{
	struct kvm_iommu_refresh r;

	map_file(self->mem + 3 * PAGE, PAGE, self->other);
	/* The change is due; the refreshed range has not changed. */
	ASSERT_EQ(0, kiommu_refresh(self->fd, IOVA + SIZE / 2, SIZE / 2, &r));
	EXPECT_EQ(0, r.mapped | r.unmapped);
	/* Meanwhile the page stays pinned. */
	EXPECT_EQ(PAGES, kiommu_pinned_pages(self->fd));
	let_go(self);
	while (kiommu_pinned_pages(self->fd) == PAGES)
		usleep(10000);
	EXPECT_EQ(PAGES - 1, kiommu_pinned_pages(self->fd));
}

/* A change of other memory is known, and need not wait for this one. */
TEST_F_TIMEOUT(held_lock, other_changes_are_seen, 120)
{
	map_file(self->mem + 3 * PAGE, PAGE, self->other);
	ASSERT_EQ(PAGES, kiommu_mapped_pages(self->fd));
	ASSERT_EQ(0, munmap(self->mem + 9 * PAGE, PAGE));
	EXPECT_EQ(PAGES - 1, kiommu_mapped_pages(self->fd));
	EXPECT_EQ(0, kiommu_shadow_rights(self->fd, IOVA + 9 * PAGE));
	EXPECT_EQ(IOAT_RW, kiommu_shadow_rights(self->fd, IOVA + 3 * PAGE));
	let_go(self);
	while (kiommu_shadow_rights(self->fd, IOVA + 3 * PAGE))
		usleep(10000);
	EXPECT_EQ(PAGES - 2, kiommu_mapped_pages(self->fd));
}

/* The slot is deleted, and the KVM leaves, while the lock is held. */
TEST_F_TIMEOUT(held_lock, everything_can_be_closed, 120)
{
	map_file(self->mem + 3 * PAGE, PAGE, self->other);
	ASSERT_EQ(PAGES, kiommu_mapped_pages(self->fd));
	ASSERT_EQ(0, kiommu_vm_set_slot(&self->k.vm, SLOT, 0, GPA, 0, NULL));
	EXPECT_EQ(0, kiommu_pinned_pages(self->fd));
	ASSERT_EQ(0, kiommu_stop(self->fd));
	EXPECT_EQ(self->pins, kiommu_pins());
	let_go(self);
	ASSERT_EQ(0, kiommu_start(self->fd, self->k.vm.fd));
}

TEST_HARNESS_MAIN
