// SPDX-License-Identifier: GPL-2.0-only
/*
 * Mode TRACKED in sixteen containers of one KVM with the same tables: each
 * store reaches each of them once, also after some have left.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kvm_test_harness.h"
#include "kvm_util.h"

#include "stress.h"
#include "faults.h"
#include "kiommu_util.h"
#include "ring.h"
#include "tracked.h"

#define PAGE KIOMMU_PAGE
#define IOVA (KIOMMU_IOVA_BASE + 0x40000000ull)
#define CONTAINERS 16
#define PAGES 4ull
#define NOWHERE (1ull << 45)

FIXTURE(many) {
	struct kiommu k; /* has the first container */
	struct kiommu_container other[CONTAINERS - 1];
	int fd[CONTAINERS];
	int faults[CONTAINERS];
	bool follows[CONTAINERS];
	struct ioat *t;
	uint64_t *entry; /* that of the page at IOVA */
	uint64_t gpa; /* that of PAGES pages */
	uint64_t pins;
};

/* Adds a container of the guest, with this device. Return: its file. */
static int add_container(struct kiommu *k, struct kiommu_container *c,
			 const char *bdf)
{
	struct kiommu_device *dev = &c->dev[0];

	TEST_ASSERT(!setenv("KIOMMU_DEVICES", bdf, 1), "setenv");
	kiommu_container_open(c);
	TEST_ASSERT(!kiommu_group_open(c, dev) && !kiommu_group_attach(c, dev) &&
		    !kiommu_set_iommu(c->fd, VFIO_KVM_IOMMU) &&
		    !kiommu_kvm_add_group(k->kvm_vfio, dev) &&
		    !kiommu_device_open(dev), "%s", bdf);
	TEST_ASSERT(kiommu_get_state(c->fd) == KVM_IOMMU_STATE_STARTED, "%s", bdf);
	return c->fd;
}

static void add_containers(FIXTURE_DATA(many) *self)
{
	const char *list = getenv("KIOMMU_IDLE_DEVICES");
	char bdf[16];
	int used = 0;

	for (int i = 1; i < CONTAINERS; i++) {
		TEST_ASSERT(sscanf(list, "%15s%n", bdf, &used) == 1,
			    "%d devices are not enough", i - 1);
		list += used;
		self->fd[i] = add_container(&self->k, &self->other[i - 1], bdf);
	}
}

FIXTURE_SETUP(many)
{
	struct kiommu_area *area;

	self->pins = kiommu_pins();
	kiommu_setup(&self->k, VFIO_KVM_IOMMU);
	self->fd[0] = self->k.vfio.fd;
	add_containers(self);
	area = self->k.vm.area;
	self->gpa = kiommu_gpa(area, kiommu_alloc(area, PAGES * PAGE, PAGE));
	self->t = ioat_new(area, KVM_IOMMU_FORMAT_VTD_SS, 3);
	self->entry = ioat_entry(self->t, IOVA, 0, true);
	for (int i = 0; i < CONTAINERS; i++) {
		ASSERT_EQ(0, kiommu_register_tables(self->fd[i], self->t));
		ASSERT_EQ(0, kiommu_set_tracked(self->fd[i], 0));
		self->follows[i] = true;
		self->faults[i] = kiommu_open_faults(self->fd[i],
						     KVM_IOMMU_FAULT_FD_NONBLOCK);
		ASSERT_LE(0, self->faults[i]);
	}
}

FIXTURE_TEARDOWN(many)
{
	for (int i = 0; i < CONTAINERS; i++)
		close(self->faults[i]);
	for (int i = 1; i < CONTAINERS; i++)
		kiommu_container_close(&self->other[i - 1]);
	kiommu_teardown(&self->k);
	EXPECT_EQ(self->k.locked_vm, kiommu_locked_vm());
	EXPECT_EQ(self->pins, kiommu_pins());
	EXPECT_EQ(0, kiommu_await_refs(0));
}

