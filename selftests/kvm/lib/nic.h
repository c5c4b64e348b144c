/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * DMA that is done at once: QEMU's e1000, which sends frames to itself.
 *
 * The store to the device's tail register does all of it, before the next
 * instruction: the device reads its descriptor and the buffer, receives what it
 * has sent, and writes it to the other buffer. So this is the device for tests
 * of what is reached directly after a store, and of what is blocked then.
 *
 * The device is the one of KIOMMU_NIC, and not among those of KIOMMU_DEVICES. A
 * test that wants it:
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

/* In guest memory; the same for test and guest. */
struct kiommu_nic;

/* NULL if there is such a device here, else why not. */
const char *kiommu_nic_lacks(void);

/* Before kiommu_setup(): the device becomes the first of KIOMMU_DEVICES. */
void kiommu_nic_first(void);
/* Likewise, and the only one. */
void kiommu_nic_alone(void);

/*
 * By the test: brings the device into use, which takes a second. It is open and
 * enabled, its BAR is mapped and in the guest. @iova: of KIOMMU_NIC_SIZE bytes.
 */
struct kiommu_nic *kiommu_nic_open(struct kiommu_device *dev,
				   struct kiommu_vm *vm, uint64_t iova);

/* The entries in @t for what the device needs for itself. By test or guest. */
void kiommu_nic_map(struct kiommu_nic *nic, struct ioat *t);

/*
 * One frame, from IOVA @src to IOVA @dst: one DMA read of @bytes, one DMA write.
 * By test or guest; not by several at once. Returns 1 when the device has done
 * so; 0 if it cannot reach what it needs for itself.
 *
 * The device does not tell that the IOMMU has blocked it: where it may not read
 * it sends zeroes, and what it may not write is lost.
 */
uint64_t kiommu_nic_send(struct kiommu_nic *nic, uint64_t dst, uint64_t src,
			 uint64_t bytes);

/*
 * Copies and tells what came of it, by three frames: @src to the device's own
 * memory, from there to @dst, and from @dst back. Returns 1: copied. 0: blocked;
 * if it was the read, @dst has not been touched.
 *
 * What is at @src must not be all zeroes, nor what is at @dst already; @dst must
 * be readable for the device, else 0 is returned where it was written.
 */
uint64_t kiommu_nic_copy(struct kiommu_nic *nic, uint64_t dst, uint64_t src,
			 uint64_t bytes);

#endif
