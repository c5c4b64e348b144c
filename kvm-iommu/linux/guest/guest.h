/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A registered guest, of KVM or of another provider. The core knows it as
 * struct kiommu_guest; all domains that registered the guest share it.
 */
#ifndef KIOMMU_GUEST_H
#define KIOMMU_GUEST_H

#include <linux/atomic.h>
#include <linux/completion.h>
#include <linux/mm_types.h>
#include <linux/refcount.h>
#include <linux/rwsem.h>
#include <linux/workqueue.h>

#include "core.h"
#include "guest/memory_provider.h"
#include "guest/mmio.h"
#include "guest/notifier.h"
#include "guest/slots.h"
#include "guest/tracked_pages.h"

/**
 * struct kiommu_guest - see above
 * @refs: one for each domain that is started with it, for each call that
 *	looked it up, and for the thread that makes it.
 * @list: entry in the list of guests; empty if making the guest has failed, or if its
 *	provider pins by itself.
 * @made: completed once the guest is made, or making it has failed.
 * @error: 0, or why making it failed; valid after @made. Before that, -EINTR
 *	tells @maker to give up.
 * @maker: the thread that makes the guest, until @made.
 * @waiters: number of tasks that wait for @made. Protected by the lock of the
 *	list, as are @maker and @error until @made.
 * @provider: provider of the memory; its module is referenced.
 * @memory: the memory that the provider gave us.
 * @mm: mm of the guest's process; same as that of @memory.
 * @lock: P of core.h; protects the pin table and what depends on it. For the
 *	lock order see lock.h.
 * @pins: the core's pin table; NULL, with @lock held for writing, once the guest
 *	is being freed.
 * @slots: the memory slots that the core knows of.
 * @notifier: what happened to the process's memory.
 * @mmio: device memory that is mapped for other devices.
 * @tracked: pages of tables whose stores are followed.
 * @wq: runs @work, and the work that compares the generation of @slots. Each
 *	guest has its own: work of another guest may wait for that guest's
 *	memory, and must not use up the concurrency limit of this one.
 * @work: settles the guest if no call comes to do it.
 * @shrink: idle pages that memory pressure asked for and that @work has not
 *	unpinned yet.
 *
 * @provider, @memory, @mm, @wq and, until it is freed, @pins do not change.
 */
struct kiommu_guest {
	refcount_t refs;
	struct list_head list;
	struct completion made;
	int error;
	struct task_struct *maker;
	unsigned int waiters;
	const struct kiommu_memory_provider *provider;
	struct kiommu_memory *memory;
	struct mm_struct *mm;
	struct rw_semaphore lock; /* P; protects the pin table */
	struct kiommu_pins *pins;
	struct kiommu_slots slots;
	struct kiommu_notifier notifier;
	struct kiommu_mmio mmio;
	struct kiommu_tracked tracked;
	struct workqueue_struct *wq;
	struct work_struct work;
	atomic64_t shrink;
};

/**
 * kiommu_guest_get() - get the guest that a key names
 * @key: a struct kvm, or the key of another provider; what it names must not go
 *	away during the call.
 *
 * An existing guest is found by the key alone. Otherwise the modules that
 * registered as providers are asked first; a key that none of them knows is a
 * KVM. Making a guest waits for the mmap_lock of its process, and so do all
 * callers that ask for this guest meanwhile; callers that ask for another one
 * do not.
 *
 * Context: may sleep; no lock of lock.h is held.
 * Return: the guest with a reference; -ENOMEM; -ENODEV if kvm.ko is not loaded,
 * or if the KVM or its process is going away; -EINTR on a fatal signal.
 */
struct kiommu_guest *kiommu_guest_get(const void *key);

/**
 * kiommu_guest_create() - make a guest of a memory that only the caller knows
 * @provider: need not be registered.
 * @memory: consumed: put if this fails.
 *
 * It keeps no idle pins if @provider has @resolve.
 *
 * Context: as kiommu_guest_get(). If @provider pins by itself, no lock of a
 * process is waited for, and only -ENOMEM is returned.
 * Return: as kiommu_guest_get().
 */
struct kiommu_guest *
kiommu_guest_create(const struct kiommu_memory_provider *provider,
		    struct kiommu_memory *memory);

/**
 * kiommu_guest_get_fd() - get the guest of a file descriptor
 *
 * The file is KVM's or another provider's.
 *
 * Context: as kiommu_guest_get().
 * Return: the guest with a reference; -EBADF; -EINVAL if no provider knows the
 * file; -EPERM if it is the guest of another process, which is not registered
 * then; or what kiommu_guest_get() returns.
 */
struct kiommu_guest *kiommu_guest_get_fd(int fd);

/* Whether its memory is that of a process, which alone may have it read. */
static inline bool kiommu_guest_of_process(const struct kiommu_guest *guest)
{
	return !guest->provider->pin;
}

/*
 * Takes another reference. Context: any; the caller has a reference, or holds D
 * of a domain that has the guest registered.
 */
void kiommu_guest_hold(struct kiommu_guest *guest);

/**
 * kiommu_guest_put() - drop a reference
 * @guest: may be NULL.
 *
 * Dropping the last reference waits for callbacks of the MMU notifier and for
 * the guest's work, and may destroy the KVM.
 *
 * Context: may sleep; the caller holds no lock that these take, in particular
 * none of lock.h.
 */
void kiommu_guest_put(struct kiommu_guest *guest);

/**
 * kiommu_guest_due() - check whether the core must be told of a change
 *
 * Calls that begin after a system call has returned see the changes that it
 * made.
 *
 * Context: any.
 */
bool kiommu_guest_due(struct kiommu_guest *guest);

/* Tells the core what is due. The caller holds @guest->lock for writing. */
void kiommu_guest_settle(struct kiommu_guest *guest);

/*
 * Trims idle pins to their limit and releases @guest->lock, held for writing.
 */
void kiommu_guest_unlock(struct kiommu_guest *guest);

/* Has the guest settled soon, by its work. Context: any. */
void kiommu_guest_kick(struct kiommu_guest *guest);

/**
 * kiommu_guests_idle() - count idle pages that reclaim can ask for
 *
 * Pages of all guests, except those that were asked for already.
 *
 * Context: may sleep, but waits for nothing; may be called in memory reclaim.
 * Return: number of pages; 0 if the list of guests is locked.
 */
unsigned long kiommu_guests_idle(void);

/**
 * kiommu_guests_shrink() - ask for up to @pages idle pages
 *
 * The guests' work unpins them later.
 *
 * Context: as kiommu_guests_idle().
 * Return: number of pages asked for, none of which is unpinned yet; 0 if the
 * list of guests is locked.
 */
unsigned long kiommu_guests_shrink(unsigned long pages);

/* Registers KVM as a provider. */
void kiommu_guests_init(void);

/* shrinker.c. Return: 0 or -ENOMEM. */
int kiommu_shrinker_init(void);
void kiommu_shrinker_exit(void);

/* kvm_memory.c; registered by kiommu_guests_init(). */
extern struct kiommu_memory_provider kiommu_kvm_memory;

#endif /* KIOMMU_GUEST_H */
