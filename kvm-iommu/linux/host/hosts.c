// SPDX-License-Identifier: GPL-2.0-only
/*
 * Domains of the host IOMMUs, see hosts.h. For the core's calls on them see
 * batch.c.
 */
#include <linux/module.h>
#include <linux/slab.h>

#include "host/hosts.h"
#include "host/iommu_private.h"
#include "port/compat.h"

MODULE_IMPORT_NS(KIOMMU_NAMESPACE(IOMMUFD_INTERNAL));

static int attach(struct kiommu_host *host, struct iommu_group *group)
{
	return iommu_attach_group_handle(host->domain, group, host->handle);
}

static int replace(struct kiommu_host *host, struct iommu_group *group)
{
	return iommu_replace_group_handle(group, host->domain, host->handle);
}

static void detach(struct kiommu_host *host, struct iommu_group *group)
{
	iommu_detach_group_handle(host->domain, group);
}

void kiommu_hosts_init(struct kiommu_hosts *hosts, unsigned long object,
		       const struct kiommu_host_reports *reports)
{
	hosts->object = object;
	hosts->reports = reports;
	INIT_LIST_HEAD(&hosts->groups);
	hosts->mmio = RB_ROOT_CACHED;
	/* As the core begins. */
	hosts->caps.aperture.last = ~0ULL;
}

