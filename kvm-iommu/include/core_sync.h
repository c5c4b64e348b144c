/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Calls of the core, see core.h: rings, and stores of the guest that are tracked.
 */
#ifndef KIOMMU_CORE_SYNC_H
#define KIOMMU_CORE_SYNC_H

#include "core.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * The ring of a guest (linux/kvm_iommu_ring.h): an object of the core. Those of
 * its calls that name a domain come one at a time for each ring.
 */
struct kiommu_ring;

/**
 * kiommu_core_ring_create() - a ring at @gpa; its memory is not looked at
 * @entries: how many it has.
 *
 * Lock: none. Return: 0; -EINVAL @gpa is misaligned, or @entries; -EOVERFLOW it
 * ends above 2^64; -ENOMEM.
 */
int kiommu_core_ring_create(kiommu_u64 gpa, kiommu_u32 entries,
			    struct kiommu_ring **ring, kiommu_u32 *status);
void kiommu_core_ring_destroy(struct kiommu_ring *ring);

/**
 * kiommu_core_ring_begin() - the host's fields of the ring are 0 from here on
 *
 * But for those of a ring whose memory cannot be used, which is given up.
 * The domain is started. Lock: exclusive. Return: 0; -ENOMEM; -EAGAIN slots have
 * changed of which the core must be told first.
 */
int kiommu_core_ring_begin(struct kiommu_domain *domain,
			   struct kiommu_ring *ring);

/* What is done with an entry of many pages, which takes long. */
enum kiommu_ring_large {
	KIOMMU_RING_LARGE_LATER, /* it, and those after it, are left alone */
	KIOMMU_RING_LARGE_NOW, /* a part of it is done */
};

/* What kiommu_core_ring_consume() and kiommu_core_ring_drain() answer. */
#define KIOMMU_RING_MORE 1u /* there are entries that are not done */
#define KIOMMU_RING_NOTIFY 2u /* the guest wants to be notified */

/**
 * kiommu_core_ring_consume() - do what is in the ring, up to a bound
 *
 * A batch of entries becomes one refresh with one flush; the guest is told of
 * each by its status, and the reader of faults of those that failed.
 * The domain is started. Lock: shared. Return:
 * KIOMMU_RING_*; without MORE the guest rings the doorbell for what comes.
 */
kiommu_u32 kiommu_core_ring_consume(struct kiommu_domain *domain,
				    struct kiommu_ring *ring,
				    enum kiommu_ring_large large);

/**
 * struct kiommu_ring_drain - how far one drain of a ring goes
 * @begun: 0 before the first call, which fills this in.
 * @avail: it is over when so many entries are done, counted as the guest does.
 */
struct kiommu_ring_drain {
	kiommu_u32 begun;
	kiommu_u32 avail;
};

/**
 * kiommu_core_ring_drain() - do what is in the ring by now, a part of it
 * @until: the caller's own, zeroed before the first call.
 *
 * What the guest had put into the ring at the first call is done when the answer
 * is without MORE. Until then call it again, best with the locks let go between.
 * The domain is started. Lock: shared. Return: as kiommu_core_ring_consume().
 */
kiommu_u32 kiommu_core_ring_drain(struct kiommu_domain *domain,
				  struct kiommu_ring *ring,
				  struct kiommu_ring_drain *until);

#define KIOMMU_TRACKING_RANGES 16

/**
 * struct kiommu_tracking_work - IOVAs to be brought up to date, mode TRACKED
 * @ranges: the first @count of them, the last one first.
 * @count: 0: nothing is left.
 * @rounds: how many calls it took so far.
 * @for_refresh: 0: for a store of the guest; else KIOMMU_TRACKING_*.
 * @gfn: the page that was stored to.
 * @walk: tells what was tracked before it began from what is by it; 0: it is yet
 *	to begin.
 */
struct kiommu_tracking_work {
	struct kiommu_window ranges[KIOMMU_TRACKING_RANGES];
	kiommu_u32 count;
	kiommu_u32 rounds;
	kiommu_u32 for_refresh;
#define KIOMMU_TRACKING_ALL 1u /* all that the tables say */
#define KIOMMU_TRACKING_REFRESHED 2u /* what a refresh found out of sync */
	kiommu_u64 gfn;
	kiommu_u64 walk;
};

/**
 * kiommu_core_tracking_start() - pages of tables are tracked as they are met
 * @burst: as of KVM_IOMMU_SET_SYNC.
 *
 * What the tables say already is to be brought up to date by the caller, see
 * kiommu_core_tracking_all(). It ends by kiommu_core_tracking_stop(), and when
 * the guest memory leaves. Lock: exclusive; started, not tracking. Return: 0;
 * -ENOMEM.
 */
int kiommu_core_tracking_start(struct kiommu_domain *domain, kiommu_u32 burst);

/* No page is tracked any more. Never allocates. Lock: exclusive. */
void kiommu_core_tracking_stop(struct kiommu_domain *domain);

/* All that the tables say, to be brought up to date. Lock: shared. */
void kiommu_core_tracking_all(struct kiommu_domain *domain,
			      struct kiommu_tracking_work *work);

/**
 * kiommu_core_tracking_store() - the guest has stored something
 * @gpa: of the first byte; @bytes: in one page.
 *
 * Sets @work to what is to be brought up to date, perhaps nothing. The page was
 * tracked when the store was made; memory has the new value. Lock: shared.
 */
void kiommu_core_tracking_store(struct kiommu_domain *domain, kiommu_u64 gpa,
				kiommu_u32 bytes,
				struct kiommu_tracking_work *work);

/**
 * kiommu_core_tracking_step() - bring IOVAs up to date
 *
 * What is wrong with the tables, or cannot be done, goes to the faults.
 * Lock: shared; in a thread of the guest's process. Return: 0; -EAGAIN there is
 * more: call again, best with the locks let go between; -EINTR a fatal signal,
 * what was not done is out of sync, but for what a refresh left as it was.
 */
int kiommu_core_tracking_step(struct kiommu_domain *domain,
			      struct kiommu_tracking_work *work);

/**
 * kiommu_core_untrack() - KVM_IOMMU_UNTRACK
 * @count: pages that were tracked.
 *
 * Takes time for the pages that are known there, not for the range. Lock: shared;
 * tracking. Return: 0; -EINVAL, -EOVERFLOW; -EINTR a fatal signal, and some may be
 * untracked.
 */
int kiommu_core_untrack(struct kiommu_domain *domain, kiommu_u64 gpa,
			kiommu_u64 length, kiommu_u64 *count,
			kiommu_u32 *status);

#ifdef __cplusplus
}
#endif

#endif /* KIOMMU_CORE_SYNC_H */
