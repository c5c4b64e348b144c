// SPDX-License-Identifier: GPL-2.0-only
/*
 * A guest that reports its changes by a ring: its own code fills entries,
 * writes to the doorbell, and sees the result. In each of two modes: the vCPU
 * does the work itself, and has the answer at its next instruction; or a thread
 * does it. Each test also checks that nothing goes to user space: a guest that
 * exits for anything but the end of its function fails.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include <sys/eventfd.h>

#include <linux/compiler.h>

#include "kvm_test_harness.h"
#include "kvm_util.h"
#include "processor.h"

#include "bell.h"
#include "faults.h"
#include "kiommu_util.h"
#include "ring.h"

#define PAGE KIOMMU_PAGE
#define IOVA (KIOMMU_IOVA_BASE + 0x40000000ull)
#define ENTRIES 64u
#define PAGES 1024ull
#define BYTES 192ull
#define UNMAP KVM_IOMMU_RING_UNMAP

/* What guest functions share. Lies in the area. */
struct scene {
	struct kiommu_ring *ring;
	struct ioat *t;
	uint64_t gpa; /* that of PAGES pages */
	void *dma;
	uint64_t interrupts;
};

FIXTURE(ring) {
	struct kiommu k;
	int fd;
	char *mem;
	struct scene *s;
	struct kiommu_ring *ring;
	struct kiommu_bell bell;
	uint64_t pins;
};

FIXTURE_VARIANT(ring) {
	uint32_t format;
	uint32_t flags;
	enum kiommu_bell_kind bell;
};

FIXTURE_VARIANT_ADD(ring, vcpu) {
	.format = KVM_IOMMU_FORMAT_VTD_SS,
	.bell = KIOMMU_BELL_PIO,
};

FIXTURE_VARIANT_ADD(ring, vcpu_mmio) {
	.format = KVM_IOMMU_FORMAT_ZPCI,
	.bell = KIOMMU_BELL_MMIO,
};

FIXTURE_VARIANT_ADD(ring, thread) {
	.format = KVM_IOMMU_FORMAT_ZPCI,
	.flags = KVM_IOMMU_SYNC_THREAD,
	.bell = KIOMMU_BELL_PIO,
};

/* The guest's copy of the pointer: guests have globals of their own. */
static struct scene *guest_scene;

static void count_interrupt(struct ex_regs *regs)
{
	guest_scene->interrupts++;
	kiommu_bell_end_of_interrupt(regs);
}

FIXTURE_SETUP(ring)
{
	struct kiommu_area *area;

	self->pins = kiommu_pins();
	kiommu_setup(&self->k, VFIO_KVM_IOMMU);
	area = self->k.vm.area;
	self->fd = self->k.vfio.fd;
	self->ring = kiommu_ring_new(area, ENTRIES);
	self->mem = kiommu_alloc(area, PAGES * PAGE, KIOMMU_2M);
	self->s = kiommu_alloc(area, sizeof(*self->s), 64);
	self->s->ring = self->ring;
	self->s->t = ioat_new(area, variant->format, 3);
	self->s->gpa = kiommu_gpa(area, self->mem);
	self->s->dma = self->k.dma[0];
	kiommu_bell_open(&self->bell, &self->k.vm, self->ring, variant->bell);
	kiommu_bell_open_notify(&self->bell, &self->k.vm, count_interrupt);
	ASSERT_EQ(0, kiommu_register_tables(self->fd, self->s->t));
	ASSERT_EQ(0, kiommu_set_ring(self->fd, self->ring, variant->flags,
				     self->bell.kick_fd, -1));
}

FIXTURE_TEARDOWN(ring)
{
	kiommu_bell_close(&self->bell);
	kiommu_teardown(&self->k);
	EXPECT_EQ(self->k.locked_vm, kiommu_locked_vm());
	EXPECT_EQ(self->pins, kiommu_pins());
	EXPECT_EQ(0, kiommu_await_refs(0));
}

