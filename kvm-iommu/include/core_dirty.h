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
 * kiommu_core_dirty_start() - start to log which pages devices may write
 *
 * Looks at everything that is mapped.
 *
 * Lock: P.
 * Return: 0; -EEXIST if there is a log already; -ENOMEM; -EINTR on a fatal
 * signal. On failure there is no new log.
 */
int kiommu_core_dirty_start(struct kiommu_pins *pins, kiommu_u32 *status);

/* The opposite; drops the log. Lock: P. Return: 0 or -ENOENT. */
int kiommu_core_dirty_stop(struct kiommu_pins *pins, kiommu_u32 *status);

/**
 * kiommu_core_dirty_check() - check whether the log of a range can be read
 *
 * Never allocates.
 *
 * Lock: P.
 * Return: 0; -EINVAL if @gpa or @length is misaligned or @length is 0;
 * -EOVERFLOW; -ENOENT if there is no log.
 */
int kiommu_core_dirty_check(struct kiommu_pins *pins, kiommu_u64 gpa,
			    kiommu_u64 length, kiommu_u32 *status);

/**
 * kiommu_core_dirty_take() - get the dirty pages of a range
 * @bits: one bit for each page of the range, which was checked before: bit i %
 *	64 of word i / 64 is page i. All words that contain one of them are
 *	written.
 *
 * Pages that were unmapped are taken out of the log. The cost depends on the
 * range, not on what is mapped. Never allocates.
 *
 * Lock: P.
 * Return: 0; -ENOENT if there is no log.
 */
int kiommu_core_dirty_take(struct kiommu_pins *pins, kiommu_u64 gpa,
			   kiommu_u64 length, kiommu_u64 *bits,
			   kiommu_u32 *status);

/* Returns to the log what was taken. Lock: P. Never allocates. */
void kiommu_core_dirty_put_back(struct kiommu_pins *pins, kiommu_u64 gpa,
				kiommu_u64 length, const kiommu_u64 *bits);

/**
 * kiommu_core_writable_pages() - find the IOVAs that a device can write now
 * @first: IOVA of the first page.
 * @pages: number of pages, not beyond 2^64 bytes.
 * @bits: as above, zeroed by the caller.
 *
 * Works in each state; device memory is left out.
 *
 * Lock: shared.
 * Return: 0; -EINTR.
 */
int kiommu_core_writable_pages(struct kiommu_domain *domain, kiommu_u64 first,
			       kiommu_u64 pages, kiommu_u64 *bits);

/* kiommu_core_unmap(), which sets @bits likewise for what it unmaps. */
int kiommu_core_unmap_writable(struct kiommu_domain *domain, kiommu_u64 iova,
			       kiommu_u64 length, kiommu_u64 *bits,
			       kiommu_u64 *unmapped);

#ifdef __cplusplus
}
#endif

#endif /* KIOMMU_CORE_DIRTY_H */
