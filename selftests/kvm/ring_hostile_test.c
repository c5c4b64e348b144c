// SPDX-License-Identifier: GPL-2.0-only
/*
 * Rings of hostile guests, and of VMMs that make mistakes; a process that is
 * killed while its ring is in use. selftests/vm/run checks the kernel's log.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include <linux/compiler.h>

#include "kvm_test_harness.h"
#include "kvm_util.h"
#include "processor.h"

#include "bell.h"
#include "faults.h"
#include "kiommu_util.h"
#include "timeouts.h"
#include "ring.h"

#define PAGE KIOMMU_PAGE
#define IOVA (KIOMMU_IOVA_BASE + 0x40000000ull)
#define ENTRIES 64u
#define PAGES 256ull
#define SLOT_PAGES 16ull

struct hostile {
	struct kiommu k;
	int fd;
	struct ioat *t;
	uint64_t gpa; /* that of PAGES pages */
	struct kiommu_ring *ring;
	struct kiommu_bell bell;
	uint64_t pins;
	void *slot; /* SLOT_PAGES pages at KIOMMU_FREE_GPA, which come and go */
	bool stop;
};

FIXTURE(hostile) {
	struct hostile h;
};

FIXTURE_VARIANT(hostile) {
	uint32_t flags;
};

FIXTURE_VARIANT_ADD(hostile, vcpu) { .flags = 0 };
FIXTURE_VARIANT_ADD(hostile, thread) { .flags = KVM_IOMMU_SYNC_THREAD };

static void set_up(struct hostile *h)
{
	struct kiommu_area *area;

	kiommu_setup(&h->k, VFIO_KVM_IOMMU);
	area = h->k.vm.area;
	h->fd = h->k.vfio.fd;
	h->ring = kiommu_ring_new(area, ENTRIES);
	h->gpa = kiommu_gpa(area, kiommu_alloc(area, PAGES * PAGE, KIOMMU_2M));
	h->t = ioat_new(area, KVM_IOMMU_FORMAT_VTD_SS, 3);
	ioat_map_pages(h->t, IOVA, h->gpa, PAGES, IOAT_RW);
	kiommu_bell_open(&h->bell, &h->k.vm, h->ring, KIOMMU_BELL_PIO);
	TEST_ASSERT(!kiommu_register_tables(h->fd, h->t), "no anchor");
}

FIXTURE_SETUP(hostile)
{
	struct hostile *h = &self->h;

	h->pins = kiommu_pins();
	set_up(h);
}

FIXTURE_TEARDOWN(hostile)
{
	struct hostile *h = &self->h;

	kiommu_bell_close(&h->bell);
	kiommu_teardown(&h->k);
	EXPECT_EQ(h->k.locked_vm, kiommu_locked_vm());
	EXPECT_EQ(h->pins, kiommu_pins());
	EXPECT_EQ(0, kiommu_await_refs(0));
}

#define GUEST(...) kiommu_guest_call(&h->k.vm, __VA_ARGS__)

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1000000000.0;
}

/* Anything that a guest may write into an entry. */
static void bad_entry(struct kvm_iommu_ring_entry *entry, uint64_t random)
{
	const uint64_t lengths[] = {
		PAGE, 7 * PAGE, PAGES * PAGE, 0, 5, KIOMMU_1G, -PAGE, random,
	};

	entry->iova = random % 16 ? IOVA + (random >> 8) % PAGES * PAGE : random;
	entry->length = lengths[(random >> 32) % ARRAY_SIZE(lengths)];
	entry->flags = (random >> 40) % 8 ? (random >> 44) % 2 : random >> 32;
}

/* Keeps filling the ring, changes entries being read, breaks it at times. */
static void *refill(void *arg)
{
	struct hostile *h = arg;
	struct kvm_iommu_ring *mem = h->ring->mem;
	uint64_t state = 0x9e3779b97f4a7c15ull;
	const uint64_t one = 1;

	while (!__atomic_load_n(&h->stop, __ATOMIC_RELAXED)) {
		uint64_t random = next_random(&state);
		uint32_t left;

		bad_entry(&mem->entries[random % ENTRIES], next_random(&state));
		left = ENTRIES - (mem->avail - READ_ONCE(mem->done));
		if (left && left <= ENTRIES)
			__atomic_store_n(&mem->avail, mem->avail + 1 + random % left,
					 __ATOMIC_RELEASE);
		if (random % 64 == 0)
			WRITE_ONCE(mem->notify, random >> 32);
		if (random % 4096 == 0)
			WRITE_ONCE(mem->avail, random >> 32);
		if (random % 512 == 0)
			WRITE_ONCE(((uint64_t *)mem)[(random >> 16) % 24], random);
		if (random % 32 == 0 &&
		    write(h->bell.kick_fd, &one, sizeof(one)) < 0)
			usleep(1);
	}
	return NULL;
}