#define GUEST(...) kiommu_guest_call(&self->k.vm, __VA_ARGS__)
#define BY_VCPU (!(variant->flags & KVM_IOMMU_SYNC_THREAD))
#define RIGHTS(_iova) kiommu_shadow_rights(self->fd, _iova)
#define STATUS(_i) (self->ring->mem->entries[(_i) % ENTRIES].status)
#define STOPPED(_i) (self->ring->mem->entries[(_i) % ENTRIES].stopped_iova)

/* Maps a page and posts that. Return: whether it was done after the kick. */
static uint64_t map_one(struct scene *s, uint64_t iova, uint64_t gpa)
{
	uint64_t at_once;

	ioat_map(s->t, iova, gpa, 0, IOAT_RW);
	kiommu_ring_post(s->ring, iova, PAGE, 0);
	kiommu_ring_kick(s->ring);
	at_once = kiommu_ring_is_done(s->ring);
	GUEST_ASSERT_EQ(kiommu_ring_wait(s->ring), 0);
	return at_once;
}

static uint64_t unmap_one(struct scene *s, uint64_t iova, uint64_t flags)
{
	uint64_t at_once;

	ioat_unmap(s->t, iova, 0);
	kiommu_ring_post(s->ring, iova, PAGE, flags);
	kiommu_ring_kick(s->ring);
	at_once = kiommu_ring_is_done(s->ring);
	GUEST_ASSERT_EQ(kiommu_ring_wait(s->ring), 0);
	return at_once;
}

TEST_F_TIMEOUT(ring, maps_and_unmaps, 120)
{
	struct kvm_iommu_info info;

	for (uint64_t i = 0; i < 3 * ENTRIES; i++) {
		const uint64_t iova = IOVA + i % 7 * PAGE;

		GUEST(map_one, self->s, iova, self->s->gpa);
		ASSERT_EQ(KVM_IOMMU_STATUS_OK, STATUS(2 * i));
		ASSERT_EQ(iova + PAGE, STOPPED(2 * i));
		ASSERT_EQ(IOAT_RW, RIGHTS(iova));
		GUEST(unmap_one, self->s, iova, i & UNMAP);
		ASSERT_EQ(0, RIGHTS(iova));
	}
	ASSERT_EQ(0, kiommu_get_info(self->fd, &info));
	EXPECT_EQ(KVM_IOMMU_SYNC_RING, info.sync);
	EXPECT_EQ(0, info.mapped_pages);
}

/* Done at the very next instruction, without polling. */
TEST_F_TIMEOUT(ring, done_at_the_next_instruction, 120)
{
	if (!BY_VCPU)
		SKIP(return, "by a thread, it is done later");
	for (uint64_t i = 0; i < 100; i++)
		ASSERT_EQ(1, GUEST(map_one, self->s, IOVA + i * PAGE,
				   self->s->gpa + i * PAGE));
	EXPECT_EQ(100, kiommu_mapped_pages(self->fd));
	/* Each of them rang the doorbell, because the host was idle. */
	EXPECT_EQ(100, self->ring->doorbells);
}

static uint64_t map_burst(struct scene *s, uint64_t iova, uint64_t stride,
			  uint64_t count, uint64_t flags)
{
	for (uint64_t i = 0; i < count; i++) {
		if (flags)
			ioat_unmap(s->t, iova + i * stride, 0);
		else
			ioat_map(s->t, iova + i * stride, s->gpa + i * 3 * PAGE, 0,
				 IOAT_RW);
		kiommu_ring_post(s->ring, iova + i * stride, PAGE, flags);
	}
	kiommu_ring_kick(s->ring);
	return kiommu_ring_wait(s->ring);
}

