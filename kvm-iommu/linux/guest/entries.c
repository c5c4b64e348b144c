// SPDX-License-Identifier: GPL-2.0-only
/*
 * Reads of the guest's tables, reads and writes of its ring. Only the process
 * whose memory it is can do these, and only in ordinary memory. A provider with
 * functions of its own reads by itself, and has no ring.
 *
 * Locks: mmap_lock for reading, with the notifier's lock inside it; both are
 * released before the copy.
 */
#include <linux/mm.h>
#include <linux/uaccess.h>

#include "port.h"
#include "guest/guest.h"

static noinline int look_for_mmio(struct kiommu_guest *guest, unsigned long hva,
				  unsigned long bytes)
{
	struct kiommu_notifier *notifier = &guest->notifier;
	const unsigned long mmio = VM_IO | VM_PFNMAP;
	struct vm_area_struct *vma;
	unsigned long sequence;
	int ret = 0;

	sequence = kiommu_notifier_sequence(notifier);
	if (mmap_read_lock_killable(guest->mm))
		return -EFAULT;
	vma = vma_lookup(guest->mm, hva);
	if (vma && vma->vm_flags & mmio)
		ret = -ENXIO;
	else if (vma)
		kiommu_notifier_set_plain(notifier, sequence, vma->vm_start,
					  vma->vm_end - 1);
	/*
	 * A table may cross a page boundary, and so extend into the next
	 * mapping.
	 */
	if (vma && vma->vm_end - hva < bytes) {
		vma = vma_lookup(guest->mm, vma->vm_end);
		if (vma && vma->vm_flags & mmio)
			ret = -ENXIO;
	}
	mmap_read_unlock(guest->mm);
	return ret;
}

/*
 * A guest can point to the BAR of its device, where reading a register may
 * change the device. A mapping that was checked is remembered until something
 * happens to the process's memory.
 */
static __always_inline int check_no_mmio(struct kiommu_guest *guest,
					 unsigned long hva, unsigned long bytes)
{
	if (likely(kiommu_notifier_is_plain(&guest->notifier, hva, hva + bytes - 1)))
		return 0;
	return look_for_mmio(guest, hva, bytes);
}

/*
 * The guest may write entries while they are read. Each one is read by a single
 * aligned 8-byte load, and only the copy is looked at.
 */
int kiommu_port_read_entries(struct kiommu_guest *guest, kiommu_u64 hva,
			     kiommu_u64 *entries, kiommu_u32 count)
{
	const u64 __user *from = u64_to_user_ptr(hva);
	kiommu_u32 i;
	int ret;

	if (!kiommu_guest_of_process(guest))
		return guest->provider->read(guest->memory, hva, entries, count);
	if (current->mm != guest->mm)
		return -EPERM;
	ret = check_no_mmio(guest, hva, count * sizeof(*from));
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

int kiommu_port_read_entry(struct kiommu_guest *guest, kiommu_u64 hva,
			   kiommu_u64 *entry)
{
	const u64 __user *from = u64_to_user_ptr(hva);

	if (likely(current->mm == guest->mm &&
		   kiommu_notifier_is_plain(&guest->notifier, hva,
					    hva + sizeof(*from) - 1) &&
		   user_read_access_begin(from, sizeof(*from)))) {
		unsafe_get_user(*entry, from, fault);
		user_read_access_end();
		return 0;
	}
	return kiommu_port_read_entries(guest, hva, entry, 1);

fault:
	user_read_access_end();
	return -EFAULT;
}

/*
 * Each entry is written by a single aligned 8-byte store, so the guest never
 * sees half of one, and a concurrent store of its own stays whole.
 */
int kiommu_port_write_entries(struct kiommu_guest *guest, kiommu_u64 hva,
			      const kiommu_u64 *entries, kiommu_u32 count)
{
	u64 __user *to = u64_to_user_ptr(hva);
	kiommu_u32 i;
	int ret;

	if (!kiommu_guest_of_process(guest) || current->mm != guest->mm)
		return -EPERM;
	ret = check_no_mmio(guest, hva, count * sizeof(*to));
	if (ret)
		return ret;
	if (!user_write_access_begin(to, count * sizeof(*to)))
		return -EFAULT;
	for (i = 0; i < count; i++)
		unsafe_put_user(entries[i], to + i, fault);
	user_write_access_end();
	return 0;

fault:
	user_write_access_end();
	return -EFAULT;
}
