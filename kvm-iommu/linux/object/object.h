/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A VFIO container of type VFIO_KVM_IOMMU: one domain of the core, its hosts,
 * and the KVM that is registered.
 */
#ifndef KIOMMU_OBJECT_H
#define KIOMMU_OBJECT_H

#include <linux/mutex.h>
#include <linux/rcupdate.h>
#include <linux/refcount.h>
#include <linux/rwsem.h>
#include <linux/workqueue.h>

#include "host/hosts.h"
#include "object/faults.h"
#include "object/sync.h"

struct iommu_group;
struct kiommu_guest;
struct kvm;

/**
 * struct kiommu_devices - the open devices of a container
 * @lock: protects all fields below. Taken inside D and P; nothing is waited for
 *	while it is held.
 * @open: number of open devices.
 * @kvm: the KVM that one of them came with, or NULL. VFIO holds it while that
 *	device is open.
 * @kvm_devices: number of open devices that came with @kvm.
 * @due: @kvm has yet to be registered.
 * @left: the last device was closed: the KVM registered until then has yet to
 *	leave.
 * @conflict: a device came with a KVM other than @kvm or the registered one.
 *	Until all devices are closed, only @kvm is considered.
 * @leave: work that has the KVM leave.
 *
 * VFIO opens and closes devices under the lock of their device set, which may
 * also contain devices of other tenants. D must not be waited for there, so
 * what needs doing is only noted. @leave does it, or the next call on the
 * container before anything else.
 */
