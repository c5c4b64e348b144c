// SPDX-License-Identifier: GPL-2.0-only
/*
 * Dirty pages by IOVA, as clients of type1 know them, see linux/kvm_iommu.h.
 * Arguments are checked as type1 does, with the same errors; bitmaps are
 * machine words, as with type1.
 *
 * A page is dirty if a device can write to it, or could until the unmap that
 * reports it. The only state by IOVA is whether dirty pages were asked for.
 */
#include <linux/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/vfio.h>

#include <linux/kvm_iommu.h>

#include "core_dirty.h"
#include "front/dirty.h"
#include "front/ioctls.h"
#include "object/lock.h"
#include "object/object.h"
#include "object/user_maps.h"

/* Same as type1's DIRTY_BITMAP_SIZE_MAX. */
#define BITMAP_SIZE_MAX kiommu_bitmap_bytes(INT_MAX)

int kiommu_add_migration_cap(struct vfio_info_cap *chain)
{
	struct vfio_iommu_type1_info_cap_migration cap = {
		.header.id = VFIO_IOMMU_TYPE1_INFO_CAP_MIGRATION,
		.header.version = 1,
		.pgsize_bitmap = PAGE_SIZE,
		.max_dirty_bitmap_size = BITMAP_SIZE_MAX,
	};

	return vfio_info_add_capability(chain, &cap.header, sizeof(cap));
}

static int check_bitmap(const struct vfio_bitmap *bitmap, u64 size)
{
	const u64 pages = size >> PAGE_SHIFT;

	if (bitmap->pgsize != PAGE_SIZE || !pages || !bitmap->size ||
	    bitmap->size > BITMAP_SIZE_MAX ||
	    bitmap->size < kiommu_bitmap_bytes(pages) ||
	    !access_ok(bitmap->data, bitmap->size))
		return -EINVAL;
	return 0;
}

static int set_dirty_pages(struct kiommu_object *object, bool on)
{
	int ret;

	ret = kiommu_lock_exclusive_killable(object);
	if (ret)
		return ret;
	object->dirty_pages = on;
	kiommu_unlock_exclusive(object);
	return 0;
}

/*
 * Finds the writable pages in a part of a range; if @unmapped is set, also
 * unmaps the part and counts its pages. Context: kiommu_lock_shared().
 */
static int do_part(struct kiommu_object *object, u64 iova, u64 pages,
		   kiommu_u64 *bits, u64 *unmapped)
{
	kiommu_u64 count = 0;
	int ret;

	if (!object->dirty_pages)
		return -EINVAL;
	if (!unmapped)
		return kiommu_core_writable_pages(object->domain, iova,
						  pages, bits);
	/* The KVM has left since the call began. */
	if (object->user)
		return -EBUSY;
	ret = kiommu_core_unmap_writable(object->domain, iova,
					 pages << PAGE_SHIFT, bits, &count);
	*unmapped += count;
	return ret;
}

/* Words of bitmap on the stack, which need no allocation. */
#define FEW_WORDS 32

/*
 * Goes through a range in chunks. -ENOMEM for a part does not end the loop:
 * that part is unmapped as well. To let -ENOMEM have no other meaning, the call
 * does not depend on memory of its own.
 */
static int for_parts(struct kiommu_object *object, u64 iova, u64 size,
		     const struct vfio_bitmap *bitmap, u64 *unmapped)
{
	const u64 pages = size >> PAGE_SHIFT;
	u64 chunk = min(pages, KIOMMU_CHUNK_PAGES);
	void __user *to = bitmap->data;
	kiommu_u64 few[FEW_WORDS], *bits;
	u64 done, n, bytes;
	int ret = 0, ended = 0;

	bits = kvmalloc(kiommu_bitmap_bytes(chunk), GFP_KERNEL_ACCOUNT);
	if (!bits) {
		bits = few;
		chunk = min(chunk, sizeof(few) * BITS_PER_BYTE);
	}
	for (done = 0; done < pages && !ended; done += n) {
		n = min(pages - done, chunk);
		bytes = kiommu_bitmap_bytes(n);
		memset(bits, 0, bytes);
		ended = fatal_signal_pending(current) ? -EINTR :
			kiommu_lock_shared(object);
		if (ended)
			break;
		ended = do_part(object, iova + (done << PAGE_SHIFT), n,
				bits, unmapped);
		kiommu_unlock_shared(object);
		if (ended == -ENOMEM) {
			ret = ended;
			ended = 0;
		}
		if (!ended && copy_to_user(to + done / BITS_PER_BYTE, bits,
					   bytes))
			ended = -EFAULT;
	}
	if (bits != few)
		kvfree(bits);
	return ended ?: ret;
}

