/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The kvm-iommu selftest library, on top of the kernel's KVM selftest library.
 *
 *   area.h      memory of the guest, patterns
 *   tables.h    I/O translation tables, written by guest or test
 *   dma.h       DMA by a device, driven by guest or test
 *   host.h      what machines can do, where they differ
 *   front.h     containers, or files of domains, in front of all tests
 *   ioctls.h    the ioctls of the container; locked_vm
 *   counters.h   pins of the machine, counters and parameters of the module
 *   vfio.h      container, groups, devices, step by step
 *   guest_vm.h  a guest that calls functions, its memory slots
 *   kiommu_util.h  all of it set up at once
 *
 * A test:
 *
 *	#define IOVA (KIOMMU_IOVA_BASE + 0x100000)
 *
 *	FIXTURE(refresh) { struct kiommu k; };
 *	FIXTURE_SETUP(refresh) { kiommu_setup(&self->k, VFIO_KVM_IOMMU); }
 *	FIXTURE_TEARDOWN(refresh) { kiommu_teardown(&self->k); }
 *
 *	TEST_F_TIMEOUT(refresh, maps_one_page, 120)
 *	{
 *		struct kiommu *k = &self->k;
 *		char *page = kiommu_alloc_page(k->vm.area);
 *		struct ioat *t = ioat_new(k->vm.area, KVM_IOMMU_FORMAT_ZPCI, 3);
 *
 *		ASSERT_EQ(0, kiommu_register_tables(k->vfio.fd, t));
 *		kiommu_guest_call(&k->vm, ioat_map, t, IOVA,
 *				  kiommu_gpa(k->vm.area, page), 0, IOAT_RW);
 *		ASSERT_EQ(0, kiommu_refresh(k->vfio.fd, IOVA, 4096, NULL));
 *		kiommu_fill(page, 4096, 1);
 *		ASSERT_EQ(0, kiommu_guest_call(&k->vm, kiommu_dma_load,
 *					       k->dma[0], IOVA, 0, 2048));
 *	}
 *
 *	TEST_HARNESS_MAIN
 */
#ifndef KIOMMU_SELFTEST_UTIL_H
#define KIOMMU_SELFTEST_UTIL_H

#include "area.h"
#include "dma.h"
#include "front.h"
#include "guest_vm.h"
#include "host.h"
#include "ioctls.h"
#include "counters.h"
#include "tables.h"
#include "vfio.h"

struct kiommu {
	struct kiommu_container vfio;
	struct kiommu_vm vm;
	int kvm_vfio;		/* KVM device of type VFIO, or -1 */
	void *bar[KIOMMU_MAX_DEVICES];	/* for test and guest; or NULL */
	void *dma[KIOMMU_MAX_DEVICES];	/* see dma.h; NULL: not open */
	uint64_t locked_vm;	/* when set-up began, bytes */
};

/*
 * The steps of kiommu_setup(), for tests that do something in between:
 * kiommu_attach: opens a container with all devices' groups, selects IOMMU
 *	@type (0: no IOMMU), creates the guest; KVM is not told of the groups.
 * kiommu_add_groups: KVM_DEV_VFIO_FILE_ADD of all groups.
 * kiommu_open_devices: opens and enables each device, BAR 0 is in the guest.
 */
void kiommu_attach(struct kiommu *k, unsigned long type);
void kiommu_add_groups(struct kiommu *k);
void kiommu_open_devices(struct kiommu *k);
/* Takes the BARs out of the guest and closes the devices: the KVM leaves. */
void kiommu_close_devices(struct kiommu *k);
/* The same for one device. */
void kiommu_open_device(struct kiommu *k, unsigned int i);
void kiommu_close_device(struct kiommu *k, unsigned int i);

/*
 * Moves device @i to a container of its own, with the same guest, and opens it
 * again; its domain is in state started. Return: the container's fd.
 */
int kiommu_move_device(struct kiommu *k, unsigned int i);

/*
 * Device @dev copies the first KIOMMU_REACH bytes of @mem, which are mapped at @iova,
 * to page @to behind that. @seed: of the pattern. Return: whether they have come there.
 */
bool kiommu_reaches(struct kiommu *k, unsigned int dev, char *mem, uint64_t iova,
		    uint64_t to, uint8_t seed);
#define KIOMMU_REACH 128ull

/* All steps: with VFIO_KVM_IOMMU the domain is in state started. */
void kiommu_setup(struct kiommu *k, unsigned long type);
/* May be called in any state. */
void kiommu_teardown(struct kiommu *k);

#endif
