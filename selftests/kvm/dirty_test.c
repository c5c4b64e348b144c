// SPDX-License-Identifier: GPL-2.0-only
/*
 * The dirty log: what devices could write since it was last read, even if the
 * guest has unmapped it before the read; read with bad pointers, from several
 * threads, in two containers, while slots and KVMs come and go. For what the
 * log is used, see migrate_test.c.
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
#include "timeouts.h"

#define PAGE KIOMMU_PAGE
#define GPA KIOMMU_FREE_GPA
#define SLOT KIOMMU_FREE_SLOT
#define IOVA (KIOMMU_IOVA_BASE + 0x10000000ull)
#define BUFFER (KIOMMU_IOVA_BASE + 0x8000000ull) /* IOVA of self->buffer */
#define PAGES 64ull
#define SIZE (PAGES * PAGE)
#define BYTES 64ull
/* A READ copies the bits of this many bytes of memory at once. */
#define CHUNK (4ull << 30)

FIXTURE(dirty) {
	struct kiommu k;
	int fd;
	struct ioat *t;
	char *buffer; /* a page of the area, always mapped to read */
	char *mem; /* SIZE bytes in SLOT at GPA */
	uint64_t pins;
};

FIXTURE_SETUP(dirty)
{
	self->pins = kiommu_pins();
	kiommu_setup(&self->k, VFIO_KVM_IOMMU);
	self->fd = self->k.vfio.fd;
	self->buffer = kiommu_alloc_page(self->k.vm.area);
	self->t = ioat_new(self->k.vm.area, KVM_IOMMU_FORMAT_VTD_SS, 3);
	ASSERT_EQ(0, kiommu_register_tables(self->fd, self->t));
	self->mem = kiommu_vm_add_memory(&self->k.vm, SLOT, GPA, PAGES, 0);
	ioat_map(self->t, BUFFER, kiommu_gpa(self->k.vm.area, self->buffer), 0,
		 KVM_IOMMU_READ);
	ASSERT_EQ(0, kiommu_refresh(self->fd, BUFFER, PAGE, NULL));
}

FIXTURE_TEARDOWN(dirty)
{
	kiommu_teardown(&self->k);
	EXPECT_EQ(self->k.locked_vm, kiommu_locked_vm());
	EXPECT_EQ(self->pins, kiommu_pins());
}

/*
 * Maps pages [first, first + count) of the memory; unmaps them if @rights is 0.
 */
static int map(FIXTURE_DATA(dirty) *self, uint64_t first, uint64_t count,
	       uint32_t rights)
{
	uint64_t iova = IOVA + first * PAGE;

	if (rights)
		ioat_map_pages(self->t, iova, GPA + first * PAGE, count, rights);
	else
		ioat_unmap_pages(self->t, iova, count);
	return kiommu_refresh(self->fd, iova, count * PAGE, NULL);
}

/* The log of the memory, as a word: PAGES is 64. */
static uint64_t read_log(int fd)
{
	uint8_t bits[8];
	uint64_t word = 0;

	memset(bits, 0x5a, sizeof(bits));
	TEST_ASSERT(!kiommu_dirty_read(fd, GPA, SIZE, bits, NULL), "READ");
	for (int i = 7; i >= 0; i--)
		word = word << 8 | bits[i];
	return word;
}

/* The device writes @seed to the start of a page that is mapped. */
static int store(FIXTURE_DATA(dirty) *self, uint64_t page, uint64_t seed)
{
	kiommu_fill(self->buffer, BYTES, seed);
	return kiommu_guest_call(&self->k.vm, kiommu_dma_copy, self->k.dma[0],
				 IOVA + page * PAGE, BUFFER, BYTES);
}

#define HOLDS(_page, _seed) \
	(kiommu_count_equal(self->mem + (_page) * PAGE, BYTES, _seed) == BYTES)

TEST_F_TIMEOUT(dirty, written_and_unmapped_before_the_read, 120)
{
	struct kvm_iommu_dirty_log log;
	uint8_t bits[8];

	ASSERT_EQ(0, kiommu_dirty_log(self->fd, KVM_IOMMU_DIRTY_START));
	EXPECT_EQ(0, read_log(self->fd));
	ASSERT_EQ(0, map(self, 3, 2, IOAT_RW));
	ASSERT_EQ(0, store(self, 3, 7));
	ASSERT_TRUE(HOLDS(3, 7));
	ASSERT_EQ(0, map(self, 3, 1, 0));
	EXPECT_EQ(0x18, read_log(self->fd));
	/* The other one is still mapped, so it is dirty again. */
	EXPECT_EQ(0x10, read_log(self->fd));
	ASSERT_EQ(0, map(self, 4, 1, KVM_IOMMU_READ));
	EXPECT_EQ(0x10, read_log(self->fd));
	EXPECT_EQ(0, read_log(self->fd));
	/* It makes no difference how pages are unmapped. */
	ASSERT_EQ(0, map(self, 8, 8, IOAT_RW));
	ASSERT_EQ(0, kiommu_unregister(self->fd));
	ASSERT_EQ(0, kiommu_dirty_read(self->fd, GPA, SIZE, bits, &log));
	EXPECT_EQ(0xff, bits[1]);
	EXPECT_EQ(8, log.dirty);
	EXPECT_EQ(GPA + SIZE, log.next_gpa);
	EXPECT_EQ(0, read_log(self->fd));
}

