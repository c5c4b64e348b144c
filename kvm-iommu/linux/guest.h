/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The memory of a registered KVM: what the core knows as struct kiommu_mem,
 * one for all containers that registered the KVM.
 */
#ifndef KIOMMU_GUEST_H
#define KIOMMU_GUEST_H

#include <linux/atomic.h>
#include <linux/mm_types.h>
#include <linux/refcount.h>
#include <linux/rwsem.h>
#include <linux/workqueue.h>

#include "core.h"
#include "mmio.h"
#include "notifier.h"
#include "slots.h"

struct kvm;

/**
 * struct kiommu_mem - see above
 * @refs: one for each container that is started with it, one for each call
 *	that looked it up.
 * @list: in the list of all guests.
 * @kvm: referenced.
 * @mm: the process whose memory is the guest's, referenced (mmgrab).
 * @put_kvm: kvm_put_kvm(); kvm.ko is held while it is kept.
 * @lock: P of core.h: of the pin table, and of what hangs below it. Order: see
 *	lock.h.
 * @pins: the core's.
 * @slots: which memory slots the core has seen.
 * @notifier: what happened to the process's memory.
 * @mmio: device memory of other devices that is mapped for devices.
 * @work: settles what is due when no call comes to do it.
 * @shrink: idle pages that memory pressure asked back.
 *
 * @kvm, @mm, @put_kvm, @pins do not change while it exists.
 */
struct kiommu_mem {
	refcount_t refs;
	struct list_head list;
	struct kvm *kvm;
	struct mm_struct *mm;
	void (*put_kvm)(struct kvm *kvm);
	struct rw_semaphore lock; /* of the pin table */
	struct kiommu_pins *pins;
	struct kiommu_slots slots;
	struct kiommu_notifier notifier;
	struct kiommu_mmio mmio;
	struct work_struct work;
	atomic64_t shrink;
};

/**
 * kiommu_guest_get() - the guest of a KVM
 * @kvm: a KVM that cannot go away during the call.
 *
 * Context: may sleep; no lock of lock.h is held. Return: referenced; -ENOMEM;
 * -ENODEV if kvm.ko is not there or the KVM or its process is going away.
 */
struct kiommu_mem *kiommu_guest_get(struct kvm *kvm);

/**
 * kiommu_guest_get_fd() - the guest of a KVM's file descriptor
 *
 * Context: as kiommu_guest_get(). Return: referenced, or -EBADF; -EBADFD if it
 * is no KVM's file descriptor; or what kiommu_guest_get() returns.
 */
struct kiommu_mem *kiommu_guest_get_fd(int fd);

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

/* Has it settled soon, by the guest's work. Context: any. */
void kiommu_guest_kick(struct kiommu_mem *guest);

/**
 * kiommu_guests_idle() - pages of all guests that memory pressure can ask for
 * kiommu_guests_shrink() - ask up to @pages of them back
 *
 * Context: any that may sleep, memory reclaim included: they wait for nothing.
 * Return: pages; 0 if the list of guests is locked.
 */
unsigned long kiommu_guests_idle(void);
unsigned long kiommu_guests_shrink(unsigned long pages);

/* The work queue of all guests. Return: 0, -ENOMEM. */
int kiommu_guests_init(void);
void kiommu_guests_exit(void);

/* shrinker.c. Return: 0, -ENOMEM. */
int kiommu_shrinker_init(void);
void kiommu_shrinker_exit(void);

#endif /* KIOMMU_GUEST_H */
