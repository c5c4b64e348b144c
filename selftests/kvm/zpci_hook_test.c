// SPDX-License-Identifier: GPL-2.0-only
/*
 * The life of a guest's zPCI functions as KVM passes it on by the kernel's
 * hook: START, STOP, tables registered and unregistered, states, resets, in all
 * orders, and with wrong arguments. v4, defects 7, 8, 15 and 16.
 *
 * See zpci_rpcit_test.c for the answers of RPCIT, and zpci_hook_race_test.c for
 * calls that race.
 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include <sys/mman.h>

#include "kvm_test_harness.h"
#include "kvm_util.h"

#include "domain.h"
#include "front.h"
#include "kiommu_util.h"
#include "zpci_hook.h"

#define PAGE KIOMMU_PAGE
#define IOVA (KIOMMU_IOVA_BASE + 0x12345000ull)
#define PBA KIOMMU_IOVA_BASE
#define PAL (KIOMMU_IOVA_BASE + (1ull << 36) - 1)
#define PAGES 16ull
#define START(_i) zpci_start(self->vm, DEV(_i))
#define STOP(_i) zpci_stop(self->vm, DEV(_i))
#define REG(_i, _iota) zpci_reg_ioat(self->vm, DEV(_i), _iota, PBA, PAL)
#define DEREG(_i) zpci_dereg_ioat(self->vm, DEV(_i))
#define SET_STATE(_i, _state) zpci_set_state(self->vm, DEV(_i), ZPCI_##_state)
#define RPCIT(_i) \
	zpci_rpcit(self->vm, zpci_handle(self->vm, DEV(_i)), IOVA, PAGES * PAGE)
#define DEV(_i) (&self->k.vfio.dev[_i])
#define STATE() kiommu_get_state(self->fd)
#define RIGHTS(_page) kiommu_shadow_rights(self->fd, IOVA + (_page) * PAGE)

/* Devices are open, but no guest is registered: no KVM has the groups. */
FIXTURE(hook) {
	struct kiommu k;
	int fd;
	int vm;
	struct ioat *t;
	uint64_t iota;
	uint64_t gpa;	/* that of PAGES pages, which are mapped at IOVA */
	uint64_t pins;
};

FIXTURE_SETUP(hook)
{
	struct kiommu_area *area;

	self->pins = kiommu_pins();
	kiommu_attach(&self->k, VFIO_KVM_IOMMU);
	self->fd = self->k.vfio.fd;
	self->vm = self->k.vm.fd;
	area = self->k.vm.area;
	self->gpa = kiommu_gpa(area, kiommu_alloc(area, PAGES * PAGE, PAGE));
	self->t = ioat_new(area, KVM_IOMMU_FORMAT_ZPCI, 3);
	self->iota = ioat_iota(self->t);
	ioat_map_pages(self->t, IOVA, self->gpa, PAGES, IOAT_RW);
	kiommu_open_devices(&self->k);
}

FIXTURE_TEARDOWN(hook)
{
	kiommu_teardown(&self->k);
	EXPECT_EQ(self->k.locked_vm, kiommu_locked_vm());
	EXPECT_EQ(self->pins, kiommu_pins());
	EXPECT_EQ(0, kiommu_await_refs(0));
}

/* START, after which the guest enables the function. */
#define START_ENABLED(_i) do {						\
	ASSERT_EQ(0, START(_i));					\
	ASSERT_EQ(0, SET_STATE(_i, ENABLED));				\
} while (0)