/*
 * Type1 knows the mappings that a client has made, and takes no part of one. @user:
 * set if the call is for such mappings.
 */
static int check_maps(struct kiommu_object *object, u64 iova, u64 size,
		      bool *user)
{
	int ret;

	ret = kiommu_lock_shared(object);
	if (ret)
		return ret;
	*user = kiommu_takes_user_maps(object);
	if (!object->dirty_pages ||
	    (object->user && kiommu_user_maps_cut(object, iova, iova + size - 1)))
		ret = -EINVAL;
	kiommu_unlock_shared(object);
	return ret;
}

static long get_bitmap(struct kiommu_object *object, void __user *argp,
		       u32 bytes)
{
	struct vfio_iommu_type1_dirty_bitmap_get range;
	bool user;
	int ret;

	if (bytes < sizeof(range))
		return -EINVAL;
	if (copy_from_user(&range, argp, sizeof(range)))
		return -EFAULT;
	if (range.iova + range.size < range.iova ||
	    !PAGE_ALIGNED(range.iova) || !PAGE_ALIGNED(range.size))
		return -EINVAL;
	ret = check_bitmap(&range.bitmap, range.size) ?:
	      check_maps(object, range.iova, range.size, &user);
	if (ret)
		return ret;
	return for_parts(object, range.iova, range.size, &range.bitmap,
			 NULL);
}

long kiommu_type1_dirty_pages(struct kiommu_object *object,
			      void __user *argp)
{
	const size_t min_size =
		offsetofend(struct vfio_iommu_type1_dirty_bitmap, flags);
	struct vfio_iommu_type1_dirty_bitmap dirty;

	if (object->v1 && kiommu_takes_user_maps(object))
		return -EACCES;
	if (copy_from_user(&dirty, argp, min_size))
		return -EFAULT;
	if (dirty.argsz < min_size)
		return -EINVAL;
	switch (dirty.flags) {
	case VFIO_IOMMU_DIRTY_PAGES_FLAG_START:
		return set_dirty_pages(object, true);
	case VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP:
		return set_dirty_pages(object, false);
	case VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP:
		return get_bitmap(object, argp + min_size,
				  dirty.argsz - min_size);
	default:
		return -EINVAL;
	}
}

long kiommu_type1_unmap_dirty(struct kiommu_object *object,
			      void __user *argp)
{
	const size_t min_size =
		offsetofend(struct vfio_iommu_type1_dma_unmap, size);
	struct vfio_iommu_type1_dma_unmap unmap;
	struct vfio_bitmap bitmap;
	u64 pages = 0;
	bool user;
	int ret;

	if (copy_from_user(&unmap, argp, min_size))
		return -EFAULT;
	if (unmap.flags != VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP ||
	    unmap.argsz < min_size + sizeof(bitmap))
		return -EINVAL;
	if (copy_from_user(&bitmap, argp + min_size, sizeof(bitmap)))
		return -EFAULT;
	if (unmap.iova + unmap.size - 1 < unmap.iova ||
	    !PAGE_ALIGNED(unmap.iova) || !PAGE_ALIGNED(unmap.size))
		return -EINVAL;
	ret = check_bitmap(&bitmap, unmap.size) ?:
	      check_maps(object, unmap.iova, unmap.size, &user);
	if (ret)
		return ret;
	/* A call whose answer could not be stored must change nothing. */
	if (copy_to_user(argp, &unmap, min_size) ||
	    clear_user(bitmap.data,
		       kiommu_bitmap_bytes(unmap.size >> PAGE_SHIFT)))
		return -EFAULT;
	/* Mappings go as a whole, once all bits are stored. */
	ret = for_parts(object, unmap.iova, unmap.size, &bitmap,
			user ? NULL : &pages);
	if (ret && ret != -ENOMEM)
		return ret;
	if (user) {
		ret = kiommu_user_unmap(object, unmap.iova,
					unmap.iova + unmap.size - 1, &unmap.size);
		if (ret)
			return ret;
	} else {
		unmap.size = pages << PAGE_SHIFT;
	}
	if (copy_to_user(argp, &unmap, min_size))
		return -EFAULT;
	return ret;
}
