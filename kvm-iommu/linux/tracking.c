// SPDX-License-Identifier: GPL-2.0-only
/*
 * Stores of the guest to its tables, see tracking.h.
 */
#include <linux/errno.h>

#include "tracking.h"

int kiommu_tracking_start(struct kiommu_container *container, u32 burst)
{
	return -EOPNOTSUPP;
}

void kiommu_tracking_stop(struct kiommu_container *container)
{
}

int kiommu_tracking_fill(struct kiommu_container *container)
{
	return 0;
}

int kiommu_tracking_untrack(struct kiommu_container *container, u64 gpa,
			    u64 length)
{
	return -EPROTOTYPE;
}