TEST_F_TIMEOUT(hook, nothing_before_start, 60)
{
	uint32_t fh;

	if (zpci_lacks_hook(self->vm, DEV(0)))
		SKIP(return, NO_HOOK);
	fh = zpci_handle(self->vm, DEV(0));
	EXPECT_EQ(-ENOENT, STOP(0));
	EXPECT_EQ(-ENOENT, REG(0, self->iota));
	EXPECT_EQ(-ENOENT, DEREG(0));
	EXPECT_EQ(-ENOENT, SET_STATE(0, ENABLED));
	EXPECT_EQ(-ENOENT, SET_STATE(0, DISABLED));
	EXPECT_EQ(KVM_IOMMU_STATE_CREATED, STATE());
	/* All RPCITs are left to user space, even invalid ones. */
	EXPECT_EQ(-EOPNOTSUPP, RPCIT(0));
	EXPECT_EQ(-EOPNOTSUPP, zpci_rpcit_registers(self->vm, 1, 6, 0, 0, 0));
	EXPECT_EQ(-EOPNOTSUPP, zpci_rpcit_registers(self->vm, 0, 7, 0, 0, 0));
	EXPECT_EQ(-EOPNOTSUPP, zpci_rpcit(self->vm, fh & ~ZPCI_FH_ENABLED, 0, 0));
}

TEST_F_TIMEOUT(hook, start_registers_the_guest, 60)
{
	if (zpci_lacks_hook(self->vm, DEV(0)))
		SKIP(return, NO_HOOK);
	for (unsigned int round = 0; round < 3; round++) {
		ASSERT_EQ(0, START(0));
		EXPECT_EQ(KVM_IOMMU_STATE_STARTED, STATE());
		EXPECT_EQ(-EEXIST, START(0));
		ASSERT_EQ(0, STOP(0));
		EXPECT_EQ(KVM_IOMMU_STATE_CREATED, STATE());
		EXPECT_EQ(-ENOENT, STOP(0));
	}
}

/* If VFIO or user space registered the guest, STOP leaves it registered. */
TEST_F_TIMEOUT(hook, start_of_a_registered_guest, 60)
{
	if (zpci_lacks_hook(self->vm, DEV(0)))
		SKIP(return, NO_HOOK);
	ASSERT_EQ(0, kiommu_start(self->fd, self->vm));
	ASSERT_EQ(0, START(0));
	EXPECT_EQ(KVM_IOMMU_STATE_STARTED, STATE());
	ASSERT_EQ(0, STOP(0));
	EXPECT_EQ(KVM_IOMMU_STATE_STARTED, STATE());
	/* User space unregisters it under a function that is started. */
	START_ENABLED(0);
	ASSERT_EQ(0, REG(0, self->iota));
	ASSERT_EQ(0, kiommu_stop(self->fd));
	EXPECT_EQ(KVM_IOMMU_STATE_CREATED, STATE());
	EXPECT_EQ(ZPCI_IN_ERROR, RPCIT(0));
	EXPECT_EQ(-ENODEV, REG(0, self->iota));
	EXPECT_EQ(-EPROTO, DEREG(0));
	ASSERT_EQ(0, STOP(0));
	EXPECT_EQ(KVM_IOMMU_STATE_CREATED, STATE());
}

TEST_F_TIMEOUT(hook, another_guest, 60)
{
	struct kiommu_vm other;

	if (zpci_lacks_hook(self->vm, DEV(0)))
		SKIP(return, NO_HOOK);
	kiommu_vm_create_bare(&other);
	START_ENABLED(0);
	/* The function, and another function of its container. */
	EXPECT_EQ(-EBUSY, zpci_start(other.fd, DEV(0)));
	if (self->k.vfio.count > 1)
		EXPECT_EQ(-EBUSY, zpci_start(other.fd, DEV(1)));
	EXPECT_EQ(-ENOENT, zpci_stop(other.fd, DEV(0)));
	EXPECT_EQ(-ENOENT, zpci_set_state(other.fd, DEV(0), ZPCI_DISABLED));
	EXPECT_EQ(-ENOENT, zpci_dereg_ioat(other.fd, DEV(0)));
	EXPECT_EQ(-EOPNOTSUPP, zpci_rpcit(other.fd, zpci_handle(self->vm, DEV(0)),
					  IOVA, PAGE));
	/* User space gives it the container: no tables are registered there. */
	ASSERT_EQ(0, kiommu_stop(self->fd));
	ASSERT_EQ(0, kiommu_start(self->fd, other.fd));
	EXPECT_EQ(-EBUSY, REG(0, self->iota));
	EXPECT_EQ(ZPCI_IN_ERROR, RPCIT(0));
	ASSERT_EQ(0, STOP(0));
	EXPECT_EQ(KVM_IOMMU_STATE_STARTED, STATE());
	ASSERT_EQ(0, zpci_start(other.fd, DEV(0)));
	EXPECT_EQ(-EBUSY, START(0));
	/* When a guest goes, its functions are stopped. */
	ASSERT_EQ(0, kiommu_stop(self->fd));
	kiommu_vm_free(&other);
	EXPECT_EQ(0, START(0));
}

