/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * DMA by a device, between memory and a buffer in the device, driven by guest
 * or test. x86: QEMU's edu, by its registers. s390x: a virtio disk.
 *
 * A DMA that the IOMMU blocks is not reported: the transfer finishes as usual.
 * Memory that it should have written keeps its contents; what it should have
 * read is not what memory holds. So tests show a block by memory that did not
 * change.
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
 * @dma is the value of kiommu.dma[i]. The test and guest functions may call
 * these.
 */

/* Return: 1 if the device is the expected one and answers, else 0. */
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
 * Prepares a device for DMA. It must be open and enabled, with its BAR mapped
 * and in the guest, if the host has BARs. @i: index of the guest's device.
 */
void *kiommu_dma_open(struct kiommu_device *dev, struct kiommu_vm *vm,
		      unsigned int i);
/* Call it before the device is closed. @dma may be NULL. */
void kiommu_dma_close(void *dma);

/*
 * A device's own queue is mapped only while a transfer lasts, in the guest's
 * tables at KIOMMU_DMA_IOVA, through a slot that is added and deleted. The
 * counters of mapped and pinned pages do not show it afterwards, but pins that
 * were made stay counted. Return: the number of these.
 */
uint64_t kiommu_dma_pins_made(void);

/*
 * Tells the library of the anchor of container @fd: tables, or NULL: identity.
 */
void kiommu_dma_anchor(int fd, const struct ioat *t, uint64_t offset);

#endif
