// SPDX-License-Identifier: GPL-2.0-only
/* See host.h. Guests are those of kiommu_memory.ko. */
#include <stddef.h>

#include "host.h"

const char *kiommu_host_lacks(enum kiommu_property property)
{
	switch (property) {
	case KIOMMU_KVM:
		return "the guest is not a KVM";
	case KIOMMU_BARS:
		return "BARs of zPCI functions cannot be mapped";
	case KIOMMU_WRITE_ONLY:
		return "zPCI's tables let functions read all that they may write";
	default:
		return NULL;
	}
}
