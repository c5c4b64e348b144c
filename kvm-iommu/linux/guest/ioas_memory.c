// SPDX-License-Identifier: GPL-2.0-only
/*
 * An IOAS as the provider of a guest's memory, see ioas_memory.h and
 * memory_provider.h.
 *
 * Slots are the areas of the IOAS, one for each IOMMU_IOAS_MAP. The address of a
 * page (hva) is its IOVA in the IOAS, as is its GPA, so a slot that the core has
 * not been told of yet names no other memory than what is there now.
 *
 * Pages are pinned by an access of iommufd, each page by itself, because an access
 * ends as it began: the core unpins in other portions than it pins in. iommufd has
 * pinned and charged the pages for the parent HWPT, so this is a reference.
 *
 * IOMMU_IOAS_UNMAP calls unmapped() for each area. By then no lookup finds it, and no
 * access is added. On return it must have none: that is what kiommu_slots_deleted()
 * does, in the order clear, flush, unpin.
 *
 * A KVM, or the guest of another provider, can be named whose guest has its tables
 * in the IOAS. It only tells of stores: what its slots map is not looked at, but its
 * slots say which pages it tracks.
 *
 * Locks: unmapped() is called with no lock of iommufd held, and takes the guest's
 * lock P. Inside P, the functions here take iommufd_access.ioas_lock, and in it
 * iova_rwsem for reading and the mutex of the pages, which nobody holds while he
 * waits for us. iommufd does not wait for these locks killably; it holds them for
 * work on its own lists, and the mutex while it pins what IOMMU_IOAS_MAP maps, but
 * no page of an area that is not mapped yet is asked for here, unless
 * IOMMU_IOAS_COPY made both of one memory.
 */
#include <linux/highmem.h>
#include <linux/iommu.h>
#include <linux/iommufd.h>
#include <linux/iommufd_provider.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/xarray.h>

#include "guest/guest.h"
#include "guest/ioas_memory.h"
#include "guest/providers.h"
#include "port/compat.h"

MODULE_IMPORT_NS(KIOMMU_NAMESPACE(IOMMUFD));

/**
 * struct ioas_memory - an IOAS that is a guest's memory
 * @memory: its key is the address of this struct.
 * @access: attached to the IOAS.
 * @stores: who tells of stores; its memory is NULL if nobody does.
 * @guest: set once the guest is made; nothing is pinned before. Valid until
 *	the memory is put, which waits for unmapped().
 */
struct ioas_memory {
	struct kiommu_memory memory;
	struct iommufd_access *access;
	struct kiommu_found stores;
	struct kiommu_guest *guest;
};

static struct ioas_memory *to_ioas(struct kiommu_memory *memory)
{
	return container_of(memory, struct ioas_memory, memory);
}

static void unmapped(void *data, unsigned long iova, unsigned long length)
{
	struct kiommu_guest *guest =
		READ_ONCE(((struct ioas_memory *)data)->guest);
	u64 first = iova >> PAGE_SHIFT;
	u64 last = (iova + length - 1) >> PAGE_SHIFT;

	if (guest)
		kiommu_slots_deleted(guest, first, last - first + 1);
}

static const struct iommufd_access_ops access_ops = {
	.needs_pin_pages = 1,
	.unmap = unmapped,
};

static int open_access(struct ioas_memory *memory, struct iommufd_ctx *ictx,
		       u32 ioas_id)
{
	int ret;

	memory->access = iommufd_access_create_internal(ictx, &access_ops,
							memory);
	if (IS_ERR(memory->access))
		return PTR_ERR(memory->access);
	ret = iommufd_access_attach(memory->access, ioas_id);
	if (ret)
		iommufd_access_destroy(memory->access);
	return ret;
}

/*
 * Each memory that listens to a guest tracks its pages by itself. KVM counts who tracks
 * a page in 16 bits, and does not say when that is too many.
 */
#define MOST_LISTENERS 1024ul
static DEFINE_XARRAY(listeners); /* numbers of memories, by key */
static DEFINE_MUTEX(listeners_lock); /* protects listeners */

static int count_listener(const void *key)
{
	const unsigned long index = (unsigned long)key;
	unsigned long count;
	void *old;
	int ret = -EBUSY;

	mutex_lock(&listeners_lock);
	old = xa_load(&listeners, index);
	count = old ? xa_to_value(old) : 0;
	if (count < MOST_LISTENERS)
		ret = xa_err(xa_store(&listeners, index, xa_mk_value(count + 1),
				      GFP_KERNEL_ACCOUNT));
	mutex_unlock(&listeners_lock);
	return ret;
}

