// SPDX-License-Identifier: GPL-2.0-only
/*
 * RPCITs of several CPUs of a guest race with everything that takes the
 * function away: STOP, unregistered tables, states, handles, devices, groups
 * and containers that are closed, deleted slots, the guest being killed. v4,
 * defects 13, 14 and 15.
 *
 * The outcome of a call depends on the moment, but must be a documented one; in
 * the end all pins and charges are given back. selftests/vm/run checks the
 * kernel's log.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "kvm_test_harness.h"
#include "kvm_util.h"

#include "stress.h"
#include "kiommu_util.h"
#include "zpci_hook.h"

#define PAGE KIOMMU_PAGE
#define IOVA (2 * KIOMMU_IOVA_BASE)
#define PBA KIOMMU_IOVA_BASE
#define PAL (KIOMMU_IOVA_BASE + (1ull << 36) - 1)
#define PAGES 1024ull
#define SECONDS 2
#define MIN_ROUNDS 2 /* however slow the machine is */

struct race {
	struct kiommu k;
	struct kiommu_device *dev;
	int vm;
	uint32_t fh;
	struct ioat *t;
	uint64_t gpa;
	uint64_t done; /* RPCITs that were completed */
	struct kiommu_stress stress;
};

FIXTURE(hook_race) {
	struct race race;
	uint64_t pins;
};

FIXTURE_SETUP(hook_race)
{
	struct race *r = &self->race;
	struct kiommu_area *area;

	self->pins = kiommu_pins();
	kiommu_setup(&r->k, VFIO_KVM_IOMMU);
	r->dev = &r->k.vfio.dev[0];
	r->vm = r->k.vm.fd;
	area = r->k.vm.area;
	r->gpa = kiommu_gpa(area, kiommu_alloc(area, PAGES * PAGE, KIOMMU_2M));
	r->t = ioat_new(area, KVM_IOMMU_FORMAT_ZPCI, 3);
	ioat_map_pages(r->t, IOVA, r->gpa, PAGES, IOAT_RW);
}

FIXTURE_TEARDOWN(hook_race)
{
	struct race *r = &self->race;

	kiommu_teardown(&r->k);
	EXPECT_EQ(r->k.locked_vm, kiommu_locked_vm());
	EXPECT_EQ(self->pins, kiommu_pins());
	EXPECT_EQ(0, kiommu_await_refs(0));
}

static int start_function(struct race *r)
{
	int ret = zpci_start(r->vm, r->dev) ?:
		  zpci_set_state(r->vm, r->dev, ZPCI_ENABLED);

	r->fh = zpci_handle(r->vm, r->dev);
	return ret;
}

static int register_function(struct race *r)
{
	return zpci_reg_ioat(r->vm, r->dev, ioat_iota(r->t), PBA, PAL);
}

/* RPCIT of any part. If the function is not ours now, the VMM may know it. */
static int do_rpcit(void *arg, uint64_t random)
{
	struct race *r = arg;
	uint64_t first = random % PAGES, count = (random >> 32) % (PAGES - first) + 1;
	int ret = zpci_rpcit(r->vm, r->fh, IOVA + first * PAGE, count * PAGE);

	if (!ret)
		__atomic_add_fetch(&r->done, 1, __ATOMIC_RELAXED);
	return KIOMMU_ONLY(ret, -EOPNOTSUPP, ZPCI_IN_ERROR, ZPCI_RECOVER, ZPCI_NO_HANDLE);
}

static int do_state(void *arg, uint64_t random)
{
	struct race *r = arg;

	return KIOMMU_ONLY(zpci_set_state(r->vm, r->dev, random % 4 ? ZPCI_ENABLED :
				   ZPCI_DISABLED), -ENOENT, -EPROTO);
}

