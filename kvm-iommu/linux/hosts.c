// SPDX-License-Identifier: GPL-2.0-only
/*
 * Domains of the host IOMMUs, see hosts.h, and the core's calls on them.
 */
#include <linux/slab.h>

#include "hosts.h"
#include "port.h"

void kiommu_hosts_init(struct kiommu_hosts *hosts)
{
	INIT_LIST_HEAD(&hosts->groups);
}

kiommu_u32 kiommu_host_index(const struct kiommu_hosts *hosts,
			     const struct kiommu_host *host)
{
	kiommu_u32 i;

	for (i = 0; i < KIOMMU_MAX_HOSTS; i++)
		if (hosts->hosts[i] == host)
			break;
	return i;
}

bool kiommu_hosts_coherent(const struct kiommu_hosts *hosts)
{
	bool any = false;
	int i;

	for (i = 0; i < KIOMMU_MAX_HOSTS; i++) {
		if (!hosts->hosts[i])
			continue;
		if (!hosts->hosts[i]->coherent)
			return false;
		any = true;
	}
	return any;
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
	kiommu_u32 index = kiommu_host_index(hosts, NULL);
	struct device *dev = NULL;
	struct kiommu_host *host;
	int ret;

	if (index == KIOMMU_MAX_HOSTS)
		return ERR_PTR(-ENOSPC);
	iommu_group_for_each_dev(group->group, &dev, first_device);
	if (!dev)
		return ERR_PTR(-ENODEV);
	host = kzalloc(sizeof(*host), GFP_KERNEL_ACCOUNT);
	if (!host)
		return ERR_PTR(-ENOMEM);
	iommu_iotlb_gather_init(&host->gather);

	host->domain = iommu_paging_domain_alloc(dev);
	if (IS_ERR(host->domain)) {
		ret = PTR_ERR(host->domain);
		goto err_free;
	}
	ret = host_attach(host, group->group, msi_base);
	if (ret)
		goto err_domain;
	hosts->hosts[index] = host;
	return host;

err_domain:
	iommu_domain_free(host->domain);
err_free:
	kfree(host);
	return ERR_PTR(ret);
}

void kiommu_host_destroy(struct kiommu_hosts *hosts, struct kiommu_host *host)
{
	hosts->hosts[kiommu_host_index(hosts, host)] = NULL;
	iommu_domain_free(host->domain);
	kfree(host);
}

int kiommu_port_host_map(struct kiommu_hosts *hosts, kiommu_u32 host,
			 kiommu_u64 iova, kiommu_u64 hpa, kiommu_u64 bytes,
			 kiommu_u32 rights)
{
	int prot = IOMMU_CACHE;
	int ret = 0;
	int i;

	if (rights & KIOMMU_READ)
		prot |= IOMMU_READ;
	if (rights & KIOMMU_WRITE)
		prot |= IOMMU_WRITE;

	for (i = 0; i < KIOMMU_MAX_HOSTS; i++) {
		if (!hosts->hosts[i])
			continue;
		if (host != KIOMMU_ALL_HOSTS && host != i)
			continue;
		ret = iommu_map(hosts->hosts[i]->domain, iova, hpa, bytes,
				prot, GFP_KERNEL_ACCOUNT);
		if (ret)
			break;
	}
	if (ret && host == KIOMMU_ALL_HOSTS)
		while (i-- > 0)
			if (hosts->hosts[i])
				iommu_unmap(hosts->hosts[i]->domain, iova,
					    bytes);
	return ret;
}

void kiommu_port_host_unmap(struct kiommu_hosts *hosts, kiommu_u64 iova,
			    kiommu_u64 bytes)
{
	int i;

	for (i = 0; i < KIOMMU_MAX_HOSTS; i++) {
		struct kiommu_host *host = hosts->hosts[i];
		size_t done = 0;

		while (host && done < bytes) {
			size_t size = iommu_unmap_fast(host->domain,
						       iova + done,
						       bytes - done,
						       &host->gather);

			/* Not mapped: go on, so that nothing stays behind. */
			done += size ?: PAGE_SIZE;
		}
	}
}

void kiommu_port_host_flush(struct kiommu_hosts *hosts)
{
	int i;

	for (i = 0; i < KIOMMU_MAX_HOSTS; i++)
		if (hosts->hosts[i])
			iommu_iotlb_sync(hosts->hosts[i]->domain,
					 &hosts->hosts[i]->gather);
}