TEST_F_TIMEOUT(dirty, what_cannot_be_written_is_not, 120)
{
	char *rom = kiommu_vm_add_memory(&self->k.vm, SLOT + 1, GPA + 2 * SIZE,
					 PAGES, KVM_MEM_READONLY);
	uint8_t bits[8];

	ASSERT_EQ(0, kiommu_dirty_log(self->fd, KVM_IOMMU_DIRTY_START));
	ASSERT_EQ(0, map(self, 0, 4, KVM_IOMMU_READ));
	kiommu_fill(self->mem, BYTES, 1);
	ASSERT_EQ(0, store(self, 0, 2));
	EXPECT_TRUE(HOLDS(0, 1));
	ioat_map_pages(self->t, IOVA + SIZE, GPA + 2 * SIZE, PAGES, IOAT_RW);
	ASSERT_EQ(0, kiommu_refresh(self->fd, IOVA + SIZE, SIZE, NULL));
	EXPECT_EQ(0, read_log(self->fd));
	ASSERT_EQ(0, map(self, 0, 4, 0));
	EXPECT_EQ(0, read_log(self->fd));
	ASSERT_EQ(0, kiommu_dirty_read(self->fd, GPA + 2 * SIZE, SIZE, bits, NULL));
	EXPECT_EQ(0, bits[0]);
	kiommu_vm_del_memory(&self->k.vm, SLOT + 1, rom, PAGES);
}

#define EXPECT_REFUSED(_error, ...) do {				\
	struct kvm_iommu_dirty_log arg = {				\
		.size = sizeof(arg), __VA_ARGS__ };			\
	EXPECT_EQ(-(_error), kiommu_ioctl(self->fd, KVM_IOMMU_DIRTY_LOG, &arg)); \
} while (0)
#define READ .op = KVM_IOMMU_DIRTY_READ, .bitmap = (uintptr_t)bits

static int read_elsewhere(int fd)
{
	int status = -1;
	uint64_t bits;
	pid_t child = fork();

	if (!child)
		_exit(kiommu_dirty_read(fd, GPA, SIZE, &bits, NULL) != -EPERM ||
		      kiommu_dirty_log(fd, KVM_IOMMU_DIRTY_STOP) != -EPERM);
	waitpid(child, &status, 0);
	return status;
}

TEST_F_TIMEOUT(dirty, refused, 120)
{
	uint64_t bits[2];

	EXPECT_REFUSED(ENOENT, READ, .gpa = GPA, .length = PAGE);
	EXPECT_REFUSED(ENOENT, .op = KVM_IOMMU_DIRTY_STOP);
	ASSERT_EQ(0, kiommu_dirty_log(self->fd, KVM_IOMMU_DIRTY_START));
	ASSERT_EQ(0, map(self, 0, 64, IOAT_RW));
	ASSERT_EQ(0, map(self, 0, 64, 0));
	EXPECT_REFUSED(EEXIST, .op = KVM_IOMMU_DIRTY_START);
	EXPECT_REFUSED(EOPNOTSUPP, .op = KVM_IOMMU_DIRTY_START, .gpa = PAGE);
	EXPECT_REFUSED(EOPNOTSUPP, .op = KVM_IOMMU_DIRTY_STOP, .length = PAGE);
	EXPECT_REFUSED(EOPNOTSUPP, .op = KVM_IOMMU_DIRTY_STOP, .bitmap = 1);
	EXPECT_REFUSED(EOPNOTSUPP, .op = 3);
	EXPECT_REFUSED(EINVAL, READ, .gpa = GPA + 1, .length = PAGE);
	EXPECT_REFUSED(EINVAL, READ, .gpa = GPA, .length = PAGE + 8);
	EXPECT_REFUSED(EINVAL, READ, .gpa = GPA);
	EXPECT_REFUSED(EOVERFLOW, READ, .gpa = -PAGE, .length = 2 * PAGE);
	EXPECT_EQ(0, read_elsewhere(self->fd));
	EXPECT_EQ(~0ull, read_log(self->fd));
	/* The end of the address space. */
	EXPECT_REFUSED(0, READ, .gpa = -2 * PAGE, .length = 2 * PAGE);
	ASSERT_EQ(0, kiommu_stop(self->fd));
	EXPECT_REFUSED(ENODEV, READ, .gpa = GPA, .length = PAGE);
	EXPECT_REFUSED(ENODEV, .op = KVM_IOMMU_DIRTY_START);
	EXPECT_REFUSED(ENODEV, .op = KVM_IOMMU_DIRTY_STOP);
}

