// SPDX-License-Identifier: GPL-2.0-only
/*
 * A device moves between domains while its DMA runs: each access goes where the
 * old domain or the new one says, nowhere else, and after the move to the new
 * one only. An access may be lost in the moment of a move. And a move for which
 * there is no memory: the device stays where it was.
 */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "kvm_test_harness.h"
#include "kvm_util.h"

#include "domain.h"
#include "fail_nth.h"
#include "faults.h"
#include "kiommu_util.h"
#include "nic.h"

#define PAGE KIOMMU_PAGE
#define NIC_IOVA (KIOMMU_IOVA_BASE + 0x10000000ull)
#define SRC (KIOMMU_IOVA_BASE + 0x123400000ull)
#define DST (SRC + KIOMMU_2M)
#define BYTES 256ull
#define PAGES 512ull
#define MOVES 1000u

/* The page that DST is in a domain, of the buffer. Page 0 is SRC. */
enum place { HOME = 10, FIRST = 20, SECOND = 30 };

FIXTURE(moves) {
	struct kiommu k;
	int container;
	struct {
		int fd;
		struct ioat *t;
	} at[2];
	struct kiommu_nic *nic;
	char *mem; /* PAGES */
	uint64_t gpa;
	pthread_t thread;
	bool stop;
	uint64_t sent;
};

/* All of what the device needs, and DST at @page. */
static struct ioat *make_tables(FIXTURE_DATA(moves) *self, enum place page)
{
	struct ioat *t = ioat_new(self->k.vm.area, KVM_IOMMU_FORMAT_VTD_SS, 3);

	kiommu_nic_map(self->nic, t);
	ioat_map_pages(t, SRC, self->gpa, 1, KVM_IOMMU_READ);
	ioat_map_pages(t, DST, self->gpa + page * PAGE, 1, IOAT_RW);
	return t;
}

static int fill_domain(int fd, const struct ioat *t)
{
	return kiommu_register_tables(fd, t) ?:
	       kiommu_refresh(fd, NIC_IOVA, KIOMMU_NIC_SIZE, NULL) ?:
	       kiommu_refresh(fd, SRC, DST + PAGE - SRC, NULL);
}

FIXTURE_SETUP(moves)
{
	struct kiommu_area *area;

	if (kiommu_front_lacks(KIOMMU_AT_HOME))
		SKIP(return, "%s", kiommu_front_lacks(KIOMMU_AT_HOME));
	if (kiommu_nic_lacks())
		SKIP(return, "%s", kiommu_nic_lacks());
	kiommu_nic_first();
	kiommu_setup(&self->k, VFIO_KVM_IOMMU);
	area = self->k.vm.area;
	self->container = self->k.vfio.fd;
	self->mem = kiommu_alloc(area, PAGES * PAGE, PAGE);
	self->gpa = kiommu_gpa(area, self->mem);
	self->nic = kiommu_nic_open(&self->k.vfio.dev[0], &self->k.vm, NIC_IOVA);
	memset(self->mem, 0x5a, PAGES * PAGE);
	kiommu_fill(self->mem, BYTES, 1);
	ASSERT_EQ(0, fill_domain(self->container, make_tables(self, HOME)));
	for (unsigned int i = 0; i < 2; i++) {
		self->at[i].fd = kiommu_domain_create(self->k.vm.fd);
		ASSERT_LE(0, self->at[i].fd);
		self->at[i].t = make_tables(self, i ? SECOND : FIRST);
		ASSERT_EQ(0, fill_domain(self->at[i].fd, self->at[i].t));
	}
}

FIXTURE_TEARDOWN(moves)
{
	for (unsigned int i = 0; i < 2; i++)
		close(self->at[i].fd);
	kiommu_teardown(&self->k);
	EXPECT_EQ(self->k.locked_vm, kiommu_locked_vm());
}

static char *page_at(FIXTURE_DATA(moves) *self, enum place page)
{
	return self->mem + page * PAGE;
}

/* Whether a frame lands at @page, and at none of the others. */
static bool lands_at(FIXTURE_DATA(moves) *self, enum place page)
{
	static const enum place places[] = { HOME, FIRST, SECOND };
	bool right = true;

	for (unsigned int i = 0; i < ARRAY_SIZE(places); i++)
		memset(page_at(self, places[i]), 0x5a, PAGE);
	kiommu_nic_send(self->nic, DST, SRC, BYTES);
	for (unsigned int i = 0; i < ARRAY_SIZE(places); i++) {
		bool landed = kiommu_count_equal(page_at(self, places[i]),
						 BYTES, 1) == BYTES;

		right &= landed == (places[i] == page);
	}
	return right;
}

/* Everything but the buffers holds what it did. */
static bool nothing_else_changed(FIXTURE_DATA(moves) *self)
{
	bool right = true;

	for (uint64_t i = 1; i < PAGES; i++) {
		if (i == HOME || i == FIRST || i == SECOND)
			continue;
		for (uint64_t j = 0; j < PAGE; j++)
			right &= self->mem[i * PAGE + j] == 0x5a;
	}
	/* Not a byte behind a frame either. */
	for (uint64_t j = BYTES; j < PAGE; j++)
		right &= page_at(self, FIRST)[j] == 0x5a &&
			 page_at(self, SECOND)[j] == 0x5a;
	return right;
}

static void *send_on(void *arg)
{
	FIXTURE_DATA(moves) *self = arg;

	while (!__atomic_load_n(&self->stop, __ATOMIC_RELAXED))
		self->sent += kiommu_nic_send(self->nic, DST, SRC, BYTES);
	return NULL;
}