/* Disjoint pages in several tables, some of which are new. */
TEST_F_TIMEOUT(ring, bursts, 120)
{
	const uint64_t stride = 33 * PAGE;

	for (unsigned int round = 0; round < 5; round++) {
		ASSERT_EQ(0, GUEST(map_burst, self->s, IOVA, stride, 32, 0));
		for (uint64_t i = 0; i < 32; i++)
			ASSERT_EQ(IOAT_RW, RIGHTS(IOVA + i * stride));
		ASSERT_EQ(32, kiommu_mapped_pages(self->fd));
		ASSERT_EQ(0, GUEST(map_burst, self->s, IOVA, stride, 32, UNMAP));
		ASSERT_EQ(0, kiommu_mapped_pages(self->fd));
	}
	/* One kick for each burst. */
	EXPECT_EQ(10, self->ring->doorbells);
}

/* DMA directly after the guest has its answer. */
static uint64_t dma_after_map(struct scene *s, uint64_t iova)
{
	map_one(s, iova, s->gpa);
	map_one(s, iova + PAGE, s->gpa + PAGE);
	return kiommu_dma_copy(s->dma, iova + PAGE, iova, BYTES);
}

static uint64_t dma_after_unmap(struct scene *s, uint64_t iova)
{
	unmap_one(s, iova + PAGE, UNMAP);
	return kiommu_dma_copy(s->dma, iova + PAGE, iova, BYTES);
}

TEST_F_TIMEOUT(ring, device_follows, 120)
{
	kiommu_fill(self->mem, PAGE, 1);
	kiommu_fill(self->mem + PAGE, PAGE, 2);
	ASSERT_EQ(0, GUEST(dma_after_map, self->s, IOVA));
	EXPECT_EQ(BYTES, kiommu_count_equal(self->mem + PAGE, BYTES, 1));
	kiommu_fill(self->mem + PAGE, PAGE, 2);
	ASSERT_EQ(0, GUEST(dma_after_unmap, self->s, IOVA));
	EXPECT_EQ(BYTES, kiommu_count_equal(self->mem + PAGE, BYTES, 2));
}