/* So many guests that some are looked up in the same place as the right one. */
TEST_F_TIMEOUT(hook, many_other_guests, 60)
{
	const unsigned int guests = 900;
	unsigned int wrong = 0;
	uint32_t fh;

	if (zpci_lacks_hook(self->vm, DEV(0)))
		SKIP(return, NO_HOOK);
	fh = zpci_handle(self->vm, DEV(0));
	START_ENABLED(0);
	ASSERT_EQ(0, REG(0, self->iota));
	for (unsigned int i = 0; i < guests; i++) {
		int other = open("/dev/kiommu_memory", O_RDWR);

		ASSERT_LE(0, other);
		wrong += zpci_rpcit(other, fh, IOVA, PAGE) != -EOPNOTSUPP;
		wrong += zpci_dereg_ioat(other, DEV(0)) != -ENOENT;
		wrong += zpci_stop(other, DEV(0)) != -ENOENT;
	}
	EXPECT_EQ(0, wrong);
	EXPECT_EQ(ZPCI_DONE, RPCIT(0));
}

/* Without a container of ours, an open device, or a function. */
TEST_F_TIMEOUT(hook, start_without_a_container, 60)
{
	struct kiommu_device none = { .bdf = "7fff:00:00.0" };

	if (zpci_lacks_hook(self->vm, DEV(0)))
		SKIP(return, NO_HOOK);
	EXPECT_EQ(-ENODEV, zpci_start(self->vm, &none));
	for (unsigned int i = 0; i < self->k.vfio.count; i++)
		kiommu_close_device(&self->k, i);
	/* The file of a domain needs no open device. */
	EXPECT_EQ(kiommu_front_is_file() ? 0 : -ENXIO, START(0));
	EXPECT_EQ(kiommu_front_is_file() ? 0 : -ENOENT, STOP(0));
	ASSERT_EQ(0, kiommu_group_detach(DEV(0)));
	EXPECT_EQ(-ENXIO, START(0));
	kiommu_container_close(&self->k.vfio);
	for (unsigned int i = 0; i < self->k.vfio.count; i++)
		EXPECT_EQ(-ENXIO, START(i));
	EXPECT_EQ(0, kiommu_await_refs(0));
}

TEST_F_TIMEOUT(hook, type1_container, 60)
{
	if (zpci_lacks_hook(self->vm, DEV(0)))
		SKIP(return, NO_HOOK);
	kiommu_close_devices(&self->k);
	kiommu_container_close(&self->k.vfio);
	kiommu_container_open(&self->k.vfio);
	ASSERT_EQ(0, kiommu_group_open(&self->k.vfio, DEV(0)));
	ASSERT_EQ(0, kiommu_group_attach(&self->k.vfio, DEV(0)));
	ASSERT_EQ(0, kiommu_set_iommu(self->k.vfio.fd, VFIO_TYPE1v2_IOMMU));
	ASSERT_EQ(0, kiommu_device_open(DEV(0)));
	EXPECT_EQ(-ENXIO, START(0));
	EXPECT_EQ(-EOPNOTSUPP, RPCIT(0));
}

