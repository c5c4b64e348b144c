// SPDX-License-Identifier: GPL-2.0-only
/*
 * Ioctls of type1 on our domains, see linux/kvm_iommu.h: a VMM that knows
 * type1 can ask for page sizes and IOVA ranges, map and unmap. For dirty pages
 * see type1_dirty.c.
 */
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/vfio.h>

#include <linux/kvm_iommu.h>

#include "front/dirty.h"
#include "front/ioctls.h"
#include "object/lock.h"
#include "object/object.h"

long kiommu_check_extension(struct kiommu_object *object,
			    unsigned long extension)
{
	long ret;

	switch (extension) {
	case VFIO_KVM_IOMMU:
		return 1;
	case VFIO_UNMAP_ALL:
		return object ? 1 : 0;
	case VFIO_DMA_CC_IOMMU:
		if (!object)
			return 0;
		ret = kiommu_lock_shared(object);
		if (ret)
			return ret;
		ret = kiommu_hosts_coherent(&object->hosts);
		kiommu_unlock_shared(object);
		return ret;
	default:
		return 0;
	}
}

/* Adds the unreserved parts of the aperture as a capability. */
static int add_iova_ranges(const struct kiommu_host_caps *caps,
			   struct vfio_info_cap *chain)
{
	struct vfio_iommu_type1_info_cap_iova_range *cap;
	u64 first = caps->aperture.first;
	size_t size = struct_size(cap, iova_ranges, caps->reserved_count + 1);
	bool more = true;
	u32 i, n = 0;
	int ret;

	cap = kzalloc(size, GFP_KERNEL);
	if (!cap)
		return -ENOMEM;
	for (i = 0; i < caps->reserved_count && more; i++) {
		const struct kiommu_window *window = &caps->reserved[i];

		if (window->last < first)
			continue;
		if (window->first > caps->aperture.last)
			break;
		if (window->first > first) {
			cap->iova_ranges[n].start = first;
			cap->iova_ranges[n++].end = window->first - 1;
		}
		more = window->last < caps->aperture.last;
		first = window->last + 1;
	}
	if (more) {
		cap->iova_ranges[n].start = first;
		cap->iova_ranges[n++].end = caps->aperture.last;
	}
	cap->nr_iovas = n;
	cap->header.id = VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE;
	cap->header.version = 1;
	ret = vfio_info_add_capability(chain, &cap->header,
				       struct_size(cap, iova_ranges, n));
	kfree(cap);
	return ret;
}

static int add_dma_avail(struct kiommu_object *object,
			 struct vfio_info_cap *chain)
{
	struct vfio_iommu_type1_info_dma_avail cap = {
		.header.id = VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL,
		.header.version = 1,
	};
	struct kiommu_core_info core;
	u64 left = 0;

	kiommu_core_get_info(object->domain, &core);
	if (core.shadow_bytes < core.shadow_limit)
		left = (core.shadow_limit - core.shadow_bytes) >> PAGE_SHIFT;
	cap.avail = min_t(u64, left, U32_MAX);
	return vfio_info_add_capability(chain, &cap.header, sizeof(cap));
}

static int add_capabilities(struct kiommu_object *object,
			    struct vfio_info_cap *chain)
{
	return add_iova_ranges(&object->hosts.caps, chain) ?:
	       kiommu_add_migration_cap(chain) ?:
	       add_dma_avail(object, chain);
}

