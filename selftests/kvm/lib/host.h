/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the machine and its guests can do, where machines differ. A test that
 * depends on a property asks for it, and is skipped with the reason:
 *
 *	if (kiommu_host_lacks(KIOMMU_BARS))
 *		SKIP(return, "%s", kiommu_host_lacks(KIOMMU_BARS));
 */
#ifndef KIOMMU_SELFTEST_HOST_H
#define KIOMMU_SELFTEST_HOST_H

#include <stdbool.h>
#include <stdlib.h>

#include <sys/utsname.h>

/* KIOMMU_IOVA_BASE: the first IOVA that can be mapped on the host. */
#include "arch.h"

enum kiommu_property {
	/*
	 * The guest is a KVM: it knows the groups of its devices, registers
	 * with the first one that is opened, and has vCPUs.
	 */
	KIOMMU_KVM,
	/* BARs can be mapped, as memory slots and for DMA of other devices. */
	KIOMMU_BARS,
	/* Tables of the host tell pages that can only be written from others. */
	KIOMMU_WRITE_ONLY,
	/* KVM emulates vmovdqu, vmovaps and the like. */
	KIOMMU_AVX_MOVES,
};

/* Return: NULL if the host has the property, else why not. */
const char *kiommu_host_lacks(enum kiommu_property property);

static inline bool kiommu_host_has(enum kiommu_property property)
{
	return !kiommu_host_lacks(property);
}

/* Whether the next kernel line runs, where it behaves in another way. */
static inline bool kiommu_on_kernel_7(void)
{
	struct utsname name;

	return !uname(&name) && atoi(name.release) >= 7;
}

#endif