/* A bad bitmap loses nothing of the log, and what was copied is reported. */
TEST_F_TIMEOUT(dirty, bad_bitmaps, 120)
{
	const uint64_t chunk_bytes = CHUNK / PAGE / 8;
	struct kvm_iommu_dirty_log log;
	char *far, *bits;

	far = kiommu_vm_add_memory(&self->k.vm, SLOT + 1, GPA + CHUNK, 8, 0);
	bits = mmap(NULL, 2 * chunk_bytes, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, (void *)bits);
	ASSERT_EQ(0, kiommu_dirty_log(self->fd, KVM_IOMMU_DIRTY_START));
	ASSERT_EQ(0, map(self, 1, 2, IOAT_RW));
	ioat_map_pages(self->t, IOVA + SIZE, GPA + CHUNK, 2, IOAT_RW);
	ASSERT_EQ(0, kiommu_refresh(self->fd, IOVA + SIZE, 2 * PAGE, NULL));
	ASSERT_EQ(0, kiommu_unregister(self->fd));

	EXPECT_EQ(-EFAULT, kiommu_dirty_read(self->fd, GPA, SIZE, NULL, NULL));
	EXPECT_EQ(-EFAULT, kiommu_dirty_read(self->fd, GPA, SIZE, (void *)-8, NULL));
	ASSERT_EQ(0, mprotect(bits, PAGE, PROT_READ));
	EXPECT_EQ(-EFAULT, kiommu_dirty_read(self->fd, GPA, 2 * CHUNK, bits, NULL));
	ASSERT_EQ(0, mprotect(bits, PAGE, PROT_READ | PROT_WRITE));
	ASSERT_EQ(0, munmap(bits + chunk_bytes, chunk_bytes));
	ASSERT_EQ(0, kiommu_dirty_read(self->fd, GPA, 2 * CHUNK, bits, &log));
	EXPECT_EQ(6, bits[0]);
	EXPECT_EQ(2, log.dirty);
	EXPECT_EQ(GPA + CHUNK, log.next_gpa);
	EXPECT_EQ(-EFAULT, kiommu_dirty_read(self->fd, log.next_gpa, CHUNK,
					     bits + chunk_bytes, NULL));
	ASSERT_EQ(0, kiommu_dirty_read(self->fd, GPA, CHUNK, bits, &log));
	EXPECT_EQ(0, log.dirty);
	ASSERT_EQ(0, kiommu_dirty_read(self->fd, GPA + CHUNK, CHUNK, bits, &log));
	EXPECT_EQ(3, bits[0]);
	EXPECT_EQ(2, log.dirty);
	munmap(bits, chunk_bytes);
	kiommu_vm_del_memory(&self->k.vm, SLOT + 1, far, 8);
}