TEST_F_TIMEOUT(hook, states, 60)
{
	static const int expected[4][4] = {
		/*            DISABLED  ENABLED  BLOCKED  ERROR */
		/* DISABLED */ { -EPROTO, 0, -EPROTO, -EPROTO },
		/* ENABLED */ { 0, -EPROTO, -EPROTO, 0 },
		/* BLOCKED */ { 0, 0, -EPROTO, 0 },
		/* ERROR */ { 0, 0, 0, -EPROTO },
	};

	if (zpci_lacks_hook(self->vm, DEV(0)))
		SKIP(return, NO_HOOK);
	ASSERT_EQ(0, START(0));
	for (uint32_t from = ZPCI_DISABLED; from <= ZPCI_ERROR; from++)
		for (uint32_t to = ZPCI_DISABLED; to <= ZPCI_ERROR; to++) {
			zpci_set_state(self->vm, DEV(0), ZPCI_DISABLED);
			if (from != ZPCI_DISABLED)
				ASSERT_EQ(0, SET_STATE(0, ENABLED));
			if (from >= ZPCI_BLOCKED)
				ASSERT_EQ(0, SET_STATE(0, ERROR));
			if (from == ZPCI_BLOCKED)
				ASSERT_EQ(0, SET_STATE(0, BLOCKED));
			EXPECT_EQ(expected[from][to],
				  zpci_set_state(self->vm, DEV(0), to)) {
				TH_LOG("from %u to %u", from, to);
			}
		}
	EXPECT_EQ(-EINVAL, zpci_set_state(self->vm, DEV(0), ZPCI_ERROR + 1));
	EXPECT_EQ(-EINVAL, zpci_set_state(self->vm, DEV(0), ~0u));
	/* START begins in DISABLED, whatever the state was. */
	ASSERT_EQ(0, STOP(0));
	ASSERT_EQ(0, START(0));
	EXPECT_EQ(-EPROTO, SET_STATE(0, DISABLED));
}

TEST_F_TIMEOUT(hook, registration_in_all_orders, 60)
{
	if (zpci_lacks_hook(self->vm, DEV(0)))
		SKIP(return, NO_HOOK);
	ASSERT_EQ(0, START(0));
	/* A function that is disabled has no tables. */
	EXPECT_EQ(-ESHUTDOWN, REG(0, self->iota));
	EXPECT_EQ(-EPROTO, DEREG(0));
	ASSERT_EQ(0, SET_STATE(0, ENABLED));
	EXPECT_EQ(-EPROTO, DEREG(0));
	EXPECT_EQ(KVM_IOMMU_STATE_STARTED, STATE());
	ASSERT_EQ(0, REG(0, self->iota));
	EXPECT_EQ(KVM_IOMMU_STATE_ANCHORED, STATE());
	/* What the tables map is shadowed without an RPCIT. */
	EXPECT_EQ(PAGES, kiommu_mapped_pages(self->fd));
	EXPECT_EQ(IOAT_RW, RIGHTS(0));
	EXPECT_EQ(-EPROTO, REG(0, self->iota));
	EXPECT_EQ(PAGES, kiommu_mapped_pages(self->fd));
	ASSERT_EQ(0, DEREG(0));
	EXPECT_EQ(KVM_IOMMU_STATE_STARTED, STATE());
	EXPECT_EQ(0, kiommu_pinned_pages(self->fd));
	EXPECT_EQ(-EPROTO, DEREG(0));
	/* Tables can be registered in the error states. */
	ASSERT_EQ(0, SET_STATE(0, ERROR));
	ASSERT_EQ(0, REG(0, self->iota));
	ASSERT_EQ(0, SET_STATE(0, BLOCKED));
	ASSERT_EQ(0, DEREG(0));
	ASSERT_EQ(0, REG(0, self->iota));
	/* A disabled function has no tables, nor has a stopped one. */
	ASSERT_EQ(0, SET_STATE(0, DISABLED));
	EXPECT_EQ(KVM_IOMMU_STATE_STARTED, STATE());
	EXPECT_EQ(-EPROTO, DEREG(0));
	ASSERT_EQ(0, SET_STATE(0, ENABLED));
	ASSERT_EQ(0, REG(0, self->iota));
	ASSERT_EQ(0, STOP(0));
	EXPECT_EQ(KVM_IOMMU_STATE_CREATED, STATE());
	EXPECT_EQ(self->k.locked_vm, kiommu_locked_vm());
	START_ENABLED(0);
	EXPECT_EQ(-EPROTO, DEREG(0));
	ASSERT_EQ(0, REG(0, self->iota));
}