static int do_tables(void *arg, uint64_t random)
{
	struct race *r = arg;

	if (random % 4 == 0)
		return KIOMMU_ONLY(zpci_dereg_ioat(r->vm, r->dev), -ENOENT, -EPROTO);
	return KIOMMU_ONLY(register_function(r), -ENOENT, -EPROTO, -ESHUTDOWN, -ENODEV,
			   -ENXIO, -EEXIST);
}

static int do_start(void *arg, uint64_t random)
{
	struct race *r = arg;

	if (random % 4 == 0)
		return KIOMMU_ONLY(zpci_stop(r->vm, r->dev), -ENOENT);
	return KIOMMU_ONLY(zpci_start(r->vm, r->dev), -EEXIST, -ENODEV, -ENXIO);
}

/* Rewrites tables meanwhile. */
static int do_map(void *arg, uint64_t random)
{
	struct race *r = arg;
	uint64_t page = random % PAGES;

	if (random >> 63)
		ioat_unmap(r->t, IOVA + page * PAGE, 0);
	else
		ioat_map(r->t, IOVA + page * PAGE,
			 r->gpa + (random >> 32) % PAGES * PAGE, 0, IOAT_RW);
	return 0;
}

TEST_F_TIMEOUT(hook_race, operations, 120)
{
	struct race *r = &self->race;

	if (zpci_lacks_hook(r->vm, r->dev))
		SKIP(return, NO_HOOK);
	ASSERT_EQ(0, start_function(r));
	ASSERT_EQ(0, register_function(r));
	kiommu_stress_add(&r->stress, do_rpcit, r);
	kiommu_stress_add(&r->stress, do_rpcit, r);
	kiommu_stress_add(&r->stress, do_state, r);
	kiommu_stress_add(&r->stress, do_tables, r);
	kiommu_stress_add(&r->stress, do_start, r);
	kiommu_stress_add(&r->stress, do_map, r);
	sleep(SECONDS);
	ASSERT_EQ(0, kiommu_stress_join(&r->stress));
	zpci_stop(r->vm, r->dev);
	EXPECT_LT(0, r->done);
	EXPECT_EQ(-ENOENT, zpci_stop(r->vm, r->dev));
	EXPECT_EQ(0, kiommu_mapped_pages(r->k.vfio.fd));
}

/* With STOP before the device is closed, as KVM does it, and without. */
TEST_F_TIMEOUT(hook_race, devices_close, 120)
{
	struct race *r = &self->race;
	double end = kiommu_now() + SECONDS;

	if (zpci_lacks_hook(r->vm, r->dev))
		SKIP(return, NO_HOOK);
	r->fh = zpci_handle(r->vm, r->dev);
	kiommu_stress_add(&r->stress, do_rpcit, r);
	kiommu_stress_add(&r->stress, do_rpcit, r);
	kiommu_stress_add(&r->stress, do_map, r);
	kiommu_close_devices(&r->k);
	for (unsigned int round = 0; round < MIN_ROUNDS || kiommu_now() < end; round++) {
		for (unsigned int i = 0; i < r->k.vfio.count; i++)
			ASSERT_EQ(0, kiommu_device_open(&r->k.vfio.dev[i]));
		ASSERT_EQ(0, KIOMMU_ONLY(zpci_start(r->vm, r->dev), -EEXIST));
		ASSERT_EQ(0, KIOMMU_ONLY(zpci_set_state(r->vm, r->dev, ZPCI_ENABLED),
					 -EPROTO));
		ASSERT_EQ(0, register_function(r));
		usleep(2000);
		if (round % 2)
			ASSERT_EQ(0, zpci_stop(r->vm, r->dev));
		for (unsigned int i = 0; i < r->k.vfio.count; i++)
			kiommu_device_close(&r->k.vfio.dev[i]);
		/* The file of a domain keeps its guest. */
		if (kiommu_front_is_file())
			ASSERT_EQ(0, kiommu_stop(r->k.vfio.fd));
	}
	ASSERT_EQ(0, kiommu_stress_join(&r->stress));
	EXPECT_LT(0, r->done);
	EXPECT_EQ(KVM_IOMMU_STATE_CREATED, kiommu_get_state(r->k.vfio.fd));
	EXPECT_EQ(self->pins, kiommu_pins());
}

