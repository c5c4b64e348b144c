// SPDX-License-Identifier: GPL-2.0-only
#include <unistd.h>

#include "counters.h"
#include "type1.h"

bool kiommu_is_loaded(void)
{
	return !access("/sys/module/kvm_iommu", F_OK);
}

void kiommu_serve_type1(bool ours)
{
	if (ours || kiommu_is_loaded())
		kiommu_set_param("type1", ours ? "Y" : "N");
}
