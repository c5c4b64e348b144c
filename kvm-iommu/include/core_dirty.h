/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Calls of the core, see core.h: which pages devices may have written.
 */
#ifndef KIOMMU_CORE_DIRTY_H
#define KIOMMU_CORE_DIRTY_H

#include "core.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * kiommu_core_dirty_start() - log which pages devices may write
 *
 * Looks at all that is mapped. Lock: P. Return: 0; -EEXIST it is logged already;
 * -ENOMEM; -EINTR a fatal signal: there is no log then.
 */
int kiommu_core_dirty_start(struct kiommu_pins *pins, kiommu_u32 *status);

/* The opposite; what was logged is forgotten. Lock: P. Return: 0, -ENOENT. */
int kiommu_core_dirty_stop(struct kiommu_pins *pins, kiommu_u32 *status);

/**
 * kiommu_core_dirty_check() - whether a range can be read
 *
 * Lock: P. Never allocates. Return: 0; -EINVAL @gpa or @length misaligned, or
 * @length 0; -EOVERFLOW; -ENOENT there is no log.
 */
int kiommu_core_dirty_check(struct kiommu_pins *pins, kiommu_u64 gpa,
			    kiommu_u64 length, kiommu_u32 *status);

/**
 * kiommu_core_dirty_take() - tell which pages are dirty
 * @bits: of the pages of the range, which was checked: bit i % 64 of word i / 64
 *	is that of page i. All words with one of them are written.
 *
 * What was unmapped is taken out of the log. The cost is that of the range,
 * whatever is mapped. Lock: P. Never allocates. Return: 0; -ENOENT there is no
 * log.
 */
int kiommu_core_dirty_take(struct kiommu_pins *pins, kiommu_u64 gpa,
			   kiommu_u64 length, kiommu_u64 *bits,
			   kiommu_u32 *status);

/* Puts what was taken back. Lock: P. Never allocates. */
void kiommu_core_dirty_put_back(struct kiommu_pins *pins, kiommu_u64 gpa,
				kiommu_u64 length, const kiommu_u64 *bits);

/**
 * kiommu_core_writable_pages() - which IOVAs a device can write now
 * @first: IOVA of the first page; @pages: how many, not beyond 2^64 bytes.
 * @bits: as above, zeroed by the caller.
 *
 * In each state; device memory is left out. Lock: shared. Return: 0; -EINTR.
 */
int kiommu_core_writable_pages(struct kiommu_domain *domain, kiommu_u64 first,
			       kiommu_u64 pages, kiommu_u64 *bits);

/* kiommu_core_unmap(), which tells the same of what it unmaps. */
int kiommu_core_unmap_writable(struct kiommu_domain *domain, kiommu_u64 iova,
			       kiommu_u64 length, kiommu_u64 *bits,
			       kiommu_u64 *unmapped);

#ifdef __cplusplus
}
#endif

#endif /* KIOMMU_CORE_DIRTY_H */