TEST_F_TIMEOUT(hook, wrong_tables, 60)
{
	const uint64_t iota = self->iota;
	struct kvm_iommu_info info;
	struct kiommu_hook_op op = {};

	if (zpci_lacks_hook(self->vm, DEV(0)))
		SKIP(return, NO_HOOK);
	START_ENABLED(0);
#define REG_WINDOW(_pba, _pal) zpci_reg_ioat(self->vm, DEV(0), iota, _pba, _pal)
	EXPECT_EQ(-EINVAL, REG_WINDOW(PAL, PBA));
	EXPECT_EQ(-EINVAL, REG_WINDOW(PBA + PAGE, PBA));
	ASSERT_EQ(0, zpci_query(self->vm, DEV(0), &op));
	EXPECT_EQ(-EINVAL, REG_WINDOW(op.start_dma - PAGE, PAL));
	EXPECT_EQ(-EINVAL, REG_WINDOW(0, PAL));
	ASSERT_EQ(0, kiommu_get_info(self->fd, &info));
	EXPECT_EQ(-EINVAL, REG_WINDOW(PBA, info.aperture_last + 1));
	EXPECT_EQ(-EINVAL, REG_WINDOW(PBA, ~0ull));
	/* Bad designations; misaligned tables; no memory. v4, defect 8. */
	for (uint64_t type = 4; type < 8; type++)
		EXPECT_EQ(-EINVAL, REG(0, (iota & ~0x1cull) |
					      type << ZPCI_IOTA_DT_SHIFT));
	for (uint64_t bit = 0x1000; bit < 0x4000; bit <<= 1)
		EXPECT_EQ(-EINVAL, REG(0, iota | bit));
	EXPECT_EQ(-EIO, REG(0, iota + (1ull << 45)));
	EXPECT_EQ(KVM_IOMMU_STATE_STARTED, STATE());
	EXPECT_EQ(0, kiommu_pinned_pages(self->fd));
	/* A window of one page. */
	ASSERT_EQ(0, REG_WINDOW(IOVA, IOVA));
	EXPECT_EQ(1, kiommu_mapped_pages(self->fd));
	EXPECT_EQ(IOAT_RW, RIGHTS(0));
	ASSERT_EQ(0, DEREG(0));
	/* The low bits of both ends have no meaning. */
	ASSERT_EQ(0, REG_WINDOW(IOVA + PAGE + 17, IOVA + 3 * PAGE + 5));
	EXPECT_EQ(3, kiommu_mapped_pages(self->fd));
}

/* Tables that cannot be shadowed are not registered. */
TEST_F_TIMEOUT(hook, registration_without_room, 60)
{
	if (zpci_lacks_hook(self->vm, DEV(0)))
		SKIP(return, NO_HOOK);
	kiommu_teardown(&self->k);
	kiommu_set_param("shadow_limit_mb", "0");
	kiommu_attach(&self->k, VFIO_KVM_IOMMU);
	kiommu_set_param("shadow_limit_mb", "256");
	self->fd = self->k.vfio.fd;
	self->vm = self->k.vm.fd;
	self->t = ioat_new(self->k.vm.area, KVM_IOMMU_FORMAT_ZPCI, 3);
	kiommu_open_devices(&self->k);
	START_ENABLED(0);
	ASSERT_EQ(0, REG(0, ioat_iota(self->t)));
	ASSERT_EQ(0, DEREG(0));
	ioat_map(self->t, IOVA, KIOMMU_AREA_GPA, 0, IOAT_RW);
	EXPECT_EQ(-ENOSPC, REG(0, ioat_iota(self->t)));
	EXPECT_EQ(KVM_IOMMU_STATE_STARTED, STATE());
	EXPECT_EQ(-EPROTO, DEREG(0));
	ioat_unmap(self->t, IOVA, 0);
	EXPECT_EQ(0, REG(0, ioat_iota(self->t)));
}