/* Neighbouring entries fail, each in another way; two do not. */
TEST_F_TIMEOUT(ring, status_per_entry, 120)
{
	const struct {
		uint64_t iova, length;
		uint32_t flags, status;
		uint64_t stopped;
	} entries[] = {
		{ IOVA, 4 * PAGE, 0, KVM_IOMMU_STATUS_NO_SLOT, IOVA + 2 * PAGE },
		{ IOVA + 8 * PAGE, PAGE, 0, KVM_IOMMU_STATUS_OK, IOVA + 9 * PAGE },
		{ IOVA + 1, PAGE, 0, KVM_IOMMU_STATUS_MISALIGNED, IOVA + 1 },
		{ IOVA, 0, 0, KVM_IOMMU_STATUS_MISALIGNED, IOVA },
		{ IOVA, PAGE + 8, 0, KVM_IOMMU_STATUS_MISALIGNED, IOVA },
		{ -PAGE, 2 * PAGE, 0, KVM_IOMMU_STATUS_OVERFLOW, -PAGE },
		{ IOVA, PAGE, 2, KVM_IOMMU_STATUS_FLAGS, IOVA },
		{ IOVA, PAGE, ~0u, KVM_IOMMU_STATUS_FLAGS, IOVA },
		{ IOVA + 16 * PAGE, PAGE, 0, KVM_IOMMU_STATUS_OK, IOVA + 17 * PAGE },
	};
	struct kvm_iommu_fault fault[16];
	const uint32_t n = ARRAY_SIZE(entries);
	int faults = kiommu_open_faults(self->fd, KVM_IOMMU_FAULT_FD_NONBLOCK);

	ASSERT_LE(0, faults);
	ioat_map_pages(self->s->t, IOVA, self->s->gpa, 2, IOAT_RW);
	ioat_map(self->s->t, IOVA + 2 * PAGE, KIOMMU_FREE_GPA, 0, IOAT_RW);
	ioat_map(self->s->t, IOVA + 8 * PAGE, self->s->gpa, 0, IOAT_RW);
	ioat_map(self->s->t, IOVA + 16 * PAGE, self->s->gpa, 0, IOAT_RW);
	for (uint32_t i = 0; i < n; i++)
		kiommu_ring_post(self->ring, entries[i].iova, entries[i].length,
				 entries[i].flags);
	GUEST(kiommu_ring_kick, self->ring);
	EXPECT_EQ(KVM_IOMMU_STATUS_NO_SLOT, GUEST(kiommu_ring_wait, self->ring));
	for (uint32_t i = 0; i < n; i++) {
		EXPECT_EQ(entries[i].status, STATUS(i)) {
			TH_LOG("entry %u", i);
		}
		EXPECT_EQ(entries[i].stopped, STOPPED(i));
	}
	EXPECT_EQ(4, kiommu_mapped_pages(self->fd));
	/* Each is reported; faults on the same page are one record. */
	ASSERT_EQ(4 * sizeof(*fault), read(faults, fault, sizeof(fault)));
	EXPECT_EQ(KVM_IOMMU_FAULT_ENTRY, fault[0].reason);
	EXPECT_EQ(KVM_IOMMU_STATUS_NO_SLOT, fault[0].status);
	EXPECT_EQ(IOVA + 2 * PAGE, fault[0].iova);
	EXPECT_EQ(KVM_IOMMU_FAULT_RANGE, fault[1].reason);
	EXPECT_EQ(3, fault[1].count);
	EXPECT_EQ(-PAGE, fault[2].iova);
	EXPECT_EQ(KVM_IOMMU_FAULT_RING, fault[3].reason);
	EXPECT_EQ(KVM_IOMMU_STATUS_FLAGS, fault[3].status);
	EXPECT_EQ(self->ring->gpa, fault[3].gpa);
	EXPECT_EQ(2, fault[3].count);
	close(faults);
	/* Without an anchor. */
	ASSERT_EQ(0, kiommu_unregister(self->fd));
	EXPECT_EQ(KVM_IOMMU_STATUS_NO_ANCHOR,
		  GUEST(kiommu_ring_sync, self->ring, IOVA, PAGE, 0));
	/* The mode outlives the anchor. */
	ASSERT_EQ(0, kiommu_register_tables(self->fd, self->s->t));
	EXPECT_EQ(0, GUEST(kiommu_ring_sync, self->ring, IOVA, PAGE, 0));
	EXPECT_EQ(1, kiommu_mapped_pages(self->fd));
}

/* Ranges that are larger than what a vCPU does itself are left to a thread. */
TEST_F_TIMEOUT(ring, large_ranges, 120)
{
	ioat_map_pages(self->s->t, IOVA, self->s->gpa, PAGES, IOAT_RW);
	EXPECT_EQ(0, GUEST(kiommu_ring_sync, self->ring, IOVA, KIOMMU_1G, 0));
	EXPECT_EQ(PAGES, kiommu_mapped_pages(self->fd));
	EXPECT_EQ(IOVA + KIOMMU_1G, STOPPED(0));
	EXPECT_EQ(0, GUEST(kiommu_ring_sync, self->ring, IOVA, KIOMMU_1G, UNMAP));
	EXPECT_EQ(0, kiommu_mapped_pages(self->fd));
	EXPECT_EQ(0, GUEST(kiommu_ring_sync, self->ring, IOVA, PAGE, 0));
	EXPECT_EQ(1, kiommu_mapped_pages(self->fd));
}

/* A full ring, several times: indices wrap around. */
TEST_F_TIMEOUT(ring, full_ring, 120)
{
	for (unsigned int round = 0; round < 5; round++) {
		ASSERT_EQ(ENTRIES, kiommu_ring_room(self->ring));
		ASSERT_EQ(0, GUEST(map_burst, self->s, IOVA, PAGE, ENTRIES, 0));
		ASSERT_EQ(ENTRIES, kiommu_mapped_pages(self->fd));
		ASSERT_EQ(0, GUEST(map_burst, self->s, IOVA, PAGE, 37, UNMAP));
		ASSERT_EQ(ENTRIES - 37, kiommu_mapped_pages(self->fd));
	}
}

