// SPDX-License-Identifier: GPL-2.0-only
/*
 * Domains that are HWPTs of an iommufd, used by several threads, and left by
 * processes that exit or are killed with a part of it open.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sys/wait.h>
#include <linux/iommufd.h>

#include "kvm_util.h"

#include "counters.h"
#include "dma.h"
#include "hwpt.h"
#include "hwpt_fixture.h"
#include "timeouts.h"

#define PAGE KIOMMU_PAGE
#define IOVA KIOMMU_HWPT_IOVA
#define PAGES KIOMMU_HWPT_PAGES
#define DATA_GPA (KIOMMU_HWPT_GPA + KIOMMU_HWPT_DATA * KIOMMU_HWPT_AREA)
#define RW (IOMMU_IOAS_MAP_READABLE | IOMMU_IOAS_MAP_WRITEABLE)

struct worker {
	struct kiommu_hwpt *h;
	uint32_t ids[2];
	atomic_bool stop;
	unsigned long rounds;
	int error;	/* the first one that must not be */
};

/* The device stores to pages 1 and 2 of the data, all the time. */
static void *store(void *arg)
{
	struct worker *w = arg;
	void *dma = w->h->devices.dev[0].bar;

	while (!w->stop && !w->error) {
		w->error = kiommu_dma_store(dma, IOVA + PAGE, 0, 64) ?:
			   kiommu_dma_store(dma, IOVA + 2 * PAGE, 0, 64);
		w->rounds++;
	}
	return NULL;
}

static void *replace(void *arg)
{
	struct worker *w = arg;

	while (!w->stop && !w->error) {
		w->error = kiommu_hwpt_attach(w->h, 0, w->ids[w->rounds % 2]);
		w->rounds++;
	}
	return NULL;
}

/* Maps and unmaps pages 4 and 5; what the IOAS does not map is no failure here. */
static void *refresh(void *arg)
{
	struct worker *w = arg;

	while (!w->stop && !w->error) {
		int ret = kiommu_hwpt_refresh(w->h, w->ids[0], IOVA, PAGES * PAGE, NULL);

		w->error = ret == -EIO ? 0 : ret;
		if (w->rounds++ % 2)
			ioat_unmap_pages(w->h->t, IOVA + 4 * PAGE, 2);
		else
			ioat_map_pages(w->h->t, IOVA + 4 * PAGE, DATA_GPA + 4 * PAGE, 2,
				       IOAT_RW);
	}
	return NULL;
}

static pthread_t begin(void *(*function)(void *), struct worker *w)
{
	pthread_t thread;
	int ret = pthread_create(&thread, NULL, function, w);

	TEST_ASSERT(!ret, "pthread_create: %d", ret);
	return thread;
}

static void end(pthread_t thread, struct worker *w)
{
	w->stop = true;
	pthread_join(thread, NULL);
}

/*
 * A device goes from one HWPT to another and back. The same IOVA is page 1 by the one
 * and page 3 by the other: each store goes to either, or is lost, and to nothing else.
 */
TEST_F_TIMEOUT(hwpt, replaced_under_way, 240)
{
	struct kiommu_hwpt *h = &self->h;
	struct ioat *other = ioat_new(&h->tables, KVM_IOMMU_FORMAT_VTD_SS, 3);
	struct worker mover = { .h = h };
	void *dma = h->devices.dev[0].bar;
	unsigned int seen[3] = {};
	pthread_t thread;

	ioat_map_pages(other, IOVA, DATA_GPA, 1, IOAT_RW);
	ioat_map_pages(other, IOVA + PAGE, DATA_GPA + 3 * PAGE, 1, IOAT_RW);
	mover.ids[0] = kiommu_hwpt_alloc(h, h->t);
	mover.ids[1] = kiommu_hwpt_alloc(h, other);
	for (unsigned int i = 0; i < 2; i++)
		ASSERT_EQ(0, kiommu_hwpt_refresh(h, mover.ids[i], IOVA, 2 * PAGE, NULL));
	ASSERT_EQ(0, kiommu_hwpt_attach(h, 0, mover.ids[0]));
	kiommu_fill(h->data, 64, 1);
	ASSERT_EQ(0, kiommu_dma_load(dma, IOVA, 0, 64));
	thread = begin(replace, &mover);
	for (unsigned int i = 0; i < 400; i++) {
		unsigned int one, three;

		memset(h->data + PAGE, 0, (PAGES - 1) * PAGE);
		ASSERT_EQ(0, kiommu_dma_store(dma, IOVA + PAGE, 0, 64));
		one = kiommu_count_equal(h->data + PAGE, 64, 1) == 64;
		three = kiommu_count_equal(h->data + 3 * PAGE, 64, 1) == 64;
		EXPECT_LE(one + three, 1);
		seen[one ? 0 : three ? 1 : 2]++;
		memset(h->data + PAGE, 0, 64);
		memset(h->data + 3 * PAGE, 0, 64);
		for (uint64_t *p = (uint64_t *)(h->data + PAGE);
		     p < (uint64_t *)(h->data + PAGES * PAGE); p++)
			ASSERT_EQ(0, *p);
	}
	end(thread, &mover);
	EXPECT_EQ(0, mover.error);
	EXPECT_LT(0, seen[0]);
	EXPECT_LT(0, seen[1]);
	TH_LOG("%u by the first, %u by the second, %u lost, %lu moves", seen[0], seen[1],
	       seen[2], mover.rounds);
}

