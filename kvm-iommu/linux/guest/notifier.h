/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What happens to the memory of a guest's process: the kernel tells, the core
 * is told later, device memory is taken away at once.
 */
#ifndef KIOMMU_NOTIFIER_H
#define KIOMMU_NOTIFIER_H

#include <linux/mmu_notifier.h>
#include <linux/seqlock.h>
#include <linux/spinlock.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

struct kiommu_mem;

/* Ranges that are kept apart; more become one that covers them all. */
#define KIOMMU_MAX_RANGES 16

/*
 * How long calls wait in all, until an answer comes, for locks that another
 * process can hold; and how long it is until somebody asks again.
 */
#define KIOMMU_PATIENCE (HZ / 10)
#define KIOMMU_RETRY_DELAY (HZ / 20)

struct kiommu_range {
	unsigned long first; /* HVA */
	unsigned long last; /* inclusive */
};

/**
 * struct kiommu_notifier - see above
 * @mn: the kernel's.
 * @lock: protects all below. A leaf; never held while sleeping.
 * @ranges: whose memory has changed, and the core has not been told.
 * @count: how many.
 * @unknown: what memory there is now could not be found out; the core has it as
 *	it was, and is told again by @retry.
 * @unknown_count: how many.
 * @retry: makes them due again.
 * @impatient: there was no answer at once, and there has been none since;
 *	protected by the guest's lock.
 * @patient_until: jiffies; as @impatient.
 * @revoked: device memory was taken away, and the core has not been told.
 * @active: invalidations that have begun and not ended.
 * @sequence: counts how often one has begun or ended.
 * @dead: the process is gone; nobody will tell anything any more.
 * @quiet: waited on for @active to be 0.
 * @plain_lock: tells whether @plain and @plain_sequence belong together.
 * @plain: addresses of ordinary memory, in one mapping, as it was at
 *	@plain_sequence.
 */
struct kiommu_notifier {
	struct mmu_notifier mn;
	spinlock_t lock; /* of all below */
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
 * kiommu_notifier_register() - start to listen
 *
 * Context: the process's memory is held (mmget); may sleep, for as long as the
 * process likes: no lock is held. Return: 0; -ENOMEM; -EINTR a signal.
 */
int kiommu_notifier_register(struct kiommu_mem *guest);

/* Context: as kiommu_guest_put(). No callback is under way on return. */
void kiommu_notifier_unregister(struct kiommu_mem *guest);

/* Whether the core must be told. Context: any. */
bool kiommu_notifier_due(struct kiommu_mem *guest);

/*
 * Tells the core. What cannot be found out now, because another process has a
 * lock, is told by the guest's work when it can: its pages stay mapped, and
 * pinned, until then. Context: the guest's lock is held for writing.
 */
void kiommu_notifier_settle(struct kiommu_mem *guest);

/**
 * kiommu_notifier_patient() - whether to wait for a lock of another process
 *
 * For a short time, from the first time that one had to be waited for until all
 * is known: who holds it for longer costs the guest no more than that.
 * Context: the guest's lock is held for writing.
 */
bool kiommu_notifier_patient(struct kiommu_notifier *notifier);

/* A place in time, for kiommu_notifier_unchanged(). */
unsigned long kiommu_notifier_sequence(struct kiommu_notifier *notifier);

/**
 * kiommu_notifier_unchanged() - whether memory is as it was at @sequence
 *
 * Nothing has begun to change since, nor was it changing then. Who holds
 * kiommu_mmio.lock and has made its record visible can rely on it until it
 * drops that lock: an invalidation that begins now finds the record.
 */
bool kiommu_notifier_unchanged(struct kiommu_notifier *notifier,
			       unsigned long sequence);

/**
 * kiommu_notifier_is_plain() - whether addresses are known for ordinary memory
 *
 * They were when kiommu_notifier_set_plain() said so, and nothing has begun to
 * change since: a mapping does not change to one of a device without that. It
 * may from now on, as it may after a look at the mappings.
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

/* They are; it was looked at after kiommu_notifier_sequence() said @sequence. */
void kiommu_notifier_set_plain(struct kiommu_notifier *notifier,
			       unsigned long sequence, unsigned long first,
			       unsigned long last);

/* Waits for invalidations to end, for a while. Context: no mmap_lock. */
void kiommu_notifier_wait(struct kiommu_notifier *notifier);

#endif /* KIOMMU_NOTIFIER_H */
