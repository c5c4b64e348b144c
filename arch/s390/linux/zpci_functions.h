/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The zPCI functions that KVMs have started: the domain that each is in, and
 * what the core knows of it.
 *
 * A KVM is a key here, as in guest.h: it is only compared. It uses a zdev until
 * the function is stopped.
 *
 * Lifetimes. A function is in a table from START to STOP. A lookup that finds
 * it there while it is live gets a reference, which also keeps the domain
 * and the zdev. STOP makes it not live, resets it under the domain's lock,
 * so that RPCITs under way find it disabled, takes it out of the table, and
 * waits for the references to be dropped. After that function, domain and
 * zdev are not used any more.
 */
#ifndef KIOMMU_ZPCI_FUNCTIONS_H
#define KIOMMU_ZPCI_FUNCTIONS_H

#include <linux/completion.h>
#include <linux/rcupdate.h>
#include <linux/refcount.h>
#include <linux/types.h>

#include "zpci.h"

struct kiommu_object;
struct pci_dev;
struct zpci_dev;

/**
 * struct kiommu_function - a function that is started
 * @node: entry in the table, looked up under RCU by @key.
 * @rcu: frees the function once no lookup can still see it.
 * @refs: one for the table, one for each call under way.
 * @unused: completed when the last reference is dropped.
 * @key: the KVM.
 * @pdev: referenced; keeps @zdev.
 * @zdev: the function; its handle changes with each reset.
 * @object: referenced.
 * @live: lookups find the function. Set with the domain's lock held for
 *	writing when START has done its work; cleared under functions_lock when
 *	STOP begins.
 * @registered: START registered the KVM with the domain, and STOP of the
 *	domain's last function unregisters it. Protected by the domain's
 *	lock.
 * @zpci: the core's part; protected by the domain's lock as zpci.h says.
 */
struct kiommu_function {
	struct hlist_node node;
	struct rcu_head rcu;
	refcount_t refs;
	struct completion unused;
	const void *key;
	struct pci_dev *pdev;
	struct zpci_dev *zdev;
	struct kiommu_object *object;
	bool live;
	bool registered;
	struct kiommu_zpci_function zpci;
};

/**
 * kiommu_function_start() - start a function for a KVM
 *
 * The domain is the one that the function's IOMMU group is in. Registers the
 * KVM with it, if none is registered.
 *
 * Context: as kiommu_guest_get(); in a thread of the KVM's process.
 * Return: 0; -EEXIST if the KVM has started it already; -EBUSY if another KVM
 * has the function or the domain; -ENXIO if the group is in no domain of
 * ours or just leaves it, or no device of its container is open; -ENODEV if
 * KVM, process or device is going away; -ENOMEM; -EINTR on a fatal signal. On
 * failure nothing has changed.
 */
int kiommu_function_start(const void *key, struct zpci_dev *zdev);

/**
 * kiommu_function_stop() - stop a function
 *
 * On return its tables are unregistered, and it is not used any more. Cannot
 * fail except as below.
 *
 * Context: may sleep; may drop the last reference to a guest, see
 * kiommu_guest_put().
 * Return: 0; -ENOENT if the KVM has not started it.
 */
int kiommu_function_stop(const void *key, struct zpci_dev *zdev);

/* Stops all functions. There are no other callers any more. */
void kiommu_functions_exit(void);

/* Return: whether the KVM has started a function. Context: any. */
bool kiommu_functions_started(const void *key);

/**
 * kiommu_function_get() - look up the function of a zdev
 * kiommu_function_get_handle() - look up the function whose handle is @fh now
 *
 * Only functions of the KVM @key are found.
 *
 * Context: any.
 * Return: the function with a reference, or NULL.
 */
struct kiommu_function *kiommu_function_get(const void *key,
					    const struct zpci_dev *zdev);
struct kiommu_function *kiommu_function_get_handle(const void *key, u32 fh);
void kiommu_function_put(struct kiommu_function *function);

/**
 * kiommu_function_lock_shared() - as kiommu_lock_shared()
 *
 * While the lock is held, the function's domain is not released, and the
 * core knows the handle that the function had when the lock was taken.
 *
 * Return: 0; -EINTR on a fatal signal; -ENOENT if the domain was released.
 */
int kiommu_function_lock_shared(struct kiommu_function *function);
void kiommu_function_unlock_shared(struct kiommu_function *function);

/* The same, as kiommu_lock_exclusive_killable(). */
int kiommu_function_lock_exclusive(struct kiommu_function *function);
void kiommu_function_unlock_exclusive(struct kiommu_function *function);

/*
 * Unpins all idle pages of the guest. Context: no lock is held. Return: 0 or an
 * errno.
 */
int kiommu_function_make_room(struct kiommu_function *function);

#endif /* KIOMMU_ZPCI_FUNCTIONS_H */
