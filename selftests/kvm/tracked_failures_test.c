// SPDX-License-Identifier: GPL-2.0-only
/*
 * Each thing that can fail fails once, where the shadow follows a guest: when a
 * mode is set, when the guest stores to its tables or rings a doorbell, and in
 * the threads that do work for this. See failures_test.c.
 */
#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include <sys/mman.h>

#include "kvm_test_harness.h"
#include "kvm_util.h"
#include "processor.h"

#include "bell.h"
#include "failing.h"
#include "ring.h"
#include "tracked.h"
#include "world.h"

#define PAGE KIOMMU_PAGE
#define IOVA KIOMMU_WORLD_IOVA
#define LEAF KIOMMU_WORLD_LEAF
#define RANGE KIOMMU_WORLD_RANGE
#define ALL KIOMMU_WORLD_PAGES
#define ANY KIOMMU_ANY_STATUS
#define MAY KIOMMU_MAY
#define OR_NOTHING KIOMMU_OR_NOTHING
#define ENTRIES 64u

FIXTURE(following) {
	struct kiommu_world w;
	struct kiommu_bell bell;
	struct kiommu_ring *ring;
	int fd;
	uint64_t pins;
	uint64_t kvm_refs;
};

FIXTURE_SETUP(following)
{
	if (kiommu_fail_nth_lacks())
		SKIP(return, "%s", kiommu_fail_nth_lacks());
	kiommu_world_set_up(&self->w);
	self->fd = self->w.fd;
	self->pins = self->w.pins;
	self->kvm_refs = self->w.kvm_refs;
	self->ring = kiommu_ring_new(self->w.t->area, ENTRIES);
	kiommu_bell_open(&self->bell, &self->w.k->vm, self->ring, KIOMMU_BELL_PIO);
}

FIXTURE_TEARDOWN(following)
{
	kiommu_bell_close(&self->bell);
	kiommu_world_tear_down(&self->w);
	EXPECT_EQ(self->w.k->locked_vm, kiommu_locked_vm());
	KIOMMU_EXPECT_NOTHING_LEFT();
}

#define EACH(_call, _answers, _after...) \
	KIOMMU_EACH_FAILURE(&self->w, _call, _answers, _after)

#define EXPECT_CONVERGES() KIOMMU_EXPECT_CONVERGES(&self->w)

static const struct kiommu_answer memory[] = {
	OR_NOTHING(-ENOMEM, KVM_IOMMU_STATUS_NO_MEMORY), MAY(-EFAULT, ANY), {}
};

static int set_sync(FIXTURE_DATA(following) *self, uint32_t mode, uint32_t flags)
{
	const bool ring = mode == KVM_IOMMU_SYNC_RING;
	struct kvm_iommu_set_sync arg = {
		.size = sizeof(arg),
		.flags = flags,
		.mode = mode,
		.entries = ring ? ENTRIES : 0,
		.ring = ring ? self->ring->gpa : 0,
		.kick_fd = ring ? self->bell.kick_fd : 0,
		.notify_fd = ring ? -1 : 0,
	};
	int ret = kiommu_ioctl(self->fd, KVM_IOMMU_SET_SYNC, &arg);

	self->w.status = arg.status;
	return ret;
}

static uint32_t mode_of(int fd)
{
	struct kvm_iommu_info info;

	TEST_ASSERT(!kiommu_get_info(fd, &info), "GET_INFO");
	return info.sync;
}

/* Sets the mode from mode EXPLICIT, and goes back. */
static void each_mode(struct __test_metadata *_metadata,
		      FIXTURE_DATA(following) *self, uint32_t mode, uint32_t flags)
{
	EACH(set_sync(self, mode, flags), memory, {
		if (EACH_RET != -EFAULT)
			EXPECT_EQ(EACH_RET ? KVM_IOMMU_SYNC_EXPLICIT : mode,
				  mode_of(self->fd));
		ASSERT_EQ(0, set_sync(self, mode, flags));
		EXPECT_CONVERGES();
		ASSERT_EQ(0, set_sync(self, KVM_IOMMU_SYNC_EXPLICIT, 0));
		EXPECT_EQ(0, kiommu_tracked_pages(self->fd));
		ASSERT_EQ(0, kiommu_world_unmap(&self->w));
	});
}

TEST_F_TIMEOUT(following, set_explicit_slots, 240)
{
	each_mode(_metadata, self, KVM_IOMMU_SYNC_EXPLICIT, KVM_IOMMU_SYNC_SLOTS);
}

TEST_F_TIMEOUT(following, set_ring, 240)
{
	each_mode(_metadata, self, KVM_IOMMU_SYNC_RING, 0);
}

TEST_F_TIMEOUT(following, set_ring_thread, 240)
{
	each_mode(_metadata, self, KVM_IOMMU_SYNC_RING, KVM_IOMMU_SYNC_THREAD);
}

TEST_F_TIMEOUT(following, set_tracked, 240)
{
	each_mode(_metadata, self, KVM_IOMMU_SYNC_TRACKED, 0);
}

