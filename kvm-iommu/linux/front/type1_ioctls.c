// SPDX-License-Identifier: GPL-2.0-only
/*
 * Ioctls of type1 on our domains, see linux/kvm_iommu.h: a VMM that knows
 * type1 can ask for page sizes and IOVA ranges, map and unmap. For dirty pages
 * see type1_dirty.c.
 *
 * In the domain of a container that was opened as one of type1 they do what type1
 * does, with the same checks and errors in the same order, until a KVM is registered.
 */
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/vfio.h>

#include <linux/kvm_iommu.h>

#include "front/dirty.h"
#include "front/ioctls.h"
#include "object/lock.h"
#include "object/object.h"
#include "object/user_maps.h"

static bool type1;
module_param(type1, bool, 0644);
MODULE_PARM_DESC(type1,
		 "Serve containers of VFIO_TYPE1_IOMMU, VFIO_TYPE1v2_IOMMU, too (default: no)");

bool kiommu_serves_type1(void)
{
	return READ_ONCE(type1);
}

long kiommu_check_extension(struct kiommu_object *object,
			    unsigned long extension)
{
	long ret;

	switch (extension) {
	case VFIO_KVM_IOMMU:
		return 1;
	case VFIO_TYPE1_IOMMU:
	case VFIO_TYPE1v2_IOMMU:
		return object ? object->type1 : kiommu_serves_type1();
	case VFIO_UNMAP_ALL:
		return object || kiommu_serves_type1();
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

/* Adds the unreserved parts of the aperture up to @end as a capability. */
static int add_iova_ranges(const struct kiommu_host_caps *caps, u64 end,
			   struct vfio_info_cap *chain)
{
	struct vfio_iommu_type1_info_cap_iova_range *cap;
	u64 first = caps->aperture.first, last = min(caps->aperture.last, end);
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
		if (window->first > last)
			break;
		if (window->first > first) {
			cap->iova_ranges[n].start = first;
			cap->iova_ranges[n++].end = window->first - 1;
		}
		more = window->last < last;
		first = window->last + 1;
	}
	if (more) {
		cap->iova_ranges[n].start = first;
		cap->iova_ranges[n++].end = last;
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

	if (object->type1) {
		cap.avail = kiommu_user_maps_avail(object);
		return vfio_info_add_capability(chain, &cap.header, sizeof(cap));
	}
	kiommu_core_get_info(object->domain, &core);
	if (core.shadow_bytes < core.shadow_limit)
		left = (core.shadow_limit - core.shadow_bytes) >> PAGE_SHIFT;
	cap.avail = min_t(u64, left, U32_MAX);
	return vfio_info_add_capability(chain, &cap.header, sizeof(cap));
}

static int add_capabilities(struct kiommu_object *object,
			    struct vfio_info_cap *chain)
{
	u64 end = object->type1 ? KIOMMU_USER_IOVA_END - 1 : U64_MAX;

	return add_iova_ranges(&object->hosts.caps, end, chain) ?:
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
	 * is fine. Type1 tells those of the host's tables.
	 */
	info.iova_pgsizes = object->type1 ?
		(object->hosts.caps.page_sizes & PAGE_MASK) | PAGE_SIZE :
		PAGE_MASK;
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

/* Whether @iova, @size are not a range of whole pages: type1 says EINVAL. */
static bool is_bad_range(u64 iova, u64 size)
{
	return !size || !PAGE_ALIGNED(iova | size) || iova + size - 1 < iova;
}

static long map_user(struct kiommu_object *object, void __user *argp)
{
	const size_t min_size = offsetofend(struct vfio_iommu_type1_dma_map, size);
	const u32 rights = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE;
	struct vfio_iommu_type1_dma_map map;
	struct kiommu_user_mapping mapping;

	if (copy_from_user(&map, argp, min_size))
		return -EFAULT;
	if (map.argsz < min_size || map.flags & ~rights || !map.flags ||
	    is_bad_range(map.iova, map.size) || is_bad_range(map.vaddr, map.size))
		return -EINVAL;
	mapping = (struct kiommu_user_mapping){
		.iova = map.iova,
		.size = map.size,
		.vaddr = map.vaddr,
		.rights = map.flags,
	};
	return kiommu_user_map(object, &mapping);
}

static int unmap_user(struct kiommu_object *object,
		      struct vfio_iommu_type1_dma_unmap *unmap)
{
	const bool all = unmap->flags & VFIO_DMA_UNMAP_FLAG_ALL;

	if (unmap->flags & ~VFIO_DMA_UNMAP_FLAG_ALL)
		return -EINVAL;
	if (all ? unmap->iova || unmap->size :
		  is_bad_range(unmap->iova, unmap->size))
		return -EINVAL;
	return kiommu_user_unmap(object, unmap->iova,
				 all ? U64_MAX : unmap->iova + unmap->size - 1,
				 &unmap->size);
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
	ret = kiommu_lock_shared(object);
	if (ret)
		return ret;
	/* It was asked without D whether there is a KVM. */
	if (object->user) {
		kiommu_unlock_shared(object);
		return map_user(object, argp);
	}
	ret = map.flags != rights ? -EOPNOTSUPP :
				    kiommu_object_check_caller(object);
	if (!ret)
		ret = kiommu_core_refresh(object->domain, map.iova,
					  map.size, &result);
	kiommu_unlock_shared(object);
	return ret;
}

static int unmap_guest(struct kiommu_object *object,
		       struct vfio_iommu_type1_dma_unmap *unmap)
{
	u64 pages = 0;
	int ret;

	if (unmap->flags & ~VFIO_DMA_UNMAP_FLAG_ALL)
		return -EOPNOTSUPP;
	if (unmap->flags && (unmap->iova || unmap->size))
		return -EINVAL;
	ret = kiommu_lock_shared(object);
	if (ret)
		return ret;
	/* As in map_dma(). */
	if (object->user) {
		kiommu_unlock_shared(object);
		return unmap_user(object, unmap);
	}
	if (unmap->flags)
		ret = kiommu_core_unmap_all(object->domain, &pages);
	else
		ret = kiommu_core_unmap(object->domain, unmap->iova,
					unmap->size, &pages);
	kiommu_unlock_shared(object);
	unmap->size = pages << PAGE_SHIFT;
	return ret;
}

static long unmap_dma(struct kiommu_object *object, void __user *argp, bool user)
{
	const size_t min_size =
		offsetofend(struct vfio_iommu_type1_dma_unmap, size);
	struct vfio_iommu_type1_dma_unmap unmap;
	int ret;

	if (copy_from_user(&unmap, argp, min_size))
		return -EFAULT;
	if (unmap.argsz < min_size)
		return -EINVAL;
	if (unmap.flags & VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP)
		return kiommu_type1_unmap_dirty(object, argp);
	/* A call whose answer could not be stored must change nothing. */
	if (copy_to_user(argp, &unmap, min_size))
		return -EFAULT;
	ret = user ? unmap_user(object, &unmap) : unmap_guest(object, &unmap);
	if (ret && ret != -ENOMEM)
		return ret;
	if (copy_to_user(argp, &unmap, min_size))
		return -EFAULT;
	return ret;
}

long kiommu_type1_ioctl(struct kiommu_object *object, unsigned int cmd,
			unsigned long arg)
{
	void __user *argp = (void __user *)arg;
	bool user;
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
	user = kiommu_takes_user_maps(object);
	switch (cmd) {
	case VFIO_IOMMU_GET_INFO:
		return get_info(object, argp);
	case VFIO_IOMMU_MAP_DMA:
		return user ? map_user(object, argp) : map_dma(object, argp);
	case VFIO_IOMMU_UNMAP_DMA:
		return unmap_dma(object, argp, user);
	case VFIO_IOMMU_DIRTY_PAGES:
		return kiommu_type1_dirty_pages(object, argp);
	default:
		return -ENOTTY;
	}
}
