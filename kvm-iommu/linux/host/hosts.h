/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The host IOMMUs of a domain: one IOMMU domain for all groups that can
 * share it, and as many more as are needed. Each holds the same mappings.
 *
 * Everything here is protected by the domain's lock. To add or remove hosts,
 * kiommu_mmio.lock of the registered guest is needed as well.
 */
#ifndef KIOMMU_HOSTS_H
#define KIOMMU_HOSTS_H

#include <linux/iommu.h>
#include <linux/list.h>
#include <linux/rbtree.h>

#include "core.h"
#include "port.h"

/* Domains of one object, i.e. incompatible IOMMUs that it can span. */
#define KIOMMU_MAX_HOSTS 8

/**
 * struct kiommu_host_reports - callbacks for events in host IOMMUs
 * @fault: handler for iommu_set_fault_handler(); its token is @object of
 *	struct kiommu_hosts. Called in any context, as long as a domain lives.
 * @blocked: a host does not accept the devices of a group any more. Context:
 *	the domain's lock is held.
 */
struct kiommu_host_reports {
	iommu_fault_handler_t fault;
	void (*blocked)(unsigned long object, struct iommu_group *group);
};

/**
 * struct kiommu_host - one domain of a host IOMMU
 * @hosts: the domain that it belongs to.
 * @domain: the kernel's paging domain.
 * @handle: what the IOMMU core keeps of each group in @domain; one of @handles.
 * @handles: the other one is for the domain that replaces @domain.
 * @lent: somebody else attaches devices to @domain, which stays the same.
 * @msi: @domain maps the pages that software-managed interrupts are written to.
 * @coherent: the IOMMU blocks no-snoop transactions.
 * @shadowed: a hypervisor below us shadows the tables, and walks what is
 *	flushed.
 * @untold: a device has come back, and the hypervisor that shadows the tables has
 *	yet to be told of what they map.
 * @retold: its tables hold what is mapped now; only the hypervisor that shadows
 *	them is told.
 * @split: see enum kiommu_host_split.
 * @groups: number of groups that are attached, or, of a domain that is lent, may
 *	be; the host is destroyed with the last one.
 */
struct kiommu_host {
	struct kiommu_hosts *hosts;
	struct iommu_domain *domain;
	struct iommu_attach_handle *handle;
	struct iommu_attach_handle handles[2];
	bool lent;
	bool msi;
	bool coherent;
	bool shadowed;
	bool untold;
	bool retold;
	enum kiommu_host_split split;
	unsigned int groups;
};

/**
 * struct kiommu_group - one IOMMU group of the domain
 * @list: entry in kiommu_hosts.groups.
 * @group: referenced.
 * @host: the host that it is attached to.
 * @from: the host that its devices came from, valid until they have left it; NULL
 *	if all of their DMA was blocked.
 * @away: its devices are in another domain. It keeps its place here, and the
 *	iommu_domain of @host stays as it is.
 * @reserved: IOVAs that must not be mapped for it, in whole pages.
 * @reserved_count: entries of @reserved.
 */
struct kiommu_group {
	struct list_head list;
	struct iommu_group *group;
	struct kiommu_host *host;
	struct kiommu_host *from;
	bool away;
	struct kiommu_window *reserved;
	unsigned int reserved_count;
};

/**
 * struct kiommu_hosts - all hosts and groups of a domain
 * @object: id of the domain; passed to @reports.
 * @reports: callbacks for faults.
 * @hosts: the first @count are the hosts, in any order.
 * @count: number of hosts.
 * @groups: list of struct kiommu_group.
 * @reserved: reserved windows of all groups, sorted and merged; seen by the
 *	core.
 * @caps: capabilities that all hosts have in common.
 * @mmio: device memory that is mapped in all hosts, by IOVA; protected by
 *	kiommu_mmio.lock of the registered guest; empty if none is registered.
 */
