// SPDX-License-Identifier: GPL-2.0-only
/*
 * Domains of the host IOMMUs, see hosts.h. The core's calls on them: batch.c.
 */
#include <linux/slab.h>

#include "faults.h"
#include "hosts.h"

void kiommu_hosts_init(struct kiommu_hosts *hosts)
{
	INIT_LIST_HEAD(&hosts->groups);
	hosts->mmio = RB_ROOT_CACHED;
}

kiommu_u32 kiommu_host_index(const struct kiommu_hosts *hosts,
			     const struct kiommu_host *host)
{
	kiommu_u32 i;

	for (i = 0; i < hosts->count; i++)
		if (hosts->hosts[i] == host)
			break;
	return i;
}

bool kiommu_hosts_coherent(const struct kiommu_hosts *hosts)
{
	unsigned int i;

	for (i = 0; i < hosts->count; i++)
		if (!hosts->hosts[i]->coherent)
			return false;
	return hosts->count;
}

/*
 * Finds out how far down the driver takes a map call apart: some unmap any of
 * their table's pages, some only what one call mapped. Maps two zeroed pages
 * at an IOVA that no power of two aligns, so that no driver makes one page of
 * them, and unmaps the first.
 */
static int probe_split(struct kiommu_host *host)
{
	struct iommu_domain *domain = host->domain;
	unsigned long iova = ALIGN(domain->geometry.aperture_start, SZ_8K) +
			     PAGE_SIZE;
	struct page *pages;
	int ret;

	pages = alloc_pages(GFP_KERNEL | __GFP_ZERO, 1);
	if (!pages)
		return -ENOMEM;
	ret = iommu_map(domain, iova, page_to_phys(pages), 2 * PAGE_SIZE,
			IOMMU_READ | IOMMU_CACHE, GFP_KERNEL);
	if (!ret) {
		host->split = KIOMMU_SPLIT_CALL;
		if (iommu_unmap(domain, iova, PAGE_SIZE) == PAGE_SIZE) {
			host->split = KIOMMU_SPLIT_PAGE;
			iommu_unmap(domain, iova + PAGE_SIZE, PAGE_SIZE);
		} else {
			iommu_unmap(domain, iova, 2 * PAGE_SIZE);
		}
	}
	__free_pages(pages, 1);
	return ret;
}

static int first_device(struct device *dev, void *data)
{
	*(struct device **)data = dev;
	return 1;
}

static int host_attach(struct kiommu_host *host, struct iommu_group *group,
		       phys_addr_t msi_base)
{
	const struct iommu_domain_ops *ops = host->domain->ops;
	int ret;

	ret = iommu_attach_group(host->domain, group);
	if (ret)
		return ret;

	/* What a domain can do is settled by its first attachment. */
	ret = -EINVAL;
	if (!(host->domain->pgsize_bitmap & SZ_4K))
		goto err_detach;
	if (ops->enforce_cache_coherency)
		host->coherent = ops->enforce_cache_coherency(host->domain);
	if (msi_base) {
		ret = iommu_get_msi_cookie(host->domain, msi_base);
		if (ret && ret != -ENODEV)
			goto err_detach;
	}
	ret = probe_split(host);
	if (ret)
		goto err_detach;
	return 0;

err_detach:
	iommu_detach_group(host->domain, group);
	return ret;
}

struct kiommu_host *kiommu_host_create(struct kiommu_hosts *hosts,
				       struct kiommu_group *group,
				       phys_addr_t msi_base)
{
	struct device *dev = NULL;
	struct kiommu_host *host;
	int ret;

	if (hosts->count == KIOMMU_MAX_HOSTS)
		return ERR_PTR(-ENOSPC);
	iommu_group_for_each_dev(group->group, &dev, first_device);
	if (!dev)
		return ERR_PTR(-ENODEV);
	host = kzalloc(sizeof(*host), GFP_KERNEL_ACCOUNT);
	if (!host)
		return ERR_PTR(-ENOMEM);

	host->domain = iommu_paging_domain_alloc(dev);
	if (IS_ERR(host->domain)) {
		ret = PTR_ERR(host->domain);
		goto err_free;
	}
	kiommu_dma_faults_watch(host->domain, hosts->container);
	ret = host_attach(host, group->group, msi_base);
	if (ret)
		goto err_domain;
	return host;

err_domain:
	iommu_domain_free(host->domain);
err_free:
	kfree(host);
	return ERR_PTR(ret);
}

void kiommu_host_destroy(struct kiommu_host *host)
{
	iommu_domain_free(host->domain);
	kfree(host);
}

void kiommu_host_unmap(const struct kiommu_host *host, u64 iova, u64 bytes,
		       struct iommu_iotlb_gather *gather)
{
	u64 done = 0;

	/*
	 * Drivers flush when a range does not go on where the last one ended.
	 * One flush of all that lies between costs less than one at each gap.
	 */
	if (gather->end)
		iommu_iotlb_gather_add_range(gather, iova, bytes);
	while (done < bytes) {
		size_t size = iommu_unmap_fast(host->domain, iova + done,
					       bytes - done, gather);

		/* Not mapped: go on, so that nothing stays behind. */
		done += size ?: PAGE_SIZE;
	}
}
