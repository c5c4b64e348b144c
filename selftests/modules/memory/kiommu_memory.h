/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * /dev/kiommu_memory of the test module kiommu_memory.ko: a guest's memory
 * without KVM. Each open file is one, over the memory of the process that opened
 * it, whose calls alone it takes (EIO for others); KVM_IOMMU_START takes its
 * file descriptor in the place of a KVM's.
 */
#ifndef KIOMMU_MEMORY_UAPI_H
#define KIOMMU_MEMORY_UAPI_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define KIOMMU_MEMORY_TYPE 0xe6

/* Slots are numbered from 0. */
#define KIOMMU_MEMORY_MAX_SLOTS 512
/* Pages in a slot. */
#define KIOMMU_MEMORY_MAX_PAGES ((1ull << 31) - 1)

/* Values as KVM's: a guest of the tests has slots of either. */
#define KIOMMU_MEMORY_LOG_DIRTY (1u << 0) /* accepted; nothing is logged */
#define KIOMMU_MEMORY_READONLY (1u << 1)

/**
 * struct kiommu_memory_slot - KIOMMU_MEMORY_SET_SLOT
 * @slot: which.
 * @flags: KIOMMU_MEMORY_*.
 * @gpa: bytes, a multiple of 4096.
 * @size: bytes, a multiple of 4096; 0: the slot is deleted.
 * @userspace_addr: a multiple of 4096; what is there now, and will be.
 *
 * The rules are those of KVM_SET_USER_MEMORY_REGION: a slot that exists can be
 * moved to another @gpa, or get other flags than READONLY; its size, address and
 * READONLY stay until it is deleted. When a call that deletes or moves a slot
 * returns, no device can reach it where it was.
 *
 * Return: 0; EINVAL arguments, a change that is not allowed, or the deletion of
 * what is not there; EEXIST another slot is in the way; ENOMEM; EFAULT; EIO.
 */
struct kiommu_memory_slot {
	__u32 slot;
	__u32 flags;
	__u64 gpa;
	__u64 size;
	__u64 userspace_addr;
};

#define KIOMMU_MEMORY_SET_SLOT \
	_IOW(KIOMMU_MEMORY_TYPE, 0x00, struct kiommu_memory_slot)

/**
 * struct kiommu_memory_function - KIOMMU_MEMORY_RESET_ERROR
 * @domain: of a PCI function, as in its address; @bus; @devfn.
 *
 * s390: a zPCI function whose DMA was refused is in the error state, in which
 * its registers read as ones and its DMA goes nowhere. A guest gets it out of
 * there by Modify PCI Function Controls; Linux leaves one that is bound to
 * vfio-pci as it is. This does what the guest would: the function's tables and
 * what was mapped stay. Waits until Linux has been told of the error.
 *
 * Return: 0; ENODEV no such function; ETIMEDOUT it is not in the error state;
 * EREMOTEIO refused; ENOTTY not s390; EFAULT; EIO.
 */
struct kiommu_memory_function {
	__u32 domain;
	__u32 bus;
	__u32 devfn;
};

#define KIOMMU_MEMORY_RESET_ERROR \
	_IOW(KIOMMU_MEMORY_TYPE, 0x01, struct kiommu_memory_function)

/* From here on: of the hook, see hook.c. */
#define KIOMMU_MEMORY_HOOK_BASE 0x10

#endif /* KIOMMU_MEMORY_UAPI_H */
