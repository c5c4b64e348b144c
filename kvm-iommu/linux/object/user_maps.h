/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Mappings that a client of type1 makes of its own memory, in the domain of a
 * container that it opened as VFIO_TYPE1v2_IOMMU or VFIO_TYPE1_IOMMU. While there
 * are any, the domain is registered with that memory (guest/user_memory.h) and
 * anchored at the identity; for calls that need a KVM it has none.
 */
#ifndef KIOMMU_USER_MAPS_H
#define KIOMMU_USER_MAPS_H

#include "guest/user_memory.h"

struct kiommu_object;

/*
 * Whether calls of type1 are for the client's own memory: they are unless a KVM is
 * registered. Context: any; without D the answer may be stale at once.
 */
bool kiommu_takes_user_maps(const struct kiommu_object *object);

/**
 * kiommu_user_map() - VFIO_IOMMU_MAP_DMA
 * @mapping: of the current process's memory; it must be whole pages, and neither
 *	end of it wraps.
 *
 * Context: may sleep; no lock of lock.h is held.
 * Return: 0; -EEXIST if it overlaps with another mapping; -ENOSPC if there are too
 * many, or the shadow is full; -EINVAL if some IOVA cannot be mapped; -EPERM if
 * there are mappings of another process; -EBUSY if a KVM was registered
 * meanwhile; -EFAULT for memory that is missing, or cannot be had with these rights;
 * -ENOMEM also for RLIMIT_MEMLOCK; -EIO if a host's IOMMU driver refuses; -EAGAIN for
 * device memory that keeps changing; -EINTR; -ESTALE. Nothing has changed then.
 */
int kiommu_user_map(struct kiommu_object *object,
		    const struct kiommu_user_mapping *mapping);

/**
 * kiommu_user_unmap() - VFIO_IOMMU_UNMAP_DMA
 * @first: first byte.
 * @last: last byte, inclusive.
 * @bytes: set to the size of the mappings that were removed, with an error of 0.
 *
 * Context: may sleep; no lock of lock.h is held.
 * Return: 0, also if nothing is mapped there; -EINVAL if a mapping reaches out of
 * the range (with VFIO_TYPE1_IOMMU, one that reaches out at the end goes as a whole,
 * and nothing goes if one does at the beginning); -EBUSY if a KVM was registered
 * meanwhile; -EINTR; -ESTALE.
 */
int kiommu_user_unmap(struct kiommu_object *object, u64 first, u64 last,
		      u64 *bytes);

/*
 * Whether a mapping reaches out of the range [@first, @last]. Context: D and P, for
 * reading at least; user memory is registered.
 */
bool kiommu_user_maps_cut(const struct kiommu_object *object, u64 first,
			  u64 last);

/* Mappings that can still be made. Context: D for reading at least. */
unsigned int kiommu_user_maps_avail(const struct kiommu_object *object);

#endif /* KIOMMU_USER_MAPS_H */
