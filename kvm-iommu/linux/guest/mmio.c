// SPDX-License-Identifier: GPL-2.0-only
/*
 * Device memory, see mmio.h and port.h: BARs that the process has mapped and
 * used for a memory slot.
 *
 * Such memory is not pinned. Its owner unmaps it from the process before it
 * goes away (vfio-pci: memory space disabled, reset, power states), of which
 * the callbacks of notifier.c are told. Mapped device memory is recorded, and
 * revoked within the callback, so that it is out of the hosts before the owner
 * goes on. A file that is mapped stays open, so a device is closed and unbound
 * only after the process has unmapped its BARs.
 *
 * A page frame number that was read from the process's page tables may be stale
 * by the time it is mapped. So it is read at a given sequence number of the
 * notifier. Then the record is made visible under kiommu_mmio.lock, and the
 * notifier is asked whether an invalidation has begun since. One that begins
 * later finds the record and waits for the lock.
 *
 * Each page is mapped by a separate call, so any page can be unmapped alone,
 * whatever the host supports.
 */
#include <linux/bitmap.h>
#include <linux/interval_tree.h>
#include <linux/ioport.h>
#include <linux/mm.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "port.h"
#include "guest/guest.h"
#include "host/batch.h"
#include "host/hosts.h"

#define RECORD_PAGES 512

/* Attempts to map memory that keeps changing. */
#define MAX_ATTEMPTS 16

/**
 * struct kiommu_record - device memory, contiguous in all address spaces
 * @by_hva: pages of the process; in kiommu_mmio.by_hva.
 * @by_iova: pages of IOVA; in kiommu_hosts.mmio.
 * @hosts: hosts that map it.
 * @pfn: page frame number of the first page.
 * @prot: for iommu_map().
 * @mapped: pages that are still mapped, at least one.
 */
struct kiommu_record {
	struct interval_tree_node by_hva;
	struct interval_tree_node by_iova;
	struct kiommu_hosts *hosts;
	unsigned long pfn;
	int prot;
	DECLARE_BITMAP(mapped, RECORD_PAGES);
};

void kiommu_mmio_init(struct kiommu_mmio *mmio)
{
	mutex_init(&mmio->lock);
	mmio->by_hva = RB_ROOT_CACHED;
}

/* Unmaps pages [first, last] of a record from one host and flushes. */
static void unmap_host(const struct kiommu_host *host,
		       const struct kiommu_record *record, unsigned int first,
		       unsigned int last)
{
	unsigned long iova = record->by_iova.start;
	struct iommu_iotlb_gather gather;
	unsigned int from, to;

	iommu_iotlb_gather_init(&gather);
	from = find_next_bit(record->mapped, last + 1, first);
	while (from <= last) {
		to = find_next_zero_bit(record->mapped, last + 1, from);
		kiommu_host_unmap(host, (iova + from) << PAGE_SHIFT,
				  (u64)(to - from) << PAGE_SHIFT, &gather);
		from = find_next_bit(record->mapped, last + 1, to);
	}
	iommu_iotlb_sync(host->domain, &gather);
}

/* Maps the pages of a record in one host; all of them or, on failure, none. */
static int map_host(const struct kiommu_host *host,
		    const struct kiommu_record *record)
{
	const gfp_t gfp = GFP_NOWAIT | __GFP_ACCOUNT;
	unsigned long i;
	int ret = 0;

	for_each_set_bit(i, record->mapped, RECORD_PAGES) {
		ret = iommu_map(host->domain,
				(record->by_iova.start + i) << PAGE_SHIFT,
				PFN_PHYS(record->pfn + i), PAGE_SIZE,
				record->prot, gfp);
		if (ret)
			break;
	}
	if (ret && i)
		unmap_host(host, record, 0, i - 1);
	return ret;
}