/* The slot of one of the rings and of some mappings comes and goes. */
static void *move_slot(void *arg)
{
	struct hostile *h = arg;

	for (unsigned int i = 0; !__atomic_load_n(&h->stop, __ATOMIC_RELAXED); i++) {
		const uint64_t size = i % 2 ? 0 : SLOT_PAGES * PAGE;
		const uint32_t flags = i % 6 == 4 ? KVM_MEM_READONLY : 0;

		TEST_ASSERT(!kiommu_vm_set_slot(&h->k.vm, KIOMMU_FREE_SLOT, flags,
						KIOMMU_FREE_GPA, size, h->slot),
			    "slot");
		if (!size)
			madvise(h->slot, SLOT_PAGES * PAGE, MADV_DONTNEED);
		usleep(2000);
	}
	return NULL;
}

/* Guest: kicks, whatever the ring holds at the moment. */
static uint64_t kick_on(struct kiommu_ring *ring, uint64_t seed, uint64_t rounds)
{
	for (uint64_t i = 0; i < rounds; i++) {
		if (next_random(&seed) % 2)
			ring->mem->avail++;
		ring->ring_bell(ring->bell_argument);
	}
	return 0;
}

static void run_hostile(struct __test_metadata *_metadata, struct hostile *h,
			uint32_t flags)
{
	/* In memory that stays, over tables, in no memory, in a slot. */
	const uint64_t places[] = {
		h->ring->gpa, h->ring->gpa, h->ring->gpa, h->t->root,
		KIOMMU_FREE_GPA, KIOMMU_FREE_GPA + SLOT_PAGES * PAGE - PAGE,
		-2 * PAGE, KIOMMU_BAR_GPA(0),
	};
	const double end = now() + kiommu_soak_seconds();
	uint64_t state = 88172645463325252ull;
	struct kvm_iommu_set_sync cmd = {
		.size = sizeof(cmd), .mode = KVM_IOMMU_SYNC_RING, .notify_fd = -1,
		.kick_fd = h->bell.kick_fd, .entries = ENTRIES,
	};

	do {
		uint64_t random = next_random(&state);

		cmd.flags = random % 4 ? flags : 0;
		cmd.ring = places[(random >> 8) % ARRAY_SIZE(places)];
		if (cmd.ring == h->ring->gpa)
			kiommu_ring_reset(h->ring);
		ASSERT_EQ(0, kiommu_set_sync(h->fd, &cmd));
		GUEST(kick_on, h->ring, random | 1, 20);
		ASSERT_EQ(0, random % 8 ? 0 : kiommu_set_explicit(h->fd));
		if (random % 64 == 0) {
			ASSERT_EQ(0, kiommu_unregister(h->fd));
			ASSERT_EQ(0, kiommu_stop(h->fd));
			ASSERT_EQ(0, kiommu_start(h->fd, h->k.vm.fd));
		}
		/* Tables under a ring may not be tables any more. */
		if (kiommu_get_state(h->fd) == KVM_IOMMU_STATE_STARTED)
			kiommu_register_tables(h->fd, h->t);
	} while (now() < end);
}

TEST_F_TIMEOUT(hostile, soak, 300)
{
	struct hostile *h = &self->h;
	pthread_t refiller, mover;
	int faults;

	h->slot = mmap(NULL, SLOT_PAGES * PAGE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, h->slot);
	/* A file of faults that nobody reads. */
	faults = kiommu_open_faults(h->fd, 0);
	ASSERT_LE(0, faults);
	ASSERT_EQ(0, pthread_create(&refiller, NULL, refill, h));
	ASSERT_EQ(0, pthread_create(&mover, NULL, move_slot, h));
	run_hostile(_metadata, h, variant->flags);
	__atomic_store_n(&h->stop, true, __ATOMIC_RELAXED);
	pthread_join(refiller, NULL);
	pthread_join(mover, NULL);
	kiommu_vm_set_slot(&h->k.vm, KIOMMU_FREE_SLOT, 0, KIOMMU_FREE_GPA, 0, NULL);
	/* The guest behaves again. */
	ASSERT_EQ(0, kiommu_set_explicit(h->fd));
	kiommu_unregister(h->fd);
	ASSERT_EQ(0, kiommu_set_idle_limit(h->fd, 0));
	EXPECT_EQ(h->pins, kiommu_pins());
	h->t = ioat_new(h->k.vm.area, KVM_IOMMU_FORMAT_VTD_SS, 3);
	ioat_map_pages(h->t, IOVA, h->gpa, PAGES, IOAT_RW);
	ASSERT_EQ(0, kiommu_register_tables(h->fd, h->t));
	ASSERT_EQ(0, kiommu_set_ring(h->fd, h->ring, variant->flags,
				     h->bell.kick_fd, -1));
	EXPECT_EQ(0, GUEST(kiommu_ring_sync, h->ring, IOVA, PAGES * PAGE, 0));
	EXPECT_EQ(PAGES, kiommu_mapped_pages(h->fd));
	close(faults);
}

