/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The calls of a VMM that was written for a VT-d that nests, on what hwpt.h has set up.
 *
 * Functions that return int return 0 or -errno.
 */
#ifndef KIOMMU_SELFTEST_HWPT_VTD_H
#define KIOMMU_SELFTEST_HWPT_VTD_H

#include <stdint.h>

#include <linux/iommufd.h>

#include "hwpt.h"

/* The capability registers: VT-d specification, chapter 11.4. */
#define VTD_CAP_SAGAW_5 (1ull << 11)
#define VTD_CAP_MGAW (0x3full << 16)
#define VTD_CAP_FS1GP (1ull << 56)
#define VTD_CAP_FS5LP (1ull << 60)
#define VTD_ECAP_NEST (1ull << 26)
#define VTD_ECAP_SMTS (1ull << 43)
#define VTD_ECAP_FSTS (1ull << 47)

/* Return: why the host has no VT-d that we could serve, or NULL. */
const char *kiommu_vtd_lacks(void);

/* What IOMMU_GET_HW_INFO says of device 0; asserts that it has a VT-d. */
struct iommu_hw_info_vtd kiommu_vtd_info(const struct kiommu_hwpt *h,
					 uint64_t *capabilities);

/* What an allocation with the tables @t begins with. */
struct iommu_hwpt_vtd_s1 kiommu_vtd_s1(const struct ioat *t);
/* Of h->parent, with @length bytes from @data on. */
int kiommu_vtd_alloc_with(const struct kiommu_hwpt *h, unsigned int device,
			  const void *data, uint32_t length, uint32_t *id);
int kiommu_vtd_alloc(const struct kiommu_hwpt *h, unsigned int device,
		     struct iommu_hwpt_vtd_s1 data, uint32_t *id);
/* A parent; @flags: of IOMMU_HWPT_ALLOC. */
int kiommu_vtd_alloc_parent(const struct kiommu_hwpt *h, uint32_t flags, uint32_t *id);

/* @count: set to entry_num as the kernel left it. */
int kiommu_vtd_invalidate_with(const struct kiommu_hwpt *h, uint32_t id,
			       const void *entries, uint32_t entry_len, uint32_t *count);
/* One entry. */
int kiommu_vtd_invalidate(const struct kiommu_hwpt *h, uint32_t id, uint64_t addr,
			  uint64_t npages);

#endif
