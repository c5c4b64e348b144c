// SPDX-License-Identifier: GPL-2.0-only
/*
 * Groups of a domain, see groups.h: which ones may join, which domain serves
 * them, and which IOVAs are reserved because of them.
 */
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/sort.h>

#include "guest/guest.h"
#include "object/groups.h"
#include "object/object.h"

static bool allow_unsafe_interrupts;
module_param(allow_unsafe_interrupts, bool, 0644);
MODULE_PARM_DESC(allow_unsafe_interrupts,
		 "Accept groups whose interrupts the host does not isolate");

static bool domain_per_group;
module_param(domain_per_group, bool, 0644);
MODULE_PARM_DESC(domain_per_group,
		 "Give each group a host domain of its own, as if behind different IOMMUs");

/*
 * Reads the reserved regions of a group. Relaxable regions are needed by the
 * firmware's driver only, so user space may map them, as with type1. If the MSI
 * window is managed by software, *msi_base is its base.
 */
static int read_reserved(struct kiommu_group *group, phys_addr_t *msi_base)
{
	struct iommu_resv_region *region, *next;
	bool hardware_msi = false;
	unsigned int count = 0;
	LIST_HEAD(regions);
	int ret;

	*msi_base = 0;
	ret = iommu_get_group_resv_regions(group->group, &regions);
	if (ret)
		goto out;
	list_for_each_entry(region, &regions, list)
		count++;
	group->reserved = kcalloc(count, sizeof(*group->reserved),
				  GFP_KERNEL_ACCOUNT);
	if (!group->reserved) {
		ret = -ENOMEM;
		goto out;
	}
	list_for_each_entry(region, &regions, list) {
		struct kiommu_window *window;

		if (region->type == IOMMU_RESV_MSI)
			hardware_msi = true;
		if (region->type == IOMMU_RESV_SW_MSI)
			*msi_base = region->start;
		if (region->type == IOMMU_RESV_DIRECT_RELAXABLE ||
		    !region->length)
			continue;
		window = &group->reserved[group->reserved_count++];
		window->first = region->start & PAGE_MASK;
		window->last = (region->start + region->length - 1) |
			       ~PAGE_MASK;
	}
	if (hardware_msi)
		*msi_base = 0;
out:
	/* The caller owns the list even if reading it failed half-way. */
	list_for_each_entry_safe(region, next, &regions, list)
		kfree(region);
	return ret;
}

static int compare_windows(const void *a, const void *b)
{
	const struct kiommu_window *x = a;
	const struct kiommu_window *y = b;

	return x->first < y->first ? -1 : x->first > y->first;
}

/*
 * Sorts windows and merges those that overlap. Return: number of windows left.
 */
static unsigned int merge_windows(struct kiommu_window *windows,
				  unsigned int count)
{
	unsigned int i, out = 0;

	sort(windows, count, sizeof(*windows), compare_windows, NULL);
	for (i = 1; i < count; i++) {
		if (windows[i].first <= windows[out].last)
			windows[out].last = max(windows[out].last,
						windows[i].last);
		else
			windows[++out] = windows[i];
	}
	return count ? out + 1 : 0;
}

/* Returns a domain's aperture, cut down to whole pages. */
static struct kiommu_window aperture_of(const struct iommu_domain *domain)
{
	const struct iommu_domain_geometry *geometry = &domain->geometry;
	struct kiommu_window window = {
		.first = PAGE_ALIGN(geometry->aperture_start),
		.last = geometry->aperture_end,
	};

	if ((window.last & ~PAGE_MASK) != ~PAGE_MASK)
		window.last = (window.last & PAGE_MASK) - 1;
	return window;
}

/*
 * Tells the core what all groups of @hosts have in common. Return: 0; -ENOMEM;
 * -EINVAL if it contradicts what is mapped. On failure nothing has changed.
 */
static int update_caps(struct kiommu_hosts *hosts, struct kiommu_domain *domain)
{
	struct kiommu_host_caps caps = {
		.aperture = { .first = 0, .last = ~0ULL },
	};
	struct kiommu_window *windows;
	struct kiommu_group *group;
	unsigned int count = 0;
	int ret;

	list_for_each_entry(group, &hosts->groups, list)
		count += group->reserved_count;
	windows = kcalloc(count, sizeof(*windows), GFP_KERNEL_ACCOUNT);
	if (!windows)
		return -ENOMEM;

	count = 0;
	list_for_each_entry(group, &hosts->groups, list) {
		const struct kiommu_host *host = group->host ?: group->from;
		struct kiommu_window aperture;

		memcpy(windows + count, group->reserved,
		       group->reserved_count * sizeof(*windows));
		count += group->reserved_count;
		if (!host)
			continue;
		aperture = aperture_of(host->domain);
		caps.aperture.first = max(caps.aperture.first, aperture.first);
		caps.aperture.last = min(caps.aperture.last, aperture.last);
		if (!group->host)
			continue;
		caps.page_sizes |= host->domain->pgsize_bitmap;
		caps.split = max(caps.split, host->split);
		if (host->split == KIOMMU_SPLIT_PAGE)
			caps.keep_tables = 1;
	}
	caps.reserved = windows;
	caps.reserved_count = merge_windows(windows, count);

	ret = kiommu_core_set_host_caps(domain, &caps);
	if (ret) {
		kfree(windows);
		return ret;
	}
	kfree(hosts->reserved);
	hosts->reserved = windows;
	hosts->caps = caps;
	return 0;
}

