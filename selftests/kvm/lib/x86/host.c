// SPDX-License-Identifier: GPL-2.0-only
/* See host.h. An x86 host has all properties. */
#include <stddef.h>

#include "host.h"

const char *kiommu_host_lacks(enum kiommu_property property)
{
	(void)property;
	return NULL;
}
