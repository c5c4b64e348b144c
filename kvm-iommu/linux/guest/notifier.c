// SPDX-License-Identifier: GPL-2.0-only
/*
 * The MMU notifier of the guest's process, see notifier.h.
 *
 * Callbacks run under mmap_lock, reverse-map locks and, in reclaim, any lock
 * whose holder allocates. So they take no lock of lock.h under which memory is
 * pinned or allocated. They may look up slots (hold_hva(); for KVM under
 * kvm->srcu, as in its own callbacks), and take kiommu_mmio.lock and locks of
 * the IOMMU drivers.
 *
 * Ordinary memory is pinned. Whatever happens to the process's page tables, a
 * pinned page stays allocated, so it cannot be reused while a device can reach
 * it, and nothing has to be done at once. When an invalidation ends, its range
 * is recorded. Soon after, or at the beginning of the next call on the guest,
 * the core looks up which of its pages are still at their address. Those that
 * are not are unmapped from the hosts, flushed, and unpinned last.
 *
 * The end of an invalidation counts, not its start: a page is at its address
 * until some time in between. A call that looks in between finds nothing
 * recorded, but the end, which comes later, records the range.
 *
 * Device memory is not pinned: it is taken out of the hosts before
 * invalidate_range_start returns, see mmio.c.
 */
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/sched/mm.h>

#include "guest/guest.h"

/* No page goes away when rights change; forked children do not matter. */
static bool keeps_pages(enum mmu_notifier_event event)
{
	return event == MMU_NOTIFY_PROTECTION_VMA ||
	       event == MMU_NOTIFY_PROTECTION_PAGE ||
	       event == MMU_NOTIFY_SOFT_DIRTY;
}

/*
 * Adds a range to KIOMMU_MAX_RANGES ranges. The caller holds the notifier's
 * lock.
 */
static void add_changed(struct kiommu_range *ranges, unsigned int *count,
			unsigned long first, unsigned long last)
{
	unsigned int i;

	for (i = 0; i < *count; i++) {
		/* Overlaps or is adjacent. */
		if (first <= ranges[i].last + 1 && ranges[i].first <= last + 1)
			break;
	}
	if (i == KIOMMU_MAX_RANGES) {
		for (i = 1; i < KIOMMU_MAX_RANGES; i++) {
			first = min(first, ranges[i].first);
			last = max(last, ranges[i].last);
		}
		WRITE_ONCE(*count, 1);
		i = 0;
	}
	if (i == *count) {
		ranges[i].first = first;
		ranges[i].last = last;
		WRITE_ONCE(*count, i + 1);
		return;
	}
	ranges[i].first = min(ranges[i].first, first);
	ranges[i].last = max(ranges[i].last, last);
}

/* The caller holds the notifier's lock. */
static void record(struct kiommu_notifier *notifier, unsigned long first,
		   unsigned long last)
{
	add_changed(notifier->ranges, &notifier->count, first, last);
}

static struct kiommu_guest *guest_of(struct mmu_notifier *mn)
{
	return container_of(mn, struct kiommu_guest, notifier.mn);
}

static void revoke(struct kiommu_guest *guest, unsigned long first,
		   unsigned long last)
{
	struct kiommu_notifier *notifier = &guest->notifier;

	if (!kiommu_mmio_revoke(&guest->mmio, first, last))
		return;
	spin_lock(&notifier->lock);
	WRITE_ONCE(notifier->revoked, true);
	spin_unlock(&notifier->lock);
	kiommu_guest_kick(guest);
}

/*
 * Never fails, because a notifier that has invalidate_range_end must not. It
 * need not fail if it must not block, either: only the OOM reaper asks for
 * that, and it skips device memory (VM_PFNMAP).
 */
static int invalidate_start(struct mmu_notifier *mn,
			    const struct mmu_notifier_range *range)
{
	struct kiommu_guest *guest = guest_of(mn);
	struct kiommu_notifier *notifier = &guest->notifier;

	spin_lock(&notifier->lock);
	notifier->active++;
	WRITE_ONCE(notifier->sequence, notifier->sequence + 1);
	spin_unlock(&notifier->lock);

	if (mmu_notifier_range_blockable(range))
		revoke(guest, range->start, range->end - 1);
	return 0;
}