/* The container of a started function goes, and another one comes. */
TEST_F_TIMEOUT(hook_race, containers_close, 120)
{
	struct race *r = &self->race;
	struct kiommu_container *c = &r->k.vfio;
	double end = kiommu_now() + SECONDS;

	if (zpci_lacks_hook(r->vm, r->dev))
		SKIP(return, NO_HOOK);
	r->fh = zpci_handle(r->vm, r->dev);
	kiommu_stress_add(&r->stress, do_rpcit, r);
	kiommu_stress_add(&r->stress, do_rpcit, r);
	kiommu_stress_add(&r->stress, do_state, r);
	kiommu_stress_add(&r->stress, do_tables, r);
	kiommu_close_devices(&r->k);
	for (unsigned int round = 0; round < MIN_ROUNDS || kiommu_now() < end; round++) {
		for (unsigned int i = 0; i < c->count; i++)
			ASSERT_EQ(0, kiommu_group_detach(&c->dev[i]));
		for (unsigned int i = 0; i < c->count; i++)
			ASSERT_EQ(0, kiommu_group_attach(c, &c->dev[i]));
		ASSERT_EQ(0, kiommu_set_iommu(c->fd, VFIO_KVM_IOMMU));
		/* The function of the container that has gone. */
		if (round % 2)
			ASSERT_EQ(0, zpci_stop(r->vm, r->dev));
		ASSERT_EQ(0, kiommu_device_open(r->dev));
		if (round % 2 == 0)
			ASSERT_EQ(0, KIOMMU_ONLY(zpci_start(r->vm, r->dev), -EEXIST));
		usleep(2000);
		kiommu_device_close(r->dev);
	}
	ASSERT_EQ(0, kiommu_stress_join(&r->stress));
	zpci_stop(r->vm, r->dev);
}

/* Handles change. */
TEST_F_TIMEOUT(hook_race, handles, 120)
{
	struct race *r = &self->race;
	double end = kiommu_now() + SECONDS;
	uint32_t fh;

	if (zpci_lacks_hook(r->vm, r->dev))
		SKIP(return, NO_HOOK);
	ASSERT_EQ(0, start_function(r));
	ASSERT_EQ(0, register_function(r));
	fh = r->fh;
	/* The tables do not change: Linux must not use the other handle. */
	kiommu_stress_add(&r->stress, do_rpcit, r);
	kiommu_stress_add(&r->stress, do_rpcit, r);
	for (unsigned int round = 0; round < MIN_ROUNDS || kiommu_now() < end; round++) {
		ASSERT_EQ(0, zpci_set_handle(r->vm, r->dev, fh ^ 0x100));
		EXPECT_EQ(0, zpci_rpcit(r->vm, fh ^ 0x100, IOVA, PAGE));
		ASSERT_EQ(0, zpci_set_handle(r->vm, r->dev, fh));
		EXPECT_EQ(0, zpci_rpcit(r->vm, fh, IOVA, PAGE));
	}
	ASSERT_EQ(0, kiommu_stress_join(&r->stress));
}