static long get_info(struct kiommu_object *object, void __user *argp)
{
	const size_t min_size =
		offsetofend(struct vfio_iommu_type1_info, iova_pgsizes);
	struct vfio_info_cap chain = {};
	struct vfio_iommu_type1_info info;
	u32 size;
	int ret;

	memset(&info, 0, sizeof(info));
	if (copy_from_user(&info, argp, min_size))
		return -EFAULT;
	if (info.argsz < min_size)
		return -EINVAL;
	size = min_t(u32, info.argsz, sizeof(info));

	ret = kiommu_lock_shared(object);
	if (ret)
		return ret;
	info.flags = VFIO_IOMMU_INFO_PGSIZES | VFIO_IOMMU_INFO_CAPS;
	/*
	 * The guest's pages are mapped as they come, so any size from 4 KiB on
	 * is fine.
	 */
	info.iova_pgsizes = PAGE_MASK;
	ret = add_capabilities(object, &chain);
	kiommu_unlock_shared(object);
	if (ret)
		goto out;

	if (info.argsz < sizeof(info) + chain.size) {
		info.argsz = sizeof(info) + chain.size;
	} else {
		vfio_info_cap_shift(&chain, sizeof(info));
		info.cap_offset = sizeof(info);
		if (copy_to_user(argp + sizeof(info), chain.buf, chain.size))
			ret = -EFAULT;
	}
	if (!ret && copy_to_user(argp, &info, size))
		ret = -EFAULT;
out:
	kfree(chain.buf);
	return ret;
}

static long map_dma(struct kiommu_object *object, void __user *argp)
{
	const u32 rights = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE;
	struct vfio_iommu_type1_dma_map map;
	struct kiommu_refresh_result result;
	int ret;

	if (copy_from_user(&map, argp, sizeof(map)))
		return -EFAULT;
	if (map.argsz < sizeof(map))
		return -EINVAL;
	if (map.flags != rights)
		return -EOPNOTSUPP;
	ret = kiommu_lock_shared(object);
	if (ret)
		return ret;
	ret = kiommu_object_check_caller(object);
	if (!ret)
		ret = kiommu_core_refresh(object->domain, map.iova,
					  map.size, &result);
	kiommu_unlock_shared(object);
	return ret;
}

static long unmap_dma(struct kiommu_object *object, void __user *argp)
{
	const size_t min_size =
		offsetofend(struct vfio_iommu_type1_dma_unmap, size);
	struct vfio_iommu_type1_dma_unmap unmap;
	u64 pages = 0;
	int ret;

	if (copy_from_user(&unmap, argp, min_size))
		return -EFAULT;
	if (unmap.argsz < min_size)
		return -EINVAL;
	if (unmap.flags & VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP)
		return kiommu_type1_unmap_dirty(object, argp);
	if (unmap.flags & ~VFIO_DMA_UNMAP_FLAG_ALL)
		return -EOPNOTSUPP;
	if (unmap.flags && (unmap.iova || unmap.size))
		return -EINVAL;
	/* A call whose answer could not be stored must change nothing. */
	if (copy_to_user(argp, &unmap, min_size))
		return -EFAULT;
	ret = kiommu_lock_shared(object);
	if (ret)
		return ret;
	if (unmap.flags)
		ret = kiommu_core_unmap_all(object->domain, &pages);
	else
		ret = kiommu_core_unmap(object->domain, unmap.iova,
					unmap.size, &pages);
	kiommu_unlock_shared(object);
	if (ret && ret != -ENOMEM)
		return ret;
	unmap.size = pages << PAGE_SHIFT;
	if (copy_to_user(argp, &unmap, min_size))
		return -EFAULT;
	return ret;
}

long kiommu_type1_ioctl(struct kiommu_object *object, unsigned int cmd,
			unsigned long arg)
{
	void __user *argp = (void __user *)arg;
	int ret;

	if (!object)
		return -ESTALE;
	ret = kiommu_devices_catch_up(object);
	/*
	 * -ENOMEM from an unmap means that the range is unmapped. What could
	 * not be registered is tried again by the next call.
	 */
	if (ret && !(ret == -ENOMEM && cmd == VFIO_IOMMU_UNMAP_DMA))
		return ret;
	switch (cmd) {
	case VFIO_IOMMU_GET_INFO:
		return get_info(object, argp);
	case VFIO_IOMMU_MAP_DMA:
		return map_dma(object, argp);
	case VFIO_IOMMU_UNMAP_DMA:
		return unmap_dma(object, argp);
	case VFIO_IOMMU_DIRTY_PAGES:
		return kiommu_type1_dirty_pages(object, argp);
	default:
		return -ENOTTY;
	}
}
