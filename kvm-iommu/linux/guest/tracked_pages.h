/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Pages of the guest's tables to which KVM, or another provider, reports
 * stores.
 */
#ifndef KIOMMU_TRACKED_PAGES_H
#define KIOMMU_TRACKED_PAGES_H

#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/types.h>
#include <linux/xarray.h>

struct kiommu_follower;
struct kiommu_guest;

/**
 * struct kiommu_follower_ops - operations of a follower of the guest's stores
 * @hold: take a reference, which lasts until @put. Context: the caller holds
 *	kiommu_tracked.lock.
 * @store: see kiommu_tracked_store(). Returns 0, or an errno if the store was
 *	not followed to its end.
 * @put: drop the reference. Context: as @store.
 */
struct kiommu_follower_ops {
	void (*hold)(struct kiommu_follower *follower);
	int (*store)(struct kiommu_follower *follower, struct kiommu_guest *guest,
		     u64 gpa, u32 bytes);
	void (*put)(struct kiommu_follower *follower);
};

/**
 * struct kiommu_follower - a position in the list of a guest's followers
 * @list: entry in kiommu_tracked.followers, protected by its lock.
 * @ops: operations of the follower. NULL marks the position of a store under
 *	way, which the followers before it have seen.
 */
struct kiommu_follower {
	struct list_head list;
	const struct kiommu_follower_ops *ops;
};

/**
 * struct kiommu_tracked - tracked pages of a guest; part of struct kiommu_guest
 * @missed: a store was not followed to its end, and the core was not told yet.
 * @lock: protects both fields below. Taken inside D, P and the mutexes of the
 *	core, and outside of what the provider takes to track a page
 *	(kvm->mmu_lock).
 * @pages: number of domains that track a page, by GFN. Looked up without
 *	@lock.
 * @followers: list of struct kiommu_follower: the followers, the latest one
 *	first, and the positions of stores under way.
 */
struct kiommu_tracked {
	bool missed;
	struct mutex lock; /* protects @pages and @followers */
	struct xarray pages;
	struct list_head followers;
};

void kiommu_tracked_init(struct kiommu_tracked *tracked);
/* No follower is left. */
void kiommu_tracked_destroy(struct kiommu_tracked *tracked);

/**
 * kiommu_tracked_add() - start following stores
 * kiommu_tracked_remove() - stop; stores under way may still hold the follower
 */
void kiommu_tracked_add(struct kiommu_tracked *tracked,
			struct kiommu_follower *follower,
			const struct kiommu_follower_ops *ops);
void kiommu_tracked_remove(struct kiommu_tracked *tracked,
			   struct kiommu_follower *follower);

/**
 * kiommu_tracked_store() - the guest has stored something, anywhere
 * @gpa: address of the first byte.
 * @bytes: number of bytes, all in one page.
 *
 * Memory has the new value already. On return the shadows of all domains
 * that follow the page, and the IOTLBs of their hosts, are up to date.
 *
 * Context: may sleep; a thread of the guest's process; no lock of lock.h is
 * held, but kvm->srcu may be held for reading.
 */
void kiommu_tracked_store(struct kiommu_guest *guest, u64 gpa, u32 bytes);

/*
 * Tells the core of missed stores. The caller holds the guest's lock for
 * writing.
 */
void kiommu_tracked_settle(struct kiommu_guest *guest);

/**
 * kiommu_tracked_forget() - drop pages that are not tracked any more
 * @first: GFN.
 * @last: GFN, inclusive.
 *
 * A slot with these pages was deleted, and the provider does not track them any
 * more. Pages that other slots still hold stay tracked: the deleted slot was
 * one that devices do not see then.
 *
 * Context: the caller holds the guest's lock for writing, and slots do not
 * change; the core is told of the slot before that lock is released.
 */
void kiommu_tracked_forget(struct kiommu_guest *guest, u64 first, u64 last);

#endif /* KIOMMU_TRACKED_PAGES_H */
