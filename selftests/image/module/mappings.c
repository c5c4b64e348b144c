// SPDX-License-Identifier: GPL-2.0-only
/*
 * Maps memory in many shapes by the DMA API, as drivers of this kernel do. The
 * record is made from the arguments and results of the API; nothing looks at
 * the tables.
 *
 * IOVAs are allocated from the top of what the device's DMA mask allows, below
 * those allocated before, so shrinking masks give mappings far apart.
 */
#include <linux/dma-mapping.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "image.h"

#define MOST_PAGES 16384
#define SINGLES 48
#define SCATTERED 96
#define BIG_ORDER 8

static const enum dma_data_direction directions[] = {
	DMA_TO_DEVICE, DMA_FROM_DEVICE, DMA_BIDIRECTIONAL,
};

/* zPCI has one bit for rights: what may be written may be read. */
static bool writable(enum dma_data_direction direction)
{
	return direction != DMA_TO_DEVICE;
}

static int note_page(struct image_record *record, dma_addr_t iova,
		     phys_addr_t phys, enum dma_data_direction direction)
{
	if (record->count == MOST_PAGES)
		return -ENOSPC;
	record->page[record->count++] = (struct image_page){
		.iova = iova & PAGE_MASK,
		.phys = phys & PAGE_MASK,
		.writable = writable(direction),
		.mapped = true,
	};
	return 0;
}

/* Contiguous in both spaces; neither end need be aligned. */
static int note(struct image_record *record, dma_addr_t iova, phys_addr_t phys,
		size_t size, enum dma_data_direction direction)
{
	phys_addr_t last = (phys + size - 1) & PAGE_MASK;
	int ret = 0;

	if (offset_in_page(iova) != offset_in_page(phys))
		return -EPROTO;
	iova &= PAGE_MASK;
	for (phys &= PAGE_MASK; !ret && phys <= last; phys += PAGE_SIZE) {
		ret = note_page(record, iova, phys, direction);
		iova += PAGE_SIZE;
	}
	return ret;
}

static void forget(struct image_record *record, dma_addr_t iova, size_t size)
{
	dma_addr_t last = iova + size - 1;

	for (unsigned int i = 0; i < record->count; i++) {
		struct image_page *page = &record->page[i];

		if (page->iova >= (iova & PAGE_MASK) && page->iova <= last)
			page->mapped = false;
	}
}

static int map_page(struct image_record *record, struct page *page, size_t offset,
		    size_t size, enum dma_data_direction direction,
		    dma_addr_t *iova)
{
	*iova = dma_map_page(record->dev, page, offset, size, direction);
	if (dma_mapping_error(record->dev, *iova))
		return -ENOMEM;
	return note(record, *iova, page_to_phys(page) + offset, size, direction);
}

/*
 * Maps small buffers, within a page and across page boundaries, and unmaps a
 * quarter of them.
 */
static int map_singles(struct image_record *record)
{
	static const size_t sizes[] = { 24, 512, 3000, 4096, 5000, 9000, 20000, 65536 };
	struct device *dev = record->dev;
	dma_addr_t iova[SINGLES];
	void *buffer[SINGLES];
	unsigned int i;
	int ret;

	for (i = 0; i < SINGLES; i++) {
		enum dma_data_direction direction = directions[i % 3];
		size_t size = sizes[i % ARRAY_SIZE(sizes)];

		buffer[i] = kmalloc(size, GFP_KERNEL);
		if (!buffer[i])
			return -ENOMEM;
		iova[i] = dma_map_single(dev, buffer[i], size, direction);
		if (dma_mapping_error(dev, iova[i]))
			return -ENOMEM;
		ret = note(record, iova[i], virt_to_phys(buffer[i]), size, direction);
		if (ret)
			return ret;
	}
	for (i = 0; i < SINGLES; i += 4) {
		size_t size = sizes[i % ARRAY_SIZE(sizes)];

		forget(record, iova[i], size);
		dma_unmap_single(dev, iova[i], size, directions[i % 3]);
	}
	/* Half of those are mapped again, perhaps with other rights. */
	for (i = 0; i < SINGLES; i += 8) {
		enum dma_data_direction direction = directions[(i + 1) % 3];
		size_t size = sizes[i % ARRAY_SIZE(sizes)];

		iova[i] = dma_map_single(dev, buffer[i], size, direction);
		if (dma_mapping_error(dev, iova[i]))
			return -ENOMEM;
		ret = note(record, iova[i], virt_to_phys(buffer[i]), size, direction);
		if (ret)
			return ret;
	}
	return 0;
}

