/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The host IOMMUs of a container: one IOMMU domain for all groups that can
 * share it, and as many as are needed beside. Each holds the same mappings.
 *
 * Everything here is protected by the container's lock.
 */
#ifndef KIOMMU_HOSTS_H
#define KIOMMU_HOSTS_H

#include <linux/iommu.h>
#include <linux/list.h>

#include "core.h"

/* Domains of one container: as many incompatible IOMMUs as it can span. */
#define KIOMMU_MAX_HOSTS 8

/**
 * struct kiommu_host - one domain of a host IOMMU
 * @domain: the kernel's paging domain.
 * @gather: what was unmapped and not flushed yet.
 * @coherent: the IOMMU blocks no-snoop transactions.
 * @split: see enum kiommu_host_split.
 * @groups: groups attached; the host goes with the last one.
 */
struct kiommu_host {
	struct iommu_domain *domain;
	struct iommu_iotlb_gather gather;
	bool coherent;
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
 * @hosts: NULL where there is none.
 * @groups: of struct kiommu_group.
 * @reserved: the windows of all groups, sorted, merged; what the core sees.
 * @caps: what all hosts can do together.
 */
struct kiommu_hosts {
	struct kiommu_host *hosts[KIOMMU_MAX_HOSTS];
	struct list_head groups;
	struct kiommu_window *reserved;
	struct kiommu_host_caps caps;
};

/* hosts.c */

void kiommu_hosts_init(struct kiommu_hosts *hosts);

/**
 * kiommu_host_create() - a domain for a group, with the group attached
 * @msi_base: base of the software-managed MSI window, or 0.
 *
 * Context: may sleep. Return: the host in a free place of @hosts, or -ENOSPC,
 * -ENOMEM, -EINVAL (pages of the IOMMU larger than 4 KiB), or what the IOMMU
 * driver returned.
 */
struct kiommu_host *kiommu_host_create(struct kiommu_hosts *hosts,
				       struct kiommu_group *group,
				       phys_addr_t msi_base);

/* Frees a host whose last group is detached; its mappings go with it. */
void kiommu_host_destroy(struct kiommu_hosts *hosts, struct kiommu_host *host);

/* Return: the index that the core uses for @host. */
kiommu_u32 kiommu_host_index(const struct kiommu_hosts *hosts,
			     const struct kiommu_host *host);

/* Return: each host enforces cache coherency, and there is one. */
bool kiommu_hosts_coherent(const struct kiommu_hosts *hosts);

/* groups.c */

/**
 * kiommu_group_attach() - let the devices of a group use the domain
 * @unsafe_interrupts: accept groups whose MSIs are not isolated.
 * @own_domain: never share a host with another group.
 *
 * What is mapped is mapped for the group as well before this returns.
 * Context: may sleep. Return: 0; -EINVAL the group is there already, or what
 * is mapped conflicts with its reserved regions or aperture; -EPERM; -ENOMEM;
 * or what the IOMMU driver returned. On failure nothing has changed.
 */
int kiommu_group_attach(struct kiommu_hosts *hosts,
			struct kiommu_domain *domain,
			struct iommu_group *iommu_group,
			bool unsafe_interrupts, bool own_domain);

/* Takes a group away; it must be attached. Cannot fail. */
void kiommu_group_detach(struct kiommu_hosts *hosts,
			 struct kiommu_domain *domain,
			 struct iommu_group *iommu_group);

#endif /* KIOMMU_HOSTS_H */
