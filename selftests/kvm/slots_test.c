// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory that goes away while devices reach it: with the memory slot, or by
 * what the process does to the memory behind it. And changes that only look
 * like that.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

#include <sys/mman.h>
#include <sys/wait.h>

#include "kvm_test_harness.h"
#include "kvm_util.h"

#include "kiommu_util.h"
#include "ring.h"

#define PAGE KIOMMU_PAGE
#define GPA KIOMMU_FREE_GPA
#define SLOT KIOMMU_FREE_SLOT
#define IOVA (KIOMMU_IOVA_BASE + 0x10000000ull)
#define BUFFER (KIOMMU_IOVA_BASE + 0x8000000ull) /* IOVA of self->buffer */
#define SIZE (64 * PAGE)
#define PAGES (SIZE / PAGE)
#define BYTES 64ull
/* How long changes may take that are not handled at once. */
#define TIMEOUT_MS 10000

FIXTURE(slots) {
	struct kiommu k;
	int fd;
	int memfd;
	bool told; /* the module is told of each deleted slot, in any mode */
	struct ioat *t;
	char *buffer; /* a page of the area, always mapped */
	char *mem; /* SIZE bytes of a file, in SLOT at GPA, mapped at IOVA */
	uint64_t pins;
};

static int set_slot(FIXTURE_DATA(slots) *self, uint32_t flags, uint64_t size,
		    void *mem)
{
	return kiommu_vm_set_slot(&self->k.vm, SLOT, flags, GPA, size, mem);
}

FIXTURE_SETUP(slots)
{
	kiommu_setup(&self->k, VFIO_KVM_IOMMU);
	self->fd = self->k.vfio.fd;
	self->told = kiommu_host_lacks(KIOMMU_KVM);
	ASSERT_EQ(self->told ? -EOPNOTSUPP : 0, kiommu_set_explicit_slots(self->fd));
	self->buffer = kiommu_alloc_page(self->k.vm.area);
	self->t = ioat_new(self->k.vm.area, KVM_IOMMU_FORMAT_VTD_SS, 3);
	ASSERT_EQ(0, kiommu_register_tables(self->fd, self->t));
	ioat_map(self->t, BUFFER, kiommu_gpa(self->k.vm.area, self->buffer), 0,
		 IOAT_RW);
	ioat_map_pages(self->t, IOVA, GPA, PAGES, IOAT_RW);
	ASSERT_EQ(0, kiommu_refresh(self->fd, BUFFER, PAGE, NULL));
	self->pins = kiommu_pins();
	self->memfd = memfd_create("guest", 0);
	ASSERT_EQ(0, ftruncate(self->memfd, SIZE));
	self->mem = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED,
			 self->memfd, 0);
	ASSERT_NE(MAP_FAILED, (void *)self->mem);
	ASSERT_EQ(0, set_slot(self, 0, SIZE, self->mem));
	ASSERT_EQ(0, kiommu_refresh(self->fd, IOVA, SIZE, NULL));
	ASSERT_EQ(PAGES + 1, kiommu_mapped_pages(self->fd));
}

FIXTURE_TEARDOWN(slots)
{
	close(self->memfd);
	kiommu_teardown(&self->k);
	EXPECT_EQ(self->k.locked_vm, kiommu_locked_vm());
}

/* Puts anonymous memory in place of the file's. */
static void use_anonymous(struct __test_metadata *_metadata,
			  FIXTURE_DATA(slots) *self)
{
	ASSERT_EQ(self->mem, mmap(self->mem, SIZE, PROT_READ | PROT_WRITE,
				  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
	memset(self->mem, 1, SIZE);
	ASSERT_EQ(0, kiommu_refresh(self->fd, IOVA, SIZE, NULL));
	ASSERT_EQ(PAGES + 1, kiommu_mapped_pages(self->fd));
}

/* Without an ioctl, the device writes BYTES of @seed to page @page. */
static void store(struct __test_metadata *_metadata, FIXTURE_DATA(slots) *self,
		  uint64_t page, uint64_t seed)
{
	kiommu_fill(self->buffer, BYTES, seed);
	ASSERT_EQ(0, kiommu_guest_call(&self->k.vm, kiommu_dma_copy, self->k.dma[0],
				       IOVA + page * PAGE, BUFFER, BYTES));
}

#define HOLDS(_p, _seed) (kiommu_count_equal(_p, BYTES, _seed) == BYTES)

#define EXPECT_REACHES(_page, _seed) do {				\
	store(_metadata, self, _page, _seed);				\
	EXPECT_TRUE(HOLDS(self->mem + (_page) * PAGE, _seed));		\
} while (0)

/* The number of pins besides that of the buffer, once work items are done. */
static uint64_t settled_pins(FIXTURE_DATA(slots) *self, uint64_t expected)
{
	for (int i = 0; i < TIMEOUT_MS / 10; i++) {
		if (kiommu_pins() - self->pins == expected)
			break;
		usleep(10000);
	}
	return kiommu_pins() - self->pins;
}

/* The pages from @first on are lost, the others are not. */
#define EXPECT_LOST(_first, _count) do {				\
	EXPECT_EQ(PAGES - (_count), settled_pins(self, PAGES - (_count))); \
	EXPECT_EQ(PAGES + 1 - (_count), kiommu_mapped_pages(self->fd));	\
	EXPECT_EQ(0, kiommu_shadow_rights(self->fd, IOVA + (_first) * PAGE)); \
	EXPECT_EQ(0, kiommu_shadow_rights(self->fd, IOVA + ((_first) +	\
						(_count) - 1) * PAGE));	\
	if ((_first) > 0)						\
		EXPECT_REACHES((_first) - 1, 90);			\
} while (0)

