// SPDX-License-Identifier: GPL-2.0-only
/* See host.h. */
#include <stddef.h>

#include "host.h"

const char *kiommu_host_lacks(enum kiommu_property property)
{
	if (property == KIOMMU_MOVING_SLOTS)
		return "KVM moves no slot while somebody tracks its pages";
	return NULL;
}