/* The guest waits by HLT for an interrupt that it has asked for. */
static uint64_t wait_for_interrupt(struct scene *s, uint64_t iova)
{
	struct kvm_iommu_ring *mem = s->ring->mem;
	uint64_t before;

	guest_scene = s;
	kiommu_bell_accept_interrupts();
	for (uint64_t i = 0; i < 20; i++) {
		before = s->interrupts;
		ioat_map(s->t, iova + i * PAGE, s->gpa, 0, IOAT_RW);
		kiommu_ring_post(s->ring, iova + i * PAGE, PAGE, 0);
		asm volatile("cli");
		__atomic_store_n(&mem->notify, s->ring->filled - 1, __ATOMIC_SEQ_CST);
		kiommu_ring_kick(s->ring);
		while (READ_ONCE(s->interrupts) == before)
			kiommu_bell_wait();
		GUEST_ASSERT_EQ(kiommu_ring_is_done(s->ring), 1);
		GUEST_ASSERT_EQ(kiommu_ring_wait(s->ring), 0);
	}
	/* No interrupt: the entry that was asked for was done long ago. */
	before = s->interrupts;
	kiommu_ring_sync(s->ring, iova, PAGE, 0);
	asm volatile("sti; nop; cli" : : : "memory");
	return READ_ONCE(s->interrupts) - before;
}

TEST_F_TIMEOUT(ring, interrupts, 120)
{
	ASSERT_EQ(0, kiommu_set_ring(self->fd, self->ring, variant->flags,
				     self->bell.kick_fd, self->bell.notify_fd));
	EXPECT_EQ(0, GUEST(wait_for_interrupt, self->s, IOVA));
	EXPECT_EQ(20, self->s->interrupts);
	EXPECT_EQ(20, kiommu_mapped_pages(self->fd));
}

/* Posts without ringing the doorbell, as a guest does that is stopped then. */
static uint64_t post_only(struct scene *s, uint64_t iova, uint64_t count)
{
	for (uint64_t i = 0; i < count; i++) {
		ioat_map(s->t, iova + i * PAGE, s->gpa + i * PAGE, 0, IOAT_RW);
		kiommu_ring_post(s->ring, iova + i * PAGE, PAGE, 0);
	}
	return kiommu_ring_publish(s->ring);
}

#define SET_RING(_ring, _flags) \
	kiommu_set_ring(self->fd, _ring, _flags, self->bell.kick_fd, -1)

TEST_F_TIMEOUT(ring, mode_changes_lose_nothing, 120)
{
	struct kiommu_ring *other = kiommu_ring_new(self->k.vm.area, 2 * ENTRIES);
	struct kiommu_ring *ring = self->ring;
	struct scene *s = self->s;
	struct kvm_iommu_info info;

	*other = (struct kiommu_ring){
		.mem = other->mem, .gpa = other->gpa, .entries = other->entries,
		.ring_bell = ring->ring_bell, .bell_argument = ring->bell_argument,
	};
	for (unsigned int round = 0; round < 3; round++) {
		GUEST(post_only, s, IOVA, 40);
		ASSERT_EQ(0, kiommu_set_explicit(self->fd));
		EXPECT_EQ(40, kiommu_mapped_pages(self->fd));
		EXPECT_EQ(ring->filled, ring->mem->done);
		ASSERT_EQ(0, kiommu_get_info(self->fd, &info));
		EXPECT_EQ(KVM_IOMMU_SYNC_EXPLICIT, info.sync);
		/* The ring is not served any more. */
		GUEST(post_only, s, IOVA + 100 * PAGE, 1);
		GUEST(ring->ring_bell, ring->bell_argument);
		EXPECT_EQ(ring->filled - 1, ring->mem->done);
		EXPECT_EQ(0, RIGHTS(IOVA + 100 * PAGE));
		ASSERT_EQ(0, kiommu_refresh(self->fd, IOVA, 40 * PAGE, NULL));
		/* The mode changes from one ring to the next. */
		ASSERT_EQ(0, SET_RING(ring, variant->flags));
		GUEST(post_only, s, IOVA + 200 * PAGE, 10);
		ASSERT_EQ(0, SET_RING(other, variant->flags ^ KVM_IOMMU_SYNC_THREAD));
		EXPECT_EQ(10, ring->mem->done);
		EXPECT_EQ(50, kiommu_mapped_pages(self->fd));
		s->ring = other;
		GUEST(map_one, s, IOVA + 300 * PAGE, s->gpa);
		EXPECT_EQ(1, other->mem->done);
		EXPECT_EQ(10, ring->mem->done);
		EXPECT_EQ(51, kiommu_mapped_pages(self->fd));
		s->ring = ring;
		ASSERT_EQ(0, SET_RING(ring, variant->flags));
		for (uint64_t i = 0; i < 512; i++)
			ioat_unmap(s->t, IOVA + i * PAGE, 0);
		ASSERT_EQ(0, kiommu_refresh(self->fd, IOVA, KIOMMU_2M, NULL));
		ASSERT_EQ(0, kiommu_mapped_pages(self->fd));
	}
}

