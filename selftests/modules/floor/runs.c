// SPDX-License-Identifier: GPL-2.0-only
#include <linux/mm.h>
#include <linux/slab.h>

#include "runs.h"

static int pin(struct host_runs *h, unsigned long vaddr, unsigned long count)
{
	while (count) {
		int chunk = min(count, 512UL);
		int got = pin_user_pages_fast(vaddr, chunk,
					      FOLL_WRITE | FOLL_LONGTERM,
					      h->pages + h->page_count);

		if (got <= 0)
			return got ?: -EFAULT;
		h->page_count += got;
		vaddr += got * PAGE_SIZE;
		count -= got;
	}
	return 0;
}

/* Adds a page, which extends the last run and list or begins new ones. */
static void add_page(struct host_runs *h, unsigned long iova, struct page *page)
{
	struct host_list *list = &h->lists[h->list_count - 1];
	struct host_run *run = &h->runs[h->run_count - 1];
	phys_addr_t phys = page_to_phys(page);

	if (!h->list_count || iova != list->iova + list->bytes) {
		list = &h->lists[h->list_count++];
		*list = (struct host_list){
			.iova = iova,
			.first = h->run_count,
		};
	}
	list->bytes += PAGE_SIZE;
	if (!list->count || phys != run->phys + run->bytes) {
		run = &h->runs[h->run_count++];
		*run = (struct host_run){ .iova = iova, .phys = phys };
		list->count++;
	}
	run->bytes += PAGE_SIZE;
}

static int fill(struct host_runs *h, const struct kiommu_floor_run *wanted,
		u32 count)
{
	unsigned long at = 0, offset;
	u32 i;
	int ret;

	for (i = 0; i < count; i++) {
		ret = pin(h, wanted[i].vaddr, wanted[i].bytes >> PAGE_SHIFT);
		if (ret)
			return ret;
	}
	for (i = 0; i < count; i++)
		for (offset = 0; offset < wanted[i].bytes; offset += PAGE_SIZE)
			add_page(h, wanted[i].iova + offset, h->pages[at++]);

	h->sg = kvcalloc(h->run_count, sizeof(*h->sg), GFP_KERNEL);
	if (!h->sg)
		return -ENOMEM;
	sg_init_table(h->sg, h->run_count);
	for (i = 0; i < h->run_count; i++)
		sg_set_page(&h->sg[i], pfn_to_page(PHYS_PFN(h->runs[i].phys)),
			    h->runs[i].bytes, 0);
	return 0;
}

int host_runs_pin(struct host_runs *h, const struct kiommu_floor_run *wanted,
		  u32 count)
{
	unsigned long total = 0;
	int ret = -ENOMEM;
	u32 i;

	memset(h, 0, sizeof(*h));
	for (i = 0; i < count; i++)
		total += wanted[i].bytes >> PAGE_SHIFT;
	h->pages = kvcalloc(total, sizeof(*h->pages), GFP_KERNEL);
	h->runs = kvcalloc(total, sizeof(*h->runs), GFP_KERNEL);
	h->lists = kvcalloc(total, sizeof(*h->lists), GFP_KERNEL);
	if (h->pages && h->runs && h->lists)
		ret = fill(h, wanted, count);
	if (ret)
		host_runs_unpin(h);
	return ret;
}

void host_runs_unpin(struct host_runs *h)
{
	if (h->page_count)
		unpin_user_pages(h->pages, h->page_count);
	kvfree(h->pages);
	kvfree(h->runs);
	kvfree(h->lists);
	kvfree(h->sg);
}