static void invalidate_end(struct mmu_notifier *mn,
			   const struct mmu_notifier_range *range)
{
	struct kiommu_guest *guest = guest_of(mn);
	struct kiommu_notifier *notifier = &guest->notifier;
	bool due = !keeps_pages(range->event) &&
		   kiommu_slots_hold(guest, range->start, range->end - 1);
	/*
	 * Memory of a deleted slot is in no slot any more, but must be looked
	 * at.
	 */
	bool slots_due = kiommu_slots_due(guest);

	spin_lock(&notifier->lock);
	if (due)
		record(notifier, range->start, range->end - 1);
	WRITE_ONCE(notifier->sequence, notifier->sequence + 1);
	if (--notifier->active == 0)
		wake_up_all(&notifier->quiet);
	spin_unlock(&notifier->lock);
	if (due || slots_due)
		kiommu_guest_kick(guest);
}

/*
 * The process is gone, or the guest is being freed. The end of an invalidation
 * under way may never be reported. Pins stay until the domains are closed.
 */
static void release(struct mmu_notifier *mn, struct mm_struct *mm)
{
	struct kiommu_guest *guest = guest_of(mn);
	struct kiommu_notifier *notifier = &guest->notifier;

	spin_lock(&notifier->lock);
	notifier->dead = true;
	WRITE_ONCE(notifier->sequence, notifier->sequence + 1);
	spin_unlock(&notifier->lock);
	revoke(guest, 0, ULONG_MAX);
}

static const struct mmu_notifier_ops kiommu_mn_ops = {
	.invalidate_range_start = invalidate_start,
	.invalidate_range_end = invalidate_end,
	.release = release,
};

/* Makes unknown ranges due again, to be settled by the guest's work. */
static void retry_work(struct work_struct *work)
{
	struct kiommu_notifier *notifier =
		container_of(to_delayed_work(work), struct kiommu_notifier,
			     retry);
	unsigned int i;

	spin_lock(&notifier->lock);
	for (i = 0; i < notifier->unknown_count; i++)
		record(notifier, notifier->unknown[i].first,
		       notifier->unknown[i].last);
	notifier->unknown_count = 0;
	spin_unlock(&notifier->lock);
	kiommu_guest_kick(container_of(notifier, struct kiommu_guest, notifier));
}

void kiommu_notifier_init(struct kiommu_notifier *notifier)
{
	spin_lock_init(&notifier->lock);
	seqcount_spinlock_init(&notifier->plain_lock, &notifier->lock);
	init_waitqueue_head(&notifier->quiet);
	INIT_DELAYED_WORK(&notifier->retry, retry_work);
	notifier->mn.ops = &kiommu_mn_ops;
	/* An empty range. */
	notifier->plain.first = ULONG_MAX;
}

/* Like mmu_notifier_register(), but killable. */
int kiommu_notifier_register(struct kiommu_guest *guest)
{
	int ret;

	if (mmap_write_lock_killable(guest->mm))
		return -EINTR;
	ret = __mmu_notifier_register(&guest->notifier.mn, guest->mm);
	mmap_write_unlock(guest->mm);
	return ret;
}

void kiommu_notifier_unregister(struct kiommu_guest *guest)
{
	mmu_notifier_unregister(&guest->notifier.mn, guest->mm);
	/* The guest's work may still settle, but cannot queue @retry again. */
	disable_delayed_work_sync(&guest->notifier.retry);
}

bool kiommu_notifier_due(struct kiommu_guest *guest)
{
	return READ_ONCE(guest->notifier.count) ||
	       READ_ONCE(guest->notifier.revoked);
}

/*
 * Something in the range is unknown. Only the retry looks at it again, so that
 * calls meanwhile need not take the guest's lock for writing.
 */
