// SPDX-License-Identifier: GPL-2.0-only
/*
 * How the dirty log is used: memory that devices and vCPUs keep writing is
 * copied, page by page, as KVM_IOMMU_DIRTY_LOG reports for devices and
 * KVM_GET_DIRTY_LOG for vCPUs (docs/migration.md). When all have stopped, one
 * more round makes the copy equal.
 */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <sys/mman.h>

#include <linux/compiler.h>

#include "kvm_test_harness.h"
#include "kvm_util.h"

#include "kiommu_util.h"
#include "nic.h"
#include "timeouts.h"
#include "tracked.h"

#define PAGE KIOMMU_PAGE
#define GPA KIOMMU_FREE_GPA
#define SLOT KIOMMU_FREE_SLOT
#define IOVA (KIOMMU_IOVA_BASE + 0x10000000ull)
#define BUFFER (KIOMMU_IOVA_BASE + 0x8000000ull) /* IOVA of self->buffer */
#define NIC_IOVA (BUFFER + 16 * PAGE)
#define PAGES 64ull
#define SIZE (PAGES * PAGE)
#define BYTES 64ull /* written by a device at the start of a page */
#define VCPU_OFFSET 2048ull /* offset in a page at which vCPUs write */
#define STORES 50ull /* per call of the guest */

FIXTURE(migrate) {
	struct kiommu k;
	int fd;
	struct ioat *t;
	char *buffer; /* a page of the area, always mapped to read */
	char *mem; /* SIZE bytes in SLOT at GPA */
	char *copy; /* copy of mem */
	uint64_t pins;
};

