/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * DMA that completes at once: QEMU's e1000, which sends frames to itself.
 *
 * The store to the device's tail register does the whole transfer before the
 * next instruction: the device reads its descriptor and the buffer, receives
 * what it has sent, and writes it to the other buffer. So tests use it to see
 * what a device reaches, or is kept from, directly after a store.
 *
 * The device is the one of KIOMMU_NIC, and not among those of KIOMMU_DEVICES. A
 * test uses it like this:
 *
 *	if (kiommu_nic_lacks())
 *		SKIP(return, "%s", kiommu_nic_lacks());
 *	kiommu_nic_first();
 *	kiommu_setup(&k, VFIO_KVM_IOMMU);
 *	nic = kiommu_nic_open(&k.vfio.dev[0], &k.vm, NIC_IOVA);
 *	... t = ioat_new(...), kiommu_register_tables() ...
 *	kiommu_nic_map(nic, t);
 *	kiommu_refresh(fd, NIC_IOVA, KIOMMU_NIC_SIZE, NULL);
 *	kiommu_guest_call(&k.vm, kiommu_nic_copy, nic, to, from, 2048);
 */
#ifndef KIOMMU_SELFTEST_NIC_H
#define KIOMMU_SELFTEST_NIC_H

#include <stdint.h>

#include "guest_vm.h"
#include "tables.h"
#include "vfio.h"

/* Bytes of a frame: one page at most. */
#define KIOMMU_NIC_LEAST 60u
#define KIOMMU_NIC_MOST 4096u

/* Bytes of IOVA that the device needs for itself: descriptors, two frames. */
#define KIOMMU_NIC_SIZE (3 * KIOMMU_PAGE)

/* Lies in guest memory; the same for test and guest. */
struct kiommu_nic;

/* Return: NULL if the machine has such a device, else why not. */
const char *kiommu_nic_lacks(void);

/* Call it before kiommu_setup(): the device becomes the first one. */
void kiommu_nic_first(void);
/* The same, but the device becomes the only one. */
void kiommu_nic_alone(void);

/*
 * Brings the device into use, which takes a second; called by the test. The
 * device must be open and enabled, with its BAR mapped and in the guest. @iova:
 * the first of KIOMMU_NIC_SIZE bytes for the device itself.
 */
struct kiommu_nic *kiommu_nic_open(struct kiommu_device *dev,
				   struct kiommu_vm *vm, uint64_t iova);

/* Maps in @t what the device needs for itself. Called by test or guest. */
void kiommu_nic_map(struct kiommu_nic *nic, struct ioat *t);

/*
 * Sends one frame from IOVA @src to IOVA @dst: one DMA read of @bytes, one DMA
 * write. Called by test or guest, but only by one at a time. Return: 1 when the
 * device has done so; 0 if it cannot reach what it needs for itself.
 *
 * The device does not report what the IOMMU blocks: it sends zeroes in place of
 * what it may not read, and what it may not write is lost.
 */
uint64_t kiommu_nic_send(struct kiommu_nic *nic, uint64_t dst, uint64_t src,
			 uint64_t bytes);

/*
 * Copies and checks the result, by three frames: from @src to the device's own
 * memory, from there to @dst, and from @dst back. Return: 1 if it was copied; 0
 * if it was blocked. If the read was blocked, @dst has not been touched.
 *
 * The bytes at @src must not be all zeroes, nor be at @dst already. The device
 * must be able to read @dst; else 0 is returned even if it was written.
 */
uint64_t kiommu_nic_copy(struct kiommu_nic *nic, uint64_t dst, uint64_t src,
			 uint64_t bytes);

#endif
