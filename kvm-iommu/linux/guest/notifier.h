/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The MMU notifier of a guest's process. For ordinary memory the core is told
 * later; device memory is taken out of the hosts at once.
 */
#ifndef KIOMMU_NOTIFIER_H
#define KIOMMU_NOTIFIER_H

#include <linux/mmu_notifier.h>
#include <linux/seqlock.h>
#include <linux/spinlock.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

struct kiommu_guest;

/* Ranges that are kept apart; more are merged into one that covers them all. */
#define KIOMMU_MAX_RANGES 16

/*
 * How long calls wait in total, until there is an answer, for locks that
 * another process can hold; and the delay until the range is looked up again.
 */
#define KIOMMU_PATIENCE (HZ / 10)
#define KIOMMU_RETRY_DELAY (HZ / 20)

struct kiommu_range {
	unsigned long first; /* HVA */
	unsigned long last; /* inclusive */
};

/**
 * struct kiommu_notifier - see above
 * @mn: the kernel's MMU notifier.
 * @lock: protects all fields below, unless they say otherwise. Innermost except
 *	for the lock of @quiet; never held while sleeping.
 * @ranges: ranges whose memory has changed and of which the core was not told
 *	yet.
 * @count: number of @ranges.
 * @unknown: ranges of which it could not be found out what memory they have
 *	now. The core keeps them as they were, and is told again by @retry.
 * @unknown_count: number of @unknown.
 * @retry: makes @unknown due again.
 * @impatient: a lookup had no answer at once, and not everything is known yet.
 *	Protected by the guest's lock.
 * @patient_until: jiffies. Protected by the guest's lock.
 * @revoked: device memory was taken out, and the core was not told yet.
 * @active: number of invalidations under way.
 * @sequence: incremented when an invalidation begins or ends.
 * @dead: the process is gone, and no callback will come any more.
 * @quiet: waited on for @active to become 0.
 * @plain_lock: makes @plain and @plain_sequence consistent for readers.
 * @plain: addresses of ordinary memory, in one mapping, as of @plain_sequence.
 * @plain_sequence: value of @sequence when @plain was looked up.
 */
struct kiommu_notifier {
	struct mmu_notifier mn;
	spinlock_t lock; /* protects all fields below */
	struct kiommu_range ranges[KIOMMU_MAX_RANGES];
	unsigned int count;
	struct kiommu_range unknown[KIOMMU_MAX_RANGES];
	unsigned int unknown_count;
	struct delayed_work retry;
	bool impatient;
	unsigned long patient_until;
	bool revoked;
	unsigned long active;
	unsigned long sequence;
	bool dead;
	wait_queue_head_t quiet;
	seqcount_spinlock_t plain_lock;
	struct kiommu_range plain;
	unsigned long plain_sequence;
};

void kiommu_notifier_init(struct kiommu_notifier *notifier);

/**
 * kiommu_notifier_register() - register the MMU notifier
 *
 * Context: the process's memory is held (mmget). May sleep for as long as the
 * process holds its mmap_lock; no lock is held.
 * Return: 0; -ENOMEM; -EINTR on a fatal signal.
 */
int kiommu_notifier_register(struct kiommu_guest *guest);

/* Context: as kiommu_guest_put(). No callback is under way on return. */
void kiommu_notifier_unregister(struct kiommu_guest *guest);

/* Whether the core must be told. Context: any. */
bool kiommu_notifier_due(struct kiommu_guest *guest);

/*
 * Tells the core of changed memory. Ranges that cannot be looked up now,
 * because another process holds a lock, are told later by the guest's work;
 * their pages stay mapped and pinned until then. The caller holds the guest's
 * lock for writing.
 */
void kiommu_notifier_settle(struct kiommu_guest *guest);

/**
 * kiommu_notifier_patient() - check whether to go on waiting for a lock
 *
 * For locks that another process can hold. True for KIOMMU_PATIENCE after the
 * first time that one had to be waited for, until everything is known: a
 * process that holds its lock for longer costs the guest no more than that.
 *
 * Context: the caller holds the guest's lock for writing.
 */
bool kiommu_notifier_patient(struct kiommu_notifier *notifier);

/* The current sequence, for kiommu_notifier_unchanged(). */
unsigned long kiommu_notifier_sequence(struct kiommu_notifier *notifier);

/**
 * kiommu_notifier_unchanged() - check whether memory is as it was at @sequence
 *
 * No invalidation has begun since, nor was one under way then. A caller that
 * holds kiommu_mmio.lock and has made its record visible can rely on the answer
 * until it releases that lock: an invalidation that begins now finds the
 * record.
 */
bool kiommu_notifier_unchanged(struct kiommu_notifier *notifier,
			       unsigned long sequence);

/**
 * kiommu_notifier_is_plain() - check for addresses known as ordinary memory
 *
 * They were when kiommu_notifier_set_plain() was called, and no invalidation
 * has begun since, without which a mapping does not become one of a device. It
 * may become one from now on, as it may after any look at the mappings.
 */
static inline bool kiommu_notifier_is_plain(struct kiommu_notifier *notifier,
					    unsigned long first,
					    unsigned long last)
{
	unsigned int version = raw_read_seqcount(&notifier->plain_lock);

	return READ_ONCE(notifier->plain.first) <= first &&
	       last <= READ_ONCE(notifier->plain.last) &&
	       READ_ONCE(notifier->plain_sequence) ==
		       READ_ONCE(notifier->sequence) &&
	       !(version & 1) &&
	       !read_seqcount_retry(&notifier->plain_lock, version);
}

/*
 * Notes that addresses are ordinary memory, as looked up after
 * kiommu_notifier_sequence() returned @sequence.
 */
void kiommu_notifier_set_plain(struct kiommu_notifier *notifier,
			       unsigned long sequence, unsigned long first,
			       unsigned long last);

/* Waits a while for invalidations to end. Context: mmap_lock is not held. */
void kiommu_notifier_wait(struct kiommu_notifier *notifier);

#endif /* KIOMMU_NOTIFIER_H */