static void set_up(FIXTURE_DATA(migrate) *self)
{
	self->pins = kiommu_pins();
	kiommu_setup(&self->k, VFIO_KVM_IOMMU);
	self->fd = self->k.vfio.fd;
	self->buffer = kiommu_alloc_page(self->k.vm.area);
	self->t = ioat_new(self->k.vm.area, KVM_IOMMU_FORMAT_VTD_SS, 3);
	TEST_ASSERT(!kiommu_register_tables(self->fd, self->t), "anchor");
	self->mem = kiommu_vm_add_memory(&self->k.vm, SLOT, GPA, PAGES, 0);
	self->copy = mmap(NULL, SIZE, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	TEST_ASSERT(self->copy != MAP_FAILED, "mmap");
	ioat_map(self->t, BUFFER, kiommu_gpa(self->k.vm.area, self->buffer), 0,
		 KVM_IOMMU_READ);
	TEST_ASSERT(!kiommu_refresh(self->fd, BUFFER, PAGE, NULL), "map");
}

static void tear_down(FIXTURE_DATA(migrate) *self)
{
	munmap(self->copy, SIZE);
	kiommu_teardown(&self->k);
	TEST_ASSERT(self->k.locked_vm == kiommu_locked_vm(), "locked_vm");
	TEST_ASSERT(self->pins == kiommu_pins(), "pins");
}

FIXTURE_SETUP(migrate)
{
	set_up(self);
}

FIXTURE_TEARDOWN(migrate)
{
	tear_down(self);
}

/* Maps a page of the memory with @rights, or unmaps it (0). */
static int map_page(FIXTURE_DATA(migrate) *self, uint64_t page, uint32_t rights)
{
	uint64_t iova = IOVA + page * PAGE;

	if (rights)
		ioat_map(self->t, iova, GPA + page * PAGE, 0, rights);
	else
		ioat_unmap(self->t, iova, 0);
	return kiommu_refresh(self->fd, iova, PAGE, NULL);
}

/* A log of the memory, as a word: PAGES is 64. */
static uint64_t word_of(const uint8_t *bits)
{
	uint64_t word = 0;

	for (int i = 7; i >= 0; i--)
		word = word << 8 | bits[i];
	return word;
}

static uint64_t read_log(FIXTURE_DATA(migrate) *self)
{
	uint8_t bits[8];

	memset(bits, 0x5a, sizeof(bits));
	TEST_ASSERT(!kiommu_dirty_read(self->fd, GPA, SIZE, bits, NULL), "READ");
	return word_of(bits);
}

/* Copies the pages of a log. Return: their number. */
static uint64_t copy_pages(FIXTURE_DATA(migrate) *self, uint64_t bits)
{
	for (uint64_t i = 0; i < PAGES; i++)
		if (bits >> i & 1)
			memcpy(self->copy + i * PAGE, self->mem + i * PAGE, PAGE);
	return __builtin_popcountll(bits);
}

/* The device writes @seed to the start of a page that is mapped. */
static int store(FIXTURE_DATA(migrate) *self, uint64_t page, uint64_t seed)
{
	kiommu_fill(self->buffer, BYTES, seed);
	return kiommu_guest_call(&self->k.vm, kiommu_dma_copy, self->k.dma[0],
				 IOVA + page * PAGE, BUFFER, BYTES);
}

/* A device that writes while the VMM migrates, driven by a thread. */
struct writer {
	FIXTURE_DATA(migrate) *self;
	unsigned int seconds;
	uint64_t writes;
	int error;
	bool done;
};

/* Each page is mapped for one write, and unmapped again. */
static void *write_pages(void *arg)
{
	struct writer *w = arg;
	time_t end = time(NULL) + w->seconds;
	uint64_t page = 5;

	while (!w->error && (w->writes < 12 || time(NULL) < end)) {
		page = (page * 29 + 11) % PAGES;
		w->error = map_page(w->self, page, IOAT_RW) ?:
			   store(w->self, page, ++w->writes) ?:
			   map_page(w->self, page, 0);
	}
	__atomic_store_n(&w->done, true, __ATOMIC_RELEASE);
	return NULL;
}

TEST_F_TIMEOUT(migrate, by_the_log_alone, 240)
{
	struct writer w = { .self = self, .seconds = kiommu_soak_seconds() };
	uint64_t copied = 0;
	pthread_t thread;

	kiommu_fill(self->mem, SIZE, 100);
	ASSERT_EQ(0, kiommu_dirty_log(self->fd, KVM_IOMMU_DIRTY_START));
	memcpy(self->copy, self->mem, SIZE);
	ASSERT_EQ(0, pthread_create(&thread, NULL, write_pages, &w));
	while (!__atomic_load_n(&w.done, __ATOMIC_ACQUIRE)) {
		copied += copy_pages(self, read_log(self));
		usleep(20000);
	}
	/* The device has stopped: this is the last round. */
	pthread_join(thread, NULL);
	copied += copy_pages(self, read_log(self));
	ASSERT_EQ(0, w.error);
	EXPECT_LE(w.writes > PAGES ? PAGES : w.writes, copied);
	EXPECT_EQ(0, memcmp(self->copy, self->mem, SIZE));
	/* Something was written, and nothing is left in the log. */
	EXPECT_NE(SIZE, kiommu_count_equal(self->mem, SIZE, 100));
	EXPECT_EQ(0, read_log(self));
}

/* With vCPUs, and a device whose DMA completes at once. */
FIXTURE(guest) {
	FIXTURE_DATA(migrate) m;
	struct kiommu_vcpu writer;
	struct kiommu_nic *nic;
	uint64_t *entry; /* that of IOVA */
	pthread_t thread[2];
	uint64_t frames, stores; /* made so far, by one thread each */
	int error;
	bool stop;
};

/* How the shadow follows the tables. */
FIXTURE_VARIANT(guest) {
	bool tracked; /* else by calls of the VMM */
};

FIXTURE_VARIANT_ADD(guest, explicit) { .tracked = false };
FIXTURE_VARIANT_ADD(guest, tracked) { .tracked = true };

FIXTURE_SETUP(guest)
{
	struct kiommu_vm *vm = &self->m.k.vm;

	if (kiommu_nic_lacks())
		SKIP(return, "%s", kiommu_nic_lacks());
	kiommu_nic_first();
	set_up(&self->m);
	kiommu_vm_add_vcpu(vm, &self->writer);
	/* Guest code finds the memory at this address. */
	virt_map(vm->vm, (uint64_t)self->m.mem, GPA, PAGES);
	self->nic = kiommu_nic_open(&self->m.k.vfio.dev[0], vm, NIC_IOVA);
	kiommu_nic_map(self->nic, self->m.t);
	ASSERT_EQ(0, kiommu_refresh(self->m.fd, NIC_IOVA, KIOMMU_NIC_SIZE, NULL));
	self->entry = ioat_entry(self->m.t, IOVA, 0, true);
	if (variant->tracked)
		ASSERT_EQ(0, kiommu_set_tracked(self->m.fd, 0));
}

FIXTURE_TEARDOWN(guest)
{
	tear_down(&self->m);
}

static uint64_t next_random(uint64_t *seed)
{
	*seed = *seed * 6364136223846793005ull + 1442695040888963407ull;
	return *seed >> 33;
}

/*
 * Of each four pages the device writes the first three, vCPUs the last three.
 */
static uint64_t page_of_device(uint64_t random)
{
	return random % (PAGES / 4) * 4 + random / PAGES % 3;
}

static uint64_t page_of_vcpu(uint64_t random)
{
	return page_of_device(random) + 1;
}

/* Guest: maps each page for one frame, only by stores to its entry. */
static uint64_t send_frames(struct kiommu_nic *nic, uint64_t *entry, char *buffer,
			    uint64_t seed)
{
	for (uint64_t i = 0; i < STORES; i++) {
		uint64_t page = page_of_device(next_random(&seed));

		kiommu_fill(buffer, BYTES, seed);
		WRITE_ONCE(entry[page], (GPA + page * PAGE) | IOAT_RW);
		if (!kiommu_nic_send(nic, IOVA + page * PAGE, BUFFER, BYTES))
			return 1;
		WRITE_ONCE(entry[page], 0);
	}
	return 0;
}

/* The VMM does the same, in mode EXPLICIT. */
static int send_frame(FIXTURE_DATA(guest) *self, uint64_t seed)
{
	uint64_t page = page_of_device(next_random(&seed));

	kiommu_fill(self->m.buffer, BYTES, seed);
	if (map_page(&self->m, page, IOAT_RW) ||
	    !kiommu_nic_send(self->nic, IOVA + page * PAGE, BUFFER, BYTES))
		return -EIO;
	return map_page(&self->m, page, 0);
}

/* Guest: stores to pages of vCPUs. */
static uint64_t store_words(char *mem, uint64_t seed)
{
	for (uint64_t i = 0; i < STORES; i++) {
		uint64_t page = page_of_vcpu(next_random(&seed));
		uint64_t at = VCPU_OFFSET + next_random(&seed) % 64 * 8;

		WRITE_ONCE(*(uint64_t *)(mem + page * PAGE + at), seed);
	}
	return 0;
}

static void *run_device_by_vmm(void *arg)
{
	FIXTURE_DATA(guest) *self = arg;

	while (!self->error && !READ_ONCE(self->stop))
		self->error = send_frame(self, self->frames++);
	return NULL;
}

static void *run_device_by_guest(void *arg)
{
	FIXTURE_DATA(guest) *self = arg;

	for (; !self->error && !READ_ONCE(self->stop); self->frames += STORES)
		self->error = kiommu_guest_call(&self->m.k.vm, send_frames,
						self->nic, self->entry,
						self->m.buffer, self->frames);
	return NULL;
}

static void *run_vcpu(void *arg)
{
	FIXTURE_DATA(guest) *self = arg;

	for (; !READ_ONCE(self->stop); self->stores += STORES)
		kiommu_vcpu_call(&self->writer, store_words, self->m.mem,
				 self->stores);
	return NULL;
}

/* Pages that were in only one of the logs, over all rounds. */
struct rounds {
	uint64_t count, only_ours, only_kvms;
};

/* Reads both logs, then copies the pages. Return: their number. */
static uint64_t copy_round(FIXTURE_DATA(guest) *self, struct rounds *rounds)
{
	uint64_t ours = read_log(&self->m), kvms;
	uint8_t bits[8];

	kvm_vm_get_dirty_log(self->m.k.vm.vm, SLOT, bits);
	kvms = word_of(bits);
	rounds->count++;
	rounds->only_ours += __builtin_popcountll(ours & ~kvms);
	rounds->only_kvms += __builtin_popcountll(kvms & ~ours);
	return copy_pages(&self->m, ours | kvms);
}

TEST_F_TIMEOUT(guest, by_both_logs, 240)
{
	time_t end = time(NULL) + kiommu_soak_seconds();
	struct rounds rounds = {};

	kiommu_fill(self->m.mem, SIZE, 100);
	ASSERT_EQ(0, kiommu_dirty_log(self->m.fd, KVM_IOMMU_DIRTY_START));
	vm_mem_region_set_flags(self->m.k.vm.vm, SLOT, KVM_MEM_LOG_DIRTY_PAGES);
	memcpy(self->m.copy, self->m.mem, SIZE);
	ASSERT_EQ(0, pthread_create(&self->thread[0], NULL, variant->tracked ?
				    run_device_by_guest : run_device_by_vmm, self));
	ASSERT_EQ(0, pthread_create(&self->thread[1], NULL, run_vcpu, self));
	while (time(NULL) < end) {
		copy_round(self, &rounds);
		usleep(20000);
	}
	/* vCPUs stop, then devices; then what is left is copied. */
	WRITE_ONCE(self->stop, true);
	for (int i = 0; i < 2; i++)
		pthread_join(self->thread[i], NULL);
	kiommu_device_enable(&self->m.k.vfio.dev[0], 0);
	ASSERT_EQ(0, self->error);
	copy_round(self, &rounds);
	EXPECT_EQ(0, memcmp(self->m.copy, self->m.mem, SIZE));
	/* Each log was needed, and nothing is left in either. */
	TH_LOG("%llu rounds, %llu frames, %llu stores",
	       (unsigned long long)rounds.count, (unsigned long long)self->frames,
	       (unsigned long long)self->stores);
	EXPECT_LT(PAGES, self->frames);
	EXPECT_LT(PAGES, self->stores);
	EXPECT_LT(0, rounds.only_ours);
	EXPECT_LT(0, rounds.only_kvms);
	EXPECT_EQ(0, copy_round(self, &rounds));
	ASSERT_EQ(0, kiommu_dirty_log(self->m.fd, KVM_IOMMU_DIRTY_STOP));
	vm_mem_region_set_flags(self->m.k.vm.vm, SLOT, 0);
}

TEST_HARNESS_MAIN