static int map_hosts(const struct kiommu_record *record)
{
	struct kiommu_hosts *hosts = record->hosts;
	unsigned int i;
	int ret;

	for (i = 0; i < hosts->count; i++) {
		ret = map_host(hosts->hosts[i], record);
		if (ret)
			break;
	}
	if (i == hosts->count)
		return 0;
	while (i-- > 0)
		unmap_host(hosts->hosts[i], record, 0, RECORD_PAGES - 1);
	return ret;
}

static void insert(struct kiommu_mmio *mmio, struct kiommu_record *record)
{
	interval_tree_insert(&record->by_hva, &mmio->by_hva);
	interval_tree_insert(&record->by_iova, &record->hosts->mmio);
	WRITE_ONCE(mmio->count, mmio->count + 1);
}

static void erase(struct kiommu_mmio *mmio, struct kiommu_record *record)
{
	interval_tree_remove(&record->by_hva, &mmio->by_hva);
	interval_tree_remove(&record->by_iova, &record->hosts->mmio);
	WRITE_ONCE(mmio->count, mmio->count - 1);
}

/*
 * Unmaps those pages of a record whose addresses are in [first, last]; @node
 * says by which addresses: HVA or IOVA.
 */
static void drop(struct kiommu_mmio *mmio, struct kiommu_record *record,
		 const struct interval_tree_node *node, unsigned long first,
		 unsigned long last)
{
	struct kiommu_hosts *hosts = record->hosts;
	unsigned int i;

	first = max(first, node->start) - node->start;
	last = min(last, node->last) - node->start;
	for (i = 0; i < hosts->count; i++)
		unmap_host(hosts->hosts[i], record, first, last);
	bitmap_clear(record->mapped, first, last - first + 1);
	if (bitmap_empty(record->mapped, RECORD_PAGES)) {
		erase(mmio, record);
		kfree(record);
	}
}

bool kiommu_mmio_revoke(struct kiommu_mmio *mmio, unsigned long first,
			unsigned long last)
{
	struct interval_tree_node *node, *next;

	/*
	 * Pairs with smp_mb() in map_record(). Whoever adds the first record
	 * checks afterwards for an invalidation that has begun; ours has.
	 */
	smp_mb();
	if (!READ_ONCE(mmio->count))
		return false;
	first >>= PAGE_SHIFT;
	last >>= PAGE_SHIFT;
	mutex_lock(&mmio->lock);
	node = interval_tree_iter_first(&mmio->by_hva, first, last);
	if (!node) {
		mutex_unlock(&mmio->lock);
		return false;
	}
	for (; node; node = next) {
		next = interval_tree_iter_next(node, first, last);
		drop(mmio, container_of(node, struct kiommu_record, by_hva),
		     node, first, last);
	}
	mutex_unlock(&mmio->lock);
	return true;
}

int kiommu_mmio_add_host(struct kiommu_mmio *mmio, struct kiommu_hosts *hosts,
			 struct kiommu_host *host)
{
	struct interval_tree_node *node, *failed;
	int ret = 0;

	if (!mmio) {
		hosts->hosts[hosts->count++] = host;
		return 0;
	}
	mutex_lock(&mmio->lock);
	node = interval_tree_iter_first(&hosts->mmio, 0, ULONG_MAX);
	for (; node && !ret; node = interval_tree_iter_next(node, 0, ULONG_MAX)) {
		failed = node;
		ret = map_host(host, container_of(node, struct kiommu_record,
						  by_iova));
	}
	if (!ret) {
		hosts->hosts[hosts->count++] = host;
	} else {
		node = interval_tree_iter_first(&hosts->mmio, 0, ULONG_MAX);
		for (; node != failed;
		     node = interval_tree_iter_next(node, 0, ULONG_MAX))
			unmap_host(host, container_of(node,
						      struct kiommu_record,
						      by_iova),
				   0, RECORD_PAGES - 1);
	}
	mutex_unlock(&mmio->lock);
	return ret;
}

