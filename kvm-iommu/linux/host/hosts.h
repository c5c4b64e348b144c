/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The host IOMMUs of a container: one IOMMU domain for all groups that can
 * share it, and as many as are needed beside. Each holds the same mappings.
 *
 * Everything here is protected by the container's lock. Which hosts there are
 * changes with kiommu_mmio.lock of the registered guest held as well.
 */
#ifndef KIOMMU_HOSTS_H
#define KIOMMU_HOSTS_H

#include <linux/iommu.h>
#include <linux/list.h>
#include <linux/rbtree.h>

#include "core.h"
#include "port.h"

/* Domains of one container: as many incompatible IOMMUs as it can span. */
#define KIOMMU_MAX_HOSTS 8

/**
 * struct kiommu_host_reports - who is told of what happens in host IOMMUs
 * @fault: handler of iommu_set_fault_handler(); its token is @container of struct
 *	kiommu_hosts. Called in any context, for as long as a domain lives.
 * @blocked: a host takes none of a group's devices any more. Context: the
 *	container's lock is held.
 */
struct kiommu_host_reports {
	iommu_fault_handler_t fault;
	void (*blocked)(unsigned long container, struct iommu_group *group);
};

/**
 * struct kiommu_host - one domain of a host IOMMU
 * @domain: the kernel's paging domain.
 * @coherent: the IOMMU blocks no-snoop transactions.
 * @shadowed: a hypervisor below us shadows the tables, and walks what is flushed.
 * @split: see enum kiommu_host_split.
 * @groups: groups attached; the host goes with the last one.
 */
struct kiommu_host {
	struct iommu_domain *domain;
	bool coherent;
	bool shadowed;
	enum kiommu_host_split split;
	unsigned int groups;
};

/**
 * struct kiommu_group - one IOMMU group of the container
 * @list: in kiommu_hosts.groups.
 * @group: referenced.
 * @host: what it is attached to.
 * @reserved: IOVAs that must not be mapped for it, whole pages.
 * @reserved_count: entries of @reserved.
 */
struct kiommu_group {
	struct list_head list;
	struct iommu_group *group;
	struct kiommu_host *host;
	struct kiommu_window *reserved;
	unsigned int reserved_count;
};

/**
 * struct kiommu_hosts - all hosts and groups of a container
 * @container: its number; handed to @reports.
 * @reports: who is told of faults.
 * @hosts: all of them, from the first place on, in any order.
 * @count: how many.
 * @groups: of struct kiommu_group.
 * @reserved: the windows of all groups, sorted, merged; what the core sees.
 * @caps: what all hosts can do together.
 * @mmio: device memory that is mapped in all hosts, by IOVA; protected by
 *	kiommu_mmio.lock of the registered guest; empty without one.
 */
struct kiommu_hosts {
	unsigned long container;
	const struct kiommu_host_reports *reports;
	struct kiommu_host *hosts[KIOMMU_MAX_HOSTS];
	unsigned int count;
	struct list_head groups;
	struct kiommu_window *reserved;
	struct kiommu_host_caps caps;
	struct rb_root_cached mmio;
};

/*
 * The kernel has it for iommufd, in a header that is not installed: a group goes
 * from one domain to another, and stays in the first if that fails.
 */
int iommu_group_replace_domain(struct iommu_group *group,
			       struct iommu_domain *new_domain);

void kiommu_hosts_init(struct kiommu_hosts *hosts, unsigned long container,
		       const struct kiommu_host_reports *reports);

/**
 * kiommu_host_create() - a domain for a group, with the group attached
 * @msi_base: base of the software-managed MSI window, or 0.
 *
 * Its tables are empty, so that the group's devices can reach nothing. The
 * host has not joined @hosts yet.
 * Context: may sleep. Return: the host, or -ENOSPC (as many as there can be, or
 * devices that have no IOVA), -ENOMEM, -EINVAL (pages of the IOMMU larger than
 * 4 KiB, or it does not enforce the cache coherency that it promised), or what the
 * IOMMU driver returned.
 */
struct kiommu_host *kiommu_host_create(struct kiommu_hosts *hosts,
				       struct kiommu_group *group,
				       phys_addr_t msi_base);

/*
 * Whether a hypervisor below us shadows the tables that the group's devices use,
 * and learns of changes by flushes alone.
 */
bool kiommu_group_shadowed(const struct kiommu_group *group);

/*
 * Whether an IOMMU can block no-snoop transactions of all of the group's devices:
 * what VFIO tells KVM of it (vfio_file_enforced_coherent()), whatever domain the
 * group is in. So the domain must do it.
 */
bool kiommu_group_coherent(const struct kiommu_group *group);

/* Frees a host that has no group and has left; its mappings go with it. */
void kiommu_host_destroy(struct kiommu_host *host);

/**
 * kiommu_host_unmap() - clear entries of one host
 * @gather: what must be flushed then.
 *
 * Context: may sleep; memory reclaim included.
 */
void kiommu_host_unmap(const struct kiommu_host *host, u64 iova, u64 bytes,
		       struct iommu_iotlb_gather *gather);

/* Return: the index that the core uses for @host, while no host leaves. */
kiommu_u32 kiommu_host_index(const struct kiommu_hosts *hosts,
			     const struct kiommu_host *host);

/* Return: each host enforces cache coherency, and there is one. */
bool kiommu_hosts_coherent(const struct kiommu_hosts *hosts);

#endif /* KIOMMU_HOSTS_H */