TEST_F_TIMEOUT(dirty, slots_and_kvms_take_their_log_with_them, 120)
{
	struct kvm_iommu_info info;

	ASSERT_EQ(0, kiommu_dirty_log(self->fd, KVM_IOMMU_DIRTY_START));
	ASSERT_EQ(0, map(self, 0, 8, IOAT_RW));
	ASSERT_EQ(0, map(self, 0, 4, 0));
	/* KVM's own log starts and stops: the slot stays. */
	ASSERT_EQ(0, kiommu_vm_set_slot(&self->k.vm, SLOT, KVM_MEM_LOG_DIRTY_PAGES,
					GPA, SIZE, self->mem));
	ASSERT_EQ(0, kiommu_vm_set_slot(&self->k.vm, SLOT, 0, GPA, SIZE, self->mem));
	EXPECT_EQ(0xff, read_log(self->fd));
	ASSERT_EQ(0, map(self, 4, 2, 0));
	ASSERT_EQ(0, kiommu_vm_set_slot(&self->k.vm, SLOT, 0, GPA, 0, NULL));
	EXPECT_EQ(0, read_log(self->fd));
	ASSERT_EQ(0, kiommu_vm_set_slot(&self->k.vm, SLOT, 0, GPA, SIZE, self->mem));
	EXPECT_EQ(0, read_log(self->fd));
	/* Pages that are mapped in the new slot are logged, too. */
	ASSERT_EQ(0, map(self, 9, 1, IOAT_RW));
	EXPECT_EQ(0x200, read_log(self->fd));

	ASSERT_EQ(0, kiommu_stop(self->fd));
	ASSERT_EQ(0, kiommu_start(self->fd, self->k.vm.fd));
	EXPECT_EQ(-ENOENT, kiommu_dirty_log(self->fd, KVM_IOMMU_DIRTY_STOP));
	ASSERT_EQ(0, kiommu_dirty_log(self->fd, KVM_IOMMU_DIRTY_START));
	ASSERT_EQ(0, kiommu_register_tables(self->fd, self->t));
	ASSERT_EQ(0, map(self, 0, 1, IOAT_RW));
	EXPECT_EQ(1, read_log(self->fd));
	/* STOP discards the log: the next START begins with an empty one. */
	ASSERT_EQ(0, map(self, 0, 1, 0));
	ASSERT_EQ(0, kiommu_dirty_log(self->fd, KVM_IOMMU_DIRTY_STOP));
	ASSERT_EQ(0, kiommu_dirty_log(self->fd, KVM_IOMMU_DIRTY_START));
	EXPECT_EQ(0, read_log(self->fd));
	ASSERT_EQ(0, kiommu_get_info(self->fd, &info));
	EXPECT_LT(0, info.pin_bytes);
}

TEST_F_TIMEOUT(dirty, two_containers_have_one_log, 120)
{
	int other;

	if (self->k.vfio.count < 2)
		SKIP(return, "needs two devices");
	other = kiommu_move_device(&self->k, 1);
	ASSERT_EQ(0, kiommu_register_tables(other, self->t));

	ASSERT_EQ(0, kiommu_dirty_log(other, KVM_IOMMU_DIRTY_START));
	EXPECT_EQ(-EEXIST, kiommu_dirty_log(self->fd, KVM_IOMMU_DIRTY_START));
	ASSERT_EQ(0, map(self, 0, 4, IOAT_RW));
	ASSERT_EQ(0, kiommu_refresh(other, IOVA, 8 * PAGE, NULL));
	EXPECT_EQ(0xf, read_log(other));
	/* One of them still maps the pages. */
	ASSERT_EQ(0, map(self, 0, 2, 0));
	EXPECT_EQ(0xf, read_log(self->fd));
	EXPECT_EQ(0xf, read_log(self->fd));
	ASSERT_EQ(0, kiommu_stop(other));
	EXPECT_EQ(0xf, read_log(self->fd));
	EXPECT_EQ(0xc, read_log(self->fd));
	close(other);
}

struct racer {
	FIXTURE_DATA(dirty) *self;
	pthread_t thread;
	int (*step)(FIXTURE_DATA(dirty) *self, uint64_t random);
	uint64_t random, calls;
	bool *stop;
	int undocumented;
};

static int race_refresh(FIXTURE_DATA(dirty) *self, uint64_t random)
{
	uint64_t first = random % PAGES, count = random / 64 % (PAGES - first) + 1;
	uint64_t size = count * PAGE;

	if (random & 0x10000)
		return kiommu_refresh(self->fd, IOVA + first * PAGE, size, NULL);
	return kiommu_unmap_dma(self->fd, IOVA + first * PAGE, &size, 0);
}

static int race_read(FIXTURE_DATA(dirty) *self, uint64_t random)
{
	uint64_t bits[32];
	int ret = kiommu_dirty_read(self->fd, GPA - random % 64 * PAGE,
				    (random / 64 % 2000 + 1) * PAGE,
				    random & 0x100000 ? bits : NULL, NULL);

	return ret == -ENOENT || ret == -EFAULT ? 0 : ret;
}

static int race_log(FIXTURE_DATA(dirty) *self, uint64_t random)
{
	int ret = kiommu_dirty_log(self->fd, random & 1 ? KVM_IOMMU_DIRTY_START :
				   KVM_IOMMU_DIRTY_STOP);

	return ret == -ENOENT || ret == -EEXIST ? 0 : ret;
}

static int race_slot(FIXTURE_DATA(dirty) *self, uint64_t random)
{
	usleep(random % 5000);
	return kiommu_vm_set_slot(&self->k.vm, SLOT + 1, 0, GPA + SIZE, 0, NULL) ?:
	       kiommu_vm_set_slot(&self->k.vm, SLOT + 1, 0, GPA + SIZE, SIZE / 2,
				  self->mem);
}