/* v4, defect 16. */
TEST_F_TIMEOUT(hook, functions_of_one_container, 60)
{
	struct ioat *other;

	if (zpci_lacks_hook(self->vm, DEV(0)))
		SKIP(return, NO_HOOK);
	if (self->k.vfio.count < 2)
		SKIP(return, "one device");
	other = ioat_new(self->k.vm.area, KVM_IOMMU_FORMAT_ZPCI, 3);
	START_ENABLED(0);
	ASSERT_EQ(0, REG(0, self->iota));
	/* Another one without tables, in error: the first one is unaffected. */
	START_ENABLED(1);
	EXPECT_EQ(ZPCI_IN_ERROR, RPCIT(1));
	EXPECT_EQ(ZPCI_RECOVER, RPCIT(1));
	EXPECT_EQ(ZPCI_DONE, RPCIT(0));
	ASSERT_EQ(0, SET_STATE(1, ENABLED));
	/* It can be given the same tables, and no others. */
	EXPECT_EQ(-EEXIST, REG(1, ioat_iota(other)));
	EXPECT_EQ(-EEXIST, zpci_reg_ioat(self->vm, DEV(1), self->iota, PBA,
					 PAL - PAGE));
	ASSERT_EQ(0, REG(1, self->iota));
	EXPECT_EQ(ZPCI_DONE, RPCIT(1));
	/* The first one goes, in each way: the second one keeps the tables. */
	ASSERT_EQ(0, DEREG(0));
	EXPECT_EQ(PAGES, kiommu_mapped_pages(self->fd));
	EXPECT_EQ(ZPCI_DONE, RPCIT(1));
	EXPECT_EQ(ZPCI_IN_ERROR, RPCIT(0));
	ASSERT_EQ(0, REG(0, self->iota));
	ASSERT_EQ(0, SET_STATE(0, DISABLED));
	EXPECT_EQ(KVM_IOMMU_STATE_ANCHORED, STATE());
	ASSERT_EQ(0, STOP(0));
	EXPECT_EQ(KVM_IOMMU_STATE_ANCHORED, STATE());
	EXPECT_EQ(ZPCI_DONE, RPCIT(1));
	EXPECT_EQ(PAGES, kiommu_mapped_pages(self->fd));
	/* The last one unregisters the guest that the first one registered. */
	ASSERT_EQ(0, DEREG(1));
	EXPECT_EQ(KVM_IOMMU_STATE_STARTED, STATE());
	ASSERT_EQ(0, REG(1, ioat_iota(other)));
	START_ENABLED(0);
	EXPECT_EQ(-EEXIST, REG(0, self->iota));
	ASSERT_EQ(0, STOP(1));
	EXPECT_EQ(KVM_IOMMU_STATE_STARTED, STATE());
	ASSERT_EQ(0, REG(0, self->iota));
	ASSERT_EQ(0, STOP(0));
	EXPECT_EQ(KVM_IOMMU_STATE_CREATED, STATE());
}

