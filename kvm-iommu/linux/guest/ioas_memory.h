/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * An IOAS of an iommufd as the memory of a guest: GPAs are the IOVAs that
 * IOMMU_IOAS_MAP has mapped.
 */
#ifndef KIOMMU_IOAS_MEMORY_H
#define KIOMMU_IOAS_MEMORY_H

#include <linux/types.h>

struct iommufd_ctx;
struct kiommu_guest;

/**
 * kiommu_ioas_guest() - make a guest of an IOAS
 * @stores: NULL, or the key of a guest that runs in the IOAS, so that its stores can
 *	be followed; what it names must not go away during the call.
 *
 * The caller is an object of @ictx, and makes sure that the IOAS lives longer
 * than the guest. Several guests can be made of one.
 *
 * Context: may sleep; no lock of iommufd or of lock.h is held.
 * Return: the guest with a reference; -ENOMEM; -ENODEV if @stores is going away;
 * -EPERM if it is the guest of another process; or what iommufd returned.
 */
struct kiommu_guest *kiommu_ioas_guest(struct iommufd_ctx *ictx, u32 ioas_id,
				       const void *stores);

#endif /* KIOMMU_IOAS_MEMORY_H */