static int race_by_iova(FIXTURE_DATA(dirty) *self, uint64_t random)
{
	struct kvm_iommu_translation records[4];
	struct kvm_iommu_translate_range cmd = {
		.iova = IOVA + random % PAGES * PAGE,
		.length = 2 * SIZE,
		.records = (uintptr_t)records,
		.capacity = 4,
	};
	uint64_t bits[2], size = 2 * PAGE;

	return kiommu_translate_range(self->fd, &cmd) ?:
	       kiommu_get_dirty_pages(self->fd, IOVA, 2 * SIZE, bits, 16) ?:
	       kiommu_unmap_dirty(self->fd, cmd.iova, &size, bits, 8);
}

static void *race(void *arg)
{
	struct racer *r = arg;

	while (!__atomic_load_n(r->stop, __ATOMIC_RELAXED)) {
		int ret;

		r->random = r->random * 6364136223846793005ull + 1442695040888963407ull;
		ret = r->step(r->self, r->random >> 24);
		if (ret && !r->undocumented)
			r->undocumented = ret;
		r->calls++;
	}
	return NULL;
}

TEST_F_TIMEOUT(dirty, everything_at_once, 240)
{
	int (*const steps[])(FIXTURE_DATA(dirty) *self, uint64_t random) = {
		race_refresh, race_refresh, race_read, race_log, race_slot,
		race_by_iova,
	};
	struct racer racers[ARRAY_SIZE(steps)];
	bool stop = false;

	/* Mapped twice: by SLOT, and by a slot that comes and goes. */
	ioat_map_pages(self->t, IOVA, GPA, PAGES, IOAT_RW);
	ioat_map_pages(self->t, IOVA + SIZE, GPA + SIZE, PAGES / 2, IOAT_RW);
	ASSERT_EQ(0, kiommu_dirty_pages(self->fd, VFIO_IOMMU_DIRTY_PAGES_FLAG_START));
	ASSERT_EQ(0, kiommu_vm_set_slot(&self->k.vm, SLOT + 1, 0, GPA + SIZE,
					SIZE / 2, self->mem));
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		racers[i] = (struct racer){ .self = self, .step = steps[i],
					    .random = i, .stop = &stop };
		ASSERT_EQ(0, pthread_create(&racers[i].thread, NULL, race,
					    &racers[i]));
	}
	sleep(kiommu_soak_seconds());
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		pthread_join(racers[i].thread, NULL);
		EXPECT_EQ(0, racers[i].undocumented) {
			TH_LOG("by thread %zu", i);
		}
		EXPECT_LT(0, racers[i].calls);
	}
	kiommu_dirty_log(self->fd, KVM_IOMMU_DIRTY_STOP);
	ASSERT_EQ(0, kiommu_dirty_log(self->fd, KVM_IOMMU_DIRTY_START));
	ASSERT_EQ(0, map(self, 0, PAGES, IOAT_RW));
	EXPECT_EQ(~0ull, read_log(self->fd));
	ASSERT_EQ(0, kiommu_vm_set_slot(&self->k.vm, SLOT + 1, 0, GPA + SIZE, 0, NULL));
}

/* Without the fixture, because the child needs the devices. */
TEST(killed_with_the_log_on)
{
	uint64_t pins = kiommu_pins();
	int ready[2], status = -1;
	pid_t child;
	char byte;

	ASSERT_EQ(0, pipe(ready));
	child = fork();
	if (!child) {
		struct kiommu k;
		uint64_t bits;

		kiommu_setup(&k, VFIO_KVM_IOMMU);
		TEST_ASSERT(!kiommu_register_identity(k.vfio.fd, 0), "anchor");
		TEST_ASSERT(!kiommu_dirty_log(k.vfio.fd, KVM_IOMMU_DIRTY_START), "log");
		TEST_ASSERT(!kiommu_refresh(k.vfio.fd, KIOMMU_AREA_GPA, SIZE, NULL), "map");
		if (write(ready[1], "", 1) != 1)
			_exit(1);
		for (;;)
			kiommu_dirty_read(k.vfio.fd, KIOMMU_AREA_GPA, SIZE, &bits, NULL);
	}
	close(ready[1]);
	ASSERT_EQ(1, read(ready[0], &byte, 1));
	usleep(50000);
	ASSERT_EQ(0, kill(child, SIGKILL));
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_TRUE(WIFSIGNALED(status));
	EXPECT_EQ(pins, kiommu_pins());
	EXPECT_EQ(0, kiommu_await_refs(0));
	close(ready[0]);
}

TEST_HARNESS_MAIN