/* IOVA = GPA + the function's first IOVA, for all memory; there is no RPCIT. */
TEST_F_TIMEOUT(hook, without_tables, 60)
{
	const uint64_t iova = KIOMMU_AREA_GPA + KIOMMU_IOVA_BASE;
	struct kvm_iommu_translate answer;
	struct kvm_iommu_info info;

	if (zpci_lacks_hook(self->vm, DEV(0)))
		SKIP(return, NO_HOOK);
	START_ENABLED(0);
	ASSERT_EQ(0, kiommu_get_info(self->fd, &info));
	ASSERT_EQ(0, zpci_reg_ioat(self->vm, DEV(0), 0, PBA, info.aperture_last));
	EXPECT_EQ(KIOMMU_AREA_SIZE / PAGE, kiommu_mapped_pages(self->fd));
	ASSERT_EQ(0, kiommu_translate(self->fd, iova + 5 * PAGE, &answer));
	EXPECT_EQ(KIOMMU_AREA_GPA + 5 * PAGE, answer.gpa);
	EXPECT_EQ(IOAT_RW, answer.shadow_rights);
	EXPECT_EQ(0, kiommu_shadow_rights(self->fd, iova - PAGE));
	/* An RPCIT does no harm. */
	EXPECT_EQ(ZPCI_DONE, zpci_rpcit(self->vm, zpci_handle(self->vm, DEV(0)),
					iova, PAGE));
	ASSERT_EQ(0, DEREG(0));
	/* A part of the memory, by the window. */
	ASSERT_EQ(0, zpci_reg_ioat(self->vm, DEV(0), 0, iova, iova + 9 * PAGE));
	EXPECT_EQ(10, kiommu_mapped_pages(self->fd));
}

/* Other tables for the same function: nothing is left of the old ones. */
TEST_F_TIMEOUT(hook, registered_anew, 60)
{
	struct ioat *other;

	if (zpci_lacks_hook(self->vm, DEV(0)))
		SKIP(return, NO_HOOK);
	other = ioat_new(self->k.vm.area, KVM_IOMMU_FORMAT_ZPCI, 4);
	ioat_map(other, IOVA + PAGE, self->gpa, 0, KVM_IOMMU_READ);
	START_ENABLED(0);
	for (unsigned int round = 0; round < 3; round++) {
		ASSERT_EQ(0, REG(0, self->iota));
		EXPECT_EQ(PAGES, kiommu_mapped_pages(self->fd));
		ASSERT_EQ(0, DEREG(0));
		ASSERT_EQ(0, REG(0, ioat_iota(other)));
		EXPECT_EQ(1, kiommu_mapped_pages(self->fd));
		EXPECT_EQ(0, RIGHTS(0));
		EXPECT_EQ(KVM_IOMMU_READ, RIGHTS(1));
		ASSERT_EQ(0, DEREG(0));
	}
}

/* Devices lose a deleted slot at once: slots_changed. */
TEST_F_TIMEOUT(hook, slot_that_goes, 60)
{
	uint64_t pins;
	void *mem;

	if (zpci_lacks_hook(self->vm, DEV(0)))
		SKIP(return, NO_HOOK);
	mem = kiommu_vm_add_memory(&self->k.vm, KIOMMU_FREE_SLOT,
				   KIOMMU_FREE_GPA, PAGES, 0);
	ioat_map(self->t, IOVA + 2 * PAGE, KIOMMU_FREE_GPA, 0, IOAT_RW);
	START_ENABLED(0);
	ASSERT_EQ(0, REG(0, self->iota));
	EXPECT_EQ(PAGES, kiommu_pinned_pages(self->fd));
	pins = kiommu_pins();
	ASSERT_EQ(0, kiommu_vm_set_slot(&self->k.vm, KIOMMU_FREE_SLOT, 0, 0, 0,
					NULL));
	/* Before anything else is called. */
	EXPECT_EQ(pins - 1, kiommu_pins());
	EXPECT_EQ(0, RIGHTS(2));
	EXPECT_EQ(IOAT_RW, RIGHTS(1));
	EXPECT_EQ(PAGES - 1, kiommu_pinned_pages(self->fd));
	/* The guest's tables still name it. */
	EXPECT_EQ(ZPCI_IN_ERROR, RPCIT(0));
	munmap(mem, PAGES * PAGE);
}

