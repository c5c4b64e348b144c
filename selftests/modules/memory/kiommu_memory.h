/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * /dev/kiommu_memory of the test module kiommu_memory.ko: guest memory without
 * KVM. Each open file is the memory of one guest, which lies in the memory of
 * the process that opened the file; only that process may call it (EIO for
 * others). KVM_IOMMU_START accepts its file descriptor in place of a KVM's.
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

/* KVM's values, because tests use the same slots with either kind of guest. */
#define KIOMMU_MEMORY_LOG_DIRTY (1u << 0) /* accepted; nothing is logged */
#define KIOMMU_MEMORY_READONLY (1u << 1)

/**
 * struct kiommu_memory_slot - KIOMMU_MEMORY_SET_SLOT
 * @slot: the number of the slot.
 * @flags: KIOMMU_MEMORY_*.
 * @gpa: bytes, a multiple of 4096.
 * @size: bytes, a multiple of 4096; 0 deletes the slot.
 * @userspace_addr: a multiple of 4096; the slot follows what is mapped there.
 *
 * The rules are those of KVM_SET_USER_MEMORY_REGION: an existing slot can be
 * moved to another @gpa, and its flags other than READONLY can change; its
 * size, address and READONLY stay until it is deleted. When a call that deletes
 * or moves a slot returns, devices cannot reach it at its old place any more.
 *
 * Return: 0; EINVAL for bad arguments, a change that is not allowed, or the
 * deletion of a slot that does not exist; EEXIST if another slot is in the way;
 * ENOMEM; EFAULT; EIO.
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
 * its registers read as ones and its DMA is blocked. A guest takes it out of
 * that state by Modify PCI Function Controls; Linux does not do so for a
 * function that is bound to vfio-pci. This call does what the guest would: the
 * function's tables and mappings stay. It waits until Linux has been told of
 * the error.
 *
 * Return: 0; ENODEV if there is no such function; ETIMEDOUT if it is not in the
 * error state; EREMOTEIO if the machine refused; ENOTTY if not on s390; EFAULT;
 * EIO.
 */
struct kiommu_memory_function {
	__u32 domain;
	__u32 bus;
	__u32 devfn;
};

#define KIOMMU_MEMORY_RESET_ERROR \
	_IOW(KIOMMU_MEMORY_TYPE, 0x01, struct kiommu_memory_function)

/* Numbers from here on are the hook's, see hook.c. */
#define KIOMMU_MEMORY_HOOK_BASE 0x10

#endif /* KIOMMU_MEMORY_UAPI_H */
