// SPDX-License-Identifier: GPL-2.0-only
/*
 * Containers, see container.h.
 *
 * A registration of a KVM lasts at most as long as a device of the container
 * is open. VFIO keeps to the same rule for its own reference, and it must be
 * so: KVM_DEV_VFIO_FILE_ADD makes the KVM hold the group, the group holds the
 * container, and a container that held the KVM for longer would keep all three
 * for ever.
 */
#include <linux/iommu.h>
#include <linux/slab.h>
#include <linux/xarray.h>

#include "container.h"
#include "guest.h"
#include "lock.h"

/* By id; and by the id of each group that is in them. Looked up under RCU. */
static DEFINE_XARRAY(containers);
static DEFINE_XARRAY(grouped);
static atomic_long_t last_id;

struct kiommu_container *kiommu_container_create(u64 shadow_limit)
{
	struct kiommu_container *container;
	int ret;

	container = kzalloc(sizeof(*container), GFP_KERNEL_ACCOUNT);
	if (!container)
		return ERR_PTR(-ENOMEM);
	refcount_set(&container->refs, 1);
	init_rwsem(&container->lock);
	kiommu_hosts_init(&container->hosts);
	kiommu_fault_reader_init(&container->fault_reader);
	ret = kiommu_core_faults_create(&container->fault_reader,
					&container->faults);
	if (ret)
		goto err_free;
	ret = kiommu_core_create(&container->hosts, container->faults,
				 shadow_limit, &container->domain);
	if (ret)
		goto err_faults;
	container->id = atomic_long_inc_return(&last_id);
	container->hosts.container = container->id;
	ret = xa_insert(&containers, container->id, container, GFP_KERNEL);
	if (ret)
		goto err_domain;
	return container;

err_domain:
	kiommu_core_destroy(container->domain);
err_faults:
	kiommu_core_faults_destroy(container->faults);
err_free:
	kfree(container);
	return ERR_PTR(ret);
}

void kiommu_container_release(struct kiommu_container *container)
{
	struct kiommu_left left;

	xa_erase(&containers, container->id);
	kiommu_lock_exclusive(container);
	left = kiommu_container_stop(container);
	kiommu_core_destroy(container->domain);
	container->domain = NULL;
	kiommu_unlock_exclusive(container);
	kiommu_container_leave(left);
	kiommu_fault_reader_hang_up(&container->fault_reader);
	kiommu_container_put(container);
}

struct kiommu_container *kiommu_container_get(void *iommu_data)
{
	struct kiommu_container *container;

	rcu_read_lock();
	container = xa_load(&containers, (unsigned long)iommu_data);
	if (container && !refcount_inc_not_zero(&container->refs))
		container = NULL;
	rcu_read_unlock();
	return container;
}

int kiommu_container_add_group(struct kiommu_container *container,
			       struct iommu_group *group)
{
	return xa_err(xa_store(&grouped, iommu_group_id(group), container,
			       GFP_KERNEL));
}

void kiommu_container_del_group(struct iommu_group *group)
{
	xa_erase(&grouped, iommu_group_id(group));
}

struct kiommu_container *
kiommu_container_get_group(struct iommu_group *group)
{
	struct kiommu_container *container;

	rcu_read_lock();
	container = xa_load(&grouped, iommu_group_id(group));
	if (container && !refcount_inc_not_zero(&container->refs))
		container = NULL;
	rcu_read_unlock();
	return container;
}

void kiommu_container_put(struct kiommu_container *container)
{
	if (!refcount_dec_and_test(&container->refs))
		return;
	kiommu_core_faults_destroy(container->faults);
	kfree(container->hosts.reserved);
	kfree_rcu(container, rcu);
}

int kiommu_container_start(struct kiommu_container *container,
			   struct kiommu_mem *guest)
{
	int ret;

	lockdep_assert_held_write(&container->lock);
	if (!container->open_devices)
		return -ENODEV;
	if (container->guest)
		return container->guest == guest ? 1 : -EBUSY;
	down_write(&guest->lock);
	ret = kiommu_core_start(container->domain, guest->pins);
	if (ret)
		up_write(&guest->lock);
	else
		container->guest = guest;
	return ret;
}

struct kiommu_left kiommu_container_stop(struct kiommu_container *container)
{
	struct kiommu_left left = { .guest = container->guest };

	lockdep_assert_held_write(&container->lock);
	if (!left.guest)
		return left;
	left.sync = kiommu_sync_reset(container);
	kiommu_core_stop(container->domain);
	container->guest = NULL;
	kiommu_unlock_guest(left.guest);
	return left;
}

void kiommu_container_leave(struct kiommu_left left)
{
	kiommu_sync_leave(left.sync, left.guest);
	kiommu_guest_put(left.guest);
}

void kiommu_container_open_device(struct kiommu_container *container,
				  struct kvm *kvm)
{
	struct kiommu_mem *guest = kvm ? kiommu_guest_get(kvm) : NULL;
	int ret = 1;

	/* Who is killed while he waits for his own memory opens it all the same. */
	if (IS_ERR(guest)) {
		pr_warn_ratelimited("kvm_iommu: a KVM could not register: %ld\n",
				    PTR_ERR(guest));
		guest = NULL;
	}
	kiommu_lock_exclusive(container);
	container->open_devices++;
	if (guest)
		ret = kiommu_container_start(container, guest);
	if (ret == -EBUSY)
		container->conflict = true;
	kiommu_unlock_exclusive(container);
	if (ret)
		kiommu_guest_put(guest);
}

void kiommu_container_close_device(struct kiommu_container *container)
{
	struct kiommu_left left = {};

	kiommu_lock_exclusive(container);
	if (--container->open_devices == 0) {
		left = kiommu_container_stop(container);
		container->conflict = false;
	}
	kiommu_unlock_exclusive(container);
	kiommu_container_leave(left);
}
