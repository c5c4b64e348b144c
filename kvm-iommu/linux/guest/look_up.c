// SPDX-License-Identifier: GPL-2.0-only
/*
 * Looks at the memory of the process, without a pin: which page is where?
 *
 * What the page tables say comes first. That they say nothing does not mean
 * that the page is gone: reclaim takes pinned pages of files (memfd, tmpfs)
 * out of the page tables before it finds that they are pinned, and migration
 * does for a while what it cannot finish. Anonymous pages that are pinned stay
 * where they are. So where a shared mapping of a file has nothing, the page
 * cache is asked.
 *
 * The page cache is the last to lose a page: truncation and hole punching
 * first unmap, of which we are told, and then remove. Both are done under the
 * lock of the inode (i_rwsem): it is taken for reading, so that what has begun
 * is complete.
 *
 * Another process can hold either lock for as long as it likes: i_rwsem in a
 * write() to the file from memory whose faults it answers itself, mmap_lock in a
 * read of /proc/PID/mem. The guest's lock is held here, for writing. So both are
 * tried only, for a short time in all until an answer comes
 * (kiommu_notifier_patient()), and then nothing is known.
 *
 * Locks: mmap_lock, i_rwsem, one after the other; inside of the guest's lock.
 */
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/sched/mm.h>

#include "port.h"
#include "guest/guest.h"

static bool lock_mm(struct kiommu_mem *mem)
{
	while (!mmap_read_trylock(mem->mm)) {
		if (!kiommu_notifier_patient(&mem->notifier))
			return false;
		schedule_timeout_killable(1);
	}
	return true;
}

static bool lock_inode(struct kiommu_mem *mem, struct inode *inode)
{
	while (!inode_trylock_shared(inode)) {
		if (!kiommu_notifier_patient(&mem->notifier))
			return false;
		schedule_timeout_killable(1);
	}
	return true;
}

/*
 * FOLL_NOFAULT: as the page tables are. FOLL_FORCE: mappings that the process
 * itself cannot read keep their pages. Return: 1 all pages are there; 0 some are
 * not; -EAGAIN.
 */
static int ask_page_tables(struct kiommu_mem *mem, unsigned long hva,
			   unsigned int count, u64 *pfns)
{
	const unsigned int flags = FOLL_NOFAULT | FOLL_FORCE;
	struct page **pages = (struct page **)pfns;
	unsigned int i = 0;
	int all = 1;

	/* The pages are looked up in place: both are 8 bytes each. */
	static_assert(sizeof(*pages) == sizeof(*pfns));
	if (!lock_mm(mem))
		return -EAGAIN;
	while (i < count) {
		long found = get_user_pages_remote(mem->mm,
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
	mmap_read_unlock(mem->mm);
	return all;
}

/* Fills the gaps of @pfns from the file, from page @index on. */
static int ask_file(struct kiommu_mem *mem, struct file *file, pgoff_t index,
		    unsigned int count, u64 *pfns)
{
	struct inode *inode = file->f_mapping->host;
	unsigned int i;

	if (!lock_inode(mem, inode))
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
 * The file that is mapped at @hva, referenced, or NULL; *count is cut down to
 * the mapping, or to what lies before the next one. Or ERR_PTR(-EAGAIN).
 */
static struct file *file_at(struct kiommu_mem *mem, unsigned long hva,
			    unsigned int *count, pgoff_t *index)
{
	struct file *file = NULL;
	struct vm_area_struct *vma;
	unsigned long end;

	if (!lock_mm(mem))
		return ERR_PTR(-EAGAIN);
	vma = find_vma(mem->mm, hva);
	end = !vma ? ULONG_MAX : hva < vma->vm_start ? vma->vm_start : vma->vm_end;
	*count = min_t(unsigned long, *count, (end - hva) >> PAGE_SHIFT);
	if (vma && hva >= vma->vm_start && vma->vm_file &&
	    (vma->vm_flags & VM_SHARED) &&
	    !(vma->vm_flags & (VM_IO | VM_PFNMAP))) {
		file = get_file(vma->vm_file);
		*index = linear_page_index(vma, hva);
	}
	mmap_read_unlock(mem->mm);
	return file;
}

static int ask_files(struct kiommu_mem *mem, unsigned long hva,
		     unsigned int count, u64 *pfns)
{
	unsigned int i = 0;
	int ret = 0;

	while (!ret && i < count) {
		unsigned int part = count - i;
		struct file *file;
		pgoff_t index;

		file = file_at(mem, hva + i * PAGE_SIZE, &part, &index);
		if (IS_ERR(file))
			return PTR_ERR(file);
		if (file) {
			ret = ask_file(mem, file, index, part, pfns + i);
			fput(file);
		}
		i += part;
	}
	return ret;
}

/* What changes from here on is told later, and looked at again. */
int kiommu_port_look_up(struct kiommu_mem *mem, kiommu_u64 hva,
			kiommu_u32 count, kiommu_u64 *pfns)
{
	int ret;

	if (!mmget_not_zero(mem->mm)) {
		memset64(pfns, KIOMMU_NO_PFN, count);
		return 0;
	}
	ret = ask_page_tables(mem, hva, count, pfns);
	if (!ret)
		ret = ask_files(mem, hva, count, pfns);
	/* Never the last one: who settles has another. */
	mmput(mem->mm);
	return min(ret, 0);
}