TEST_F_TIMEOUT(moves, under_dma, 600)
{
	uint64_t landed[2] = {};

	EXPECT_TRUE(lands_at(self, HOME));
	for (unsigned int i = 0; i < 4; i++) {
		ASSERT_LT(0, kiommu_domain_attach(self->at[i % 2].fd,
						  self->container, NULL));
		EXPECT_TRUE(lands_at(self, i % 2 ? SECOND : FIRST));
	}
	memset(page_at(self, HOME), 0x5a, PAGE);
	ASSERT_EQ(0, pthread_create(&self->thread, NULL, send_on, self));
	for (unsigned int i = 0; i < MOVES; i++) {
		char *page = page_at(self, i % 2 ? SECOND : FIRST);

		ASSERT_LT(0, kiommu_domain_attach(self->at[i % 2].fd,
						  self->container, NULL));
		if (i % 16 > 1)
			continue;
		/* Frames go on landing here. */
		memset(page, 0x5a, BYTES);
		for (unsigned int j = 0; j < 2000; j++) {
			if (kiommu_count_equal(page, BYTES, 1) == BYTES)
				break;
			usleep(1000);
		}
		landed[i % 2] += kiommu_count_equal(page, BYTES, 1) == BYTES;
	}
	__atomic_store_n(&self->stop, true, __ATOMIC_RELAXED);
	pthread_join(self->thread, NULL);
	TH_LOG("%lu frames, %lu + %lu seen", self->sent, landed[0], landed[1]);
	EXPECT_LT(0, self->sent);
	EXPECT_EQ(MOVES / 16 + 1, landed[0]);
	EXPECT_EQ(MOVES / 16 + 1, landed[1]);
	/* Home was left before, so nothing may have come there. */
	for (uint64_t j = 0; j < PAGE; j++)
		ASSERT_EQ(0x5a, page_at(self, HOME)[j]);
	EXPECT_TRUE(nothing_else_changed(self));
	EXPECT_TRUE(lands_at(self, SECOND));
	close(self->at[1].fd);
	self->at[1].fd = -1;
	EXPECT_TRUE(lands_at(self, HOME));
}

/* Each allocation of the move fails once. */
TEST_F_TIMEOUT(moves, without_memory, 600)
{
	struct kvm_iommu_attach cmd = {
		.size = sizeof(cmd), .device_fd = self->container,
	};
	bool fired = true;
	unsigned int n;

	if (kiommu_fail_nth_lacks())
		SKIP(return, "%s", kiommu_fail_nth_lacks());
	kiommu_fail_charged_alone();
	ASSERT_LT(0, kiommu_domain_attach(self->at[0].fd, self->container, NULL));
	for (n = 1; fired; n++) {
		int ret;

		ASSERT_GT(2000, n);
		kiommu_fail_nth(n);
		ret = kiommu_ioctl(self->at[1].fd, KVM_IOMMU_ATTACH, &cmd);
		fired = kiommu_fail_nth_fired();
		/* The answer could not be stored, which was tried before. */
		if (!ret || (ret == -EFAULT && lands_at(self, SECOND))) {
			EXPECT_TRUE(lands_at(self, SECOND));
			ret = kiommu_domain_attach(self->at[0].fd,
						   self->container, NULL);
			ASSERT_LT(0, ret);
			continue;
		}
		EXPECT_TRUE(ret == -ENOMEM || ret == -EFAULT) {
			TH_LOG("failure %u: %d, status %u", n, ret, cmd.status);
		}
		EXPECT_TRUE(lands_at(self, FIRST)) {
			TH_LOG("failure %u: %d", n, ret);
		}
	}
	EXPECT_LT(3, n);
}

/*
 * The host's driver does not accept the new domain once it has taken the device out
 * of the old one: the device is put back.
 */
TEST_F_TIMEOUT(moves, driver_refuses_the_domain, 120)
{
	long refused;
	int ret;

	if (!kiommu_load_inject(&self->k.vfio.dev[0]))
		SKIP(return, KIOMMU_NO_INJECT);
	ASSERT_LT(0, kiommu_domain_attach(self->at[0].fd, self->container, NULL));
	EXPECT_TRUE(lands_at(self, FIRST));
	kiommu_refuse_ids();
	ret = kiommu_domain_attach(self->at[1].fd, self->container, NULL);
	refused = kiommu_allow_ids();
	kiommu_unload_inject();
	TH_LOG("%ld numbers refused, ATTACH: %d", refused, ret);
	/* A driver that needs no numbers moves it. */
	EXPECT_TRUE(refused > 0 ? ret == -ENOSPC || ret == -ENOMEM : ret > 0);
	EXPECT_TRUE(lands_at(self, ret < 0 ? FIRST : SECOND));
	if (ret < 0)
		ret = kiommu_domain_attach(self->at[1].fd, self->container, NULL);
	EXPECT_LT(0, ret);
	EXPECT_TRUE(lands_at(self, SECOND));
}

/* The same where the domain is to be renewed, because its anchor was unset. */
TEST_F_TIMEOUT(moves, driver_refuses_the_new_tables, 120)
{
	struct ioat *t = make_tables(self, HOME);
	long refused;

	if (!kiommu_load_inject(&self->k.vfio.dev[0]))
		SKIP(return, KIOMMU_NO_INJECT);
	EXPECT_TRUE(lands_at(self, HOME));
	kiommu_refuse_ids();
	EXPECT_EQ(0, kiommu_unregister(self->container));
	refused = kiommu_allow_ids();
	kiommu_unload_inject();
	TH_LOG("%ld numbers refused", refused);
	ASSERT_EQ(0, fill_domain(self->container, t));
	EXPECT_TRUE(lands_at(self, HOME));
}

TEST_HARNESS_MAIN