void kiommu_mmio_remove_host(struct kiommu_mmio *mmio,
			     struct kiommu_hosts *hosts,
			     struct kiommu_host *host)
{
	kiommu_u32 index = kiommu_host_index(hosts, host);

	if (index == hosts->count)
		return;
	if (mmio)
		mutex_lock(&mmio->lock);
	hosts->hosts[index] = hosts->hosts[--hosts->count];
	if (mmio)
		mutex_unlock(&mmio->lock);
}

/*
 * True for device memory; not for RAM mapped as such, which its owner could
 * free.
 */
static bool is_mmio(unsigned long pfn)
{
	if (pfn_valid(pfn) && !PageReserved(pfn_to_page(pfn)))
		return false;
	return region_intersects(PFN_PHYS(pfn), PAGE_SIZE,
				 IORESOURCE_SYSTEM_RAM,
				 IORES_DESC_NONE) == REGION_DISJOINT;
}

/*
 * Finds the page frame at @hva. Return: 0; -EAGAIN: look up the VMA again;
 * -EFAULT; -ENOMEM; -EINTR.
 */
static int page_frame(struct vm_area_struct *vma, unsigned long hva, bool write,
		      unsigned long *pfn)
{
	struct follow_pfnmap_args args = { .vma = vma, .address = hva };
	unsigned int flags = write ? FAULT_FLAG_WRITE : 0;
	bool unlocked = false;
	bool usable;
	int ret;

	if (follow_pfnmap_start(&args)) {
		if (vma->vm_mm != current->mm)
			flags |= FAULT_FLAG_REMOTE;
		ret = fixup_user_fault(vma->vm_mm, hva, flags, &unlocked);
		if (unlocked)
			return -EAGAIN;
		if (ret)
			return ret;
		if (follow_pfnmap_start(&args))
			return -EAGAIN;
	}
	usable = !write || args.writable;
	*pfn = args.pfn;
	follow_pfnmap_end(&args);
	return usable && is_mmio(*pfn) ? 0 : -EFAULT;
}

/*
 * Fills the record with the contiguous device memory at @hva. The caller holds
 * mmap_lock. Return: number of pages; -EAGAIN; or as kiommu_port_mmio_map().
 */
static int look_up(struct mm_struct *mm, unsigned long hva, unsigned int pages,
		   bool write, struct kiommu_record *record)
{
	struct vm_area_struct *vma = vma_lookup(mm, hva);
	const unsigned long need = VM_READ | (write ? VM_WRITE | VM_SHARED : 0);
	unsigned long pfn;
	unsigned int i;
	int ret;

	if (!vma || !(vma->vm_flags & VM_PFNMAP))
		return -EFAULT;
	if ((vma->vm_flags & need) != need)
		return -EACCES;
	pages = min_t(unsigned long, pages, (vma->vm_end - hva) >> PAGE_SHIFT);
	for (i = 0; i < pages; i++) {
		ret = page_frame(vma, hva + i * PAGE_SIZE, write, &pfn);
		if (ret == -EAGAIN)
			return ret;
		if (ret && !i)
			return ret;
		if (ret || (i && pfn != record->pfn + i))
			break;
		if (!i)
			record->pfn = pfn;
	}
	record->by_hva.start = hva >> PAGE_SHIFT;
	record->by_hva.last = record->by_hva.start + i - 1;
	record->by_iova.last = record->by_iova.start + i - 1;
	bitmap_zero(record->mapped, RECORD_PAGES);
	bitmap_set(record->mapped, 0, i);
	return i;
}