/* To be called before @domain is attached to anything. */
static void watch_faults(const struct kiommu_hosts *hosts,
			 struct iommu_domain *domain)
{
	iommu_set_fault_handler(domain, hosts->reports->fault,
				(void *)hosts->object);
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
 * Finds two pages of IOVA that the group's devices can use, and that are not
 * aligned to their size. Return: 0, or -ENOSPC if there are none.
 */
static int find_room(const struct kiommu_host *host,
		     const struct kiommu_group *group, u64 *iova)
{
	const struct iommu_domain_geometry *geometry = &host->domain->geometry;
	const u64 size = 2 * PAGE_SIZE;
	u64 from = geometry->aperture_start;
	unsigned int i = 0;

	while (i < group->reserved_count) {
		const struct kiommu_window *window = &group->reserved[i++];
		u64 at = ALIGN(from, SZ_8K) + PAGE_SIZE;

		if (at > window->last || at + size - 1 < window->first)
			continue;
		/*
		 * Go on behind it. Windows that were passed may be in the way
		 * now.
		 */
		from = window->last + 1;
		i = 0;
		if (!from)
			return -ENOSPC;
	}
	*iova = ALIGN(from, SZ_8K) + PAGE_SIZE;
	if (*iova < from || *iova + size - 1 < *iova ||
	    *iova + size - 1 > geometry->aperture_end)
		return -ENOSPC;
	return 0;
}

/*
 * Finds out whether the driver can unmap a part of an earlier map call: some
 * unmap any page of their tables, some only what one call mapped. Maps two
 * zeroed pages at an IOVA that is not aligned to their size, so that no driver
 * merges them into one large page, and unmaps the first. The IOVA must be one
 * that may be mapped: s390 tells the device, and a map elsewhere would leave
 * the function in the error state.
 */
static int probe_split(struct kiommu_host *host,
		       const struct kiommu_group *group)
{
	struct iommu_domain *domain = host->domain;
	struct page *pages;
	u64 iova;
	int ret;

	ret = find_room(host, group, &iova);
	if (ret)
		return ret;
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

static int alloc_own(struct device *dev, void *data)
{
	*(struct iommu_domain **)data = iommu_paging_domain_alloc(dev);
	return 1;
}

/*
 * As iommufd does it: a domain of domain_alloc_user() can do all that it will before it
 * is attached. (Later kernels have no other.)
 */
static int alloc_lent(struct device *dev, void *data)
{
#ifdef KIOMMU_HWPT
	const struct iommu_ops *ops = dev->iommu->iommu_dev->ops;
	struct iommu_domain *domain;

	if (ops->domain_alloc_user) {
		domain = ops->domain_alloc_user(dev, 0, NULL, NULL);
		if (!IS_ERR(domain))
			domain->owner = ops;
		*(struct iommu_domain **)data = domain;
		return 1;
	}
#endif
	return alloc_own(dev, data);
}

/*
 * For the first device of @group. By a callback, like type1: while it runs, the device
 * cannot leave its group.
 */
static struct iommu_domain *alloc_domain(const struct kiommu_group *group,
					 bool lent)
{
	struct iommu_domain *domain = ERR_PTR(-ENODEV);

	iommu_group_for_each_dev(group->group, &domain,
				 lent ? alloc_lent : alloc_own);
	return domain;
}

static int get_first(struct device *dev, void *data)
{
	*(struct device **)data = get_device(dev);
	return 1;
}

static int is_shadowed(struct device *dev, void *data)
{
	return dev->iommu->shadow_on_flush;
}

bool kiommu_group_shadowed(const struct kiommu_group *group)
{
	return iommu_group_for_each_dev(group->group, NULL, is_shadowed);
}

static int lacks_coherency(struct device *dev, void *data)
{
	return !device_iommu_capable(dev, IOMMU_CAP_ENFORCE_CACHE_COHERENCY);
}

bool kiommu_group_coherent(const struct kiommu_group *group)
{
	return !iommu_group_for_each_dev(group->group, NULL, lacks_coherency);
}

static int is_served(struct device *dev, void *data)
{
	const struct iommu_domain *domain = data;

	return dev->iommu->iommu_dev->ops == domain->owner;
}

/*
 * virtio-iommu counts the devices of a domain. When it fails to replace one domain
 * by another, and the old one is taken back, that count is one too low: what is
 * unmapped from then on stays mapped for the device. So its devices are blocked in
 * between.
 */
static bool can_replace_at_once(const struct kiommu_host *from)
{
	return from->split != KIOMMU_SPLIT_CALL;
}

/*
 * Whether the devices of a group are in a domain of ours that they were put into. They
 * are not if a driver has refused to take them back and they are blocked; whoever owns
 * their DMA, iommufd for one, may have attached them to something else since. That must
 * not be replaced or detached then: the IOMMU core would not check whose it is. As long
 * as they are here, nobody else can attach them.
 */
static bool is_in(const struct iommu_domain *domain, struct iommu_group *group)
{
	struct iommu_domain *at;
	struct device *dev;

	do {
		dev = NULL;
		iommu_group_for_each_dev(group, &dev, get_first);
		if (!dev)
			return true;
		at = iommu_get_domain_for_dev(dev);
		put_device(dev);
		/* None: it was just removed, and there may be others. */
	} while (!at);
	return at == domain;
}

static bool is_here(const struct kiommu_host *host, struct iommu_group *group)
{
	return is_in(host->domain, group);
}

/* The way back: @group has been in @to before. */
static void go_to(struct iommu_group *group, struct kiommu_host *to)
{
	to->untold |= to->shadowed;
	if (!attach(to, group))
		return;
	to->hosts->reports->blocked(to->hosts->object, group);
	pr_warn("kvm_iommu: group %d: DMA is blocked until it is detached, or attached elsewhere\n",
		iommu_group_id(group));
}

/*
 * @host was to be replaced for @group, and was not. Where the IOMMU core has not put all
 * devices back, they are attached anew. EBUSY, there: a device is being reset; nothing
 * was tried, and nothing can be attached.
 */
static void put_back_into(struct kiommu_host *host, struct iommu_group *group,
			  int why)
{
	if (KIOMMU_REPLACE_REVERTS) {
		/* It may have been on its way. */
		host->untold |= host->shadowed;
		return;
	}
	if (why == -EBUSY)
		return;
	detach(host, group);
	go_to(group, host);
}

bool kiommu_host_suits(const struct kiommu_host *host,
		       const struct kiommu_group *group)
{
	return iommu_group_for_each_dev(group->group, host->domain, is_served) &&
	       host->coherent == kiommu_group_coherent(group);
}

int kiommu_host_enter(struct kiommu_host *host, const struct kiommu_group *group)
{
	struct kiommu_host *from = group->from;
	int ret;

	if (!from || !is_here(from, group->group))
		return attach(host, group->group);
	/* iommu_replace_group_handle() does not check this. */
	if (!iommu_group_for_each_dev(group->group, host->domain, is_served))
		return -EINVAL;
	if (can_replace_at_once(from)) {
		ret = replace(host, group->group);
		if (ret)
			put_back_into(from, group->group, ret);
		return ret;
	}
	detach(from, group->group);
	ret = attach(host, group->group);
	if (ret)
		go_to(group->group, from);
	return ret;
}

void kiommu_host_exit(struct kiommu_host *host, struct iommu_group *group,
		      struct kiommu_host *to)
{
	const bool here = is_here(host, group);

	if (here && to && can_replace_at_once(host) && !replace(to, group)) {
		to->untold |= to->shadowed;
		return;
	}
	if (here)
		detach(host, group);
	if (to)
		go_to(group, to);
}

/*
 * Finds out what a domain can do. A domain that is lent is attached to nothing
 * yet, so its driver would promise coherency for whatever comes.
 */
static int settle(struct kiommu_host *host, const struct kiommu_group *group,
		  phys_addr_t msi_base)
{
	const struct iommu_domain_ops *ops = host->domain->ops;
	const bool coherent = kiommu_group_coherent(group);
	int ret;

	if (!(host->domain->pgsize_bitmap & SZ_4K))
		return -EINVAL;
	host->shadowed = kiommu_group_shadowed(group);
	if (ops->enforce_cache_coherency && (coherent || !host->lent))
		host->coherent = ops->enforce_cache_coherency(host->domain);
	if (coherent && !host->coherent)
		return -EINVAL;
	if (msi_base) {
		ret = iommu_get_msi_cookie(host->domain, msi_base);
		if (ret && ret != -ENODEV)
			return ret;
		host->msi = !ret;
	}
	return probe_split(host, group);
}

/* The first attachment settles what a domain can do. */
static int host_attach(struct kiommu_host *host,
		       const struct kiommu_group *group, phys_addr_t msi_base)
{
	int ret;

	ret = kiommu_host_enter(host, group);
	if (ret)
		return ret;
	ret = settle(host, group, msi_base);
	if (ret)
		kiommu_host_exit(host, group->group, group->from);
	return ret;
}

struct kiommu_host *kiommu_host_create(struct kiommu_hosts *hosts,
				       struct kiommu_group *group,
				       phys_addr_t msi_base, bool lent)
{
	struct kiommu_host *host;
	int ret;

	if (hosts->count == KIOMMU_MAX_HOSTS)
		return ERR_PTR(-ENOSPC);
	host = kzalloc(sizeof(*host), GFP_KERNEL_ACCOUNT);
	if (!host)
		return ERR_PTR(-ENOMEM);

	host->hosts = hosts;
	host->lent = lent;
	host->domain = alloc_domain(group, lent);
	if (IS_ERR(host->domain)) {
		ret = PTR_ERR(host->domain);
		goto err_free;
	}
	host->handle = &host->handles[0];
	/* Since 6.16 a domain has a handler of faults or an MSI cookie, not both. */
	if (!msi_base)
		watch_faults(hosts, host->domain);
	ret = lent ? settle(host, group, msi_base) :
		     host_attach(host, group, msi_base);
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

/* Whether @domain, which is attached, can replace the domain of @host. */
static bool can_replace(const struct kiommu_host *host,
			struct iommu_domain *domain)
{
	const struct iommu_domain_geometry *had = &host->domain->geometry;
	const struct iommu_domain_geometry *has = &domain->geometry;

	return domain->pgsize_bitmap == host->domain->pgsize_bitmap &&
	       domain->ops == host->domain->ops &&
	       has->aperture_start == had->aperture_start &&
	       has->aperture_end == had->aperture_end &&
	       (!host->coherent ||
		domain->ops->enforce_cache_coherency(domain));
}

/*
 * Takes a group out of @domain, which was to replace that of @host. A group that can
 * be attached to neither is attached to none, and its DMA is blocked. The call that
 * unsets the anchor succeeds all the same, so the reader of faults is told. The core
 * still counts empty tables, and asks to renew the hosts again when an anchor is unset
 * the next time; that attaches the group.
 */
static void put_back(const struct kiommu_hosts *hosts,
		     struct kiommu_host *host, struct kiommu_group *group,
		     const struct iommu_domain *domain)
{
	if (!is_in(domain, group->group) || !replace(host, group->group))
		return;
	detach(host, group->group);
	hosts->reports->blocked(hosts->object, group->group);
	pr_warn("kvm_iommu: group %d: DMA is blocked until an anchor is taken back\n",
		iommu_group_id(group->group));
}

static bool is_left_alone(const struct kiommu_hosts *hosts,
			  const struct kiommu_host *host)
{
	const struct kiommu_group *group;

	list_for_each_entry(group, &hosts->groups, list)
		if (group->host == host && group->away)
			return true;
	return host->msi || host->lent;
}

/*
 * IOMMU drivers keep tables that have become empty until the domain is freed. A
 * domain with an MSI cookie has to stay, because its MSI pages are mapped in
 * it, and so have one that a group is away from and one that is lent.
 */
static int renew_host(struct kiommu_hosts *hosts, struct kiommu_host *host)
{
	struct iommu_attach_handle *handle;
	struct iommu_domain *domain = NULL;
	struct kiommu_group *group;
	bool missing = false;
	int ret = 0;

	if (host->split == KIOMMU_SPLIT_CALL)
		return 0;
	if (is_left_alone(hosts, host))
		return -EOPNOTSUPP;
	handle = &host->handles[host->handle == &host->handles[0]];
	list_for_each_entry(group, &hosts->groups, list) {
		if (group->host != host)
			continue;
		if (!domain) {
			domain = alloc_domain(group, false);
			if (IS_ERR(domain))
				return PTR_ERR(domain);
			watch_faults(hosts, domain);
		}
		if (!is_here(host, group->group)) {
			/* Blocked before; perhaps it can come back now. */
			if (iommu_attach_group_handle(domain, group->group,
						      handle))
				missing = true;
			continue;
		}
		ret = iommu_replace_group_handle(group->group, domain, handle);
		if (ret) {
			put_back_into(host, group->group, ret);
			break;
		}
	}
	if (!domain)
		return 0;
	if (!ret && !can_replace(host, domain))
		ret = -EINVAL;
	if (!ret) {
		swap(host->domain, domain);
		host->handle = handle;
	} else {
		list_for_each_entry(group, &hosts->groups, list)
			if (group->host == host)
				put_back(hosts, host, group, domain);
	}
	iommu_domain_free(domain);
	/* So that it is tried again. */
	return missing ? -EBUSY : ret;
}

/* Hosts after one that fails are renewed the next time. */
int kiommu_port_hosts_renew(struct kiommu_hosts *hosts)
{
	unsigned int i;
	int ret;

	for (i = 0; i < hosts->count; i++) {
		ret = renew_host(hosts, hosts->hosts[i]);
		if (ret)
			return ret;
	}
	return 0;
}

/* Whether one flush of both ranges would cover a large gap between them. */
static bool is_far(const struct iommu_iotlb_gather *gather, u64 iova, u64 bytes)
{
	const u64 near = SZ_16M;

	return (iova > gather->end && iova - gather->end > near) ||
	       (iova + bytes < gather->start &&
		gather->start - iova - bytes > near);
}

void kiommu_host_unmap(const struct kiommu_host *host, u64 iova, u64 bytes,
		       struct iommu_iotlb_gather *gather)
{
	u64 done = 0;

	/*
	 * Drivers flush when a range does not continue the last one. One flush
	 * that includes the gaps costs less than one at each gap, unless a
	 * hypervisor walks everything in between page by page.
	 */
	if (gather->end && host->shadowed && is_far(gather, iova, bytes))
		iommu_iotlb_sync(host->domain, gather);
	if (gather->end)
		iommu_iotlb_gather_add_range(gather, iova, bytes);
	while (done < bytes) {
		size_t size = iommu_unmap_fast(host->domain, iova + done,
					       bytes - done, gather);

		/* Not mapped: go on, so that nothing is left behind. */
		done += size ?: PAGE_SIZE;
	}
}