#define EXPECT_KEPT() do {						\
	EXPECT_EQ(PAGES + 1, kiommu_mapped_pages(self->fd));		\
	EXPECT_EQ(PAGES, kiommu_pins() - self->pins);			\
	EXPECT_EQ(IOAT_RW, kiommu_shadow_rights(self->fd, IOVA));	\
} while (0)

TEST_F_TIMEOUT(slots, deleted, 120)
{
	struct kvm_iommu_refresh r;

	EXPECT_REACHES(3, 5);
	ASSERT_EQ(0, set_slot(self, 0, 0, NULL));
	/* The slot is lost at once. */
	EXPECT_EQ(self->pins, kiommu_pins());
	store(_metadata, self, 3, 6);
	EXPECT_TRUE(HOLDS(self->mem + 3 * PAGE, 5));
	EXPECT_EQ(1, kiommu_mapped_pages(self->fd));
	EXPECT_EQ(1, kiommu_pinned_pages(self->fd));
	EXPECT_EQ(self->k.locked_vm + PAGE, kiommu_locked_vm());
	EXPECT_EQ(-EIO, kiommu_refresh(self->fd, IOVA, SIZE, &r));
	EXPECT_EQ(KVM_IOMMU_STATUS_NO_SLOT, r.status);
	/* The same slot again: a device reaches it only after a refresh. */
	ASSERT_EQ(0, set_slot(self, 0, SIZE, self->mem));
	store(_metadata, self, 3, 6);
	EXPECT_TRUE(HOLDS(self->mem + 3 * PAGE, 5));
	ASSERT_EQ(0, kiommu_refresh(self->fd, IOVA, SIZE, &r));
	EXPECT_EQ(PAGES, r.mapped);
	EXPECT_REACHES(3, 6);
}

TEST_F_TIMEOUT(slots, becomes_read_only, 120)
{
	EXPECT_REACHES(0, 5);
	ASSERT_EQ(0, set_slot(self, 0, 0, NULL));
	ASSERT_EQ(0, set_slot(self, KVM_MEM_READONLY, SIZE, self->mem));
	store(_metadata, self, 0, 6);
	EXPECT_TRUE(HOLDS(self->mem, 5));
	ASSERT_EQ(0, kiommu_refresh(self->fd, IOVA, SIZE, NULL));
	EXPECT_EQ(KVM_IOMMU_READ, kiommu_shadow_rights(self->fd, IOVA));
	store(_metadata, self, 0, 6);
	EXPECT_TRUE(HOLDS(self->mem, 5));
}

/* While KVM reports deleted slots, moving one fails and changes nothing. */
TEST_F_TIMEOUT(slots, cannot_be_moved, 120)
{
	if (self->told)
		SKIP(return, "slots can be moved");
	ASSERT_EQ(-EINVAL, kiommu_vm_set_slot(&self->k.vm, SLOT, 0, GPA + SIZE,
					      SIZE, self->mem));
	ASSERT_EQ(0, kiommu_refresh(self->fd, IOVA, SIZE, NULL));
	EXPECT_REACHES(1, 5);
	EXPECT_KEPT();
}