/* Maps what was looked up at @sequence. On failure the record is in no tree. */
static int map_record(struct kiommu_guest *guest, struct kiommu_record *record,
		      unsigned long sequence)
{
	struct kiommu_mmio *mmio = &guest->mmio;
	int ret;

	mutex_lock(&mmio->lock);
	if (mmio->count >= KIOMMU_MAX_MMIO_RECORDS) {
		mutex_unlock(&mmio->lock);
		return -ENOSPC;
	}
	insert(mmio, record);
	/* Pairs with smp_mb() in kiommu_mmio_revoke(). */
	smp_mb();
	if (kiommu_notifier_unchanged(&guest->notifier, sequence))
		ret = map_hosts(record);
	else
		ret = -EAGAIN;
	if (ret)
		erase(mmio, record);
	mutex_unlock(&mmio->lock);
	return ret;
}

static int try_map(struct kiommu_guest *guest, unsigned long hva,
		   unsigned int pages, bool write, struct kiommu_record *record)
{
	unsigned long sequence;
	int count, ret;

	if (mmap_read_lock_killable(guest->mm))
		return -EINTR;
	/* Read before the lookup, so that no later change is missed. */
	sequence = kiommu_notifier_sequence(&guest->notifier);
	count = look_up(guest->mm, hva, pages, write, record);
	mmap_read_unlock(guest->mm);
	if (count < 0)
		return count;
	ret = map_record(guest, record, sequence);
	return ret ?: count;
}

int kiommu_port_mmio_map(struct kiommu_batch *batch, struct kiommu_guest *guest,
			 kiommu_u64 iova, kiommu_u64 hva, kiommu_u32 pages,
			 kiommu_u32 rights)
{
	struct kiommu_stretch at = { .hva = hva };
	struct kiommu_record *record;
	int attempt, ret = -EFAULT;

	if (guest->provider->resolve)
		pages = guest->provider->resolve(guest->memory, hva, pages, &at);
	if (!pages)
		return -EFAULT;
	record = kzalloc(sizeof(*record), GFP_KERNEL_ACCOUNT);
	if (!record)
		return -ENOMEM;
	record->hosts = batch->hosts;
	record->by_iova.start = iova >> PAGE_SHIFT;
	record->prot = rights | IOMMU_MMIO;

	if (!mmget_not_zero(guest->mm)) {
		kfree(record);
		return -EFAULT;
	}
	for (attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
		ret = try_map(guest, at.hva, min_t(u32, pages, RECORD_PAGES),
			      rights & KIOMMU_WRITE, record);
		if (ret != -EAGAIN || fatal_signal_pending(current))
			break;
		kiommu_notifier_wait(&guest->notifier);
	}
	mmput(guest->mm);
	if (ret <= 0)
		kfree(record);
	return ret;
}

void kiommu_port_mmio_unmap(struct kiommu_batch *batch, struct kiommu_guest *guest,
			    kiommu_u64 iova, kiommu_u64 bytes)
{
	const unsigned long first = iova >> PAGE_SHIFT;
	const unsigned long last = (iova + bytes - 1) >> PAGE_SHIFT;
	struct rb_root_cached *root = &batch->hosts->mmio;
	struct interval_tree_node *node, *next;

	mutex_lock(&guest->mmio.lock);
	node = interval_tree_iter_first(root, first, last);
	for (; node; node = next) {
		next = interval_tree_iter_next(node, first, last);
		drop(&guest->mmio,
		     container_of(node, struct kiommu_record, by_iova), node,
		     first, last);
	}
	mutex_unlock(&guest->mmio.lock);
}

int kiommu_port_mmio_mapped(struct kiommu_batch *batch, struct kiommu_guest *guest,
			    kiommu_u64 iova)
{
	const unsigned long page = iova >> PAGE_SHIFT;
	struct interval_tree_node *node;
	int mapped = 0;

	mutex_lock(&guest->mmio.lock);
	/* Where pages were revoked, there may be a newer record. */
	node = interval_tree_iter_first(&batch->hosts->mmio, page, page);
	for (; node && !mapped; node = interval_tree_iter_next(node, page, page))
		mapped = test_bit(page - node->start,
				  container_of(node, struct kiommu_record,
					       by_iova)->mapped);
	mutex_unlock(&guest->mmio.lock);
	return mapped;
}
