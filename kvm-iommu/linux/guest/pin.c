// SPDX-License-Identifier: GPL-2.0-only
/*
 * Long-term pins of the guest's memory, charged to locked_vm of its process. A
 * provider with functions of its own pins, and charges, by itself.
 *
 * Locks: mmap_lock, inside the guest's lock: for reading to pin, for writing to
 * charge.
 */
#include <linux/capability.h>
#include <linux/mm.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>

#include "port.h"
#include "guest/guest.h"

/*
 * Finds out why nothing at @hva could be pinned; @error is what GUP returned.
 * The caller holds mmap_lock.
 */
static void explain(struct mm_struct *mm, unsigned long hva, long error,
		    struct kiommu_pin_result *result)
{
	struct vm_area_struct *vma = vma_lookup(mm, hva);

	result->failure = KIOMMU_PIN_UNBACKED;
	result->extent = 1;
	if (!vma)
		return;
	if (vma->vm_flags & (VM_IO | VM_PFNMAP)) {
		result->failure = KIOMMU_PIN_MMIO;
		result->extent = (vma->vm_end - hva) >> PAGE_SHIFT;
		return;
	}
	if (fatal_signal_pending(current)) {
		result->failure = KIOMMU_PIN_INTERRUPTED;
	} else if (error == -ENOMEM) {
		result->failure = KIOMMU_PIN_NO_MEMORY;
	} else if (error == -EOPNOTSUPP) {
		result->failure = KIOMMU_PIN_REFUSED;
	} else if (vma->vm_file) {
		/*
		 * GUP refuses writable long-term pins where a file system
		 * tracks dirty pages. A page beyond the end of the file fails
		 * in the same way.
		 */
		u64 offset = ((u64)vma->vm_pgoff << PAGE_SHIFT) +
			     (hva - vma->vm_start);

		if (offset < i_size_read(file_inode(vma->vm_file)))
			result->failure = KIOMMU_PIN_REFUSED;
	}
}

/*
 * Pins within one mapping, and explains failures. @exact: for writing or not at
 * all.
 */
static kiommu_u32 pin_slowly(struct mm_struct *mm, unsigned long hva,
			     unsigned long count, bool write, bool exact,
			     struct page **pages,
			     struct kiommu_pin_result *result)
{
	unsigned int flags = FOLL_LONGTERM;
	struct vm_area_struct *vma;
	long pinned;

	if (!mmget_not_zero(mm)) {
		result->failure = KIOMMU_PIN_UNBACKED;
		return 0;
	}
	if (mmap_read_lock_killable(mm)) {
		mmput(mm);
		result->failure = KIOMMU_PIN_INTERRUPTED;
		return 0;
	}

	vma = vma_lookup(mm, hva);
	result->writable = write &&
			   (exact || (vma && (vma->vm_flags & VM_WRITE)));
	if (result->writable)
		flags |= FOLL_WRITE;
	/* What holds for this mapping need not hold for the next one. */
	if (vma)
		count = min(count, (vma->vm_end - hva) >> PAGE_SHIFT);
	pinned = pin_user_pages_remote(mm, hva, count, flags, pages, NULL);
	if (pinned <= 0)
		explain(mm, hva, pinned, result);

	mmap_read_unlock(mm);
	mmput(mm);
	return max(pinned, 0L);
}

/*
 * Pins the process's own pages without mmap_lock where they are present. With
 * FOLL_WRITE, only those that are writable.
 */
static kiommu_u32 pin_fast(struct mm_struct *mm, unsigned long hva,
			   unsigned int count, bool write, struct page **pages,
			   struct kiommu_pin_result *result)
{
	unsigned int flags = FOLL_LONGTERM | (write ? FOLL_WRITE : 0);
	int pinned;

	if (current->mm != mm)
		return 0;
	pinned = pin_user_pages_fast(hva, count, flags, pages);
	result->writable = write;
	return max(pinned, 0);
}

kiommu_u32 kiommu_port_pin(struct kiommu_guest *guest, kiommu_u64 hva,
			   kiommu_u32 count, int write, kiommu_u64 *pfns,
			   struct kiommu_pin_result *result)
{
	/* The page pointers are replaced in place: both are 8 bytes each. */
	struct page **pages = (struct page **)pfns;
	bool exact = guest->provider->resolve;
	struct kiommu_stretch at = { .hva = hva, .write = write };
	kiommu_u32 i, pinned;

	static_assert(sizeof(*pages) == sizeof(*pfns));
	if (!kiommu_guest_of_process(guest))
		return guest->provider->pin(guest->memory, hva, count, write,
					    pfns, result);
	if (exact) {
		count = guest->provider->resolve(guest->memory, hva, count, &at);
		if (!count) {
			result->failure = KIOMMU_PIN_UNBACKED;
			return 0;
		}
	}
	pinned = pin_fast(guest->mm, at.hva, count, at.write, pages, result);
	if (unlikely(!pinned))
		pinned = pin_slowly(guest->mm, at.hva, count, at.write, exact,
				    pages, result);
	for (i = 0; i < pinned; i++)
		pfns[i] = page_to_pfn(pages[i]);
	return pinned;
}

void kiommu_port_unpin(struct kiommu_guest *guest, kiommu_u64 hva,
		       kiommu_u64 pfn, kiommu_u64 count, int dirty)
{
	if (!kiommu_guest_of_process(guest)) {
		guest->provider->unpin(guest->memory, hva, count);
		return;
	}
	unpin_user_page_range_dirty_lock(pfn_to_page(pfn), count, dirty);
}

/* Like account_locked_vm(), but killable. */
int kiommu_port_account(struct kiommu_guest *guest, kiommu_u64 pages)
{
	int ret;

	if (!kiommu_guest_of_process(guest))
		return 0;
	if (mmap_write_lock_killable(guest->mm))
		return -EINTR;
	ret = __account_locked_vm(guest->mm, pages, true, current,
				  capable(CAP_IPC_LOCK));
	mmap_write_unlock(guest->mm);
	return ret;
}

/*
 * A process that is killed while another one holds its mmap_lock must be able
 * to exit; its charge goes away with it. Other processes and kernel threads
 * wait.
 */
void kiommu_port_unaccount(struct kiommu_guest *guest, kiommu_u64 pages)
{
	if (!kiommu_guest_of_process(guest))
		return;
	if (current->mm != guest->mm)
		mmap_write_lock(guest->mm);
	else if (mmap_write_lock_killable(guest->mm))
		return;
	__account_locked_vm(guest->mm, pages, false, current, true);
	mmap_write_unlock(guest->mm);
}