/* If the mode is set again while it is set, a failure may end it: EXPLICIT. */
static const struct kiommu_answer anew[] = {
	MAY(-ENOMEM, KVM_IOMMU_STATUS_NO_MEMORY), MAY(-EFAULT, ANY), {}
};

TEST_F_TIMEOUT(following, set_tracked_anew, 240)
{
	ASSERT_EQ(0, set_sync(self, KVM_IOMMU_SYNC_TRACKED, 0));
	EACH(set_sync(self, KVM_IOMMU_SYNC_TRACKED, 0), anew, {
		if (EACH_RET == -ENOMEM && mode_of(self->fd) == KVM_IOMMU_SYNC_EXPLICIT)
			EXPECT_EQ(0, kiommu_tracked_pages(self->fd));
		EXPECT_CONVERGES();
		ASSERT_EQ(0, set_sync(self, KVM_IOMMU_SYNC_TRACKED, 0));
		EXPECT_LT(0, kiommu_tracked_pages(self->fd));
	});
}

/* Whether there was a fault since the last call. */
static bool any_fault(FIXTURE_DATA(following) *self)
{
	const bool any = kiommu_poll_now(self->w.f.faults) & POLLIN;

	kiommu_world_forget_faults(&self->w);
	return any;
}

static int do_register(struct kiommu_world *w)
{
	struct kvm_iommu_register_ioat arg = ioat_anchor(w->t);
	int ret = kiommu_ioctl(w->fd, KVM_IOMMU_REGISTER_IOAT, &arg);

	w->status = arg.status;
	return ret;
}

/* In mode TRACKED, setting the anchor maps all that the tables say. */
TEST_F_TIMEOUT(following, register_ioat, 240)
{
	struct kiommu_world *w = &self->w;

	ASSERT_EQ(0, set_sync(self, KVM_IOMMU_SYNC_TRACKED, 0));
	ASSERT_EQ(0, kiommu_unregister(self->fd));
	EACH(do_register(w), memory, {
		if (EACH_RET == -ENOMEM) {
			EXPECT_EQ(-ENXIO, kiommu_unregister(self->fd));
		} else if (!EACH_RET) {
			/* The top is not tracked, or not all is in sync. */
			if (kiommu_mapped_pages(self->fd) != ALL + w->own) {
				EXPECT_TRUE(_fired && any_fault(self));
				EXPECT_TRUE(!kiommu_tracked_pages(self->fd) ||
					    kiommu_unsynced_pages(self->fd));
			}
			EXPECT_EQ(0, kiommu_unregister(self->fd));
		} else {
			kiommu_unregister(self->fd);
		}
		ASSERT_EQ(0, do_register(w));
		EXPECT_CONVERGES();
		ASSERT_EQ(0, kiommu_unregister(self->fd));
		any_fault(self);
	});
}

static int do_untrack(struct kiommu_world *w)
{
	struct kvm_iommu_untrack arg = {
		.size = sizeof(arg),
		.gpa = w->t->area->gpa,
		.length = w->t->area->size,
	};
	int ret = kiommu_ioctl(w->fd, KVM_IOMMU_UNTRACK, &arg);

	w->status = arg.status;
	return ret;
}

static const struct kiommu_answer answers[] = { MAY(-EFAULT, ANY), {} };

TEST_F_TIMEOUT(following, untrack, 240)
{
	ASSERT_EQ(0, set_sync(self, KVM_IOMMU_SYNC_TRACKED, 0));
	EACH(do_untrack(&self->w), answers, {
		EXPECT_EQ(0, do_untrack(&self->w));
		EXPECT_EQ(0, kiommu_tracked_pages(self->fd));
		ASSERT_EQ(0, set_sync(self, KVM_IOMMU_SYNC_TRACKED, 0));
	});
}

/* Restarts the guest, so that nothing can be reused. */
static int start_anew(FIXTURE_DATA(following) *self)
{
	struct kiommu_world *w = &self->w;

	return kiommu_stop(w->fd) ?: kiommu_start(w->fd, w->k->vm.fd) ?:
	       kiommu_register_tables(w->fd, w->t);
}

#define GUEST_FAILING(_n, _fired, args...)				\
	kiommu_guest_run_failing(&self->w.k->vm, (const uint64_t[])	\
				 KIOMMU_CALL(args, 0, 0, 0, 0, 0, 0), _n, _fired)

/*
 * The guest stores @value to an entry of the tables, repeatedly, each time with
 * another failure. What its tables say is mapped, or a fault reports that it is
 * not.
 */