TEST_F_TIMEOUT(hostile, broken_rings, 120)
{
	struct hostile *h = &self->h;
	struct kvm_iommu_ring *mem = h->ring->mem;
	int faults = kiommu_open_faults(h->fd, KVM_IOMMU_FAULT_FD_NONBLOCK);
	const uint32_t wrong[] = { ENTRIES + 1, 1000, 0x80000000u, ~0u };
	struct kvm_iommu_fault fault = {};

	ASSERT_LE(0, faults);
	for (unsigned int i = 0; i < ARRAY_SIZE(wrong); i++) {
		ASSERT_EQ(0, kiommu_set_ring(h->fd, h->ring, variant->flags,
					     h->bell.kick_fd, -1));
		mem->avail = wrong[i];
		GUEST(h->ring->ring_bell, h->ring->bell_argument);
		h->ring->filled = wrong[i];
		EXPECT_EQ(KIOMMU_RING_IS_BROKEN, GUEST(kiommu_ring_wait, h->ring));
		/* With a thread, the fault may come a bit later. */
		while (read(faults, &fault, sizeof(fault)) < 0)
			usleep(100);
		EXPECT_EQ(KVM_IOMMU_FAULT_RING, fault.reason);
		EXPECT_EQ(h->ring->gpa, fault.gpa);
		EXPECT_EQ(KVM_IOMMU_FAULT_HAS_GPA, fault.flags);
		EXPECT_EQ(0, kiommu_mapped_pages(h->fd));
	}
	/* A ring where there is no memory. */
	ASSERT_EQ(0, kiommu_set_sync(h->fd, &(struct kvm_iommu_set_sync){
		.size = sizeof(struct kvm_iommu_set_sync),
		.mode = KVM_IOMMU_SYNC_RING, .entries = 2,
		.ring = KIOMMU_FREE_GPA, .kick_fd = h->bell.kick_fd,
		.notify_fd = -1 }));
	EXPECT_EQ(sizeof(fault), read(faults, &fault, sizeof(fault)));
	EXPECT_EQ(KIOMMU_FREE_GPA, fault.gpa);
	close(faults);
}

