/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * kiommu_image.ko: has this machine's Linux write I/O translation tables, and
 * says what has to be in them.
 *
 *   driver.c    takes a PCI function; says that there is nothing to unload
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
 * @phys: where it is, multiple of the page size.
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

/* One function alone is taken; its record is complete when probing is over. */
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
 * image_report_init() - make the file
 *
 * Context: process.
 */
void image_report_init(void);

#endif /* KIOMMU_IMAGE_H */
