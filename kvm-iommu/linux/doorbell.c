// SPDX-License-Identifier: GPL-2.0-only
/*
 * Doorbells, see doorbell.h.
 */
#include <linux/err.h>

#include "doorbell.h"

struct kiommu_doorbell *
kiommu_doorbell_create(struct kiommu_container *container,
		       const struct kvm_iommu_set_sync *cmd)
{
	return ERR_PTR(-EOPNOTSUPP);
}

void kiommu_doorbell_open(struct kiommu_doorbell *bell)
{
}

void kiommu_doorbell_drain(struct kiommu_doorbell *bell)
{
}

void kiommu_doorbell_close(struct kiommu_doorbell *bell)
{
}
