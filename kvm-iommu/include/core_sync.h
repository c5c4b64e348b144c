/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Calls of the core, see core.h: rings, and tracked stores of the guest.
 */
#ifndef KIOMMU_CORE_SYNC_H
#define KIOMMU_CORE_SYNC_H

#include "core.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * The ring of a guest (linux/kvm_iommu_ring.h): an object of the core. The
 * caller serialises those calls on a ring that name a domain.
 */
struct kiommu_ring;

/**
 * kiommu_core_ring_create() - create a ring
 * @gpa: address of the ring, whose memory is not accessed.
 * @entries: number of entries.
 * @ring: set on success.
 *
 * Lock: none.
 * Return: 0; -EINVAL if @gpa is misaligned or @entries is invalid; -EOVERFLOW
 * if the ring ends above 2^64; -ENOMEM.
 */
int kiommu_core_ring_create(kiommu_u64 gpa, kiommu_u32 entries,
			    struct kiommu_ring **ring, kiommu_u32 *status);
void kiommu_core_ring_destroy(struct kiommu_ring *ring);

/**
 * kiommu_core_ring_begin() - set the host's fields of the ring to 0
 *
 * If the memory of the ring cannot be used, the ring is given up. The domain is
 * started.
 *
 * Lock: exclusive.
 * Return: 0; -ENOMEM; -EINTR on a fatal signal; -EAGAIN if slots have changed,
 * of which the core must be told first.
 */
int kiommu_core_ring_begin(struct kiommu_domain *domain,
			   struct kiommu_ring *ring);

/* What to do with an entry of many pages, which takes long. */
enum kiommu_ring_large {
	KIOMMU_RING_LARGE_LATER, /* leave it and those after it alone */
	KIOMMU_RING_LARGE_NOW, /* do a part of it */
};

/* Return values of kiommu_core_ring_consume() and kiommu_core_ring_drain(). */
#define KIOMMU_RING_MORE 1u /* some entries are not done */
#define KIOMMU_RING_NOTIFY 2u /* the guest wants to be notified */

/**
 * kiommu_core_ring_consume() - do the entries in the ring, up to a bound
 *
 * A batch of entries becomes one refresh with one flush. The guest gets a
 * status for each entry, and the reader of faults a record for each that
 * failed. The domain is started.
 *
 * Lock: shared.
 * Return: KIOMMU_RING_*; without MORE, the guest rings the doorbell for new
 * entries.
 */
kiommu_u32 kiommu_core_ring_consume(struct kiommu_domain *domain,
				    struct kiommu_ring *ring,
				    enum kiommu_ring_large large);

/**
 * struct kiommu_ring_drain - progress of one drain of a ring
 * @begun: 0 before the first call, which initialises the struct.
 * @avail: the drain ends once this many entries are done, counted as the guest
 *	does.
 */
struct kiommu_ring_drain {
	kiommu_u32 begun;
	kiommu_u32 avail;
};

/**
 * kiommu_core_ring_drain() - do a part of what is in the ring by now
 * @until: progress of this drain, zeroed before the first call.
 *
 * Once the call returns without MORE, everything that the guest had put into
 * the ring at the first call is done. Until then call it again, preferably
 * after releasing the locks in between. The domain is started.
 *
 * Lock: shared.
 * Return: as kiommu_core_ring_consume().
 */
kiommu_u32 kiommu_core_ring_drain(struct kiommu_domain *domain,
				  struct kiommu_ring *ring,
				  struct kiommu_ring_drain *until);

#define KIOMMU_TRACKING_RANGES 16

/**
 * struct kiommu_tracking_work - IOVAs to bring up to date, mode TRACKED
 * @ranges: the first @count are valid, and are processed from the last one.
 * @count: number of ranges left.
 * @rounds: number of calls so far.
 * @for_refresh: 0 for a store of the guest, else KIOMMU_TRACKING_*.
 * @gfn: the page that was stored to.
 * @walk: number of this walk, which tells pages that it tracked from those
 *	tracked before; 0 if it has not begun.
 * @unsynced: with ALL, what pages out of sync map of which a range is a part: to be
 *	done last, as REFRESHED; @last is 0 if there is none.
 */
struct kiommu_tracking_work {
	struct kiommu_window ranges[KIOMMU_TRACKING_RANGES];
	kiommu_u32 count;
	kiommu_u32 rounds;
	kiommu_u32 for_refresh;
#define KIOMMU_TRACKING_ALL 1u /* all that the tables map there */
#define KIOMMU_TRACKING_REFRESHED 2u /* what a refresh found out of sync */
	kiommu_u64 gfn;
	kiommu_u64 walk;
	struct kiommu_window unsynced;
};

/**
 * kiommu_core_tracking_start() - track pages of tables as they are met
 * @burst: as in KVM_IOMMU_SET_SYNC.
 *
 * The caller brings up to date what the tables map already, see
 * kiommu_core_tracking_range(). Tracking ends with kiommu_core_tracking_stop(),
 * and when the guest memory is unregistered.
 *
 * Lock: exclusive; the domain is started and not tracking.
 * Return: 0 or -ENOMEM.
 */
int kiommu_core_tracking_start(struct kiommu_domain *domain, kiommu_u32 burst);

/* Stops tracking all pages. Never allocates. Lock: exclusive. */
void kiommu_core_tracking_stop(struct kiommu_domain *domain);

/* Sets @work to all that the tables map in [@first, @last], whole pages. Lock: none. */
void kiommu_core_tracking_range(kiommu_u64 first, kiommu_u64 last,
				struct kiommu_tracking_work *work);

/**
 * kiommu_core_tracking_store() - the guest has stored something
 * @gpa: address of the first byte.
 * @bytes: number of bytes, all in one page.
 * @work: set to what is to be brought up to date, possibly nothing.
 *
 * The page was tracked when the store was made; memory has the new value.
 *
 * Lock: shared.
 */
void kiommu_core_tracking_store(struct kiommu_domain *domain, kiommu_u64 gpa,
				kiommu_u32 bytes,
				struct kiommu_tracking_work *work);

/**
 * kiommu_core_tracking_step() - bring IOVAs up to date
 *
 * Bad entries of the tables, and what cannot be done, are reported as faults.
 *
 * Lock: shared; in a thread of the guest's process.
 * Return: 0; -EAGAIN if there is more to do: call again, preferably after
 * releasing the locks in between; -EINTR on a fatal signal, and then what was
 * not done is out of sync, except that what a refresh left to it stays as it
 * was.
 */
int kiommu_core_tracking_step(struct kiommu_domain *domain,
			      struct kiommu_tracking_work *work);

/**
 * kiommu_core_untrack() - KVM_IOMMU_UNTRACK
 * @count: set to the number of pages that were tracked.
 *
 * The cost depends on the tracked pages in the range, not on its length.
 *
 * Lock: shared; the domain is tracking.
 * Return: 0; -EINVAL, -EOVERFLOW; -EINTR on a fatal signal, and some pages may
 * be untracked.
 */
int kiommu_core_untrack(struct kiommu_domain *domain, kiommu_u64 gpa,
			kiommu_u64 length, kiommu_u64 *count,
			kiommu_u32 *status);

#ifdef __cplusplus
}
#endif

#endif /* KIOMMU_CORE_SYNC_H */
