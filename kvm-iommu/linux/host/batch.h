/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What one request does in the hosts, see port.h.
 */
#ifndef KIOMMU_BATCH_H
#define KIOMMU_BATCH_H

#include <linux/scatterlist.h>

#include "host/hosts.h"

/**
 * struct kiommu_batch - see port.h
 * @hosts: which do not change while a request uses the batch.
 * @gathers: what was unmapped and not flushed yet, for each host.
 * @list: for kiommu_port_host_map().
 */
struct kiommu_batch {
	struct kiommu_hosts *hosts;
	struct iommu_iotlb_gather gathers[KIOMMU_MAX_HOSTS];
	struct scatterlist list[KIOMMU_MAX_RUNS];
};

#endif /* KIOMMU_BATCH_H */
