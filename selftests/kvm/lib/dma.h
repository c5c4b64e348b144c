/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * DMA by a device, between memory and a buffer in the device, driven by guest or
 * test. x86: QEMU's edu, by its registers. s390x: a virtio disk.
 *
 * A DMA that the IOMMU blocks is not reported: the transfer ends as usual, and
 * what it should have written is as before; what it should have read is not what
 * memory holds. So show a block by what did not change in memory.
 */
#ifndef KIOMMU_SELFTEST_DMA_H
#define KIOMMU_SELFTEST_DMA_H

#include <stdint.h>

#include "guest_vm.h"
#include "tables.h"
#include "vfio.h"

/* Bytes of a device's buffer that can be used. */
#define KIOMMU_DMA_BUFFER 2048u

/*
 * @dma: what kiommu.dma[i] holds. These may be called by the test and by guest
 * functions.
 */

/* 1 if the device is the expected one, and answers; else 0. */
uint64_t kiommu_dma_present(void *dma);

/*
 * One transfer. kiommu_dma_load: memory at @iova to the device's buffer at
 * @offset. kiommu_dma_store: the buffer at @offset to memory at @iova.
 * @size: bytes; @offset + @size is at most KIOMMU_DMA_BUFFER.
 * Return: 0; -ETIMEDOUT if the device does not finish; -EINVAL.
 */
int64_t kiommu_dma_load(void *dma, uint64_t iova, uint64_t offset, uint64_t size);
int64_t kiommu_dma_store(void *dma, uint64_t iova, uint64_t offset, uint64_t size);

/* Copies memory through the device, a buffer at a time. */
int64_t kiommu_dma_copy(void *dma, uint64_t to, uint64_t from, uint64_t size);

/*
 * Brings the DMA of a device into use: it is open and enabled, its BAR is mapped
 * and in the guest (if the host has that). @i: which of the guest's devices.
 */
void *kiommu_dma_open(struct kiommu_device *dev, struct kiommu_vm *vm,
		      unsigned int i);
/* Before the device is closed. @dma: may be NULL. */
void kiommu_dma_close(void *dma);

/*
 * What a device needs for itself, a queue in memory, is mapped while a transfer
 * lasts, in the guest's tables at KIOMMU_DMA_IOVA, in a slot that comes and goes:
 * counters of pages mapped and pinned are as if it was not. Pins that were made
 * are not undone: so many.
 */
uint64_t kiommu_dma_pins_made(void);

/* An anchor was set on the container @fd: tables, or (NULL) identity. */
void kiommu_dma_anchor(int fd, const struct ioat *t, uint64_t offset);

#endif
