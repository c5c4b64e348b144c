/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * /dev/kiommu_memory on a kernel with the hook asm/zpci_iommu.h: calls the hook
 * as KVM does, with the open file in place of the KVM.
 */
#ifndef KIOMMU_HOOK_UAPI_H
#define KIOMMU_HOOK_UAPI_H

#include "kiommu_memory.h"

enum kiommu_hook_operation {
	/* The operations of KVM_S390_ZPCI_OP. */
	KIOMMU_HOOK_START = 0x40,
	KIOMMU_HOOK_STOP = 0x41,
	KIOMMU_HOOK_REG_IOAT = 0x42,
	KIOMMU_HOOK_DEREG_IOAT = 0x43,
	KIOMMU_HOOK_SET_STATE = 0x44,
	/* Only returns the output. */
	KIOMMU_HOOK_QUERY = 0,
	/* Disables and enables the function, as is done when KVM gets it. */
	KIOMMU_HOOK_RESET = 1,
	/*
	 * Sets the handle by which Linux knows the function to @fh: machines
	 * change it with a reset, QEMU does not. Until the old handle is set
	 * again, the function may only be used through the hook.
	 */
	KIOMMU_HOOK_SET_HANDLE = 2,
};

/**
 * struct kiommu_hook_op - KIOMMU_HOOK_OP
 * @function: the zPCI function.
 * @operation: enum kiommu_hook_operation.
 * @iota: for REG_IOAT; @pba, @pal: likewise.
 * @state: for SET_STATE.
 * @fh: for SET_HANDLE; out: the function's handle now.
 * @start_dma: out: the first IOVA of the function, bytes.
 * @end_dma: out: the last one.
 *
 * Return: what the hook returns; ENODEV if there is no such function; EREMOTEIO
 * if the machine refused a reset; EINVAL; EFAULT; EIO.
 */
struct kiommu_hook_op {
	struct kiommu_memory_function function;
	__u32 operation;
	__u64 iota;
	__u64 pba;
	__u64 pal;
	__u32 state;
	__u32 fh;
	__u64 start_dma;
	__u64 end_dma;
};

#define KIOMMU_HOOK_OP \
	_IOWR(KIOMMU_MEMORY_TYPE, KIOMMU_MEMORY_HOOK_BASE, struct kiommu_hook_op)

/* The outcome of an RPCIT, if it is not a negative errno. */
enum kiommu_hook_outcome {
	KIOMMU_HOOK_DONE = 0,
	KIOMMU_HOOK_PROGRAM = 1,
	KIOMMU_HOOK_RETRY = 2,
};

/**
 * struct kiommu_hook_rpcit - KIOMMU_HOOK_RPCIT: as struct zpci_rpcit
 * @problem_state: in; @r1, @r2: in.
 * @gprs: in, out.
 * @cc: out; @program_code: out.
 * @outcome: out: enum kiommu_hook_outcome, or -errno.
 *
 * Return: 0; EFAULT; EIO.
 */
struct kiommu_hook_rpcit {
	__u32 problem_state;
	__u32 r1;
	__u32 r2;
	__u32 cc;
	__u64 gprs[3];
	__u32 program_code;
	__s32 outcome;
};

#define KIOMMU_HOOK_RPCIT \
	_IOWR(KIOMMU_MEMORY_TYPE, KIOMMU_MEMORY_HOOK_BASE + 1, struct kiommu_hook_rpcit)

#endif /* KIOMMU_HOOK_UAPI_H */