/* Slots change under slots_lock, as with KVM_SET_USER_MEMORY_REGION. */
TEST_F_TIMEOUT(hook_race, slots_go, 120)
{
	struct race *r = &self->race;
	double end = kiommu_now() + SECONDS;
	struct kvm_iommu_translate answer;
	void *mem;
	int ret;

	if (zpci_lacks_hook(r->vm, r->dev))
		SKIP(return, NO_HOOK);
	ioat_map_pages(r->t, IOVA, KIOMMU_FREE_GPA, 64, IOAT_RW);
	ASSERT_EQ(0, start_function(r));
	ASSERT_EQ(0, register_function(r));
	kiommu_stress_add(&r->stress, do_rpcit, r);
	kiommu_stress_add(&r->stress, do_rpcit, r);
	kiommu_stress_add(&r->stress, do_state, r);
	kiommu_stress_add(&r->stress, do_tables, r);
	for (unsigned int round = 0; round < MIN_ROUNDS || kiommu_now() < end; round++) {
		mem = kiommu_vm_add_memory(&r->k.vm, KIOMMU_FREE_SLOT,
					   KIOMMU_FREE_GPA, 64, 0);
		usleep(1000);
		kiommu_vm_del_memory(&r->k.vm, KIOMMU_FREE_SLOT, mem, 64);
		ret = kiommu_translate(r->k.vfio.fd, IOVA, &answer);
		EXPECT_EQ(0, KIOMMU_ONLY(ret, -ENXIO));
		EXPECT_TRUE(ret || !answer.shadow_rights);
	}
	ASSERT_EQ(0, kiommu_stress_join(&r->stress));
}

/* The module cannot be unloaded while functions are started. */
TEST_F_TIMEOUT(hook_race, module_stays, 60)
{
	struct race *r = &self->race;

	if (zpci_lacks_hook(r->vm, r->dev))
		SKIP(return, NO_HOOK);
	ASSERT_EQ(0, start_function(r));
	ASSERT_EQ(0, register_function(r));
	kiommu_stress_add(&r->stress, do_rpcit, r);
	for (unsigned int i = 0; i < 20; i++) {
		EXPECT_EQ(-1, syscall(SYS_delete_module, "kvm_iommu", O_NONBLOCK));
		EXPECT_EQ(EWOULDBLOCK, errno);
		usleep(1000);
	}
	ASSERT_EQ(0, kiommu_stress_join(&r->stress));
}

/* A guest is killed in an RPCIT that would take long. */
TEST_F_TIMEOUT(hook_race, killed, 120)
{
	struct race *r = &self->race;

	if (zpci_lacks_hook(r->vm, r->dev))
		SKIP(return, NO_HOOK);
	kiommu_teardown(&r->k);
	for (unsigned int round = 0; round < 4; round++) {
		pid_t child = fork();
		int status;

		ASSERT_LE(0, child);
		if (!child) {
			struct race own = {};
			uint64_t *top, good;

			kiommu_setup(&own.k, VFIO_KVM_IOMMU);
			own.dev = &own.k.vfio.dev[0];
			own.vm = own.k.vm.fd;
			own.t = ioat_new(own.k.vm.area, KVM_IOMMU_FORMAT_ZPCI, 3);
			/* All segments have the same page table. */
			ioat_map_pages(own.t, IOVA, KIOMMU_AREA_GPA, 256, IOAT_RW);
			for (uint64_t i = 1; i < 2048; i++)
				ioat_write(own.t, ioat_entry(own.t, IOVA + (i << 20), 1, true),
					   ioat_read(own.t, ioat_entry(own.t, IOVA, 1, false)));
			if (start_function(&own) || register_function(&own))
				_exit(1);
			top = ioat_entry(own.t, IOVA, 2, false);
			good = ioat_read(own.t, top);
			for (;;) {
				ioat_unmap(own.t, IOVA, 2);
				zpci_rpcit(own.vm, own.fh, PBA, PAL + 1 - PBA);
				ioat_write(own.t, top, good);
				zpci_rpcit(own.vm, own.fh, PBA, PAL + 1 - PBA);
			}
		}
		usleep(200000 + round * 100000);
		EXPECT_EQ(0, waitpid(child, &status, WNOHANG));
		ASSERT_EQ(0, kill(child, SIGKILL));
		ASSERT_EQ(child, waitpid(child, &status, 0));
		EXPECT_TRUE(WIFSIGNALED(status));
		EXPECT_EQ(0, kiommu_await_refs(0));
		EXPECT_EQ(self->pins, kiommu_pins());
	}
	kiommu_setup(&r->k, VFIO_KVM_IOMMU);
}

TEST_HARNESS_MAIN