/*
 * The IOAS loses the data again and again while the device stores to it and another
 * thread refreshes: once IOMMU_IOAS_UNMAP has returned, the memory stays as it is,
 * and nothing of it is pinned.
 */
TEST_F_TIMEOUT(hwpt, ioas_unmaps_under_way, 240)
{
	/* The device takes a tenth of a second for a store. */
	const unsigned int while_us = 130000;
	struct kiommu_hwpt *h = &self->h;
	struct worker device = { .h = h }, refresher = { .h = h };
	uint64_t pins = kiommu_pins(), stored = 0;
	pthread_t threads[2];
	const unsigned int rounds = 25;

	device.ids[0] = kiommu_hwpt_alloc(h, h->t);
	refresher.ids[0] = device.ids[0];
	ASSERT_EQ(0, kiommu_hwpt_refresh(h, device.ids[0], IOVA, PAGES * PAGE, NULL));
	ASSERT_EQ(0, kiommu_hwpt_attach(h, 0, device.ids[0]));
	kiommu_fill(h->data, 64, 1);
	ASSERT_EQ(0, kiommu_dma_load(h->devices.dev[0].bar, IOVA, 0, 64));
	threads[0] = begin(store, &device);
	threads[1] = begin(refresh, &refresher);
	for (unsigned int round = 0; round < rounds; round++) {
		usleep(while_us + round * 7000);
		stored += kiommu_count_equal(h->data + PAGE, 64, 1) == 64;
		ASSERT_EQ(0, kiommu_ioas_unmap(h, KIOMMU_HWPT_DATA));
		EXPECT_EQ(pins - KIOMMU_HWPT_AREA / PAGE, kiommu_pins());
		memset(h->data + PAGE, 0x55, 2 * PAGE);
		usleep(while_us);
		for (char *p = h->data + PAGE; p < h->data + 3 * PAGE; p++)
			ASSERT_EQ(0x55, *p);
		ASSERT_EQ(0, kiommu_ioas_map(h, KIOMMU_HWPT_DATA, RW));
	}
	end(threads[0], &device);
	end(threads[1], &refresher);
	EXPECT_EQ(0, device.error);
	EXPECT_EQ(0, refresher.error);
	/* The device was there in between, or nothing was tested. */
	EXPECT_LT(0, stored);
	EXPECT_EQ(0, kiommu_hwpt_refresh(h, device.ids[0], IOVA, PAGES * PAGE, NULL));
	EXPECT_TRUE(kiommu_hwpt_reaches(h, 0, 3, 2));
	TH_LOG("%u rounds, %lu with a store, %lu stores, %lu refreshes", rounds, stored,
	       device.rounds, refresher.rounds);
}

/* Two threads allocate and destroy, each what the other may be destroying. */
static void *allocate(void *arg)
{
	struct worker *w = arg;

	while (!w->stop && !w->error) {
		uint32_t id = kiommu_hwpt_alloc(w->h, w->h->t);
		int ret = kiommu_hwpt_refresh(w->h, id, IOVA, PAGES * PAGE, NULL);

		/* The other one may have guessed the number. */
		w->error = ret == -ENOENT || ret == -EIO ? 0 : ret;
		kiommu_iommufd_destroy(w->h, id + 1);
		kiommu_iommufd_destroy(w->h, id);
		w->rounds++;
	}
	return NULL;
}

TEST_F_TIMEOUT(hwpt, two_threads_allocate, 240)
{
	struct worker w[2] = { { .h = &self->h }, { .h = &self->h } };
	pthread_t threads[2];

	for (unsigned int i = 0; i < 2; i++)
		threads[i] = begin(allocate, &w[i]);
	for (unsigned int i = 0; i < 100; i++) {
		ASSERT_EQ(0, kiommu_ioas_unmap(&self->h, KIOMMU_HWPT_DATA));
		ASSERT_EQ(0, kiommu_ioas_map(&self->h, KIOMMU_HWPT_DATA, RW));
		usleep(10000);
	}
	for (unsigned int i = 0; i < 2; i++) {
		end(threads[i], &w[i]);
		EXPECT_EQ(0, w[i].error);
		EXPECT_LT(10, w[i].rounds);
	}
}

struct invalidation {
	struct kiommu_hwpt *h;
	uint32_t id;
	struct kvm_iommu_hwpt_invalidate *entries;
	uint32_t count;
	atomic_bool done;
	int ret;
};