/* A bad store is reported once by each container that follows, and no other. */
static void store_bad(struct __test_metadata *_metadata, FIXTURE_DATA(many) *self)
{
	struct kvm_iommu_fault fault;

	kiommu_guest_call(&self->k.vm, kiommu_store, self->entry,
			  ioat_leaf_value(self->t, 0, NOWHERE, IOAT_RW));
	for (int i = 0; i < CONTAINERS; i++) {
		if (!self->follows[i]) {
			EXPECT_EQ(-EAGAIN, kiommu_read_faults(self->faults[i], &fault,
							      sizeof(fault)));
			continue;
		}
		ASSERT_EQ(sizeof(fault), kiommu_read_faults(self->faults[i], &fault,
							    sizeof(fault)));
		EXPECT_EQ(KVM_IOMMU_FAULT_ENTRY, fault.reason);
		EXPECT_EQ(NOWHERE, fault.gpa);
		EXPECT_EQ(1, fault.count) {
			TH_LOG("container %d", i);
		}
		EXPECT_EQ(-EAGAIN, kiommu_read_faults(self->faults[i], &fault,
						      sizeof(fault)));
	}
}

static void store_good(struct __test_metadata *_metadata, FIXTURE_DATA(many) *self,
		       uint64_t page)
{
	uint64_t gpa = self->gpa + page * PAGE;

	kiommu_guest_call(&self->k.vm, kiommu_store, self->entry,
			  ioat_leaf_value(self->t, 0, gpa, IOAT_RW));
	for (int i = 0; i < CONTAINERS; i++) {
		EXPECT_EQ(self->follows[i], kiommu_maps(self->fd[i], IOVA, gpa));
		EXPECT_EQ(!self->follows[i], kiommu_blocks(self->fd[i], IOVA));
	}
}

TEST_F_TIMEOUT(many, each_is_reached_once, 240)
{
	/* The first, two in the middle and the last leave and come back. */
	static const int leave[] = { 0, 7, 8, 15 };

	for (uint64_t page = 0; page < 2; page++) {
		store_bad(_metadata, self);
		store_good(_metadata, self, page);
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(leave); i++) {
		self->follows[leave[i]] = false;
		ASSERT_EQ(0, kiommu_set_explicit(self->fd[leave[i]]));
		store_bad(_metadata, self);
		kiommu_refresh(self->fd[leave[i]], IOVA, PAGE, NULL);
		store_good(_metadata, self, 2);
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(leave); i++) {
		self->follows[leave[i]] = true;
		ASSERT_EQ(0, kiommu_set_tracked(self->fd[leave[i]], 0));
		store_bad(_metadata, self);
		store_good(_metadata, self, 3);
	}
}

static int store_again(void *what, uint64_t random)
{
	FIXTURE_DATA(many) *self = what;
	uint64_t gpa = self->gpa + random % PAGES * PAGE;

	kiommu_guest_call(&self->k.vm, kiommu_store, self->entry,
			  ioat_leaf_value(self->t, 0, gpa, IOAT_RW));
	return 0;
}

/* A container that goes while the guest stores does not affect the others. */
TEST_F_TIMEOUT(many, others_stay_in_sync, 240)
{
	const int last = CONTAINERS - 1;
	struct kiommu_container *c = &self->other[last - 1];
	struct kiommu_stress stress = {};
	char bdf[16];

	snprintf(bdf, sizeof(bdf), "%s", c->dev[0].bdf);
	kiommu_stress_add(&stress, store_again, self);
	for (int round = 0; round < 200; round++) {
		/* First its device goes, then the container. */
		kiommu_device_close(&c->dev[0]);
		ASSERT_EQ(0, kiommu_kvm_del_group(self->k.kvm_vfio, &c->dev[0]));
		kiommu_container_close(c);
		ASSERT_EQ(0, kiommu_unsynced_pages(self->fd[0]));
		self->fd[last] = add_container(&self->k, c, bdf);
		ASSERT_EQ(0, kiommu_register_tables(self->fd[last], self->t));
		ASSERT_EQ(0, kiommu_set_tracked(self->fd[last], 0));
	}
	EXPECT_EQ(0, kiommu_stress_join(&stress));
	EXPECT_EQ(0, kiommu_unsynced_pages(self->fd[0]));
	EXPECT_LT(0, kiommu_tracked_pages(self->fd[0]));
}

TEST_HARNESS_MAIN