/*
 * Whether devices of the group would see what is already in the tables of a
 * host that they join. They would not if a hypervisor below us shadows the
 * tables for each device, as on s390 (RPCIT): it is told only of what is mapped
 * while they are attached.
 */
static bool can_share(struct kiommu_domain *domain,
		      const struct kiommu_group *group)
{
	struct kiommu_core_info info;

	kiommu_core_get_info(domain, &info);
	return !info.mapped_pages || !kiommu_group_shadowed(group);
}

/*
 * Finds a host that serves other groups and can serve this one, too. A host
 * that does not enforce cache coherency would accept groups whose IOMMU could
 * enforce it. KVM takes the DMA of such a group to be coherent, however, so it
 * needs a host that enforces coherency.
 */
static struct kiommu_host *share_host(struct kiommu_hosts *hosts,
				      struct kiommu_group *group)
{
	const bool coherent = kiommu_group_coherent(group);
	unsigned int i;

	for (i = 0; i < hosts->count; i++)
		if (hosts->hosts[i]->coherent == coherent &&
		    !kiommu_host_enter(hosts->hosts[i], group))
			return hosts->hosts[i];
	return NULL;
}

/* The host is destroyed with its last group. */
static void drop_host(struct kiommu_hosts *hosts, struct kiommu_mmio *mmio,
		      struct kiommu_host *host)
{
	if (--host->groups)
		return;
	kiommu_mmio_remove_host(mmio, hosts, host);
	kiommu_host_destroy(host);
}

/* Undoes what join_host() has done. */
static void leave_host(struct kiommu_hosts *hosts, struct kiommu_mmio *mmio,
		       struct kiommu_group *group)
{
	kiommu_host_exit(group->host, group->group, group->from);
	drop_host(hosts, mmio, group->host);
}

static void free_group(struct kiommu_group *group)
{
	iommu_group_put(group->group);
	kfree(group->reserved);
	kfree(group);
}

/* Maps in a new host what is mapped: device memory, then the rest. */
static int fill_host(struct kiommu_hosts *hosts, struct kiommu_domain *domain,
		     struct kiommu_mmio *mmio, struct kiommu_host *host)
{
	return kiommu_mmio_add_host(mmio, hosts, host) ?:
	       kiommu_core_replay(domain, kiommu_host_index(hosts, host), 1);
}

/*
 * Finds a host for a group that is in the list already. Return: 0, or the group
 * has no host.
 */
static int find_host(struct kiommu_hosts *hosts, struct kiommu_domain *domain,
		     struct kiommu_group *group, phys_addr_t msi_base)
{
	struct kiommu_host *host = NULL;

	if (!READ_ONCE(domain_per_group) && can_share(domain, group))
		host = share_host(hosts, group);
	if (!host)
		host = kiommu_host_create(hosts, group, msi_base, false);
	if (IS_ERR(host))
		return PTR_ERR(host);
	group->host = host;
	host->groups++;
	return 0;
}

/*
 * Attaches a group to an existing host, or to a new one that is filled with
 * what is mapped. The group is in the list before it is complete, for
 * update_caps(); and before it has a host, so that a group for which something
 * mapped is reserved, or out of reach as far as the host that it comes from tells,
 * is refused before its devices are touched.
 */
static int join_host(struct kiommu_hosts *hosts, struct kiommu_domain *domain,
		     struct kiommu_mmio *mmio, struct kiommu_group *group,
		     phys_addr_t msi_base)
{
	int ret;

	list_add(&group->list, &hosts->groups);
	ret = update_caps(hosts, domain);
	if (ret) {
		list_del(&group->list);
		return ret;
	}
	ret = find_host(hosts, domain, group, msi_base);
	if (ret)
		goto err_list;
	ret = update_caps(hosts, domain);
	if (ret)
		goto err_host;
	if (group->host->groups > 1)
		return 0;
	ret = fill_host(hosts, domain, mmio, group->host);
	if (!ret)
		return 0;

err_host:
	list_del(&group->list);
	leave_host(hosts, mmio, group);
	update_caps(hosts, domain);
	return ret;

err_list:
	list_del(&group->list);
	/* Without the group, the capabilities are the old ones. */
	update_caps(hosts, domain);
	return ret;
}

