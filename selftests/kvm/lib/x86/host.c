// SPDX-License-Identifier: GPL-2.0-only
/* See host.h. */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "host.h"

/*
 * The VT-d driver of 6.12 sets bit 0 in every entry (__domain_mapping():
 * DMA_FL_PTE_PRESENT), which is the right to read in the second stage. That of 7.3
 * does not (vtdss_pt_iommu_set_prot()).
 */
static bool is_always_readable(void)
{
	return !strncmp(getenv("KIOMMU_HOST"), "intel", strlen("intel")) &&
	       !kiommu_on_kernel_7();
}

const char *kiommu_host_lacks(enum kiommu_property property)
{
	if (property == KIOMMU_WRITE_ONLY && is_always_readable())
		return "VT-d's driver lets devices read all that they may write";
	/* x86_decode_avx() of 7.3 */
	if (property == KIOMMU_AVX_MOVES && !kiommu_on_kernel_7())
		return "KVM emulates no AVX";
	return NULL;
}
