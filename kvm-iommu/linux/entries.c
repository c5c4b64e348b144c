// SPDX-License-Identifier: GPL-2.0-only
/*
 * Reads of the guest's tables: by the process whose memory they are, from
 * ordinary memory only.
 *
 * Locks: mmap_lock for reading, let go before the copy.
 */
#include <linux/mm.h>
#include <linux/uaccess.h>

#include "guest.h"
#include "port.h"

/*
 * A guest can point to the BAR of its device: reading registers may change
 * the device.
 */
static int check_no_mmio(struct mm_struct *mm, unsigned long hva,
			 unsigned long bytes)
{
	const unsigned long mmio = VM_IO | VM_PFNMAP;
	struct vm_area_struct *vma;
	int ret = 0;

	if (mmap_read_lock_killable(mm))
		return -EFAULT;
	vma = vma_lookup(mm, hva);
	if (vma && vma->vm_flags & mmio)
		ret = -ENXIO;
	/* A table can reach over a page, and so into the next mapping. */
	if (vma && vma->vm_end - hva < bytes) {
		vma = vma_lookup(mm, vma->vm_end);
		if (vma && vma->vm_flags & mmio)
			ret = -ENXIO;
	}
	mmap_read_unlock(mm);
	return ret;
}

/*
 * The guest writes entries while they are read: each is one aligned 8-byte
 * load, and is looked at in the copy only.
 */
int kiommu_port_read_entries(struct kiommu_mem *mem, kiommu_u64 hva,
			     kiommu_u64 *entries, kiommu_u32 count)
{
	const u64 __user *from = u64_to_user_ptr(hva);
	kiommu_u32 i;
	int ret;

	if (current->mm != mem->mm)
		return -EPERM;
	ret = check_no_mmio(mem->mm, hva, count * sizeof(*from));
	if (ret)
		return ret;
	if (!user_read_access_begin(from, count * sizeof(*from)))
		return -EFAULT;
#pragma GCC unroll 8
	for (i = 0; i < count; i++)
		unsafe_get_user(entries[i], from + i, fault);
	user_read_access_end();
	return 0;

fault:
	user_read_access_end();
	return -EFAULT;
}