/* Nothing is left of the slot at its old place; at the new one it is new. */
TEST_F_TIMEOUT(slots, moved, 120)
{
	struct kvm_iommu_refresh r;

	if (!self->told)
		ASSERT_EQ(0, kiommu_set_explicit(self->fd));
	EXPECT_REACHES(3, 5);
	ASSERT_EQ(0, kiommu_vm_set_slot(&self->k.vm, SLOT, 0, GPA + SIZE, SIZE,
					self->mem));
	/* At once, or by the next call. */
	if (!self->told)
		EXPECT_EQ(1, kiommu_mapped_pages(self->fd));
	EXPECT_EQ(self->pins, kiommu_pins());
	store(_metadata, self, 3, 6);
	EXPECT_TRUE(HOLDS(self->mem + 3 * PAGE, 5));
	EXPECT_EQ(1, kiommu_mapped_pages(self->fd));
	EXPECT_EQ(-EIO, kiommu_refresh(self->fd, IOVA, SIZE, &r));
	EXPECT_EQ(KVM_IOMMU_STATUS_NO_SLOT, r.status);
	ioat_map_pages(self->t, IOVA, GPA + SIZE, PAGES, IOAT_RW);
	ASSERT_EQ(0, kiommu_refresh(self->fd, IOVA, SIZE, &r));
	EXPECT_EQ(PAGES, r.mapped);
	EXPECT_REACHES(3, 6);
}

/*
 * The module is not told of the deletion. Devices lose the slot without any
 * further call.
 */
TEST_F_TIMEOUT(slots, deletion_shows_without_a_call, 120)
{
	ASSERT_EQ(0, self->told ? 0 : kiommu_set_explicit(self->fd));
	EXPECT_REACHES(3, 5);
	ASSERT_EQ(0, set_slot(self, 0, 0, NULL));
	EXPECT_EQ(0, settled_pins(self, 0));
	store(_metadata, self, 3, 6);
	EXPECT_TRUE(HOLDS(self->mem + 3 * PAGE, 5));
	EXPECT_EQ(1, kiommu_mapped_pages(self->fd));
}

/* The same, but the next call does not wait for the kernel's work item. */
TEST_F_TIMEOUT(slots, next_call_sees_deletion, 120)
{
	const struct sched_param urgent = { .sched_priority = 1 };

	ASSERT_EQ(0, self->told ? 0 : kiommu_set_explicit(self->fd));
	ASSERT_EQ(0, sched_setscheduler(0, SCHED_FIFO, &urgent));
	for (int i = 0; i < 16; i++) {
		ASSERT_EQ(0, set_slot(self, 0, 0, NULL));
		ASSERT_EQ(1, kiommu_mapped_pages(self->fd));
		ASSERT_EQ(self->pins, kiommu_pins());
		ASSERT_EQ(0, set_slot(self, 0, SIZE, self->mem));
		ASSERT_EQ(0, kiommu_refresh(self->fd, IOVA, SIZE, NULL));
	}
}

/* KVM reports deleted slots while a container wants that, and no longer. */
TEST_F_TIMEOUT(slots, told_while_wanted, 120)
{
	if (self->told)
		SKIP(return, "the module is told in any mode");
	for (int i = 0; i < 3; i++) {
		/* Asking twice is like asking once. */
		ASSERT_EQ(0, kiommu_set_explicit_slots(self->fd));
		ASSERT_EQ(-EINVAL, kiommu_vm_set_slot(&self->k.vm, SLOT, 0,
						      GPA + SIZE, SIZE, self->mem));
		ASSERT_EQ(0, kiommu_set_explicit(self->fd));
		ASSERT_EQ(0, kiommu_vm_set_slot(&self->k.vm, SLOT, 0, GPA + SIZE,
						SIZE, self->mem));
		ASSERT_EQ(0, kiommu_vm_set_slot(&self->k.vm, SLOT, 0, GPA, SIZE,
						self->mem));
	}
	ASSERT_EQ(0, kiommu_set_explicit_slots(self->fd));
	ASSERT_EQ(0, kiommu_stop(self->fd));
	EXPECT_EQ(0, kiommu_vm_set_slot(&self->k.vm, SLOT, 0, GPA + SIZE, SIZE,
					self->mem));
}

/* Dirty logging is switched on and off: the slot stays the same. */
TEST_F_TIMEOUT(slots, flags_of_no_concern, 120)
{
	ASSERT_EQ(0, set_slot(self, KVM_MEM_LOG_DIRTY_PAGES, SIZE, self->mem));
	EXPECT_KEPT();
	ASSERT_EQ(0, set_slot(self, 0, SIZE, self->mem));
	EXPECT_KEPT();
	EXPECT_REACHES(1, 5);
}

