/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * kiommu_image.ko: makes this machine's Linux write I/O translation tables, and
 * reports what must be in them.
 *
 *   driver.c    takes a PCI function; the module cannot be unloaded
 *   mappings.c  maps memory for it by the DMA API in many ways
 *   report.c    /sys/kernel/debug/kiommu_image
 */
#ifndef KIOMMU_IMAGE_H
#define KIOMMU_IMAGE_H

#include <linux/device.h>
#include <linux/types.h>

/**
 * struct image_page - a page that the driver's function reaches
 * @iova: multiple of the page size.
 * @phys: its physical address, multiple of the page size.
 * @writable: for the device; all pages can be read.
 * @mapped: false once it was unmapped.
 */
struct image_page {
	dma_addr_t iova;
	phys_addr_t phys;
	bool writable;
	bool mapped;
};

/**
 * struct image_record - what the DMA API was asked for
 * @dev: the function.
 * @page: @count of them, in the order of mapping.
 */
struct image_record {
	struct device *dev;
	struct image_page *page;
	unsigned int count;
};

/* Only one function is taken; its record is complete once probing has ended. */
extern struct image_record image_record;

/**
 * image_map_variety() - map and unmap memory, and note what is mapped
 * @record: its @dev is set.
 *
 * Context: process.
 * Return: 0 or -errno.
 */
int image_map_variety(struct image_record *record);

/**
 * image_report_init() - create the file
 *
 * Context: process.
 */
void image_report_init(void);

#endif /* KIOMMU_IMAGE_H */