static void drop_listener(const void *key)
{
	const unsigned long index = (unsigned long)key;
	unsigned long count;

	mutex_lock(&listeners_lock);
	count = xa_to_value(xa_load(&listeners, index)) - 1;
	/* Neither needs memory. */
	if (count)
		xa_store(&listeners, index, xa_mk_value(count), 0);
	else
		xa_erase(&listeners, index);
	mutex_unlock(&listeners_lock);
}

static void put_stores(struct ioas_memory *memory)
{
	const void *key;

	if (!memory->stores.memory)
		return;
	key = memory->stores.memory->key;
	kiommu_providers_put(memory->stores);
	drop_listener(key);
}

/* KVM lets only its own process track pages. */
static int find_stores(struct ioas_memory *memory, const void *key)
{
	int ret;

	if (!key)
		return 0;
	ret = count_listener(key);
	if (ret)
		return ret;
	ret = kiommu_providers_find(key, &memory->stores);
	if (ret) {
		drop_listener(key);
		return ret;
	}
	if (memory->stores.memory->mm == current->mm)
		return 0;
	put_stores(memory);
	return -EPERM;
}

static struct ioas_memory *create_memory(struct iommufd_ctx *ictx, u32 ioas_id,
					 const void *key)
{
	struct ioas_memory *memory;
	int ret;

	memory = kzalloc(sizeof(*memory), GFP_KERNEL_ACCOUNT);
	if (!memory)
		return ERR_PTR(-ENOMEM);
	ret = find_stores(memory, key);
	if (ret)
		goto err_free;
	ret = open_access(memory, ictx, ioas_id);
	if (ret)
		goto err_stores;
	memory->memory.key = memory;
	memory->memory.mm = current->mm;
	mmgrab(memory->memory.mm);
	return memory;

err_stores:
	put_stores(memory);
err_free:
	kfree(memory);
	return ERR_PTR(ret);
}

static void put_memory(struct kiommu_memory *base)
{
	struct ioas_memory *memory = to_ioas(base);

	iommufd_access_destroy(memory->access);
	put_stores(memory);
	mmdrop(base->mm);
	kfree(memory);
}

/* An area that devices may only write cannot be a slot. */
static int find_slot(struct kiommu_memory *base, u64 gfn,
		     struct kiommu_slot *slot)
{
	struct iommufd_access *access = to_ioas(base)->access;
	struct iommufd_access_area area;
	u64 iova = gfn << PAGE_SHIFT;

	do {
		if (!iommufd_access_find_area(access, iova, &area))
			return -ENOENT;
		if (area.prot & IOMMU_READ) {
			slot->first_gfn = area.iova >> PAGE_SHIFT;
			slot->pages = area.length >> PAGE_SHIFT;
			slot->hva = area.iova;
			slot->flags = area.prot & IOMMU_WRITE ?
				      0 : KIOMMU_SLOT_READ_ONLY;
			return 0;
		}
		iova = area.iova + area.length;
	} while (iova && !fatal_signal_pending(current));
	return -ENOENT;
}

static u64 generation(struct kiommu_memory *base)
{
	return iommufd_access_generation(to_ioas(base)->access);
}

static int pin_page(struct kiommu_memory *base, u64 iova, bool write,
		    struct page **page)
{
	return iommufd_access_pin_pages(to_ioas(base)->access, iova, PAGE_SIZE,
					page, write ? IOMMUFD_ACCESS_RW_WRITE :
						      IOMMUFD_ACCESS_RW_READ);
}

static void unpin_pages(struct kiommu_memory *base, u64 iova, u64 count)
{
	u64 i;

	for (i = 0; i < count; i++)
		iommufd_access_unpin_pages(to_ioas(base)->access,
					   iova + i * PAGE_SIZE, PAGE_SIZE);
}

static void explain(int error, struct kiommu_pin_result *result)
{
	result->extent = 1;
	if (fatal_signal_pending(current))
		result->failure = KIOMMU_PIN_INTERRUPTED;
	else if (error == -ENOMEM)
		result->failure = KIOMMU_PIN_NO_MEMORY;
	else
		result->failure = KIOMMU_PIN_UNBACKED;
}

/*
 * Context: P is held. Writing is asked for where find_slot() has said that the area
 * allows it. No other area can be in its place: unmapped() comes before that, and waits
 * for P.
 */
