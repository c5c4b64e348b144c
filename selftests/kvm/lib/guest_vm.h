/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A guest that calls functions of the test program, and its memory slots.
 *
 * On x86 it is a KVM with one or more vCPUs. Test and guest share one image
 * (the selftest library loads the program into the guest), the area of guest
 * memory, and the BARs that are added; each has the same virtual address on
 * both sides. On s390x the guest's memory is that of kiommu_memory.ko, and the
 * test itself plays the guest, at the same addresses. So guest code is an
 * ordinary function with pointer arguments:
 *
 *	uint64_t s = kiommu_guest_call(&vm, sum, p, 4);
 *
 * Guest functions must not call libc, may use GUEST_ASSERT(), and return
 * uint64_t or int64_t. Globals are the guest's own copy.
 *
 * Further vCPUs run functions at the same time, each in a thread of the test:
 *
 *	struct kiommu_vcpu other;
 *
 *	kiommu_vm_add_vcpu(&vm, &other);
 *	... in a thread: kiommu_vcpu_call(&other, sum, p, 4);
 */
#ifndef KIOMMU_SELFTEST_GUEST_VM_H
#define KIOMMU_SELFTEST_GUEST_VM_H

#include "kvm_util.h"

#include "area.h"
#include "host.h"
#include "vfio.h"

/*
 * Guest physical addresses and slots. Slot 0 and GPA 0 are the library's. All
 * of these can also be IOVAs of a guest without tables.
 */
#define KIOMMU_AREA_GPA (KIOMMU_IOVA_BASE + 0x40000000ull)
#define KIOMMU_AREA_SLOT 1
#define KIOMMU_BAR_GPA(i) (KIOMMU_IOVA_BASE + 0x80000000ull + (i) * 0x1000000ull)
#define KIOMMU_BAR_SLOT(i) (2 + (i))
/* Free for tests. */
#define KIOMMU_FREE_GPA (KIOMMU_IOVA_BASE + 0xc0000000ull)
#define KIOMMU_FREE_SLOT 16
/* Memory that devices need for themselves, see dma.h. */
#define KIOMMU_DMA_GPA(i) (KIOMMU_IOVA_BASE + 0x700000000ull + (i) * 0x10000ull)
#define KIOMMU_DMA_IOVA(i) KIOMMU_DMA_GPA(i)
#define KIOMMU_DMA_SLOT(i) (64 + (i))

#define KIOMMU_AREA_SIZE (64ull << 20)
#define KIOMMU_CALL_ARGS 6

struct kiommu_call;

struct kiommu_vm {
	int fd;			/* for KVM_IOMMU_START; -1 once it is freed */
	struct kiommu_area *area;
	/* Only if the guest is a KVM. */
	struct kvm_vm *vm;
	struct kvm_vcpu *vcpu;
	struct kiommu_call *call;
};

/*
 * @size: bytes of the area, a multiple of 2M. @backing: VM_MEM_SRC_ANONYMOUS,
 * or VM_MEM_SRC_ANONYMOUS_THP (huge pages if the host has them).
 */
void kiommu_vm_create(struct kiommu_vm *vm, uint64_t size,
		      enum vm_mem_backing_src_type backing);
/* A guest without an area, which runs no functions. */
void kiommu_vm_create_bare(struct kiommu_vm *vm);
/* May be called again. */
void kiommu_vm_free(struct kiommu_vm *vm);

/*
 * Opens files that belong to guests but that KVM_IOMMU_START does not accept,
 * at most @most. Return: the number of file descriptors in @fds.
 */
unsigned int kiommu_vm_other_files(struct kiommu_vm *vm, int *fds,
				   unsigned int most);

/*
 * KVM_SET_USER_MEMORY_REGION, or its counterpart without KVM. @size 0 deletes
 * the slot. @flags: KVM_MEM_READONLY, KVM_MEM_LOG_DIRTY_PAGES. Return: 0 or
 * -errno.
 */
int kiommu_vm_set_slot(struct kiommu_vm *vm, uint32_t slot, uint32_t flags,
		       uint64_t gpa, uint64_t size, void *mem);

/* Adds a slot of new anonymous memory, which is returned; deletes both. */
void *kiommu_vm_add_memory(struct kiommu_vm *vm, uint32_t slot, uint64_t gpa,
			   uint64_t pages, uint32_t flags);
void kiommu_vm_del_memory(struct kiommu_vm *vm, uint32_t slot, void *mem,
			  uint64_t pages);

/*
 * KVM's device of type VFIO, by which VFIO learns that the guest owns groups
 * (kiommu_kvm_add_group). Return: its file descriptor, which keeps the guest.
 *
 * If the guest is not a KVM, or the domain has a file (front.h), the library does
 * what KVM and VFIO would: it starts the domain with the guest when a device is
 * opened.
 */
int kiommu_vm_open_vfio(struct kiommu_vm *vm);
int kiommu_kvm_add_group(int kvm_vfio, struct kiommu_device *dev);
int kiommu_kvm_del_group(int kvm_vfio, struct kiommu_device *dev);

/*
 * Add and delete slot KIOMMU_BAR_SLOT(@i), the device's BAR 0 as mapped in this
 * process. They do nothing where BARs cannot be mapped.
 */
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

/*
 * As kiommu_guest_run(), while the @n-th allocation or copy of this thread
 * fails; *@fired is set to whether there was one. x86 only.
 */
uint64_t kiommu_guest_run_failing(struct kiommu_vm *vm, const uint64_t *call,
				  unsigned int n, bool *fired);

/*
 * A vCPU besides the first one. It is freed with the guest, and only one thread
 * may use it at a time. If the guest is not a KVM, that thread plays the vCPU.
 */
struct kiommu_vcpu {
	struct kvm_vcpu *vcpu;
	struct kiommu_call *call;
};

void kiommu_vm_add_vcpu(struct kiommu_vm *vm, struct kiommu_vcpu *vcpu);

/* As kiommu_guest_call() and kiommu_guest_run(). */
#define kiommu_vcpu_call(vcpu, args...)					\
	kiommu_vcpu_run(vcpu, (const uint64_t[])			\
			KIOMMU_CALL(args, 0, 0, 0, 0, 0, 0))
uint64_t kiommu_vcpu_run(struct kiommu_vcpu *vcpu, const uint64_t *call);

#endif
