// SPDX-License-Identifier: GPL-2.0-only
/* A KVM guest that calls functions of the test program, see guest_vm.h. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "kvm_util.h"
#include "processor.h"
#include "ucall_common.h"

#include "fail_nth.h"
#include "front.h"
#include "guest_vm.h"

typedef uint64_t (*guest_fn)(uint64_t a, uint64_t b, uint64_t c, uint64_t d,
			     uint64_t e, uint64_t f);

/* The guest's next call and its result. Lies in the area. */
struct kiommu_call {
	guest_fn fn;
	uint64_t args[KIOMMU_CALL_ARGS];
	uint64_t ret;
};

static void guest_main(struct kiommu_call *call)
{
	for (;;) {
		const uint64_t *arg = call->args;

		call->ret = call->fn(arg[0], arg[1], arg[2], arg[3], arg[4],
				     arg[5]);
		GUEST_SYNC(0);
	}
}

/* Maps [hva, hva + size) in the guest at the same virtual address. */
static void map_same(struct kiommu_vm *vm, void *hva, uint64_t gpa, uint64_t size)
{
	uint64_t gva = (uint64_t)hva;

	if (!((gva | gpa | size) & (KIOMMU_2M - 1)))
		virt_map_level(vm->vm, gva, gpa, size, PG_LEVEL_2M);
	else
		virt_map(vm->vm, gva, gpa, size / KIOMMU_PAGE);
}

static void create_area(struct kiommu_vm *vm, uint64_t size,
			enum vm_mem_backing_src_type backing)
{
	char *mem;

	vm_userspace_mem_region_add(vm->vm, backing, KIOMMU_AREA_GPA,
				    KIOMMU_AREA_SLOT, size / KIOMMU_PAGE, 0);
	mem = addr_gpa2hva(vm->vm, KIOMMU_AREA_GPA);
	map_same(vm, mem, KIOMMU_AREA_GPA, size);
	vm->area = (struct kiommu_area *)mem;
	vm->area->mem = mem;
	vm->area->gpa = KIOMMU_AREA_GPA;
	vm->area->size = size;
	vm->area->used = sizeof(*vm->area);
	vm->call = kiommu_alloc(vm->area, sizeof(*vm->call), 64);
	/* Tables and buffers begin on a page of their own. */
	vm->area->used = KIOMMU_PAGE;
}

void kiommu_vm_create(struct kiommu_vm *vm, uint64_t size,
		      enum vm_mem_backing_src_type backing)
{
	/* Guest page tables for the area and for BARs mapped by 4K pages. */
	uint64_t mapped = size + KIOMMU_MAX_DEVICES * (16ull << 20);

	vm->vm = __vm_create_with_one_vcpu(&vm->vcpu, mapped / KIOMMU_PAGE,
					   guest_main);
	vm->fd = vm->vm->fd;
	create_area(vm, size, backing);
	vcpu_args_set(vm->vcpu, 1, (uint64_t)vm->call);
}

void kiommu_vm_create_bare(struct kiommu_vm *vm)
{
	memset(vm, 0, sizeof(*vm));
	vm->vm = vm_create_barebones();
	vm->fd = vm->vm->fd;
}

void kiommu_vm_free(struct kiommu_vm *vm)
{
	if (vm->vm)
		kvm_vm_free(vm->vm);
	memset(vm, 0, sizeof(*vm));
	vm->fd = -1;
}

unsigned int kiommu_vm_other_files(struct kiommu_vm *vm, int *fds,
				   unsigned int most)
{
	const int files[] = { open_kvm_dev_path_or_exit(), vm->vcpu->fd };
	unsigned int count = 0;

	for (; count < most && count < ARRAY_SIZE(files); count++)
		fds[count] = files[count];
	return count;
}

int kiommu_vm_set_slot(struct kiommu_vm *vm, uint32_t slot, uint32_t flags,
		       uint64_t gpa, uint64_t size, void *mem)
{
	int ret = __vm_set_user_memory_region(vm->vm, slot, flags, gpa, size,
					      mem);

	return ret ? -errno : 0;
}

void *kiommu_vm_add_memory(struct kiommu_vm *vm, uint32_t slot, uint64_t gpa,
			   uint64_t pages, uint32_t flags)
{
	vm_userspace_mem_region_add(vm->vm, VM_MEM_SRC_ANONYMOUS, gpa, slot,
				    pages, flags);
	return addr_gpa2hva(vm->vm, gpa);
}

void kiommu_vm_del_memory(struct kiommu_vm *vm, uint32_t slot, void *mem,
			  uint64_t pages)
{
	(void)mem;
	(void)pages;
	vm_mem_region_delete(vm->vm, slot);
}

int kiommu_vm_open_vfio(struct kiommu_vm *vm)
{
	int kvm_vfio = kvm_create_device(vm->vm, KVM_DEV_TYPE_VFIO);

	kiommu_front_note_guest(kvm_vfio, vm->fd);
	return kvm_vfio;
}

static int kvm_vfio_file(int kvm_vfio, int group, uint64_t attr)
{
	int ret = __kvm_device_attr_set(kvm_vfio, KVM_DEV_VFIO_FILE, attr,
					&group);

	return ret ? -errno : 0;
}

/*
 * KVM would keep the group's file, or the device's, open, so that the other could not
 * take its place (cdev.h).
 */