/* Contiguous memory that takes more than one page table, and parts of it. */
static int map_big(struct image_record *record)
{
	const size_t size = PAGE_SIZE << BIG_ORDER;
	dma_addr_t iova;
	int ret = 0;

	for (unsigned int i = 0; !ret && i < 6; i++) {
		struct page *page = alloc_pages(GFP_KERNEL, BIG_ORDER);

		if (!page)
			return -ENOMEM;
		ret = map_page(record, page, 0, size, directions[i % 3], &iova);
		if (!ret && i % 2) {
			forget(record, iova, size);
			dma_unmap_page(record->dev, iova, size, directions[i % 3]);
			ret = map_page(record, page, 12345, size / 2,
				       directions[(i + 1) % 3], &iova);
		}
	}
	return ret;
}

/*
 * Each entry of a list begins on a page of its own, so the pages of the list
 * and the mapped pages come in the same order, whatever was merged.
 */
static int note_list(struct image_record *record, struct sg_table *list,
		     enum dma_data_direction direction)
{
	struct sg_dma_page_iter to;
	struct sg_page_iter from;

	__sg_page_iter_start(&from, list->sgl, list->orig_nents, 0);
	for_each_sgtable_dma_page(list, &to, 0) {
		int ret;

		if (!__sg_page_iter_next(&from))
			return -EPROTO;
		ret = note_page(record, sg_page_iter_dma_address(&to),
				page_to_phys(sg_page_iter_page(&from)), direction);
		if (ret)
			return ret;
	}
	return __sg_page_iter_next(&from) ? -EPROTO : 0;
}

/* Maps pages that are not adjacent, in no particular order. */
static int map_scattered(struct image_record *record,
			 enum dma_data_direction direction)
{
	struct sg_table *list = kzalloc(sizeof(*list), GFP_KERNEL);
	struct page *pages[SCATTERED];
	struct scatterlist *entry;
	unsigned int i;
	int ret;

	if (!list)
		return -ENOMEM;
	for (i = 0; i < SCATTERED; i++) {
		pages[i] = alloc_page(GFP_KERNEL);
		if (!pages[i])
			return -ENOMEM;
	}
	ret = sg_alloc_table(list, SCATTERED / 2, GFP_KERNEL);
	if (ret)
		return ret;
	for_each_sgtable_sg(list, entry, i)
		sg_set_page(entry, pages[i * 37 % SCATTERED], PAGE_SIZE, 0);
	/* The ends of a list may lie within pages. */
	list->sgl->offset = 100;
	list->sgl->length -= 100;
	entry = sg_last(list->sgl, list->orig_nents);
	entry->length = 200;

	ret = dma_map_sgtable(record->dev, list, direction, 0);
	return ret ? ret : note_list(record, list, direction);
}

/* Maps memory that the kernel allocates for a driver, in pages anywhere. */
static int map_coherent(struct image_record *record, size_t size)
{
	dma_addr_t iova;
	char *memory = dma_alloc_coherent(record->dev, size, &iova, GFP_KERNEL);
	int ret = 0;

	if (!memory)
		return -ENOMEM;
	for (size_t at = 0; !ret && at < size; at += PAGE_SIZE) {
		struct page *page = is_vmalloc_addr(memory) ?
			vmalloc_to_page(memory + at) : virt_to_page(memory + at);

		ret = note_page(record, iova + at, page_to_phys(page),
				DMA_BIDIRECTIONAL);
	}
	return ret;
}

static int map_all_kinds(struct image_record *record)
{
	int ret = map_singles(record);

	if (!ret)
		ret = map_big(record);
	for (unsigned int i = 0; !ret && i < ARRAY_SIZE(directions); i++)
		ret = map_scattered(record, directions[i]);
	for (unsigned int pages = 1; !ret && pages <= 64; pages *= 4)
		ret = map_coherent(record, pages * PAGE_SIZE);
	return ret;
}

int image_map_variety(struct image_record *record)
{
	static const unsigned int bits[] = { 64, 35, 34, 33 };
	int ret = 0;

	record->page = vcalloc(MOST_PAGES, sizeof(*record->page));
	if (!record->page)
		return -ENOMEM;
	for (unsigned int i = 0; !ret && i < ARRAY_SIZE(bits); i++) {
		ret = dma_set_mask_and_coherent(record->dev,
						DMA_BIT_MASK(bits[i]));
		if (!ret)
			ret = map_all_kinds(record);
	}
	return ret;
}
