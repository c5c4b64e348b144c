/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What KVM does for a guest's zPCI functions, done by kiommu_memory.ko:
 * operations of the VMM (KVM_S390_ZPCI_OP), and RPCITs of the guest with
 * prepared registers.
 *
 * @vm: the file of the guest's memory, in place of the KVM's. Functions that
 * return int return 0 or -errno, unless noted otherwise.
 */
#ifndef KIOMMU_SELFTEST_ZPCI_HOOK_H
#define KIOMMU_SELFTEST_ZPCI_HOOK_H

#include <stdbool.h>
#include <stdint.h>

#include "tables.h"
#include "vfio.h"
#include "modules/memory/kiommu_hook.h"

enum zpci_state {
	ZPCI_DISABLED,
	ZPCI_ENABLED,
	ZPCI_BLOCKED,
	ZPCI_ERROR,
};

/* Bits of a function handle. */
#define ZPCI_FH_ENABLED 0x80000000u
#define ZPCI_FH_SHM 0x00ff0000u

/*
 * Whether the kernel lacks the hook; tests are then skipped with this reason.
 */
bool zpci_lacks_hook(int vm, const struct kiommu_device *dev);
#define NO_HOOK "the kernel has no asm/zpci_iommu.h"

int zpci_start(int vm, const struct kiommu_device *dev);
int zpci_stop(int vm, const struct kiommu_device *dev);
int zpci_reg_ioat(int vm, const struct kiommu_device *dev, uint64_t iota,
		  uint64_t pba, uint64_t pal);
int zpci_dereg_ioat(int vm, const struct kiommu_device *dev);
int zpci_set_state(int vm, const struct kiommu_device *dev, uint32_t state);

/* @op: handle and IOVAs of the function; may be NULL. */
int zpci_query(int vm, const struct kiommu_device *dev, struct kiommu_hook_op *op);
/* The handle of the function. */
uint32_t zpci_handle(int vm, const struct kiommu_device *dev);
/* Disables and enables the function. */
int zpci_reset(int vm, const struct kiommu_device *dev);
/* Gives the function another handle, see kiommu_hook.h. */
int zpci_set_handle(int vm, const struct kiommu_device *dev, uint32_t fh);

/*
 * The answers to an RPCIT: condition code and status, a program interruption,
 * or -EOPNOTSUPP if it is left to user space.
 */
#define ZPCI_CC(_cc, _status) ((_cc) << 8 | (_status))
#define ZPCI_DONE ZPCI_CC(0, 0)
#define ZPCI_IN_ERROR ZPCI_CC(1, 8)	/* and an event */
#define ZPCI_NO_ROOM ZPCI_CC(1, 16)
#define ZPCI_RECOVER ZPCI_CC(1, 40)
#define ZPCI_BUSY ZPCI_CC(2, 0)
#define ZPCI_NO_HANDLE ZPCI_CC(3, 0)
#define ZPCI_PROGRAM(_code) (0x10000 | (_code))

/* Any registers. Asserts that only the status changes in r1. */
int zpci_rpcit_registers(int vm, int problem_state, unsigned int r2,
			 uint64_t gr1, uint64_t gr2, uint64_t gr3);
/* A well-formed RPCIT, repeated as guests do while it is answered with CC 2. */
int zpci_rpcit(int vm, uint32_t fh, uint64_t iova, uint64_t length);

#endif
