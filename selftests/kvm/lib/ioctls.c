// SPDX-License-Identifier: GPL-2.0-only
/* The ioctls of a container as functions, and the memory that they charge. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <sys/ioctl.h>

#include "test_util.h"

#include "dma.h"
#include "front.h"
#include "ioctls.h"

int kiommu_ioctl(int fd, unsigned long request, void *arg)
{
	int ret;

	if (kiommu_front_takes(fd, request, arg, &ret))
		return ret;
	ret = ioctl(kiommu_front_of(fd, request), request, arg);
	return ret < 0 ? -errno : ret;
}

int kiommu_get_info(int fd, struct kvm_iommu_info *info)
{
	memset(info, 0, sizeof(*info));
	info->size = sizeof(*info);
	return kiommu_ioctl(fd, KVM_IOMMU_GET_INFO, info);
}

int kiommu_get_state(int fd)
{
	struct kvm_iommu_info info;
	int ret = kiommu_get_info(fd, &info);

	return ret ? ret : (int)info.state;
}

int kiommu_start(int fd, int kvm_fd)
{
	struct kvm_iommu_start arg = { .size = sizeof(arg), .kvm_fd = kvm_fd };

	return kiommu_ioctl(fd, KVM_IOMMU_START, &arg);
}

int kiommu_stop(int fd)
{
	struct kvm_iommu_stop arg = { .size = sizeof(arg) };

	return kiommu_ioctl(fd, KVM_IOMMU_STOP, &arg);
}

int kiommu_register(int fd, const struct kvm_iommu_register_ioat *anchor)
{
	struct kvm_iommu_register_ioat arg = *anchor;

	return kiommu_ioctl(fd, KVM_IOMMU_REGISTER_IOAT, &arg);
}

int kiommu_register_tables(int fd, const struct ioat *t)
{
	struct kvm_iommu_register_ioat anchor = ioat_anchor(t);
	int ret = kiommu_register(fd, &anchor);

	if (!ret)
		kiommu_dma_anchor(fd, t, 0);
	return ret;
}

int kiommu_register_identity(int fd, uint64_t offset)
{
	struct kvm_iommu_register_ioat anchor = {
		.size = sizeof(anchor),
		.format = KVM_IOMMU_FORMAT_IDENTITY,
		.offset = offset,
		.rights = KVM_IOMMU_READ | KVM_IOMMU_WRITE,
	};
	int ret = kiommu_register(fd, &anchor);

	if (!ret)
		kiommu_dma_anchor(fd, NULL, offset);
	return ret;
}

int kiommu_unregister(int fd)
{
	struct kvm_iommu_unregister_ioat arg = { .size = sizeof(arg) };

	return kiommu_ioctl(fd, KVM_IOMMU_UNREGISTER_IOAT, &arg);
}

int kiommu_refresh(int fd, uint64_t iova, uint64_t length,
		   struct kvm_iommu_refresh *result)
{
	struct kvm_iommu_refresh arg = {
		.size = sizeof(arg),
		.iova = iova,
		.length = length,
	};
	int ret = kiommu_ioctl(fd, KVM_IOMMU_REFRESH, &arg);

	if (result)
		*result = arg;
	return ret;
}

int kiommu_translate(int fd, uint64_t iova, struct kvm_iommu_translate *result)
{
	memset(result, 0, sizeof(*result));
	result->size = sizeof(*result);
	result->iova = iova;
	return kiommu_ioctl(fd, KVM_IOMMU_TRANSLATE, result);
}

int kiommu_pin_memory(int fd, uint64_t gpa, uint64_t length)
{
	struct kvm_iommu_pin_memory arg = {
		.size = sizeof(arg),
		.gpa = gpa,
		.length = length,
	};

	return kiommu_ioctl(fd, KVM_IOMMU_PIN_MEMORY, &arg);
}

int kiommu_unpin_memory(int fd, uint64_t gpa, uint64_t length)
{
	struct kvm_iommu_unpin_memory arg = {
		.size = sizeof(arg),
		.gpa = gpa,
		.length = length,
	};

	return kiommu_ioctl(fd, KVM_IOMMU_UNPIN_MEMORY, &arg);
}

int kiommu_set_idle_limit(int fd, uint64_t pages)
{
	struct kvm_iommu_set_idle_limit arg = {
		.size = sizeof(arg),
		.pages = pages,
	};

	return kiommu_ioctl(fd, KVM_IOMMU_SET_IDLE_LIMIT, &arg);
}

int kiommu_map_dma(int fd, const void *vaddr, uint64_t iova, uint64_t size,
		   uint32_t flags)
{
	struct vfio_iommu_type1_dma_map arg = {
		.argsz = sizeof(arg),
		.flags = flags,
		.vaddr = (uintptr_t)vaddr,
		.iova = iova,
		.size = size,
	};

	return kiommu_ioctl(fd, VFIO_IOMMU_MAP_DMA, &arg);
}

int kiommu_unmap_dma(int fd, uint64_t iova, uint64_t *size, uint32_t flags)
{
	struct vfio_iommu_type1_dma_unmap arg = {
		.argsz = sizeof(arg),
		.flags = flags,
		.iova = iova,
		.size = *size,
	};
	int ret = kiommu_ioctl(fd, VFIO_IOMMU_UNMAP_DMA, &arg);

	*size = arg.size;
	return ret;
}

int kiommu_translate_range(int fd, struct kvm_iommu_translate_range *cmd)
{
	cmd->size = sizeof(*cmd);
	return kiommu_ioctl(fd, KVM_IOMMU_TRANSLATE_RANGE, cmd);
}

int kiommu_dirty_log(int fd, uint32_t op)
{
	struct kvm_iommu_dirty_log arg = { .size = sizeof(arg), .op = op };

	return kiommu_ioctl(fd, KVM_IOMMU_DIRTY_LOG, &arg);
}

int kiommu_dirty_read(int fd, uint64_t gpa, uint64_t length, void *bitmap,
		      struct kvm_iommu_dirty_log *result)
{
	struct kvm_iommu_dirty_log arg = {
		.size = sizeof(arg),
		.op = KVM_IOMMU_DIRTY_READ,
		.gpa = gpa,
		.length = length,
		.bitmap = (uintptr_t)bitmap,
	};
	int ret = kiommu_ioctl(fd, KVM_IOMMU_DIRTY_LOG, &arg);

	if (result)
		*result = arg;
	return ret;
}

int kiommu_dirty_pages(int fd, uint32_t flags)
{
	struct vfio_iommu_type1_dirty_bitmap arg = {
		.argsz = sizeof(arg),
		.flags = flags,
	};

	return kiommu_ioctl(fd, VFIO_IOMMU_DIRTY_PAGES, &arg);
}

int kiommu_get_dirty_pages(int fd, uint64_t iova, uint64_t size, uint64_t *bitmap,
			   uint64_t bytes)
{
	struct {
		struct vfio_iommu_type1_dirty_bitmap head;
		struct vfio_iommu_type1_dirty_bitmap_get range;
	} arg = {
		.head.argsz = sizeof(arg),
		.head.flags = VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP,
		.range.iova = iova,
		.range.size = size,
		.range.bitmap.pgsize = KIOMMU_PAGE,
		.range.bitmap.size = bytes,
		.range.bitmap.data = (__u64 *)bitmap,
	};

	return kiommu_ioctl(fd, VFIO_IOMMU_DIRTY_PAGES, &arg);
}

int kiommu_unmap_dirty(int fd, uint64_t iova, uint64_t *size, uint64_t *bitmap,
		       uint64_t bytes)
{
	struct {
		struct vfio_iommu_type1_dma_unmap head;
		struct vfio_bitmap bitmap;
	} arg = {
		.head.argsz = sizeof(arg),
		.head.flags = VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP,
		.head.iova = iova,
		.head.size = *size,
		.bitmap.pgsize = KIOMMU_PAGE,
		.bitmap.size = bytes,
		.bitmap.data = (__u64 *)bitmap,
	};
	int ret = kiommu_ioctl(fd, VFIO_IOMMU_UNMAP_DMA, &arg);

	*size = arg.head.size;
	return ret;
}

static uint64_t status_bytes(const char *format)
{
	FILE *file = fopen("/proc/self/status", "r");
	unsigned long long kib = 0;
	bool found = false;
	char line[256];

	TEST_ASSERT(file, "no /proc/self/status");
	while (!found && fgets(line, sizeof(line), file))
		found = sscanf(line, format, &kib) == 1;
	fclose(file);
	TEST_ASSERT(found, "no line '%s' in /proc/self/status", format);
	return kib * 1024;
}

uint64_t kiommu_locked_vm(void)
{
	return status_bytes("VmLck: %llu kB");
}

uint64_t kiommu_pinned_vm(void)
{
	return status_bytes("VmPin: %llu kB");
}
