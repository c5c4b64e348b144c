// SPDX-License-Identifier: GPL-2.0-only
/* See host.h. It lacks nothing. */
#include <stddef.h>

#include "host.h"

const char *kiommu_host_lacks(enum kiommu_property property)
{
	(void)property;
	return NULL;
}