/* User space may signal the doorbell, too, and close its file. */
TEST_F_TIMEOUT(ring, doorbell_of_user_space, 120)
{
	const uint64_t one = 1;
	int fd = dup(self->bell.kick_fd);

	GUEST(post_only, self->s, IOVA, 3);
	ASSERT_EQ(8, write(fd, &one, sizeof(one)));
	/* Without the thread, before the system call has returned. */
	EXPECT_LE(BY_VCPU ? 3 : 0, self->ring->mem->done);
	EXPECT_EQ(0, kiommu_ring_wait(self->ring));
	EXPECT_EQ(3, kiommu_mapped_pages(self->fd));
	close(fd);
	close(self->bell.kick_fd);
	/* The last file is closed; KVM still has the eventfd. */
	GUEST(map_one, self->s, IOVA + 9 * PAGE, self->s->gpa);
	EXPECT_EQ(4, kiommu_mapped_pages(self->fd));
	/* A doorbell that kiommu_bell_close() can undo. */
	self->bell.kick_fd = eventfd(0, 0);
	self->bell.io.fd = self->bell.kick_fd;
	self->bell.io.flags &= ~KVM_IOEVENTFD_FLAG_DEASSIGN;
	self->bell.io.addr += 8;
	vm_ioctl(self->k.vm.vm, KVM_IOEVENTFD, &self->bell.io);
}

/* The KVM leaves with entries that were not looked at. */
TEST_F_TIMEOUT(ring, leaves_with_entries, 120)
{
	/* All or none: the thread looks at a new ring at some time. */
	GUEST(post_only, self->s, IOVA, 40);
	ASSERT_EQ(0, kiommu_stop(self->fd));
	EXPECT_EQ(0, self->ring->mem->done % 40);
	EXPECT_EQ(-ENODEV, kiommu_set_explicit(self->fd));
	ASSERT_EQ(0, kiommu_start(self->fd, self->k.vm.fd));
	ASSERT_EQ(0, kiommu_register_tables(self->fd, self->s->t));
	GUEST(self->ring->ring_bell, self->ring->bell_argument);
	EXPECT_EQ(0, kiommu_mapped_pages(self->fd));
	ASSERT_EQ(0, kiommu_set_ring(self->fd, self->ring, variant->flags,
				     self->bell.kick_fd, -1));
	GUEST(map_one, self->s, IOVA, self->s->gpa);
	GUEST(post_only, self->s, IOVA, 40);
	kiommu_close_devices(&self->k);
	EXPECT_EQ(1, self->ring->mem->done % 40);
	/* The KVM leaves soon, and before the next call. */
	EXPECT_EQ(KVM_IOMMU_STATE_CREATED, kiommu_get_state(self->fd));
	EXPECT_EQ(self->pins, kiommu_pins());
}

TEST_HARNESS_MAIN
