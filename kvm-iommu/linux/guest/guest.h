/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A registered guest, KVM's or another provider's: what the core knows as struct
 * kiommu_mem, one for all containers that registered the guest.
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
 * struct kiommu_mem - see above
 * @refs: one for each container that is started with it, one for each call
 *	that looked it up, one for the thread that makes it.
 * @list: in the list of all guests, unless making it has failed.
 * @made: completed when the guest is made, or when that has failed.
 * @error: 0 or why it has failed; valid after @made.
 * @maker: the thread that makes it, until @made.
 * @waiters: who waits for that; protected, as is @maker, by the lock of the list.
 * @provider: whose memory it is; its module is referenced.
 * @memory: got from it.
 * @mm: the process whose memory is the guest's; that of @memory.
 * @lock: P of core.h: of the pin table, and of what hangs below it. Order: see
 *	lock.h.
 * @pins: the core's.
 * @slots: which memory slots the core has seen.
 * @notifier: what happened to the process's memory.
 * @mmio: device memory of other devices that is mapped for devices.
 * @tracked: pages of tables whose stores are followed.
 * @wq: runs @work, and what compares the generation of @slots. It is the
 *	guest's own: works of another guest may wait for that one's memory, and
 *	must not use up a limit of this one.
 * @work: settles what is due when no call comes to do it.
 * @shrink: idle pages that memory pressure asked for, and that @work has not
 *	unpinned yet.
 *
 * @provider, @memory, @mm, @pins, @wq do not change while it exists.
 */
struct kiommu_mem {
	refcount_t refs;
	struct list_head list;
	struct completion made;
	int error;
	struct task_struct *maker;
	unsigned int waiters;
	const struct kiommu_memory_provider *provider;
	struct kiommu_memory *memory;
	struct mm_struct *mm;
	struct rw_semaphore lock; /* of the pin table */
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
 * kiommu_guest_get() - the guest that a key names
 * @key: a struct kvm, or another provider's; what it names cannot go away
 *	during the call.
 *
 * A guest that is known is found by the key alone. If there is none, modules
 * that registered as providers are asked first; what they do not know is a KVM.
 * Making one waits for the mmap_lock of the guest's process, and so do all who
 * ask for this guest meanwhile; who asks for another one does not.
 * Context: may sleep; no lock of lock.h is held. Return: referenced; -ENOMEM;
 * -ENODEV if kvm.ko is not there or the KVM or its process is going away;
 * -EINTR a fatal signal.
 */
struct kiommu_mem *kiommu_guest_get(const void *key);

/**
 * kiommu_guest_get_fd() - the guest of a file descriptor: KVM's, or a provider's
 *
 * Context: as kiommu_guest_get(). Return: referenced, or -EBADF; -EINVAL if no
 * provider knows the file; -EPERM if it is the guest of another process, which
 * is not registered then; or what kiommu_guest_get() returns.
 */
struct kiommu_mem *kiommu_guest_get_fd(int fd);

/* Another reference. Context: any; the caller has one, or D of a container. */
void kiommu_guest_hold(struct kiommu_mem *guest);

/**
 * kiommu_guest_put() - drop a reference
 * @guest: may be NULL.
 *
 * Context: the last one waits for callbacks of KVM and of the process's memory
 * and may destroy the KVM: no lock may be held that these take, in particular
 * none of lock.h.
 */
void kiommu_guest_put(struct kiommu_mem *guest);

/**
 * kiommu_guest_due() - whether something happened that the core must be told
 *
 * Context: any. What happened before a system call returned is seen by calls
 * that begin after it.
 */
bool kiommu_guest_due(struct kiommu_mem *guest);

/* Tells the core what is due. Context: @guest->lock is held for writing. */
void kiommu_guest_settle(struct kiommu_mem *guest);

/* Trims idle pins to their limit and releases @guest->lock, held for writing. */
void kiommu_guest_unlock(struct kiommu_mem *guest);

/* Has it settled soon, by the guest's work. Context: any. */
void kiommu_guest_kick(struct kiommu_mem *guest);

/**
 * kiommu_guests_idle() - pages of all guests that memory pressure can ask for
 *
 * Without those that it has asked for already.
 * Context: any that may sleep, memory reclaim included: it waits for nothing.
 * Return: pages; 0 if the list of guests is locked.
 */
unsigned long kiommu_guests_idle(void);

/**
 * kiommu_guests_shrink() - ask for up to @pages idle pages
 *
 * The guests' works unpin them later. Context: as kiommu_guests_idle().
 * Return: pages that were asked for, of which none is unpinned yet; 0 if the
 * list of guests is locked.
 */
unsigned long kiommu_guests_shrink(unsigned long pages);

/* KVM as a provider. */
void kiommu_guests_init(void);

/* shrinker.c. Return: 0, -ENOMEM. */
int kiommu_shrinker_init(void);
void kiommu_shrinker_exit(void);

/* kvm_memory.c: the one provider that need not register. */
extern struct kiommu_memory_provider kiommu_kvm_memory;

#endif /* KIOMMU_GUEST_H */