static void *invalidate(void *arg)
{
	struct invalidation *inv = arg;

	inv->ret = kiommu_hwpt_invalidate(inv->h, inv->id, inv->entries,
					  sizeof(*inv->entries), &inv->count);
	inv->done = true;
	return NULL;
}

/* A call on an HWPT keeps it: who wants to destroy it is told so, and does not wait. */
TEST_F_TIMEOUT(hwpt, destroyed_under_way, 120)
{
	const uint32_t most = 1u << 16;
	struct invalidation inv = { .h = &self->h, .count = most };
	unsigned int refused = 0;
	pthread_t thread;

	inv.entries = calloc(most, sizeof(*inv.entries));
	for (uint32_t i = 0; i < most; i++)
		inv.entries[i] = (struct kvm_iommu_hwpt_invalidate){ .iova = IOVA,
			.length = PAGES * PAGE, .status = 0xdead };
	inv.id = kiommu_hwpt_alloc(&self->h, self->h.t);
	ASSERT_EQ(0, pthread_create(&thread, NULL, invalidate, &inv));
	while (__atomic_load_n(&inv.entries[0].status, __ATOMIC_RELAXED) == 0xdead)
		usleep(1000);
	for (;;) {
		int ret = kiommu_iommufd_destroy(&self->h, inv.id);

		/* It may have just come to its end. */
		if (inv.done)
			break;
		ASSERT_EQ(-EBUSY, ret);
		ASSERT_EQ(-EBUSY, kiommu_iommufd_destroy(&self->h, self->h.parent));
		refused++;
		usleep(10000);
	}
	pthread_join(thread, NULL);
	EXPECT_EQ(0, inv.ret);
	EXPECT_EQ(most, inv.count);
	/* Of several seconds, not one of which it waited. */
	EXPECT_LT(3, refused);
	TH_LOG("refused %u times", refused);
	free(inv.entries);
}

enum what { HWPT, DEVICE, IOMMUFD, WHATS };

static void close_one(struct kiommu_hwpt *h, uint32_t id, enum what what)
{
	switch (what) {
	case HWPT:
		/* The device may have it, or the iommufd may be closed. */
		kiommu_iommufd_destroy(h, id);
		break;
	case DEVICE:
		kiommu_device_close(&h->devices.dev[0]);
		break;
	default:
		close(h->iommufd);
		h->iommufd = -1;
	}
}

/*
 * Closes what there is in the order of the number @order, all or one, and exits; or
 * waits to be killed, with a thread that refreshes.
 */
static void live_and_leave(unsigned int order, bool killed)
{
	enum what left[WHATS] = { HWPT, DEVICE, IOMMUFD };
	struct kiommu_hwpt h;
	struct worker w = { .h = &h }, device = { .h = &h };

	kiommu_hwpt_setup(&h);
	w.ids[0] = kiommu_hwpt_alloc(&h, h.t);
	TEST_ASSERT(!kiommu_hwpt_refresh(&h, w.ids[0], IOVA, PAGES * PAGE, NULL), "refresh");
	TEST_ASSERT(!kiommu_hwpt_attach(&h, 0, w.ids[0]), "attach");
	TEST_ASSERT(kiommu_hwpt_reaches(&h, 0, 3, 1), "DMA");
	if (killed) {
		begin(refresh, &w);
		begin(store, &device);
		for (;;) {
			kiommu_ioas_unmap(&h, KIOMMU_HWPT_DATA);
			kiommu_ioas_map(&h, KIOMMU_HWPT_DATA, RW);
		}
	}
	for (unsigned int count = WHATS; count > order % 2 * 2; count--) {
		unsigned int i = order / 2 % count;

		close_one(&h, w.ids[0], left[i]);
		left[i] = left[count - 1];
		order = order / 2 / count * 2 + order % 2;
	}
	_exit(0);
}

TEST_F_TIMEOUT(hwpt, closed_in_each_order, 240)
{
	kiommu_hwpt_teardown(&self->h);
	for (unsigned int i = 0; i < 2 * 6; i++) {
		int status = -1;
		pid_t child = fork();

		if (!child)
			live_and_leave(i, false);
		ASSERT_EQ(child, waitpid(child, &status, 0));
		EXPECT_EQ(0, status);
		ASSERT_EQ(0, kiommu_await_refs(0));
		KIOMMU_EXPECT_NOTHING_LEFT();
	}
}

TEST_F_TIMEOUT(hwpt, killed, 240)
{
	kiommu_hwpt_teardown(&self->h);
	for (unsigned int i = 0; i < 10; i++) {
		pid_t child = fork();
		int status;

		if (!child)
			live_and_leave(0, true);
		usleep(300000 + i * 37000);
		ASSERT_EQ(0, kill(child, SIGKILL));
		ASSERT_EQ(child, waitpid(child, &status, 0));
		EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
		ASSERT_EQ(0, kiommu_await_refs(0));
		KIOMMU_EXPECT_NOTHING_LEFT();
	}
}

TEST_HARNESS_MAIN