/* After a reset, tables go only when KVM says that it was disabled. */
TEST_F_TIMEOUT(hook, reset, 60)
{
	if (zpci_lacks_hook(self->vm, DEV(0)))
		SKIP(return, NO_HOOK);
	START_ENABLED(0);
	for (unsigned int round = 0; round < 3; round++) {
		ASSERT_EQ(0, REG(0, self->iota));
		EXPECT_EQ(ZPCI_DONE, RPCIT(0));
		ASSERT_EQ(0, zpci_reset(self->vm, DEV(0)));
		ASSERT_EQ(0, SET_STATE(0, DISABLED));
		EXPECT_EQ(ZPCI_NO_HANDLE, RPCIT(0));
		ASSERT_EQ(0, SET_STATE(0, ENABLED));
		EXPECT_EQ(ZPCI_IN_ERROR, RPCIT(0));
		ASSERT_EQ(0, SET_STATE(0, ENABLED));
	}
}

/* The device is closed, which only KVM would report; STOP still works. */
TEST_F_TIMEOUT(hook, closed_while_started, 60)
{
	if (zpci_lacks_hook(self->vm, DEV(0)))
		SKIP(return, NO_HOOK);
	START_ENABLED(0);
	ASSERT_EQ(0, REG(0, self->iota));
	kiommu_close_devices(&self->k);
	EXPECT_EQ(KVM_IOMMU_STATE_CREATED, STATE());
	EXPECT_EQ(ZPCI_IN_ERROR, RPCIT(0));
	kiommu_container_close(&self->k.vfio);
	EXPECT_EQ(0, kiommu_await_refs(0));
	EXPECT_EQ(self->pins, kiommu_pins());
	/* The container is gone, and so is the function, except for STOP. */
	EXPECT_EQ(-EOPNOTSUPP, RPCIT(0));
	EXPECT_EQ(-ENOENT, REG(0, self->iota));
	EXPECT_EQ(-ENOENT, SET_STATE(0, ENABLED));
	EXPECT_EQ(-ENXIO, START(0));
	EXPECT_EQ(0, STOP(0));
	EXPECT_EQ(-ENOENT, STOP(0));
}

/* A function does not follow its group, so the group stays. */
TEST_F_TIMEOUT(hook, started_function_stays, 60)
{
	struct kvm_iommu_attach r;
	int domain, device;
	uint32_t status;

	if (zpci_lacks_hook(self->vm, DEV(0)))
		SKIP(return, NO_HOOK);
	if (kiommu_front_lacks(KIOMMU_AT_HOME))
		SKIP(return, "%s", kiommu_front_lacks(KIOMMU_AT_HOME));
	domain = kiommu_domain_create(self->vm);
	ASSERT_LE(0, domain);
	START_ENABLED(0);
	EXPECT_EQ(-EBUSY, kiommu_domain_attach(domain, self->fd, &r));
	EXPECT_EQ(KVM_IOMMU_STATUS_BUSY, r.status);
	ASSERT_EQ(0, REG(0, self->iota));
	EXPECT_EQ(0, RPCIT(0));
	EXPECT_EQ(IOAT_RW, RIGHTS(0));
	ASSERT_EQ(0, STOP(0));
	device = kiommu_domain_attach(domain, self->fd, NULL);
	ASSERT_LT(0, device);
	/* It starts where the group is now. */
	START_ENABLED(0);
	ASSERT_EQ(0, REG(0, self->iota));
	EXPECT_EQ(0, RPCIT(0));
	EXPECT_EQ(IOAT_RW, kiommu_shadow_rights(domain, IOVA));
	EXPECT_EQ(-EBUSY, kiommu_domain_detach(domain, device, &status));
	EXPECT_EQ(KVM_IOMMU_STATUS_BUSY, status);
	/* Closing takes the devices home all the same. */
	kiommu_domain_close(domain);
	EXPECT_NE(0, RPCIT(0));
	STOP(0);
	EXPECT_EQ(KVM_IOMMU_STATE_CREATED, STATE());
}

TEST_HARNESS_MAIN
