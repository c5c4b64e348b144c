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
 * Locks: mmap_lock, i_rwsem, one after the other; inside of the guest's lock.
 */
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/sched/mm.h>

#include "guest.h"
#include "port.h"

/*
 * FOLL_NOFAULT: as the page tables are. FOLL_FORCE: mappings that the process
 * itself cannot read keep their pages. Return: whether all pages are there.
 */
static bool ask_page_tables(struct mm_struct *mm, unsigned long hva,
			    unsigned int count, u64 *pfns)
{
	const unsigned int flags = FOLL_NOFAULT | FOLL_FORCE;
	struct page **pages = (struct page **)pfns;
	unsigned int i = 0;
	bool all = true;

	/* The pages are looked up in place: both are 8 bytes each. */
	static_assert(sizeof(*pages) == sizeof(*pfns));
	mmap_read_lock(mm);
	while (i < count) {
		long found = get_user_pages_remote(mm, hva + i * PAGE_SIZE,
						   count - i, flags, pages + i,
						   NULL);

		if (found <= 0) {
			pfns[i++] = KIOMMU_NO_PFN;
			all = false;
		}
		for (; found > 0; found--, i++) {
			struct page *page = pages[i];

			pfns[i] = page_to_pfn(page);
			put_page(page);
		}
	}
	mmap_read_unlock(mm);
	return all;
}

/* Fills the gaps of @pfns from the file, from page @index on. */
static void ask_file(struct file *file, pgoff_t index, unsigned int count,
		     u64 *pfns)
{
	struct inode *inode = file->f_mapping->host;
	unsigned int i;

	inode_lock_shared(inode);
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
}

/*
 * The file that is mapped at @hva, referenced, or NULL; *count is cut down to
 * the mapping, or to what lies before the next one.
 */
static struct file *file_at(struct mm_struct *mm, unsigned long hva,
			    unsigned int *count, pgoff_t *index)
{
	struct file *file = NULL;
	struct vm_area_struct *vma;
	unsigned long end;

	mmap_read_lock(mm);
	vma = find_vma(mm, hva);
	end = !vma ? ULONG_MAX : hva < vma->vm_start ? vma->vm_start : vma->vm_end;
	*count = min_t(unsigned long, *count, (end - hva) >> PAGE_SHIFT);
	if (vma && hva >= vma->vm_start && vma->vm_file &&
	    (vma->vm_flags & VM_SHARED) &&
	    !(vma->vm_flags & (VM_IO | VM_PFNMAP))) {
		file = get_file(vma->vm_file);
		*index = linear_page_index(vma, hva);
	}
	mmap_read_unlock(mm);
	return file;
}

static void ask_files(struct mm_struct *mm, unsigned long hva,
		      unsigned int count, u64 *pfns)
{
	unsigned int i = 0;

	while (i < count) {
		unsigned int part = count - i;
		struct file *file;
		pgoff_t index;

		file = file_at(mm, hva + i * PAGE_SIZE, &part, &index);
		if (file) {
			ask_file(file, index, part, pfns + i);
			fput(file);
		}
		i += part;
	}
}

/* What changes from here on is told later, and looked at again. */
void kiommu_port_look_up(struct kiommu_mem *mem, kiommu_u64 hva,
			 kiommu_u32 count, kiommu_u64 *pfns)
{
	if (!mmget_not_zero(mem->mm)) {
		memset64(pfns, KIOMMU_NO_PFN, count);
		return;
	}
	if (!ask_page_tables(mem->mm, hva, count, pfns))
		ask_files(mem->mm, hva, count, pfns);
	mmput(mem->mm);
}