struct kiommu_devices {
	struct mutex lock; /* protects all fields below */
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
 * @refs: one for VFIO, and one each for calls under way, the queued
 *	@devices.leave, doorbells, zPCI functions and an open fault file.
 * @rcu: frees the container once no lookup can still see it.
 * @id: handed to VFIO in place of a pointer; never reused.
 * @fault_reader: reader of its faults.
 * @faults: the core's fault queue; lives as long as the container.
 * @lock: D of core.h; protects all fields below except @devices. For the lock
 *	order see lock.h.
 * @domain: the core's domain; NULL once VFIO has released the container.
 * @hosts: host IOMMUs and groups.
 * @guest: the registered KVM, or NULL.
 * @devices: open devices; has its own lock.
 * @sync: how the shadow follows the guest's tables.
 * @dirty_pages: VFIO_IOMMU_DIRTY_PAGES_FLAG_START was the last one set, not
 *	STOP.
 */
struct kiommu_container {
	refcount_t refs;
	struct rcu_head rcu;
	unsigned long id;
	struct kiommu_fault_reader fault_reader;
	struct kiommu_faults *faults;
	struct rw_semaphore lock; /* D; also protects the core's domain */
	struct kiommu_domain *domain;
	struct kiommu_hosts hosts;
	struct kiommu_guest *guest;
	struct kiommu_devices devices;
	struct kiommu_sync sync;
	bool dirty_pages;
};

/**
 * kiommu_container_create() - create a container without groups
 * @shadow_limit: limit of the shadow's memory in bytes.
 *
 * Return: the container, or ERR_PTR(-ENOMEM).
 */
struct kiommu_container *kiommu_container_create(u64 shadow_limit);

/*
 * VFIO drops the container: mappings, pins, KVM and hosts are gone on return.
 */
void kiommu_container_release(struct kiommu_container *container);

/**
 * kiommu_container_get() - look up the container that VFIO knows as @iommu_data
 *
 * VFIO takes no lock between looking up the pointer and calling an ioctl, so
 * the container may be gone.
 *
 * Return: the container with a reference, or NULL.
 */
struct kiommu_container *kiommu_container_get(void *iommu_data);
/* Context of both: any, except NMI. */
void kiommu_container_put(struct kiommu_container *container);

/**
 * kiommu_container_check_caller() - check for access to guest memory
 *
 * Calls that have guest memory read are for the guest's own process.
 *
 * Context: the container is locked.
 * Return: 0; -EPERM if a KVM of another process is registered.
 */
int kiommu_container_check_caller(const struct kiommu_container *container);

/**
 * kiommu_container_hold_guest() - take a reference to the registered guest
 *
 * The container may let go of the guest before the caller does.
 * Context: May sleep. No lock of lock.h is held.
 * Return: the guest, or an ERR_PTR() of -ENODEV (no guest is registered),
 * -EPERM (it is the guest of another process), or what kiommu_lock_shared()
 * returned.
 */
struct kiommu_guest *
kiommu_container_hold_guest(struct kiommu_container *container);

/**
 * kiommu_container_add_group() - make the container of a group known
 * kiommu_container_del_group() - the opposite
 *
 * Context: may sleep.
 * Return: kiommu_container_add_group() returns 0 or -ENOMEM.
 */
int kiommu_container_add_group(struct kiommu_container *container,
			       struct iommu_group *group);
void kiommu_container_del_group(struct iommu_group *group);

/*
 * Returns the container that a group is in, with a reference, or NULL. The
 * group stays in it while one of its devices is open. Context: any; does not
 * wait for any container.
 */
struct kiommu_container *
kiommu_container_get_group(struct iommu_group *group);

/**
 * kiommu_container_open_device() - note that a device is opened
 * @kvm: the KVM set by KVM_DEV_VFIO_FILE_ADD, or NULL; valid until the device
 *	is closed.
 *
 * The next call on the container registers @kvm if no KVM is registered by
 * then, or notes a conflict if another one is.
 *
 * Context: the lock of the device set is held; waits for nobody.
 */
void kiommu_container_open_device(struct kiommu_container *container,
				  struct kvm *kvm);

/**
 * kiommu_container_close_device() - note that a device is closed
 * @kvm: as when it was opened.
 *
 * After the last device is closed, the registered KVM leaves as soon as D is
 * available, and before the next call on the container at the latest. Mappings
 * and pins are gone then.
 *
 * Context: as kiommu_container_open_device().
 */
void kiommu_container_close_device(struct kiommu_container *container,
				   struct kvm *kvm);

/**
 * kiommu_container_catch_up() - act on devices that were opened and closed
 *
 * Each call on the container begins with this, and so sees the effect of all
 * opens and closes before it.
 *
 * Context: as kiommu_guest_get() and kiommu_guest_put().
 * Return: as kiommu_lock_exclusive_killable(), or -ENOMEM. On failure the work
 * is left to the next call.
 */
int kiommu_container_catch_up(struct kiommu_container *container);

/* Allocates the workqueue of all containers. Return: 0 or -ENOMEM. */
int kiommu_containers_init(void);
/* No container is left. Waits for work that still refers to one. */
void kiommu_containers_exit(void);

/**
 * kiommu_container_start() - KVM_IOMMU_START
 * @guest: consumed on 0. Otherwise the caller keeps its reference and puts it.
 *
 * Context: kiommu_lock_exclusive().
 * Return: 0 if @guest was registered, and then its lock is held; 1 if it was
 * registered already; -ENODEV if no device is open; -EBUSY if another guest is
 * registered.
 */
int kiommu_container_start(struct kiommu_container *container,
			   struct kiommu_guest *guest);

/* What remains to be dropped after a KVM has left; @guest may be NULL. */
struct kiommu_left {
	struct kiommu_guest *guest;
	struct kiommu_sync_left sync;
};

/**
 * kiommu_container_stop() - have the KVM leave
 *
 * Context: kiommu_lock_exclusive(); releases the lock of the guest.
 * Return: what the caller must pass to kiommu_container_leave() after
 * kiommu_unlock_exclusive(); its guest is NULL if none was registered.
 */
struct kiommu_left kiommu_container_stop(struct kiommu_container *container);

/* Context: as kiommu_guest_put() and kiommu_sync_leave(). */
void kiommu_container_leave(struct kiommu_left left);

#endif /* KIOMMU_OBJECT_H */
