// SPDX-License-Identifier: GPL-2.0-only
/* Domains, see object.h. */
#include <linux/err.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/xarray.h>

#include "guest/guest.h"
#include "object/lock.h"
#include "object/object.h"

static unsigned long shadow_limit_mb = 256;
module_param(shadow_limit_mb, ulong, 0644);
MODULE_PARM_DESC(shadow_limit_mb,
		 "Kernel memory that the shadow of one domain may use, in MiB");

/* Domains by their id. Looked up under RCU. */
static DEFINE_XARRAY(objects);
static atomic_long_t last_id;

struct kiommu_object *kiommu_object_create(bool of_container)
{
	u64 limit = min(READ_ONCE(shadow_limit_mb), ULONG_MAX >> 20);
	struct kiommu_object *object;
	int ret;

	object = kzalloc(sizeof(*object), GFP_KERNEL_ACCOUNT);
	if (!object)
		return ERR_PTR(-ENOMEM);
	refcount_set(&object->refs, 1);
	object->of_container = of_container;
	xa_init_flags(&object->members, XA_FLAGS_ALLOC1);
	init_rwsem(&object->lock);
	kiommu_devices_init(&object->devices);
	object->id = atomic_long_inc_return(&last_id);
	kiommu_hosts_init(&object->hosts, object->id, &kiommu_dma_faults);
	kiommu_fault_reader_init(&object->fault_reader);
	ret = kiommu_core_faults_create(&object->fault_reader,
					&object->faults);
	if (ret)
		goto err_free;
	ret = kiommu_core_create(&object->hosts, object->faults,
				 limit << 20, &object->domain);
	if (ret)
		goto err_faults;
	ret = xa_insert(&objects, object->id, object, GFP_KERNEL);
	if (ret)
		goto err_domain;
	return object;

err_domain:
	kiommu_core_destroy(object->domain);
err_faults:
	kiommu_core_faults_destroy(object->faults);
err_free:
	kfree(object);
	return ERR_PTR(ret);
}

void kiommu_object_release(struct kiommu_object *object)
{
	struct kiommu_left left;

	xa_erase(&objects, object->id);
	kiommu_lock_exclusive(object);
	left = kiommu_object_stop(object);
	kiommu_core_destroy(object->domain);
	object->domain = NULL;
	kiommu_unlock_exclusive(object);
	kiommu_object_leave(left);
	/*
	 * The work queued by the last close has finished, too: it drops the
	 * KVM.
	 */
	flush_work(&object->devices.leave);
	kiommu_fault_reader_hang_up(&object->fault_reader);
	kiommu_object_put(object);
}

struct kiommu_object *kiommu_object_get(unsigned long id)
{
	struct kiommu_object *object;

	rcu_read_lock();
	object = xa_load(&objects, id);
	if (object && !refcount_inc_not_zero(&object->refs))
		object = NULL;
	rcu_read_unlock();
	return object;
}

int kiommu_object_check_caller(const struct kiommu_object *object)
{
	const struct kiommu_guest *guest = object->guest;

	if (object->user)
		return -ENODEV;
	if (guest && kiommu_guest_of_process(guest) && guest->mm != current->mm)
		return -EPERM;
	return 0;
}

struct kiommu_guest *kiommu_object_hold_guest(struct kiommu_object *object)
{
	struct kiommu_guest *guest;
	int ret;

	ret = kiommu_lock_shared(object);
	if (ret)
		return ERR_PTR(ret);
	guest = object->guest;
	ret = guest ? kiommu_object_check_caller(object) : -ENODEV;
	if (!ret)
		kiommu_guest_hold(guest);
	kiommu_unlock_shared(object);
	return ret ? ERR_PTR(ret) : guest;
}

void kiommu_object_put(struct kiommu_object *object)
{
	if (!refcount_dec_and_test(&object->refs))
		return;
	kiommu_core_faults_destroy(object->faults);
	kfree(object->hosts.reserved);
	kfree_rcu(object, rcu);
}

int kiommu_object_start(struct kiommu_object *object,
			struct kiommu_guest *guest)
{
	int ret;

	lockdep_assert_held_write(&object->lock);
	if (object->of_container && !READ_ONCE(object->devices.open))
		return -ENODEV;
	if (object->guest)
		return object->guest == guest ? 1 : -EBUSY;
	down_write(&guest->lock);
	ret = kiommu_core_start(object->domain, guest->pins);
	if (ret)
		up_write(&guest->lock);
	else
		object->guest = guest;
	return ret;
}

struct kiommu_left kiommu_object_stop(struct kiommu_object *object)
{
	struct kiommu_left left = { .guest = object->guest };

	lockdep_assert_held_write(&object->lock);
	if (!left.guest)
		return left;
	left.sync = kiommu_sync_reset(object);
	kiommu_core_stop(object->domain);
	object->guest = NULL;
	WRITE_ONCE(object->user, false);
	kiommu_guest_unlock(left.guest);
	return left;
}

void kiommu_object_leave(struct kiommu_left left)
{
	kiommu_sync_leave(left.sync, left.guest);
	kiommu_guest_put(left.guest);
}
