/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Ioctls that fill a buffer of the caller with many answers: translations of a
 * range, and bitmaps of dirty pages.
 *
 * Answers are collected in a kernel buffer and copied out while no lock is
 * held, because the page faults of the caller's buffer may be served by another
 * process (userfaultfd), which may take its time.
 */
#ifndef KIOMMU_DIRTY_H
#define KIOMMU_DIRTY_H

#include <linux/types.h>

struct kiommu_object;
struct kvm_iommu_dirty_log;
struct kvm_iommu_translate_range;
struct vfio_info_cap;

/* Bytes of bitmap collected at once: enough for 4 GiB of memory. */
#define KIOMMU_BITMAP_CHUNK (128u << 10)
#define KIOMMU_CHUNK_PAGES ((u64)KIOMMU_BITMAP_CHUNK * BITS_PER_BYTE)

/* Size in bytes of a bitmap for @pages pages, in whole words of 64 bits. */
static inline u64 kiommu_bitmap_bytes(u64 pages)
{
	return DIV_ROUND_UP_ULL(pages, 64) * sizeof(u64);
}

/**
 * kiommu_translate_range() - KVM_IOMMU_TRANSLATE_RANGE
 * @cmd: the caller's struct; its out fields are set on success.
 *
 * Context: no lock of lock.h is held.
 * Return: 0 or an errno of the ioctl.
 */
int kiommu_translate_range(struct kiommu_object *object,
			   struct kvm_iommu_translate_range *cmd);

/* KVM_IOMMU_DIRTY_LOG. Context and Return: as kiommu_translate_range(). */
int kiommu_dirty_log(struct kiommu_object *object,
		     struct kvm_iommu_dirty_log *cmd);

/**
 * kiommu_type1_dirty_pages() - VFIO_IOMMU_DIRTY_PAGES
 * kiommu_type1_unmap_dirty() - VFIO_IOMMU_UNMAP_DMA with a bitmap
 * @argp: the caller's struct.
 *
 * Context: as kiommu_translate_range().
 * Return: as kiommu_translate_range().
 */
long kiommu_type1_dirty_pages(struct kiommu_object *object,
			      void __user *argp);
long kiommu_type1_unmap_dirty(struct kiommu_object *object,
			      void __user *argp);

/*
 * Adds the migration capability for VFIO_IOMMU_GET_INFO. Return: 0 or -ENOMEM.
 */
int kiommu_add_migration_cap(struct vfio_info_cap *chain);

#endif /* KIOMMU_DIRTY_H */
