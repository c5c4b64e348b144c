/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The machine from below: its physical memory and the registers of its IOMMU,
 * and the page frames behind this process's memory.
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

/* Returns 0, or -errno: no memory there, or it cannot be read. */
int physical_read(uint64_t pa, void *to, size_t size);

/*
 * A register of 8 bytes of the device whose region in /proc/iomem has this
 * name. Returns 0 or -errno; ENOENT: there is no such device.
 */
int physical_register(const char *device, uint64_t offset, uint64_t *value);

/* The frame behind a page of this process that is in memory; else asserts. */
uint64_t physical_frame(const void *page);

#endif
