// SPDX-License-Identifier: GPL-2.0-only
/*
 * Batches, see port.h: what operations map and unmap in the hosts.
 *
 * No locks are needed here. The user of a batch holds the domain's lock, so
 * the hosts do not change, and drivers map and unmap ranges that do not overlap
 * in parallel, as the DMA API relies on.
 */
#include <linux/slab.h>

#include "host/batch.h"

static_assert(KIOMMU_READ == IOMMU_READ && KIOMMU_WRITE == IOMMU_WRITE);

struct kiommu_batch *kiommu_port_batch_create(struct kiommu_hosts *hosts)
{
	struct kiommu_batch *batch;
	unsigned int i;

	batch = kzalloc(sizeof(*batch), GFP_KERNEL_ACCOUNT);
	if (!batch)
		return NULL;
	batch->hosts = hosts;
	for (i = 0; i < KIOMMU_MAX_HOSTS; i++)
		iommu_iotlb_gather_init(&batch->gathers[i]);
	sg_init_table(batch->list, KIOMMU_MAX_RUNS);
	return batch;
}

void kiommu_port_batch_destroy(struct kiommu_batch *batch)
{
	kfree(batch);
}

static u64 fill_list(struct scatterlist *list, const struct kiommu_run *runs,
		     unsigned int count)
{
	unsigned int i;
	u64 bytes = 0;

	for (i = 0; i < count; i++) {
		sg_set_page(&list[i], pfn_to_page(PHYS_PFN(runs[i].hpa)),
			    runs[i].bytes, 0);
		bytes += runs[i].bytes;
	}
	return bytes;
}

static int tell(struct iommu_domain *domain, u64 iova, u64 bytes)
{
	if (!domain->ops->iotlb_sync_map)
		return 0;
	return domain->ops->iotlb_sync_map(domain, iova, bytes);
}

/*
 * iommu_map_sg() merges neighbours in host memory into one map call, but runs
 * are never neighbours. It syncs the IOTLB once, and undoes everything if it
 * fails.
 */
int kiommu_port_host_map(struct kiommu_batch *batch, kiommu_u32 host,
			 kiommu_u64 iova, const struct kiommu_run *runs,
			 kiommu_u32 count, kiommu_u32 rights)
{
	const int prot = IOMMU_CACHE | rights;
	struct kiommu_hosts *hosts = batch->hosts;
	struct scatterlist *list = batch->list;
	unsigned int first = 0, end = hosts->count, i;
	u64 bytes = runs->bytes;
	ssize_t ret = 0;

	if (host != KIOMMU_ALL_HOSTS) {
		first = host;
		end = host + 1;
	}
	if (count > 1)
		bytes = fill_list(list, runs, count);
	for (i = first; i < end; i++) {
		struct iommu_domain *domain = hosts->hosts[i]->domain;

		if (unlikely(hosts->hosts[i]->retold))
			ret = tell(domain, iova, bytes);
		else if (count == 1)
			ret = iommu_map(domain, iova, runs->hpa, bytes, prot,
					GFP_KERNEL_ACCOUNT);
		else
			ret = iommu_map_sg(domain, iova, list, count, prot,
					   GFP_KERNEL_ACCOUNT);
		if (unlikely(ret < 0))
			goto err_undo;
	}
	return 0;

err_undo:
	while (i-- > first)
		iommu_unmap(hosts->hosts[i]->domain, iova, bytes);
	return ret;
}

void kiommu_port_host_unmap(struct kiommu_batch *batch, kiommu_u64 iova,
			    kiommu_u64 bytes)
{
	const struct kiommu_hosts *hosts = batch->hosts;
	unsigned int i;

	for (i = 0; i < hosts->count; i++)
		kiommu_host_unmap(hosts->hosts[i], iova, bytes,
				  &batch->gathers[i]);
}

void kiommu_port_host_flush(struct kiommu_batch *batch)
{
	const struct kiommu_hosts *hosts = batch->hosts;
	unsigned int i;

	for (i = 0; i < hosts->count; i++)
		iommu_iotlb_sync(hosts->hosts[i]->domain, &batch->gathers[i]);
}