struct kiommu_hosts {
	unsigned long object;
	const struct kiommu_host_reports *reports;
	struct kiommu_host *hosts[KIOMMU_MAX_HOSTS];
	unsigned int count;
	struct list_head groups;
	struct kiommu_window *reserved;
	struct kiommu_host_caps caps;
	struct rb_root_cached mmio;
};

void kiommu_hosts_init(struct kiommu_hosts *hosts, unsigned long object,
		       const struct kiommu_host_reports *reports);

/**
 * kiommu_host_enter() - attach a group's devices to a host
 *
 * They are in @group->from until then.
 *
 * Context: may sleep. Nothing is mapped or unmapped in either host meanwhile:
 * drivers do not expect that of a domain that a device enters or leaves.
 * Return: 0; -EINVAL if the host cannot serve them; -EBUSY if @group->from is NULL
 * and somebody else uses them; or what the IOMMU driver returned. On failure
 * nothing has changed, but see kiommu_host_exit() for the way back.
 */
int kiommu_host_enter(struct kiommu_host *host, const struct kiommu_group *group);

/*
 * Takes a group's devices out of a host, into @to, or into none if that is NULL:
 * their DMA is blocked then. So it is where the IOMMU driver refuses @to, which the
 * reader of the faults of @to is told. Context: as above.
 */
void kiommu_host_exit(struct kiommu_host *host, struct iommu_group *group,
		      struct kiommu_host *to);

/*
 * Whether the devices of a group can be attached to a domain that is lent: nobody
 * else checks that when they come from another one.
 */
bool kiommu_host_suits(const struct kiommu_host *host,
		       const struct kiommu_group *group);

/**
 * kiommu_host_create() - create a domain for a group, with the group attached
 * @msi_base: base of the software-managed MSI window, or 0.
 * @lent: somebody else will attach it.
 *
 * The tables of the domain are empty, so the group's devices cannot reach
 * anything. The host is not in @hosts yet.
 *
 * Context: may sleep.
 * Return: the host, or an ERR_PTR(): -ENOSPC if there are KIOMMU_MAX_HOSTS
 * already, or no usable IOVA for the devices; -ENODEV if the group has no
 * device; -ENOMEM; -EINVAL if the IOMMU has no 4 KiB pages, or if it does not
 * enforce the cache coherency that it promised; or what the IOMMU driver
 * returned. With @lent also an error if the domain cannot be mapped before it is
 * attached.
 */
struct kiommu_host *kiommu_host_create(struct kiommu_hosts *hosts,
				       struct kiommu_group *group,
				       phys_addr_t msi_base, bool lent);

/*
 * Whether a hypervisor below us shadows the tables of the group's devices, and
 * learns of changes by flushes only.
 */
bool kiommu_group_shadowed(const struct kiommu_group *group);

/*
 * Whether the IOMMU can block no-snoop transactions of all devices of the
 * group. VFIO tells KVM so (vfio_file_enforced_coherent()) whatever domain the
 * group is in, so the domain must do it.
 */
bool kiommu_group_coherent(const struct kiommu_group *group);

/*
 * Frees a host that has no group and was removed from its kiommu_hosts; its
 * mappings are freed with it.
 */
void kiommu_host_destroy(struct kiommu_host *host);

/**
 * kiommu_host_unmap() - clear entries of one host
 * @gather: collects what must be flushed afterwards.
 *
 * Context: may sleep; may be called in memory reclaim.
 */
void kiommu_host_unmap(const struct kiommu_host *host, u64 iova, u64 bytes,
		       struct iommu_iotlb_gather *gather);

/* Return: the index by which the core knows @host, until a host is removed. */
kiommu_u32 kiommu_host_index(const struct kiommu_hosts *hosts,
			     const struct kiommu_host *host);

/* Return: whether there is a host, and each enforces cache coherency. */
bool kiommu_hosts_coherent(const struct kiommu_hosts *hosts);

#endif /* KIOMMU_HOSTS_H */
