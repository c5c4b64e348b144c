/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A domain as an object of the kernel: a domain of the core, its hosts, and the
 * guest that is registered with it. User space reaches it through a front: a
 * VFIO container, or a file of its own.
 */
#ifndef KIOMMU_OBJECT_H
#define KIOMMU_OBJECT_H

#include <linux/rcupdate.h>
#include <linux/refcount.h>
#include <linux/rwsem.h>
#include <linux/xarray.h>

#include "host/hosts.h"
#include "object/devices.h"
#include "object/faults.h"
#include "object/sync.h"

struct kiommu_guest;

/**
 * struct kiommu_object - see above
 * @refs: one for its front, and one each for members, calls under way, the queued
 *	@devices.leave, doorbells, zPCI functions and an open fault file.
 * @rcu: frees the domain once no lookup can still see it.
 * @id: names the domain where a pointer could be stale; never reused.
 * @of_container: it is the own domain of a VFIO container, so a registration
 *	lasts while a device of that is open, see devices.h. Otherwise it has a
 *	file, and a registration lasts as long as that is open.
 * @type1: it is that of a container of type1, whose client can map its own memory,
 *	see user_maps.h. Does not change.
 * @v1: of the first version of that, VFIO_TYPE1_IOMMU. Does not change.
 * @members: members that are attached to it by their number, each referenced;
 *	has its own lock, see member.h.
 * @fault_reader: reader of its faults.
 * @faults: the core's fault queue; lives as long as this struct.
 * @lock: D of core.h; protects all fields below except @devices. For the lock
 *	order see lock.h.
 * @domain: the core's domain; NULL once the front has released it.
 * @hosts: host IOMMUs and groups.
 * @guest: the registered guest, or NULL.
 * @user: @guest is not a KVM, but the memory of a client of type1. Also read
 *	without @lock.
 * @devices: open devices; has its own lock.
 * @sync: how the shadow follows the guest's tables.
 * @functions: number of zPCI functions that are started here. They do not follow
 *	their groups, so members stay.
 * @dirty_pages: VFIO_IOMMU_DIRTY_PAGES_FLAG_START was the last one set, not
 *	STOP.
 */
struct kiommu_object {
	refcount_t refs;
	struct rcu_head rcu;
	unsigned long id;
	bool of_container;
	bool type1;
	bool v1;
	struct xarray members;
	struct kiommu_fault_reader fault_reader;
	struct kiommu_faults *faults;
	struct rw_semaphore lock; /* D; also protects the core's domain */
	struct kiommu_domain *domain;
	struct kiommu_hosts hosts;
	struct kiommu_guest *guest;
	bool user;
	struct kiommu_devices devices;
	struct kiommu_sync sync;
	unsigned int functions;
	bool dirty_pages;
};

/**
 * kiommu_object_create() - create a domain without groups
 * @of_container: see struct kiommu_object.
 *
 * Context: may sleep.
 * Return: the domain, or ERR_PTR(-ENOMEM).
 */
struct kiommu_object *kiommu_object_create(bool of_container);

/*
 * The front drops the domain: mappings, pins, guest and hosts are gone on return.
 */
void kiommu_object_release(struct kiommu_object *object);

/**
 * kiommu_object_get() - look up a domain by its id
 *
 * Context: any, except NMI, as kiommu_object_put().
 * Return: the domain with a reference, or NULL if it was released.
 */
struct kiommu_object *kiommu_object_get(unsigned long id);
void kiommu_object_put(struct kiommu_object *object);

/**
 * kiommu_object_check_caller() - check for access to guest memory
 *
 * Calls that have guest memory read are for the guest's own process.
 *
 * Context: the domain is locked.
 * Return: 0; -EPERM if a KVM of another process is registered; -ENODEV if it is
 * user memory that is registered.
 */
int kiommu_object_check_caller(const struct kiommu_object *object);

/**
 * kiommu_object_hold_guest() - take a reference to the registered guest
 *
 * The domain may let go of the guest before the caller does.
 * Context: May sleep. No lock of lock.h is held.
 * Return: the guest, or an ERR_PTR() of -ENODEV (no guest is registered),
 * -EPERM (it is the guest of another process), or what kiommu_lock_shared()
 * returned.
 */
struct kiommu_guest *
kiommu_object_hold_guest(struct kiommu_object *object);

/**
 * kiommu_object_start() - KVM_IOMMU_START
 * @guest: consumed on 0. Otherwise the caller keeps its reference and puts it.
 *
 * Context: kiommu_lock_exclusive().
 * Return: 0 if @guest was registered, and then its lock is held; 1 if it was
 * registered already; -ENODEV if no device of its container is open; -EBUSY if
 * another guest is registered.
 */
int kiommu_object_start(struct kiommu_object *object,
			struct kiommu_guest *guest);

/* What remains to be dropped after a KVM has left; @guest may be NULL. */
struct kiommu_left {
	struct kiommu_guest *guest;
	struct kiommu_sync_left sync;
};

/**
 * kiommu_object_stop() - have the KVM leave
 *
 * Context: kiommu_lock_exclusive(); releases the lock of the guest.
 * Return: what the caller must pass to kiommu_object_leave() after
 * kiommu_unlock_exclusive(); its guest is NULL if none was registered.
 */
struct kiommu_left kiommu_object_stop(struct kiommu_object *object);

/*
 * The same for user memory of which nothing is mapped; else nothing is done. See
 * user_maps.c.
 */
struct kiommu_left kiommu_object_stop_unused(struct kiommu_object *object);

/* Context: as kiommu_guest_put() and kiommu_sync_leave(). */
void kiommu_object_leave(struct kiommu_left left);

#endif /* KIOMMU_OBJECT_H */
