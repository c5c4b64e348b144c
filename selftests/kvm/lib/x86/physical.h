/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The machine below the IOMMU driver: its physical memory and the registers of
 * its IOMMU, and the page frames behind this process's memory.
 *
 * Memory is read through the kernel's direct map (/proc/kcore), registers
 * through /dev/mem, which the stock kernel allows for a device with a driver
 * only if it is booted with iomem=relaxed.
 */
#ifndef KIOMMU_SELFTEST_PHYSICAL_H
#define KIOMMU_SELFTEST_PHYSICAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Return: 0, or -errno if no memory is there or it cannot be read. */
int physical_read(uint64_t pa, void *to, size_t size);

/*
 * Reads a register of 8 bytes of the device whose region in /proc/iomem has
 * this name. Return: 0 or -errno; -ENOENT if there is no such device.
 */
int physical_register(const char *device, uint64_t offset, uint64_t *value);

/*
 * The frame behind a page of this process; asserts that the page is in memory.
 */
uint64_t physical_frame(const void *page);

#endif