static u32 pin_pages(struct kiommu_memory *base, u64 iova, u32 count, bool write,
		     u64 *pfns, struct kiommu_pin_result *result)
{
	struct page *page;
	u32 pinned;
	int ret;

	result->writable = write;
	for (pinned = 0; pinned < count; pinned++) {
		if (pinned && fatal_signal_pending(current))
			break;
		ret = pin_page(base, iova + pinned * PAGE_SIZE, write, &page);
		if (ret) {
			if (!pinned)
				explain(ret, result);
			break;
		}
		pfns[pinned] = page_to_pfn(page);
		cond_resched();
	}
	return pinned;
}

/*
 * iommufd_access_rw() would copy bytes, from whatever is at the process's address
 * now. Entries are to be read whole, from the memory that devices would reach.
 */
static int read_entries(struct kiommu_memory *base, u64 iova, u64 *entries,
			u32 count)
{
	while (count) {
		const u64 offset = iova & ~PAGE_MASK;
		u32 part = min_t(u32, count, (PAGE_SIZE - offset) / sizeof(u64));
		struct page *page;
		const u64 *from;
		u32 i;
		int ret;

		ret = pin_page(base, iova & PAGE_MASK, false, &page);
		if (ret)
			return ret == -ENOMEM ? ret : -EFAULT;
		from = kmap_local_page(page) + offset;
		for (i = 0; i < part; i++)
			entries[i] = READ_ONCE(from[i]);
		kunmap_local(from);
		unpin_pages(base, iova & PAGE_MASK, 1);
		iova += part * sizeof(u64);
		entries += part;
		count -= part;
	}
	return 0;
}

static int listen(struct kiommu_memory *base, struct kiommu_guest *guest)
{
	const struct kiommu_found *stores = &to_ioas(base)->stores;

	if (!stores->memory || !stores->provider->listen)
		return -EOPNOTSUPP;
	return stores->provider->listen(stores->memory, guest);
}

static void ignore(struct kiommu_memory *base)
{
	const struct kiommu_found *stores = &to_ioas(base)->stores;

	stores->provider->ignore(stores->memory);
}

static bool can_track(struct kiommu_memory *base)
{
	const struct kiommu_found *stores = &to_ioas(base)->stores;

	return stores->memory && stores->provider->can_track &&
	       stores->provider->can_track(stores->memory);
}

static void untrack(struct kiommu_memory *base, u64 gfn)
{
	const struct kiommu_found *stores = &to_ioas(base)->stores;

	stores->provider->untrack(stores->memory, gfn);
}

static int find_tracked(struct kiommu_memory *base, u64 gfn,
			struct kiommu_slot *slot)
{
	const struct kiommu_found *stores = &to_ioas(base)->stores;

	if (!stores->memory)
		return -ENOENT;
	return stores->provider->find_slot(stores->memory, gfn, slot);
}

/*
 * KVM tracks pages also in a slot that is about to go, after it has told that it
 * forgets them. Lookups do not find such a slot any more, from before it tells: it
 * takes P for that, so what is found here is told of later.
 */
static int track(struct kiommu_memory *base, u64 gfn)
{
	const struct kiommu_found *stores = &to_ioas(base)->stores;
	struct kiommu_slot slot;

	if (find_tracked(base, gfn, &slot) || slot.first_gfn > gfn)
		return -EINVAL;
	return stores->provider->track(stores->memory, gfn);
}

static const struct kiommu_memory_provider ioas_provider = {
	.owner = THIS_MODULE,
	.put = put_memory,
	.find_slot = find_slot,
	.generation = generation,
	.listen = listen,
	.ignore = ignore,
	.can_track = can_track,
	.track = track,
	.untrack = untrack,
	.find_tracked = find_tracked,
	.tells_all = true,
	.pin = pin_pages,
	.unpin = unpin_pages,
	.read = read_entries,
};

struct kiommu_guest *kiommu_ioas_guest(struct iommufd_ctx *ictx, u32 ioas_id,
				       const void *stores)
{
	struct ioas_memory *memory = create_memory(ictx, ioas_id, stores);
	struct kiommu_guest *guest;

	if (IS_ERR(memory))
		return ERR_CAST(memory);
	guest = kiommu_guest_create(&ioas_provider, &memory->memory);
	if (!IS_ERR(guest))
		WRITE_ONCE(memory->guest, guest);
	return guest;
}