int kiommu_kvm_add_group(int kvm_vfio, struct kiommu_device *dev)
{
	int ret = kiommu_front_is_cdev() ? 0 :
		  kvm_vfio_file(kvm_vfio, dev->group, KVM_DEV_VFIO_FILE_ADD);

	if (!ret)
		dev->guest = kvm_vfio;
	return ret;
}

int kiommu_kvm_del_group(int kvm_vfio, struct kiommu_device *dev)
{
	int ret = kiommu_front_is_cdev() ? 0 :
		  kvm_vfio_file(kvm_vfio, dev->group, KVM_DEV_VFIO_FILE_DEL);

	if (!ret)
		dev->guest = -1;
	return ret;
}

/*
 * KVM has registered the guest with a container already, if it was told of the
 * group.
 */
int kiommu_device_opened(struct kiommu_device *dev)
{
	return kiommu_front_start(dev);
}

void kiommu_vm_add_bar(struct kiommu_vm *vm, unsigned int i,
		       const struct kiommu_device *dev)
{
	vm_set_user_memory_region(vm->vm, KIOMMU_BAR_SLOT(i), 0,
				  KIOMMU_BAR_GPA(i), dev->bar_size, dev->bar);
	map_same(vm, dev->bar, KIOMMU_BAR_GPA(i), dev->bar_size);
}

void kiommu_vm_del_bar(struct kiommu_vm *vm, unsigned int i,
		       const struct kiommu_device *dev)
{
	uint64_t gva = (uint64_t)dev->bar;
	uint64_t end = gva + dev->bar_size;

	vm_set_user_memory_region(vm->vm, KIOMMU_BAR_SLOT(i), 0,
				  KIOMMU_BAR_GPA(i), 0, NULL);
	while (gva < end) {
		int level = PG_LEVEL_NONE;

		*__vm_get_page_table_entry(vm->vm, gva, &level) = 0;
		gva += level == PG_LEVEL_2M ? KIOMMU_2M : KIOMMU_PAGE;
	}
}

uint64_t kiommu_guest_run(struct kiommu_vm *vm, const uint64_t *call)
{
	struct kiommu_vcpu first = { .vcpu = vm->vcpu, .call = vm->call };

	return kiommu_vcpu_run(&first, call);
}

void kiommu_vm_add_vcpu(struct kiommu_vm *vm, struct kiommu_vcpu *vcpu)
{
	uint32_t id = 0;
	struct kvm_vcpu *other;

	list_for_each_entry(other, &vm->vm->vcpus, list)
		id = max(id, other->id + 1);
	vcpu->vcpu = vm_vcpu_add(vm->vm, id, guest_main);
	vcpu->call = kiommu_alloc(vm->area, sizeof(*vcpu->call), 64);
	vcpu_args_set(vcpu->vcpu, 1, (uint64_t)vcpu->call);
}

static void begin_call(struct kiommu_vcpu *vcpu, const uint64_t *call)
{
	vcpu->call->fn = (guest_fn)call[0];
	memcpy(vcpu->call->args, &call[1], sizeof(vcpu->call->args));
}

/* Handles an exit of the guest. Return: whether the call has finished. */
static bool is_done(struct kiommu_vcpu *vcpu)
{
	struct ucall uc;

	switch (get_ucall(vcpu->vcpu, &uc)) {
	case UCALL_SYNC:
		return true;
	case UCALL_PRINTF:
		REPORT_GUEST_PRINTF(uc);
		break;
	case UCALL_ABORT:
		REPORT_GUEST_ASSERT(uc);
		break;
	default:
		TEST_FAIL("the guest stopped: exit %s",
			  exit_reason_str(vcpu->vcpu->run->exit_reason));
	}
	return false;
}

uint64_t kiommu_vcpu_run(struct kiommu_vcpu *vcpu, const uint64_t *call)
{
	begin_call(vcpu, call);
	do {
		vcpu_run(vcpu->vcpu);
	} while (!is_done(vcpu));
	return vcpu->call->ret;
}

/*
 * The failure may hit KVM itself. Then KVM_RUN fails and is called again; or
 * KVM exits to the test with a store to memory that it could not do.
 */
static bool kvm_has_failed(struct kiommu_vcpu *vcpu, int ret)
{
	const struct kvm_run *run = vcpu->vcpu->run;

	if (ret)
		TEST_ASSERT(errno == ENOMEM || errno == EFAULT, "KVM_RUN: %d", errno);
	return ret || run->exit_reason == KVM_EXIT_MMIO ||
	       (run->exit_reason == KVM_EXIT_INTERNAL_ERROR &&
		run->internal.suberror == KVM_INTERNAL_ERROR_EMULATION);
}

uint64_t kiommu_guest_run_failing(struct kiommu_vm *vm, const uint64_t *call,
				  unsigned int n, bool *fired)
{
	struct kiommu_vcpu vcpu = { .vcpu = vm->vcpu, .call = vm->call };
	int ret;

	begin_call(&vcpu, call);
	kiommu_fail_nth(n);
	ret = __vcpu_run(vcpu.vcpu);
	*fired = kiommu_fail_nth_fired();
	while (kvm_has_failed(&vcpu, ret) || !is_done(&vcpu))
		ret = __vcpu_run(vcpu.vcpu);
	return vcpu.call->ret;
}
