// SPDX-License-Identifier: GPL-2.0-only
/*
 * A guest without KVM, see guest_vm.h. Its memory slots are those of
 * kiommu_memory.ko; its functions are called directly.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <sys/mman.h>

#include "kvm_util.h"

#include "guest_vm.h"
#include "ioctls.h"
#include "modules/memory/kiommu_memory.h"

static_assert(!((KIOMMU_MEMORY_READONLY ^ KVM_MEM_READONLY) |
		(KIOMMU_MEMORY_LOG_DIRTY ^ KVM_MEM_LOG_DIRTY_PAGES)),
	      "flags of slots");

typedef uint64_t (*guest_fn)(uint64_t a, uint64_t b, uint64_t c, uint64_t d,
			     uint64_t e, uint64_t f);

static void *map_memory(uint64_t size)
{
	void *mem = mmap(NULL, size, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	TEST_ASSERT(mem != MAP_FAILED, "mmap: %s", strerror(errno));
	return mem;
}

/* Aligned to 2M, as it is in the guest. */
static void *map_area(uint64_t size, enum vm_mem_backing_src_type backing)
{
	char *mem = map_memory(size + KIOMMU_2M);
	char *area = (char *)(((uintptr_t)mem + KIOMMU_2M - 1) & ~(KIOMMU_2M - 1));

	if (area > mem)
		munmap(mem, area - mem);
	munmap(area + size, mem + KIOMMU_2M - area);
	/* Only a hint: the machine may have no huge pages. */
	if (backing == VM_MEM_SRC_ANONYMOUS_THP)
		madvise(area, size, MADV_HUGEPAGE);
	return area;
}

void kiommu_vm_create_bare(struct kiommu_vm *vm)
{
	memset(vm, 0, sizeof(*vm));
	vm->fd = open_path_or_exit("/dev/kiommu_memory", O_RDWR);
}

void kiommu_vm_create(struct kiommu_vm *vm, uint64_t size,
		      enum vm_mem_backing_src_type backing)
{
	char *mem;
	int ret;

	kiommu_vm_create_bare(vm);
	mem = map_area(size, backing);
	ret = kiommu_vm_set_slot(vm, KIOMMU_AREA_SLOT, 0, KIOMMU_AREA_GPA, size,
				 mem);
	TEST_ASSERT(!ret, "slot of the area: %d", ret);
	vm->area = (struct kiommu_area *)mem;
	vm->area->mem = mem;
	vm->area->gpa = KIOMMU_AREA_GPA;
	vm->area->size = size;
	/* Tables and buffers begin on a page of their own. */
	vm->area->used = KIOMMU_PAGE;
}

void kiommu_vm_free(struct kiommu_vm *vm)
{
	if (vm->fd >= 0)
		close(vm->fd);
	if (vm->area)
		munmap(vm->area, vm->area->size);
	memset(vm, 0, sizeof(*vm));
	vm->fd = -1;
}

unsigned int kiommu_vm_other_files(struct kiommu_vm *vm, int *fds,
				   unsigned int most)
{
	(void)vm;
	(void)fds;
	(void)most;
	return 0;
}

int kiommu_vm_set_slot(struct kiommu_vm *vm, uint32_t slot, uint32_t flags,
		       uint64_t gpa, uint64_t size, void *mem)
{
	struct kiommu_memory_slot arg = {
		.slot = slot,
		.flags = flags,
		.gpa = gpa,
		.size = size,
		.userspace_addr = (uintptr_t)mem,
	};

	return kiommu_ioctl(vm->fd, KIOMMU_MEMORY_SET_SLOT, &arg);
}

void *kiommu_vm_add_memory(struct kiommu_vm *vm, uint32_t slot, uint64_t gpa,
			   uint64_t pages, uint32_t flags)
{
	void *mem = map_memory(pages * KIOMMU_PAGE);
	int ret = kiommu_vm_set_slot(vm, slot, flags, gpa, pages * KIOMMU_PAGE,
				     mem);

	TEST_ASSERT(!ret, "slot %u: %d", slot, ret);
	return mem;
}

void kiommu_vm_del_memory(struct kiommu_vm *vm, uint32_t slot, void *mem,
			  uint64_t pages)
{
	int ret = kiommu_vm_set_slot(vm, slot, 0, 0, 0, NULL);

	TEST_ASSERT(!ret, "slot %u: %d", slot, ret);
	munmap(mem, pages * KIOMMU_PAGE);
}

int kiommu_vm_open_vfio(struct kiommu_vm *vm)
{
	int fd = dup(vm->fd);

	TEST_ASSERT(fd >= 0, "dup: %s", strerror(errno));
	return fd;
}

int kiommu_kvm_add_group(int kvm_vfio, struct kiommu_device *dev)
{
	dev->guest = kvm_vfio;
	return 0;
}

int kiommu_kvm_del_group(int kvm_vfio, struct kiommu_device *dev)
{
	(void)kvm_vfio;
	dev->guest = -1;
	return 0;
}

/*
 * Registers the guest, as KVM would if it was told of the group. A container
 * with another guest keeps that (EBUSY); type1 does not know of guests
 * (ENOTTY).
 */
int kiommu_device_opened(struct kiommu_device *dev)
{
	int ret;

	/* A client of type1 has no guest registered, until it asks for that. */
	if (dev->guest < 0 ||
	    kiommu_check_extension(dev->container, VFIO_TYPE1v2_IOMMU) == 1)
		return 0;
	ret = kiommu_start(dev->container, dev->guest);
	return ret == -EBUSY ? 0 : ret;
}

void kiommu_vm_add_bar(struct kiommu_vm *vm, unsigned int i,
		       const struct kiommu_device *dev)
{
	(void)vm;
	(void)i;
	(void)dev;
}

void kiommu_vm_del_bar(struct kiommu_vm *vm, unsigned int i,
		       const struct kiommu_device *dev)
{
	(void)vm;
	(void)i;
	(void)dev;
}

uint64_t kiommu_guest_run(struct kiommu_vm *vm, const uint64_t *call)
{
	(void)vm;
	return ((guest_fn)call[0])(call[1], call[2], call[3], call[4], call[5],
				   call[6]);
}

void kiommu_vm_add_vcpu(struct kiommu_vm *vm, struct kiommu_vcpu *vcpu)
{
	(void)vm;
	memset(vcpu, 0, sizeof(*vcpu));
}

uint64_t kiommu_vcpu_run(struct kiommu_vcpu *vcpu, const uint64_t *call)
{
	(void)vcpu;
	return kiommu_guest_run(NULL, call);
}
