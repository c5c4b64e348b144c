// SPDX-License-Identifier: GPL-2.0-only
/*
 * Finds out which page is at an address of the process now, without pinning it.
 *
 * The page tables are asked first. If they have no entry, the page need not be
 * gone: reclaim unmaps pinned pages of files (memfd, tmpfs) before it notices
 * that they are pinned, and so does migration for a while before it fails.
 * Pinned anonymous pages stay mapped. So where a shared file mapping has no
 * entry, the page cache is asked.
 *
 * A page leaves the page cache last: truncation and hole punching first unmap
 * it, of which the MMU notifier is told, and then remove it. Both happen under
 * the inode's lock (i_rwsem). It is taken for reading here, so that any such
 * operation under way is complete.
 *
 * Another process can hold either lock for as long as it likes: i_rwsem in a
 * write() to the file from memory whose page faults it serves itself, mmap_lock
 * in a read of /proc/PID/mem. The guest's lock is held for writing here, so
 * both are only tried, for a short time in total (kiommu_notifier_patient());
 * after that the answer is unknown.
 *
 * Locks: mmap_lock and i_rwsem, one after the other, inside the guest's lock.
 */
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/sched/mm.h>

#include "port.h"
#include "guest/guest.h"

static bool lock_mm(struct kiommu_guest *guest)
{
	while (!mmap_read_trylock(guest->mm)) {
		if (!kiommu_notifier_patient(&guest->notifier))
			return false;
		schedule_timeout_killable(1);
	}
	return true;
}

static bool lock_inode(struct kiommu_guest *guest, struct inode *inode)
{
	while (!inode_trylock_shared(inode)) {
		if (!kiommu_notifier_patient(&guest->notifier))
			return false;
		schedule_timeout_killable(1);
	}
	return true;
}

/*
 * FOLL_NOFAULT looks at the page tables as they are. FOLL_FORCE includes
 * mappings that the process itself cannot read; they keep their pages. Return:
 * 1 if all pages are there; 0 if some are not; -EAGAIN.
 */
static int ask_page_tables(struct kiommu_guest *guest, unsigned long hva,
			   unsigned int count, u64 *pfns)
{
	const unsigned int flags = FOLL_NOFAULT | FOLL_FORCE;
	struct page **pages = (struct page **)pfns;
	unsigned int i = 0;
	int all = 1;

	/* The page pointers are replaced in place: both are 8 bytes each. */
	static_assert(sizeof(*pages) == sizeof(*pfns));
	if (!lock_mm(guest))
		return -EAGAIN;
	while (i < count) {
		long found = get_user_pages_remote(guest->mm,
						   hva + i * PAGE_SIZE,
						   count - i, flags, pages + i,
						   NULL);

		if (found <= 0) {
			pfns[i++] = KIOMMU_NO_PFN;
			all = 0;
		}
		for (; found > 0; found--, i++) {
			struct page *page = pages[i];

			pfns[i] = page_to_pfn(page);
			put_page(page);
		}
	}
	mmap_read_unlock(guest->mm);
	return all;
}

/* Fills the gaps in @pfns from the file, starting at page @index. */
static int ask_file(struct kiommu_guest *guest, struct file *file, pgoff_t index,
		    unsigned int count, u64 *pfns)
{
	struct inode *inode = file->f_mapping->host;
	unsigned int i;

	if (!lock_inode(guest, inode))
		return -EAGAIN;
	for (i = 0; i < count; i++) {
		struct folio *folio;

		if (pfns[i] != KIOMMU_NO_PFN)
			continue;
		folio = filemap_get_folio(file->f_mapping, index + i);
		if (IS_ERR(folio))
			continue;
		pfns[i] = page_to_pfn(folio_file_page(folio, index + i));
		folio_put(folio);
	}
	inode_unlock_shared(inode);
	return 0;
}

/*
 * Returns the file that is mapped at @hva with a reference, or NULL; *count is
 * cut down to the mapping, or to the gap before the next one. Returns
 * ERR_PTR(-EAGAIN) if mmap_lock was not available.
 */
static struct file *file_at(struct kiommu_guest *guest, unsigned long hva,
			    unsigned int *count, pgoff_t *index)
{
	struct file *file = NULL;
	struct vm_area_struct *vma;
	unsigned long end;

	if (!lock_mm(guest))
		return ERR_PTR(-EAGAIN);
	vma = find_vma(guest->mm, hva);
	end = !vma ? ULONG_MAX : hva < vma->vm_start ? vma->vm_start : vma->vm_end;
	*count = min_t(unsigned long, *count, (end - hva) >> PAGE_SHIFT);
	if (vma && hva >= vma->vm_start && vma->vm_file &&
	    (vma->vm_flags & VM_SHARED) &&
	    !(vma->vm_flags & (VM_IO | VM_PFNMAP))) {
		file = get_file(vma->vm_file);
		*index = linear_page_index(vma, hva);
	}
	mmap_read_unlock(guest->mm);
	return file;
}

static int ask_files(struct kiommu_guest *guest, unsigned long hva,
		     unsigned int count, u64 *pfns)
{
	unsigned int i = 0;
	int ret = 0;

	while (!ret && i < count) {
		unsigned int part = count - i;
		struct file *file;
		pgoff_t index;

		file = file_at(guest, hva + i * PAGE_SIZE, &part, &index);
		if (IS_ERR(file))
			return PTR_ERR(file);
		if (file) {
			ret = ask_file(guest, file, index, part, pfns + i);
			fput(file);
		}
		i += part;
	}
	return ret;
}

/* The notifier reports later changes, and then this is called again. */
int kiommu_port_look_up(struct kiommu_guest *guest, kiommu_u64 hva,
			kiommu_u32 count, kiommu_u64 *pfns)
{
	int ret;

	if (!mmget_not_zero(guest->mm)) {
		memset64(pfns, KIOMMU_NO_PFN, count);
		return 0;
	}
	ret = ask_page_tables(guest, hva, count, pfns);
	if (!ret)
		ret = ask_files(guest, hva, count, pfns);
	/* Not the last reference: kiommu_notifier_settle() has one. */
	mmput(guest->mm);
	return min(ret, 0);
}
