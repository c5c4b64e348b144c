/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The ioctls of a container as functions. They return 0 or -errno (or what the
 * ioctl returns, if that is positive). @fd is the container's; what is done with it
 * through another front is in front.h.
 */
#ifndef KIOMMU_SELFTEST_IOCTLS_H
#define KIOMMU_SELFTEST_IOCTLS_H

#include <stdbool.h>
#include <stdint.h>

#include <linux/kvm_iommu.h>
#include <linux/vfio.h>

#include "tables.h"

/* Any ioctl with any argument, for structs that are wrong on purpose. */
int kiommu_ioctl(int fd, unsigned long request, void *arg);

int kiommu_get_info(int fd, struct kvm_iommu_info *info);
/* Return: a state, or -errno. */
int kiommu_get_state(int fd);
int kiommu_start(int fd, int kvm_fd);
int kiommu_stop(int fd);

/* Set any anchor; tables; the identity format. */
int kiommu_register(int fd, const struct kvm_iommu_register_ioat *anchor);
int kiommu_register_tables(int fd, const struct ioat *t);
int kiommu_register_identity(int fd, uint64_t offset);
int kiommu_unregister(int fd);

/* @result: the struct as the kernel left it, or NULL. */
int kiommu_refresh(int fd, uint64_t iova, uint64_t length,
		   struct kvm_iommu_refresh *result);
int kiommu_translate(int fd, uint64_t iova, struct kvm_iommu_translate *result);

/* @gpa 0 and @length 0 mean all slots. */
int kiommu_pin_memory(int fd, uint64_t gpa, uint64_t length);
int kiommu_unpin_memory(int fd, uint64_t gpa, uint64_t length);
int kiommu_set_idle_limit(int fd, uint64_t pages);

/* @cmd has the range and the buffer of records; the answer is left in it. */
int kiommu_translate_range(int fd, struct kvm_iommu_translate_range *cmd);

/* @op: KVM_IOMMU_DIRTY_START or _STOP. */
int kiommu_dirty_log(int fd, uint32_t op);
/* KVM_IOMMU_DIRTY_READ. @result: the struct as the kernel left it, or NULL. */
int kiommu_dirty_read(int fd, uint64_t gpa, uint64_t length, void *bitmap,
		      struct kvm_iommu_dirty_log *result);
/* Tests a bit of the bitmap. */
static inline bool kiommu_dirty_bit(const void *bitmap, uint64_t page)
{
	return ((const uint8_t *)bitmap)[page / 8] >> (page % 8) & 1;
}

/* The ioctls of type1. */
int kiommu_map_dma(int fd, const void *vaddr, uint64_t iova, uint64_t size,
		   uint32_t flags);
/* @size: bytes of the range; set to the bytes that were unmapped. */
int kiommu_unmap_dma(int fd, uint64_t iova, uint64_t *size, uint32_t flags);
/*
 * @flags: VFIO_IOMMU_DIRTY_PAGES_FLAG_START or _STOP. The second: GET_BITMAP.
 */
int kiommu_dirty_pages(int fd, uint32_t flags);
int kiommu_get_dirty_pages(int fd, uint64_t iova, uint64_t size, uint64_t *bitmap,
			   uint64_t bytes);
/* kiommu_unmap_dma() with a bitmap. */
int kiommu_unmap_dirty(int fd, uint64_t iova, uint64_t *size, uint64_t *bitmap,
		       uint64_t bytes);

/* VmLck of this process (mm->locked_vm) and VmPin (mm->pinned_vm), bytes. */
uint64_t kiommu_locked_vm(void);
uint64_t kiommu_pinned_vm(void);

#endif
