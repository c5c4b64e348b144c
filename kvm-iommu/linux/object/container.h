/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A VFIO container of type VFIO_KVM_IOMMU: one domain of the core, its hosts,
 * and the KVM that is registered.
 */
#ifndef KIOMMU_CONTAINER_H
#define KIOMMU_CONTAINER_H

#include <linux/mutex.h>
#include <linux/rcupdate.h>
#include <linux/refcount.h>
#include <linux/rwsem.h>
#include <linux/workqueue.h>

#include "host/hosts.h"
#include "object/faults.h"
#include "object/sync.h"

struct iommu_group;
struct kiommu_mem;
struct kvm;

/**
 * struct kiommu_devices - devices of a container that are open
 * @lock: of all below. Taken inside of D and P; nothing is waited for under it.
 * @open: how many.
 * @kvm: that one of them came with, or NULL. VFIO holds it while the device is
 *	open.
 * @kvm_devices: how many of them came with @kvm.
 * @due: @kvm is to be registered.
 * @left: the last one was closed: what was registered until then is to leave.
 * @conflict: one of them came with another KVM: until all are closed, none
 *	but @kvm is looked at.
 * @leave: has it leave.
 *
 * VFIO tells of devices under the lock of their device set, which devices of
 * other tenants can be in. D is not waited for there: what is to be done is noted,
 * and done by the work, or by the next call before anything else.
 */
struct kiommu_devices {
	struct mutex lock; /* see above */
	unsigned int open;
	struct kvm *kvm;
	unsigned int kvm_devices;
	bool due;
	bool left;
	bool conflict;
	struct work_struct leave;
};

/**
 * struct kiommu_container - see above
 * @refs: one for VFIO, one for each call under way, one for an open file of
 *	its faults.
 * @rcu: frees it when no look-up can still see it.
 * @id: what VFIO keeps for us in place of a pointer; never used again.
 * @fault_reader: who reads its faults.
 * @faults: the core's queue of them; as long as the container.
 * @lock: D of core.h: of all of the below. Order: see lock.h.
 * @domain: the core's; NULL once VFIO has released the container.
 * @hosts: host IOMMUs and groups.
 * @guest: the KVM that is registered, or NULL.
 * @devices: that are open; has a lock of its own.
 * @sync: how the shadow follows the guest's tables.
 * @dirty_pages: VFIO_IOMMU_DIRTY_PAGES_FLAG_START was set last, not STOP.
 */
struct kiommu_container {
	refcount_t refs;
	struct rcu_head rcu;
	unsigned long id;
	struct kiommu_fault_reader fault_reader;
	struct kiommu_faults *faults;
	struct rw_semaphore lock; /* of all below and of the core's domain */
	struct kiommu_domain *domain;
	struct kiommu_hosts hosts;
	struct kiommu_mem *guest;
	struct kiommu_devices devices;
	struct kiommu_sync sync;
	bool dirty_pages;
};

/**
 * kiommu_container_create() - a container without groups
 * @shadow_limit: bytes.
 *
 * Return: the container, or -ENOMEM.
 */
struct kiommu_container *kiommu_container_create(u64 shadow_limit);

/* VFIO lets go: mappings, pins, KVM and hosts are gone on return. */
void kiommu_container_release(struct kiommu_container *container);

/**
 * kiommu_container_get() - the container that VFIO knows by @iommu_data
 *
 * VFIO takes no lock between looking the pointer up and calling an ioctl, so
 * the container may be gone. Return: referenced, or NULL.
 */
struct kiommu_container *kiommu_container_get(void *iommu_data);
/* Context of both: any but non-maskable interrupts. */
void kiommu_container_put(struct kiommu_container *container);

/**
 * kiommu_container_check_caller() - may the caller let guest memory be read?
 *
 * Context: the container is locked. Return: 0; -EPERM if a KVM of another
 * process is registered.
 */
int kiommu_container_check_caller(const struct kiommu_container *container);

/**
 * kiommu_container_add_group() - a group is in the container from now on
 * kiommu_container_del_group() - it is not any longer
 *
 * Return of the first: 0 or -ENOMEM. Context: may sleep.
 */
int kiommu_container_add_group(struct kiommu_container *container,
			       struct iommu_group *group);
void kiommu_container_del_group(struct iommu_group *group);

/*
 * The container that a group is in, referenced, or NULL. It stays there while
 * one of its devices is open. Context: any: no container is waited for.
 */
struct kiommu_container *
kiommu_container_get_group(struct iommu_group *group);

/**
 * kiommu_container_open_device() - a device is opened
 * @kvm: what KVM_DEV_VFIO_FILE_ADD said, or NULL; valid until the device is closed.
 *
 * The next call registers @kvm if no KVM is registered then, or notes a conflict
 * if another is. Context: the lock of the device set: waits for nobody.
 */
void kiommu_container_open_device(struct kiommu_container *container,
				  struct kvm *kvm);

/**
 * kiommu_container_close_device() - a device is closed
 * @kvm: as when it was opened.
 *
 * After the last one, what is registered leaves as soon as D can be had, at the
 * latest before the next call on the container: mappings and pins are gone then.
 * Context: as kiommu_container_open_device().
 */
void kiommu_container_close_device(struct kiommu_container *container,
				   struct kvm *kvm);

/**
 * kiommu_container_catch_up() - do what devices were opened and closed for
 *
 * A call on the container begins with it, and so sees all that happened before.
 * Context: as kiommu_guest_get() and kiommu_guest_put(). Return: as
 * kiommu_lock_exclusive_killable(), or -ENOMEM; then it is left to the next call.
 */
int kiommu_container_catch_up(struct kiommu_container *container);

/* The work queue of containers. Return: 0, -ENOMEM. */
int kiommu_containers_init(void);
/* No container is left; work that still has one is waited for. */
void kiommu_containers_exit(void);

/**
 * kiommu_container_start() - KVM_IOMMU_START
 * @guest: consumed; put by the caller if an error is returned.
 *
 * Context: kiommu_lock_exclusive(). Return: 0 registered, and its lock is held;
 * 1 it was the one that is registered (put it); -ENODEV no device is open; -EBUSY.
 */
int kiommu_container_start(struct kiommu_container *container,
			   struct kiommu_mem *guest);

/* What a KVM that left has left behind; @guest may be NULL. */
struct kiommu_left {
	struct kiommu_mem *guest;
	struct kiommu_sync_left sync;
};

/**
 * kiommu_container_stop() - the KVM leaves
 *
 * Context: kiommu_lock_exclusive(); the guest's lock is not held any more.
 * Return: what the caller must give to kiommu_container_leave() after
 * kiommu_unlock_exclusive(); no guest if none was registered.
 */
struct kiommu_left kiommu_container_stop(struct kiommu_container *container);

/* Context: as kiommu_guest_put() and kiommu_sync_leave(). */
void kiommu_container_leave(struct kiommu_left left);

#endif /* KIOMMU_CONTAINER_H */
