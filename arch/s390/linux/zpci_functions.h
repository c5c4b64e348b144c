/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The zPCI functions that KVMs have started: which container they are in, and
 * what the core knows of them.
 *
 * A KVM is a key here, as in guest.h: it is compared. A zdev is in use by it
 * until the function is stopped.
 *
 * Lifetimes. A function is in a table from START to STOP. Whoever finds it there
 * while it is live gets a reference, and with it the container and the zdev. STOP
 * has it no longer live, resets it under the container's lock, so that RPCITs under
 * way find it disabled, takes it out of the table, and waits for the references:
 * then nobody uses function, container and zdev any more.
 */
#ifndef KIOMMU_ZPCI_FUNCTIONS_H
#define KIOMMU_ZPCI_FUNCTIONS_H

#include <linux/completion.h>
#include <linux/rcupdate.h>
#include <linux/refcount.h>
#include <linux/types.h>

#include "zpci.h"

struct kiommu_container;
struct pci_dev;
struct zpci_dev;

/**
 * struct kiommu_function - a function that is started
 * @node: in the table, found under RCU by @key.
 * @rcu: frees it when no look-up can still see it.
 * @refs: one for the table, one for each call under way.
 * @unused: there is no reference any more.
 * @key: the KVM.
 * @pdev: referenced, and so is @zdev by it.
 * @zdev: the function; its handle changes with each reset.
 * @container: referenced.
 * @live: look-ups find it. Set with the container's lock held for writing when
 *	START has done its work, cleared with the lock of the table held when STOP
 *	begins.
 * @registered: START registered the KVM with the container, and STOP of the
 *	last function of the container lets it go. Protected by the container's
 *	lock.
 * @zpci: the core's; protected as zpci.h says, by the container's lock.
 */
struct kiommu_function {
	struct hlist_node node;
	struct rcu_head rcu;
	refcount_t refs;
	struct completion unused;
	const void *key;
	struct pci_dev *pdev;
	struct zpci_dev *zdev;
	struct kiommu_container *container;
	bool live;
	bool registered;
	struct kiommu_zpci_function zpci;
};

/**
 * kiommu_function_start() - a KVM gets a function
 *
 * The container is that which the function's IOMMU group is in. Registers the
 * KVM with it, if none is registered.
 * Context: may sleep; as kiommu_guest_get(). The process is the KVM's. Return:
 * 0; -EEXIST it has it; -EBUSY another KVM has the function or the container;
 * -ENXIO the group is in no container of ours, or no device of the
 * container is open; -ENODEV KVM, process or device is going away; -ENOMEM;
 * -EINTR a fatal signal. On failure nothing has changed.
 */
int kiommu_function_start(const void *key, struct zpci_dev *zdev);

/**
 * kiommu_function_stop() - it is taken from it
 *
 * Its tables are not registered any more, and it is not used by anybody. Cannot
 * fail otherwise. Context: may sleep; may drop the last reference to a guest, see
 * kiommu_guest_put(). Return: 0; -ENOENT the KVM has not started it.
 */
int kiommu_function_stop(const void *key, struct zpci_dev *zdev);

/* Stops all. Nobody else calls any more. */
void kiommu_functions_exit(void);

/* Return: whether the KVM has started a function. Context: any. */
bool kiommu_functions_started(const void *key);

/**
 * kiommu_function_get() - the function of a zdev
 * kiommu_function_get_handle() - the function whose handle is @fh now
 *
 * They look at the functions of one KVM alone. Context: any. Return: referenced,
 * or NULL.
 */
struct kiommu_function *kiommu_function_get(const void *key,
					    const struct zpci_dev *zdev);
struct kiommu_function *kiommu_function_get_handle(const void *key, u32 fh);
void kiommu_function_put(struct kiommu_function *function);

/**
 * kiommu_function_lock_shared() - as kiommu_lock_shared()
 *
 * With the lock, the function's container is not released, and the core knows the
 * handle that the function had when the lock was taken. Return: 0; -EINTR a fatal
 * signal; -ENOENT the container is released.
 */
int kiommu_function_lock_shared(struct kiommu_function *function);
void kiommu_function_unlock_shared(struct kiommu_function *function);

/* The same, as kiommu_lock_exclusive_killable(). */
int kiommu_function_lock_exclusive(struct kiommu_function *function);
void kiommu_function_unlock_exclusive(struct kiommu_function *function);

/* Unpins all idle pages of the guest. Context: no lock. Return: 0, or errno. */
int kiommu_function_make_room(struct kiommu_function *function);

#endif /* KIOMMU_ZPCI_FUNCTIONS_H */
