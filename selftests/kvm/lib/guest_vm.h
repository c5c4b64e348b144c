/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A KVM guest with one vCPU that calls functions of the test program.
 *
 * Test and guest share one image (the selftest library loads the program into
 * the guest), the area of guest memory, and the BARs that are added; each has
 * the same virtual address on both sides. So a guest's part is an ordinary
 * function with pointer arguments:
 *
 *	static uint64_t sum(const uint64_t *p, uint64_t count) { ... }
 *	uint64_t s = kiommu_guest_call(&vm, sum, p, 4);
 *
 * Guest functions call nothing of libc, may use GUEST_ASSERT(), and return
 * uint64_t or int64_t. Globals are the guest's own copy.
 */
#ifndef KIOMMU_SELFTEST_GUEST_VM_H
#define KIOMMU_SELFTEST_GUEST_VM_H

#include "kvm_util.h"

#include "area.h"
#include "vfio.h"

/* Guest physical addresses and slots. Slot 0 and GPA 0 are the library's. */
#define KIOMMU_AREA_GPA 0x40000000ull
#define KIOMMU_AREA_SLOT 1
#define KIOMMU_BAR_GPA(i) (0x80000000ull + (i) * 0x1000000ull)
#define KIOMMU_BAR_SLOT(i) (2 + (i))
/* Free for tests. */
#define KIOMMU_FREE_GPA 0xc0000000ull
#define KIOMMU_FREE_SLOT 16

#define KIOMMU_AREA_SIZE (64ull << 20)
#define KIOMMU_CALL_ARGS 6

struct kiommu_call;

struct kiommu_vm {
	struct kvm_vm *vm;
	struct kvm_vcpu *vcpu;
	struct kiommu_area *area;
	struct kiommu_call *call;
};

/*
 * @size: bytes of the area, a multiple of 2M. @backing: VM_MEM_SRC_ANONYMOUS,
 * VM_MEM_SRC_ANONYMOUS_THP (2M pages where the host has them),
 * VM_MEM_SRC_SHMEM, ...
 */
void kiommu_vm_create(struct kiommu_vm *vm, uint64_t size,
		      enum vm_mem_backing_src_type backing);
/* Once more is harmless. */
void kiommu_vm_free(struct kiommu_vm *vm);

/* The device's BAR 0, mapped in this process, in slot KIOMMU_BAR_SLOT(@i). */
void kiommu_vm_add_bar(struct kiommu_vm *vm, unsigned int i,
		       const struct kiommu_device *dev);
void kiommu_vm_del_bar(struct kiommu_vm *vm, unsigned int i,
		       const struct kiommu_device *dev);

/*
 * kiommu_guest_call(vm, fn, ...): runs the guest until @fn has returned; up to
 * KIOMMU_CALL_ARGS arguments, each an integer or a pointer.
 */
#define kiommu_guest_call(vm, args...)					\
	kiommu_guest_run(vm, (const uint64_t[])				\
			 KIOMMU_CALL(args, 0, 0, 0, 0, 0, 0))
#define KIOMMU_CALL(fn, a, b, c, d, e, f, ...)				\
	{ (uint64_t)(fn), (uint64_t)(a), (uint64_t)(b), (uint64_t)(c),	\
	  (uint64_t)(d), (uint64_t)(e), (uint64_t)(f) }

/* @call: the function and KIOMMU_CALL_ARGS arguments. */
uint64_t kiommu_guest_run(struct kiommu_vm *vm, const uint64_t *call);

#endif