static void each_store(struct __test_metadata *_metadata,
		       FIXTURE_DATA(following) *self, uint64_t *entry,
		       uint64_t value, uint64_t expected)
{
	struct kiommu_world *w = &self->w;
	const uint64_t before = ioat_read(w->t, entry);
	unsigned int failures = 0, told = 0;
	bool fired = true;

	while (fired) {
		struct kiommu_pages pages;
		const char *wrong;

		ASSERT_EQ(0, start_anew(self));
		ASSERT_EQ(0, set_sync(self, KVM_IOMMU_SYNC_TRACKED, 0));
		EXPECT_CONVERGES();
		EXPECT_EQ(0, kiommu_unsynced_pages(self->fd));
		any_fault(self);
		ASSERT_GT(KIOMMU_MOST_FAILURES, ++failures);
		GUEST_FAILING(failures, &fired, kiommu_store, entry, value);
		wrong = kiommu_world_wrong(w);
		EXPECT_EQ(NULL, wrong) {
			TH_LOG("failure %u: %s", failures, wrong);
		}
		pages = kiommu_world_pages(w);
		/* KVM itself failed to do the store. */
		if (ioat_read(w->t, entry) == before) {
			EXPECT_TRUE(fired);
			EXPECT_EQ(ALL, kiommu_world_count(&pages));
		} else if (kiommu_world_count(&pages) != expected) {
			EXPECT_TRUE(fired && any_fault(self)) {
				TH_LOG("failure %u: %lu pages", failures,
				       kiommu_world_count(&pages));
			}
			/* No later store maps it, so it must not be in sync. */
			EXPECT_TRUE(!kiommu_tracked_pages(self->fd) ||
				    kiommu_unsynced_pages(self->fd));
			told++;
		}
		EXPECT_EQ(0, kiommu_world_refresh(w));
		pages = kiommu_world_pages(w);
		if (ioat_read(w->t, entry) != before)
			EXPECT_EQ(expected, kiommu_world_count(&pages));
		EXPECT_EQ(NULL, kiommu_world_wrong(w));
		kiommu_guest_call(&w->k->vm, kiommu_store, entry, before);
	}
	TH_LOG("%u failures, %u of them told by faults", failures - 1, told);
	EXPECT_LT(1, failures);
}

TEST_F_TIMEOUT(following, store_that_unmaps_a_page, 240)
{
	uint64_t *entry = ioat_entry(self->w.t, KIOMMU_WORLD_SINGLE(3), 0, false);

	each_store(_metadata, self, entry, 0, ALL - 1);
}

/* A table replaces a leaf, and maps most of what the leaf mapped. */
TEST_F_TIMEOUT(following, store_that_links_a_table, 240)
{
	struct kiommu_world *w = &self->w;
	uint64_t *entry = ioat_entry(w->t, LEAF, 1, false);
	const uint64_t leaf = ioat_read(w->t, entry);
	uint64_t table;

	ioat_unmap(w->t, LEAF, 1);
	ioat_map_pages(w->t, LEAF, w->gpa, 512, IOAT_RW);
	ioat_unmap(w->t, LEAF + 100 * PAGE, 0);
	table = ioat_read(w->t, entry);
	ioat_write(w->t, entry, leaf);
	each_store(_metadata, self, entry, table, ALL - 1);
}

/*
 * Each entry of a batch is done, or its status says what was wrong, and no
 * other fault is reported. What fails once is done when the ring tries again.
 */
static void each_batch(struct __test_metadata *_metadata,
		       FIXTURE_DATA(following) *self, uint32_t flags)
{
	struct kiommu_world *w = &self->w;
	struct kiommu_ring *ring = self->ring;
	unsigned int failures = 0, told = 0;
	bool fired = true;

	while (fired) {
		struct kiommu_pages pages;
		uint64_t status;

		ASSERT_EQ(0, start_anew(self));
		kiommu_ring_reset(ring);
		ASSERT_EQ(0, set_sync(self, KVM_IOMMU_SYNC_RING, flags));
		any_fault(self);
		ASSERT_GT(KIOMMU_MOST_FAILURES, ++failures);
		if (flags & KVM_IOMMU_SYNC_THREAD) {
			EXPECT_EQ(1, kiommu_fail_nth_of("kvm_iommu-ring", failures));
			status = kiommu_guest_call(&w->k->vm, kiommu_ring_sync, ring,
						   IOVA, RANGE, 0);
			fired = kiommu_fail_nth_of_fired();
		} else {
			status = GUEST_FAILING(failures, &fired, kiommu_ring_sync,
					       ring, IOVA, RANGE, 0);
		}
		pages = kiommu_world_pages(w);
		if (status) {
			EXPECT_EQ(KVM_IOMMU_STATUS_NO_MEMORY, status);
			EXPECT_TRUE(fired);
			EXPECT_TRUE(any_fault(self));
			told++;
		} else {
			EXPECT_EQ(ALL, kiommu_world_count(&pages));
			EXPECT_FALSE(any_fault(self));
		}
		EXPECT_EQ(NULL, kiommu_world_wrong(w));
		EXPECT_EQ(0, kiommu_guest_call(&w->k->vm, kiommu_ring_sync, ring,
					       IOVA, RANGE, 0));
		ASSERT_EQ(0, kiommu_world_map_own(w));
		EXPECT_CONVERGES();
	}
	TH_LOG("%u failures, %u of them told", failures - 1, told);
	EXPECT_LT(1, failures);
}

TEST_F_TIMEOUT(following, batch_by_the_vcpu, 240)
{
	each_batch(_metadata, self, 0);
}

TEST_F_TIMEOUT(following, batch_by_the_thread, 240)
{
	each_batch(_metadata, self, KVM_IOMMU_SYNC_THREAD);
}

TEST_HARNESS_MAIN