TEST_F_TIMEOUT(hostile, set_sync_errors, 120)
{
	struct hostile *h = &self->h;
	const struct kvm_iommu_set_sync good = {
		.size = sizeof(good), .mode = KVM_IOMMU_SYNC_RING,
		.entries = ENTRIES, .ring = h->ring->gpa,
		.kick_fd = h->bell.kick_fd, .notify_fd = -1,
		.flags = variant->flags,
	};
	struct kvm_iommu_set_sync cmd;
	int file = open("/dev/null", O_RDONLY);
	int same = dup(good.kick_fd);
	struct kvm_iommu_info info;

#define EXPECT_REFUSED(_error, _status, ...) do {			\
	cmd = good;							\
	__VA_ARGS__;							\
	EXPECT_EQ(-(_error), kiommu_ioctl(h->fd, KVM_IOMMU_SET_SYNC,	\
					  &cmd)) {			\
		TH_LOG("%s", #__VA_ARGS__);				\
	}								\
	EXPECT_EQ(KVM_IOMMU_STATUS_ ## _status, cmd.status);		\
} while (0)
	ASSERT_EQ(0, kiommu_set_sync(h->fd, &good));
	EXPECT_REFUSED(EBADF, NO_FD, cmd.kick_fd = -1);
	EXPECT_REFUSED(EBADF, NO_FD, cmd.notify_fd = 1000);
	EXPECT_REFUSED(EBADF, NO_FD, cmd.notify_fd = -2);
	EXPECT_REFUSED(EINVAL, FD_TYPE, cmd.kick_fd = file);
	EXPECT_REFUSED(EINVAL, FD_TYPE, cmd.notify_fd = h->fd);
	/* A notification would ring the doorbell. */
	EXPECT_REFUSED(EINVAL, SAME_FD, cmd.notify_fd = cmd.kick_fd);
	EXPECT_REFUSED(EINVAL, SAME_FD, cmd.notify_fd = same);
	close(same);
	EXPECT_REFUSED(EINVAL, MISALIGNED, cmd.ring += 32);
	EXPECT_REFUSED(EOVERFLOW, OVERFLOW, cmd.ring = -128ull);
	EXPECT_REFUSED(EINVAL, RANGE, cmd.entries = 0);
	EXPECT_REFUSED(EINVAL, RANGE, cmd.entries = 1);
	EXPECT_REFUSED(EINVAL, RANGE, cmd.entries = 96);
	EXPECT_REFUSED(EINVAL, RANGE, cmd.entries = 65536);
	EXPECT_REFUSED(EOPNOTSUPP, MODE, cmd.mode = 3);
	EXPECT_REFUSED(EOPNOTSUPP, MODE, cmd.mode = ~0u);
	EXPECT_REFUSED(EOPNOTSUPP, FLAGS, cmd.flags = 4);
	EXPECT_REFUSED(EOPNOTSUPP, FIELD, cmd.burst = 1);
	EXPECT_REFUSED(EOPNOTSUPP, FIELD, cmd.mode = KVM_IOMMU_SYNC_EXPLICIT);
	/* Nothing has changed: the ring is still served. */
	ASSERT_EQ(0, kiommu_get_info(h->fd, &info));
	EXPECT_EQ(KVM_IOMMU_SYNC_RING, info.sync);
	EXPECT_EQ(0, GUEST(kiommu_ring_sync, h->ring, IOVA, PAGE, 0));
	EXPECT_EQ(1, kiommu_mapped_pages(h->fd));
	if (!fork())
		_exit(-kiommu_set_sync(h->fd, &good));
	else
		wait(&file);
	EXPECT_EQ(EPERM, WEXITSTATUS(file));
	ASSERT_EQ(0, kiommu_stop(h->fd));
	EXPECT_REFUSED(ENODEV, NO_KVM, cmd.flags = 0);
	ASSERT_EQ(0, kiommu_start(h->fd, h->k.vm.fd));
	ASSERT_EQ(0, kiommu_get_info(h->fd, &info));
	EXPECT_EQ(KVM_IOMMU_SYNC_EXPLICIT, info.sync);
	ASSERT_EQ(0, kiommu_register_tables(h->fd, h->t));
#undef EXPECT_REFUSED
}

static uint64_t for_ever(struct kiommu_ring *ring)
{
	for (uint64_t i = 0;; i = (i + 1) % PAGES) {
		while (!kiommu_ring_room(ring))
			;
		kiommu_ring_post(ring, IOVA + i * PAGE, PAGE, i & 1);
		kiommu_ring_kick(ring);
	}
	return 0;
}

/* Killed while the guest is busy; nothing must be left. */
TEST_F_TIMEOUT(hostile, killed, 120)
{
	const uint64_t pins = kiommu_pins();
	int ready[2], status;
	char byte;
	pid_t child;

	kiommu_bell_close(&self->h.bell);
	kiommu_teardown(&self->h.k);
	for (unsigned int i = 0; i < 6; i++) {
		ASSERT_EQ(0, pipe(ready));
		child = fork();
		if (!child) {
			struct hostile h;

			set_up(&h);
			TEST_ASSERT(!kiommu_set_ring(h.fd, h.ring, variant->flags,
						     h.bell.kick_fd, -1), "ring");
			if (write(ready[1], "", 1) == 1)
				kiommu_guest_call(&h.k.vm, for_ever, h.ring);
			_exit(1);
		}
		close(ready[1]);
		ASSERT_EQ(1, read(ready[0], &byte, 1));
		usleep(10000 + 7000 * i);
		ASSERT_EQ(0, kill(child, SIGKILL));
		ASSERT_EQ(child, waitpid(child, &status, 0));
		EXPECT_TRUE(WIFSIGNALED(status));
		close(ready[0]);
		EXPECT_EQ(0, kiommu_await_refs(0));
		EXPECT_EQ(pins, kiommu_pins());
	}
	set_up(&self->h);
}

TEST_HARNESS_MAIN
