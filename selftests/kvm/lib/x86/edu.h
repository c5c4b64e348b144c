/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Driver of QEMU's edu device (1234:11e8): a DMA engine between memory and a
 * buffer of 4096 bytes in the device.
 *
 * @bar is BAR 0 as mapped by kiommu_device_map(); the same address works in
 * the test and in the guest, where the registers are reached without an exit.
 * QEMU does not report a DMA that the IOMMU blocked to the device: the engine
 * finishes as usual. So tests show a block by memory that did not change.
 */
#ifndef KIOMMU_SELFTEST_EDU_H
#define KIOMMU_SELFTEST_EDU_H

#include <stdint.h>

/*
 * Usable bytes of the buffer: a transfer that reaches its last byte aborts
 * QEMU 7.2, whose bound check is off by one.
 */
#define EDU_BUFFER_SIZE 4088u

/* 1 if @bar is an edu, else 0. */
uint64_t edu_present(void *bar);

/*
 * One transfer, which takes about 100 ms.
 * edu_load: memory at @iova to the device's buffer at @offset.
 * edu_store: the buffer at @offset to memory at @iova.
 * @size: bytes; @offset + @size is at most EDU_BUFFER_SIZE.
 * Return: 0; -ETIMEDOUT if the engine does not finish; -EINVAL.
 */
int64_t edu_load(void *bar, uint64_t iova, uint64_t offset, uint64_t size);
int64_t edu_store(void *bar, uint64_t iova, uint64_t offset, uint64_t size);

/*
 * Copies memory through the device: edu_load() @from, edu_store() @to, 2048
 * bytes at a time.
 */
int64_t edu_copy(void *bar, uint64_t to, uint64_t from, uint64_t size);

#endif