/* Slots of other memory come and go. */
TEST_F_TIMEOUT(slots, neighbours_come_and_go, 120)
{
	void *other = mmap(NULL, SIZE, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	for (int i = 0; i < 20; i++) {
		ASSERT_EQ(0, kiommu_vm_set_slot(&self->k.vm, SLOT + 1, 0,
						GPA + SIZE, SIZE, other));
		EXPECT_KEPT();
		ASSERT_EQ(0, kiommu_vm_set_slot(&self->k.vm, SLOT + 1, 0,
						GPA + SIZE, 0, NULL));
		EXPECT_KEPT();
	}
	EXPECT_REACHES(2, 5);
}

TEST_F_TIMEOUT(slots, memory_unmapped, 120)
{
	struct kvm_iommu_refresh r;

	ASSERT_EQ(0, munmap(self->mem + 16 * PAGE, 8 * PAGE));
	EXPECT_LOST(16, 8);
	EXPECT_EQ(-EIO, kiommu_refresh(self->fd, IOVA, SIZE, &r));
	EXPECT_EQ(KVM_IOMMU_STATUS_UNBACKED, r.status);
	EXPECT_EQ(IOVA + 16 * PAGE, r.stopped_iova);
}

/*
 * The next call handles the change: it does not wait for the kernel's work
 * item, which gets no CPU here (the machine has one).
 */
TEST_F_TIMEOUT(slots, next_call_knows, 120)
{
	const struct sched_param urgent = { .sched_priority = 1 };

	ASSERT_EQ(0, sched_setscheduler(0, SCHED_FIFO, &urgent));
	for (uint64_t i = 0; i < 32; i++) {
		ASSERT_EQ(0, munmap(self->mem + 2 * i * PAGE, PAGE));
		ASSERT_EQ(PAGES - i, kiommu_mapped_pages(self->fd));
		ASSERT_EQ(PAGES - 1 - i, kiommu_pins() - self->pins);
	}
}

TEST_F_TIMEOUT(slots, memory_discarded, 120)
{
	use_anonymous(_metadata, self);
	EXPECT_REACHES(9, 5);
	ASSERT_EQ(0, madvise(self->mem + 8 * PAGE, 4 * PAGE, MADV_DONTNEED));
	EXPECT_LOST(8, 4);
	/* The process reads zeroes; the device reaches that after a refresh. */
	EXPECT_EQ(0, self->mem[9 * PAGE]);
	ASSERT_EQ(0, kiommu_refresh(self->fd, IOVA, SIZE, NULL));
	EXPECT_REACHES(9, 6);
}

TEST_F_TIMEOUT(slots, hole_punched, 120)
{
	EXPECT_REACHES(33, 5);
	ASSERT_EQ(0, fallocate(self->memfd,
			       FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			       32 * PAGE, 4 * PAGE));
	EXPECT_LOST(32, 4);
	EXPECT_EQ(0, self->mem[33 * PAGE]);
	ASSERT_EQ(0, kiommu_refresh(self->fd, IOVA, SIZE, NULL));
	EXPECT_REACHES(33, 6);
}

TEST_F_TIMEOUT(slots, file_truncated, 120)
{
	ASSERT_EQ(0, ftruncate(self->memfd, 48 * PAGE));
	EXPECT_LOST(48, 16);
}

TEST_F_TIMEOUT(slots, memory_moved, 120)
{
	void *place = mmap(NULL, 4 * PAGE, PROT_NONE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	void *moved = mremap(self->mem + 40 * PAGE, 4 * PAGE, 4 * PAGE,
			     MREMAP_MAYMOVE | MREMAP_FIXED, place);

	ASSERT_EQ(place, moved);
	EXPECT_LOST(40, 4);
	munmap(moved, 4 * PAGE);
}

/* Other memory is mapped at the same address. */
TEST_F_TIMEOUT(slots, memory_replaced, 120)
{
	char *at = self->mem + 20 * PAGE;

	EXPECT_REACHES(20, 5);
	ASSERT_EQ(at, mmap(at, 2 * PAGE, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
	memset(at, 7, 2 * PAGE);
	EXPECT_LOST(20, 2);
	ASSERT_EQ(0, kiommu_refresh(self->fd, IOVA, SIZE, NULL));
	EXPECT_REACHES(20, 6);
	EXPECT_EQ(7, at[PAGE]);
}

/* More ranges at once than the module keeps apart. */
TEST_F_TIMEOUT(slots, many_holes, 120)
{
	for (uint64_t i = 0; i < 32; i++)
		ASSERT_EQ(0, munmap(self->mem + 2 * i * PAGE, PAGE));
	EXPECT_EQ(32, settled_pins(self, 32));
	EXPECT_EQ(33, kiommu_mapped_pages(self->fd));
	EXPECT_EQ(IOAT_RW, kiommu_shadow_rights(self->fd, IOVA + 63 * PAGE));
}

TEST_F_TIMEOUT(slots, protection_changes, 120)
{
	ASSERT_EQ(0, mprotect(self->mem, SIZE, PROT_READ));
	EXPECT_KEPT();
	ASSERT_EQ(0, mprotect(self->mem, SIZE, PROT_NONE));
	EXPECT_KEPT();
	ASSERT_EQ(0, mprotect(self->mem, SIZE, PROT_READ | PROT_WRITE));
	EXPECT_KEPT();
	EXPECT_REACHES(5, 5);
}

/* Memory that the process may not access is compared all the same. */
TEST_F_TIMEOUT(slots, inaccessible_memory_has_a_hole, 120)
{
	use_anonymous(_metadata, self);
	ASSERT_EQ(0, mprotect(self->mem, SIZE, PROT_NONE));
	ASSERT_EQ(0, munmap(self->mem + 16 * PAGE, 8 * PAGE));
	EXPECT_EQ(PAGES - 8, settled_pins(self, PAGES - 8));
	EXPECT_EQ(PAGES + 1 - 8, kiommu_mapped_pages(self->fd));
	ASSERT_EQ(0, mprotect(self->mem, 16 * PAGE, PROT_READ | PROT_WRITE));
	EXPECT_REACHES(15, 3);
}

/*
 * Reclaim removes pinned pages of files from the page tables, and only then
 * finds that it must not free them.
 */
TEST_F_TIMEOUT(slots, reclaim_fails, 120)
{
	EXPECT_REACHES(9, 5);
	for (int i = 0; i < 5; i++) {
		ASSERT_EQ(0, madvise(self->mem, SIZE, MADV_PAGEOUT));
		EXPECT_KEPT();
		usleep(10000);
		EXPECT_KEPT();
	}
	store(_metadata, self, 9, 6);
	EXPECT_TRUE(HOLDS(self->mem + 9 * PAGE, 6));
}

/* A file keeps the pages that one of its mappings discards. */
TEST_F_TIMEOUT(slots, shared_memory_discarded, 120)
{
	EXPECT_REACHES(9, 5);
	ASSERT_EQ(0, madvise(self->mem, SIZE, MADV_DONTNEED));
	EXPECT_KEPT();
	usleep(10000);
	EXPECT_KEPT();
	EXPECT_TRUE(HOLDS(self->mem + 9 * PAGE, 5));
	EXPECT_REACHES(9, 6);
}

TEST_F_TIMEOUT(slots, process_forks, 120)
{
	int status = 0;
	pid_t child;

	use_anonymous(_metadata, self);
	child = fork();
	if (!child) {
		/* It has its own copy: the parent's memory is not affected. */
		memset(self->mem, 3, SIZE);
		munmap(self->mem, SIZE);
		_exit(0);
	}
	memset(self->mem, 2, SIZE);
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_KEPT();
	EXPECT_REACHES(5, 5);
}

static void write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);

	if (fd < 0)
		return;
	if (write(fd, text, strlen(text)) < 0)
		perror(path);
	close(fd);
}

/* KSM and compaction look at pinned pages, but leave them where they are. */
TEST_F_TIMEOUT(slots, ksm_and_compaction, 120)
{
	use_anonymous(_metadata, self);
	if (madvise(self->mem, SIZE, MADV_MERGEABLE))
		TH_LOG("no KSM: %s", strerror(errno));
	write_text("/sys/kernel/mm/ksm/pages_to_scan", "1000");
	write_text("/sys/kernel/mm/ksm/sleep_millisecs", "10");
	write_text("/sys/kernel/mm/ksm/run", "1");
	for (int i = 0; i < 20; i++) {
		write_text("/proc/sys/vm/compact_memory", "1");
		write_text("/proc/sys/vm/drop_caches", "3");
		usleep(50000);
	}
	write_text("/sys/kernel/mm/ksm/run", "2");
	EXPECT_KEPT();
	for (uint64_t page = 0; page < PAGES; page += 21)
		EXPECT_REACHES(page, page);
}

/* Memory of the process that is in no slot. */
TEST_F_TIMEOUT(slots, other_memory, 120)
{
	for (int i = 0; i < 100; i++) {
		void *mem = mmap(NULL, SIZE, PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

		ASSERT_EQ(0, munmap(mem, SIZE));
	}
	EXPECT_KEPT();
}

TEST_HARNESS_MAIN