static void postpone(struct kiommu_notifier *notifier,
		     const struct kiommu_window *range)
{
	spin_lock(&notifier->lock);
	add_changed(notifier->unknown, &notifier->unknown_count, range->first,
		    range->last);
	spin_unlock(&notifier->lock);
	queue_delayed_work(system_unbound_wq, &notifier->retry,
			   KIOMMU_RETRY_DELAY);
}

bool kiommu_notifier_patient(struct kiommu_notifier *notifier)
{
	if (fatal_signal_pending(current))
		return false;
	if (!notifier->impatient) {
		notifier->impatient = true;
		notifier->patient_until = jiffies + KIOMMU_PATIENCE;
	}
	return time_before(jiffies, notifier->patient_until);
}

/*
 * The caller holds the guest's lock for writing, and the process's memory
 * (mmget).
 */
static void tell_changes(struct kiommu_guest *guest, struct kiommu_window *ranges,
			 unsigned int count)
{
	struct kiommu_notifier *notifier = &guest->notifier;
	unsigned int i;

	static_assert(KIOMMU_MAX_RANGES == KIOMMU_MAX_CHANGES);
	count = kiommu_core_memory_changed(guest->pins, ranges, count);
	for (i = 0; i < count; i++)
		postpone(notifier, &ranges[i]);
	if (!count && !READ_ONCE(notifier->unknown_count))
		notifier->impatient = false;
}

void kiommu_notifier_settle(struct kiommu_guest *guest)
{
	struct kiommu_notifier *notifier = &guest->notifier;
	struct kiommu_window ranges[KIOMMU_MAX_RANGES];
	unsigned int i, count;
	bool revoked;

	lockdep_assert_held_write(&guest->lock);
	/* What comes later has the guest settled anew. */
	if (!kiommu_notifier_due(guest))
		return;
	spin_lock(&notifier->lock);
	count = notifier->count;
	for (i = 0; i < count; i++)
		ranges[i] = (struct kiommu_window){
			.first = notifier->ranges[i].first,
			.last = notifier->ranges[i].last,
		};
	revoked = notifier->revoked;
	WRITE_ONCE(notifier->count, 0);
	WRITE_ONCE(notifier->revoked, false);
	spin_unlock(&notifier->lock);

	if (revoked)
		kiommu_core_mmio_revoked(guest->pins);
	/*
	 * If the process is gone, its pages stay until the domains let go of
	 * them.
	 */
	if (!count || !mmget_not_zero(guest->mm))
		return;
	tell_changes(guest, ranges, count);
	/*
	 * May be the last reference: do not tear down the address space under
	 * locks.
	 */
	mmput_async(guest->mm);
}

unsigned long kiommu_notifier_sequence(struct kiommu_notifier *notifier)
{
	unsigned long sequence;

	spin_lock(&notifier->lock);
	sequence = notifier->sequence;
	spin_unlock(&notifier->lock);
	return sequence;
}

bool kiommu_notifier_unchanged(struct kiommu_notifier *notifier,
			       unsigned long sequence)
{
	bool unchanged;

	spin_lock(&notifier->lock);
	unchanged = !notifier->active && !notifier->dead &&
		    notifier->sequence == sequence;
	spin_unlock(&notifier->lock);
	return unchanged;
}

void kiommu_notifier_set_plain(struct kiommu_notifier *notifier,
			       unsigned long sequence, unsigned long first,
			       unsigned long last)
{
	spin_lock(&notifier->lock);
	if (!notifier->active && !notifier->dead &&
	    notifier->sequence == sequence) {
		write_seqcount_begin(&notifier->plain_lock);
		WRITE_ONCE(notifier->plain.first, first);
		WRITE_ONCE(notifier->plain.last, last);
		WRITE_ONCE(notifier->plain_sequence, sequence);
		write_seqcount_end(&notifier->plain_lock);
	}
	spin_unlock(&notifier->lock);
}

void kiommu_notifier_wait(struct kiommu_notifier *notifier)
{
	wait_event_timeout(notifier->quiet,
			   !READ_ONCE(notifier->active) ||
			   READ_ONCE(notifier->dead), HZ / 10);
}
