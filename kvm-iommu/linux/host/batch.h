/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The host calls of one operation, see port.h.
 */
#ifndef KIOMMU_BATCH_H
#define KIOMMU_BATCH_H

#include <linux/scatterlist.h>

#include "host/hosts.h"

/**
 * struct kiommu_batch - see port.h
 * @hosts: do not change while an operation uses the batch.
 * @gathers: ranges that were unmapped and not flushed yet, one for each host.
 * @list: scatterlist for kiommu_port_host_map().
 */
struct kiommu_batch {
	struct kiommu_hosts *hosts;
	struct iommu_iotlb_gather gathers[KIOMMU_MAX_HOSTS];
	struct scatterlist list[KIOMMU_MAX_RUNS];
};

#endif /* KIOMMU_BATCH_H */