/* Device memory of the registered guest, or NULL. */
static struct kiommu_mmio *mmio_of(const struct kiommu_object *object)
{
	return object->guest ? &object->guest->mmio : NULL;
}

struct kiommu_group *kiommu_group_add(struct kiommu_object *object,
				      struct iommu_group *iommu_group,
				      struct kiommu_host *from)
{
	struct kiommu_group *group;
	phys_addr_t msi_base;
	int ret;

	lockdep_assert_held_write(&object->lock);
	group = kzalloc(sizeof(*group), GFP_KERNEL_ACCOUNT);
	if (!group)
		return ERR_PTR(-ENOMEM);
	group->group = iommu_group_ref_get(iommu_group);
	group->from = from;

	ret = read_reserved(group, &msi_base);
	if (!ret)
		ret = join_host(&object->hosts, object->domain, mmio_of(object),
				group, msi_base);
	if (!ret)
		return group;
	free_group(group);
	return ERR_PTR(ret);
}

/*
 * The host of a domain that is lent; @group, which is in the list, can use it. It
 * is made for the first group.
 */
static int lend_host(struct kiommu_hosts *hosts, struct kiommu_domain *domain,
		     struct kiommu_group *group, phys_addr_t msi_base)
{
	struct kiommu_host *host = hosts->count ? hosts->hosts[0] : NULL;

	if (host && (!kiommu_host_suits(host, group) ||
		     !can_share(domain, group)))
		return -EINVAL;
	if (!host)
		host = kiommu_host_create(hosts, group, msi_base, true);
	if (IS_ERR(host))
		return PTR_ERR(host);
	group->host = host;
	host->groups++;
	return 0;
}

static int lend_to(struct kiommu_object *object, struct kiommu_group *group)
{
	struct kiommu_hosts *hosts = &object->hosts;
	phys_addr_t msi_base;
	int ret;

	ret = read_reserved(group, &msi_base);
	if (ret)
		return ret;
	list_add(&group->list, &hosts->groups);
	ret = lend_host(hosts, object->domain, group, msi_base);
	if (ret)
		goto err_list;
	ret = update_caps(hosts, object->domain);
	if (ret)
		goto err_host;
	if (!hosts->count)
		ret = fill_host(hosts, object->domain, mmio_of(object),
				group->host);
	if (!ret)
		return 0;

err_host:
	drop_host(hosts, mmio_of(object), group->host);
err_list:
	list_del(&group->list);
	return ret;
}

int kiommu_group_lend(struct kiommu_object *object, struct device *dev)
{
	struct iommu_group *iommu_group = iommu_group_get(dev);
	struct kiommu_group *group, *before;
	int ret = -ENOMEM;

	lockdep_assert_held_write(&object->lock);
	if (!iommu_group)
		return -ENODEV;
	before = kiommu_group_find(object, iommu_group);
	group = kzalloc(sizeof(*group), GFP_KERNEL_ACCOUNT);
	if (!group)
		goto out;
	group->group = iommu_group_ref_get(iommu_group);
	ret = lend_to(object, group);
	if (ret)
		free_group(group);
	else if (before)
		/* A device that is new in the group can have other windows. */
		kiommu_group_forget(object, before);
out:
	iommu_group_put(iommu_group);
	return ret;
}

void kiommu_groups_take_back(struct kiommu_object *object)
{
	struct kiommu_group *group, *next;

	list_for_each_entry_safe(group, next, &object->hosts.groups, list)
		kiommu_group_forget(object, group);
}

void kiommu_group_forget(struct kiommu_object *object,
			 struct kiommu_group *group)
{
	struct kiommu_hosts *hosts = &object->hosts;

	lockdep_assert_held_write(&object->lock);
	list_del(&group->list);
	drop_host(hosts, mmio_of(object), group->host);
	free_group(group);
	/*
	 * Fewer groups reserve fewer IOVAs, so everything mapped stays valid.
	 * If there is no memory to update the capabilities, the stricter ones
	 * stay.
	 */
	update_caps(hosts, object->domain);
}

void kiommu_group_remove(struct kiommu_object *object,
			 struct kiommu_group *group, struct kiommu_host *to)
{
	kiommu_host_exit(group->host, group->group, to);
	kiommu_group_forget(object, group);
}

int kiommu_group_check(struct iommu_group *iommu_group)
{
	if (READ_ONCE(allow_unsafe_interrupts) ||
	    iommu_group_has_isolated_msi(iommu_group))
		return 0;
	pr_warn("kvm_iommu: group %d: interrupts are not isolated; the module parameter allow_unsafe_interrupts accepts that\n",
		iommu_group_id(iommu_group));
	return -EPERM;
}

struct kiommu_group *kiommu_group_find(const struct kiommu_object *object,
				       const struct iommu_group *iommu_group)
{
	struct kiommu_group *group;

	list_for_each_entry(group, &object->hosts.groups, list)
		if (group->group == iommu_group)
			return group;
	return NULL;
}
