// SPDX-License-Identifier: GPL-2.0-only
/*
 * Containers, see object.h.
 *
 * A registration of a KVM lasts at most as long as a device of the container is
 * open. VFIO follows the same rule for its own reference, and has to:
 * KVM_DEV_VFIO_FILE_ADD makes the KVM hold the group and the group holds the
 * container, so a container that held the KVM for longer would keep all three
 * forever. When the last device is closed, VFIO holds a lock that others need.
 * The registration therefore ends in a work item, which waits for D; calls that
 * hold D can be killed. The KVM that a device came with is not referenced until
 * a call registers it, because VFIO holds it until then.
 */
#include <linux/err.h>
#include <linux/iommu.h>
#include <linux/kvm_host.h>
#include <linux/slab.h>
#include <linux/xarray.h>

#include "guest/guest.h"
#include "object/object.h"
#include "object/lock.h"

/*
 * Containers by their id, and by the id of each group in them. Looked up under
 * RCU.
 */
static DEFINE_XARRAY(containers);
static DEFINE_XARRAY(grouped);
static atomic_long_t last_id;
static struct workqueue_struct *kiommu_container_wq;

static void leave_work(struct work_struct *work);

struct kiommu_container *kiommu_container_create(u64 shadow_limit)
{
	struct kiommu_container *container;
	int ret;

	container = kzalloc(sizeof(*container), GFP_KERNEL_ACCOUNT);
	if (!container)
		return ERR_PTR(-ENOMEM);
	refcount_set(&container->refs, 1);
	init_rwsem(&container->lock);
	mutex_init(&container->devices.lock);
	INIT_WORK(&container->devices.leave, leave_work);
	container->id = atomic_long_inc_return(&last_id);
	kiommu_hosts_init(&container->hosts, container->id, &kiommu_dma_faults);
	kiommu_fault_reader_init(&container->fault_reader);
	ret = kiommu_core_faults_create(&container->fault_reader,
					&container->faults);
	if (ret)
		goto err_free;
	ret = kiommu_core_create(&container->hosts, container->faults,
				 shadow_limit, &container->domain);
	if (ret)
		goto err_faults;
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
	/*
	 * The work queued by the last close has finished, too: it drops the
	 * KVM.
	 */
	flush_work(&container->devices.leave);
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

int kiommu_container_check_caller(const struct kiommu_container *container)
{
	if (container->guest && container->guest->mm != current->mm)
		return -EPERM;
	return 0;
}

struct kiommu_guest *
kiommu_container_hold_guest(struct kiommu_container *container)
{
	struct kiommu_guest *guest;
	int ret;

	ret = kiommu_lock_shared(container);
	if (ret)
		return ERR_PTR(ret);
	guest = container->guest;
	ret = guest ? kiommu_container_check_caller(container) : -ENODEV;
	if (!ret)
		kiommu_guest_hold(guest);
	kiommu_unlock_shared(container);
	return ret ? ERR_PTR(ret) : guest;
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
			   struct kiommu_guest *guest)
{
	int ret;

	lockdep_assert_held_write(&container->lock);
	if (!READ_ONCE(container->devices.open))
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
	kiommu_guest_unlock(left.guest);
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
	struct kiommu_devices *devices = &container->devices;

	mutex_lock(&devices->lock);
	WRITE_ONCE(devices->open, devices->open + 1);
	if (kvm && !devices->kvm && !devices->conflict)
		devices->kvm = kvm;
	if (kvm && kvm == devices->kvm) {
		devices->kvm_devices++;
		WRITE_ONCE(devices->due, true);
	} else if (kvm) {
		WRITE_ONCE(devices->conflict, true);
	}
	mutex_unlock(&devices->lock);
}

void kiommu_container_close_device(struct kiommu_container *container,
				   struct kvm *kvm)
{
	struct kiommu_devices *devices = &container->devices;
	bool last;

	mutex_lock(&devices->lock);
	last = devices->open == 1;
	WRITE_ONCE(devices->open, devices->open - 1);
	if (kvm && kvm == devices->kvm && --devices->kvm_devices == 0) {
		devices->kvm = NULL;
		WRITE_ONCE(devices->due, false);
	}
	if (last) {
		WRITE_ONCE(devices->left, true);
		WRITE_ONCE(devices->conflict, false);
	}
	mutex_unlock(&devices->lock);
	if (!last)
		return;
	refcount_inc(&container->refs);
	/* Not the last reference: VFIO has one. */
	if (!queue_work(kiommu_container_wq, &container->devices.leave))
		refcount_dec(&container->refs);
}

/* Returns the guest of a KVM that came with a device; NULL if there is none. */
static struct kiommu_guest *arrived_guest(struct kiommu_devices *devices,
					  struct kvm **kvm)
{
	bool (*get)(struct kvm *kvm) = symbol_get(kvm_get_kvm_safe);
	void (*put)(struct kvm *kvm) = symbol_get(kvm_put_kvm);
	struct kiommu_guest *guest = NULL;

	mutex_lock(&devices->lock);
	*kvm = devices->due ? devices->kvm : NULL;
	if (*kvm && (!get || !put || !get(*kvm)))
		*kvm = NULL;
	mutex_unlock(&devices->lock);
	if (*kvm) {
		guest = kiommu_guest_get(*kvm);
		put(*kvm);
	}
	if (get)
		symbol_put(kvm_get_kvm_safe);
	if (put)
		symbol_put(kvm_put_kvm);
	return guest;
}

/*
 * Returns whether @kvm has yet to be registered; @left: whether the registered
 * KVM has to leave.
 */
static bool take_due(struct kiommu_devices *devices, struct kvm *kvm, bool *left)
{
	bool arrived;

	mutex_lock(&devices->lock);
	*left = devices->left;
	WRITE_ONCE(devices->left, false);
	arrived = kvm && kvm == devices->kvm && devices->due;
	if (arrived)
		WRITE_ONCE(devices->due, false);
	mutex_unlock(&devices->lock);
	return arrived;
}

/*
 * A device came with another KVM. The last device may have been closed since
 * take_due(); take_due() cannot have run again, because the caller holds
 * kiommu_container.lock for writing.
 */
static void note_conflict(struct kiommu_devices *devices)
{
	mutex_lock(&devices->lock);
	if (!devices->left)
		WRITE_ONCE(devices->conflict, true);
	mutex_unlock(&devices->lock);
}

/* Consumes @guest, which belongs to @kvm; both may be NULL. */
static int settle_devices(struct kiommu_container *container,
			  struct kiommu_guest *guest, struct kvm *kvm)
{
	struct kiommu_left left = {};
	bool leaves;
	int ret;

	ret = kiommu_lock_exclusive_killable(container);
	if (ret) {
		kiommu_guest_put(guest);
		return ret;
	}
	ret = 1;
	if (take_due(&container->devices, kvm, &leaves) && guest)
		ret = 0;
	if (leaves)
		left = kiommu_container_stop(container);
	if (!ret)
		ret = kiommu_container_start(container, guest);
	if (ret == -EBUSY)
		note_conflict(&container->devices);
	kiommu_unlock_exclusive(container);
	kiommu_container_leave(left);
	if (ret)
		kiommu_guest_put(guest);
	return 0;
}

int kiommu_container_catch_up(struct kiommu_container *container)
{
	struct kiommu_devices *devices = &container->devices;
	struct kiommu_guest *guest = NULL;
	struct kvm *kvm = NULL;

	if (likely(!READ_ONCE(devices->left) && !READ_ONCE(devices->due)))
		return 0;
	if (READ_ONCE(devices->due))
		guest = arrived_guest(devices, &kvm);
	if (guest == ERR_PTR(-EINTR) || guest == ERR_PTR(-ENOMEM))
		return PTR_ERR(guest);
	if (IS_ERR(guest)) {
		pr_warn_ratelimited("kvm_iommu: a KVM could not register: %ld\n",
				    PTR_ERR(guest));
		guest = NULL;
	}
	return settle_devices(container, guest, kvm);
}

/* Context: a kernel thread, which gets no fatal signal. */
static void leave_work(struct work_struct *work)
{
	struct kiommu_container *container =
		container_of(work, struct kiommu_container, devices.leave);

	/*
	 * Fails if VFIO has released the container: everything has left by
	 * then.
	 */
	settle_devices(container, NULL, NULL);
	kiommu_container_put(container);
}

int kiommu_containers_init(void)
{
	kiommu_container_wq = alloc_workqueue("kvm_iommu_leave", WQ_UNBOUND,
					      WQ_MAX_ACTIVE);
	return kiommu_container_wq ? 0 : -ENOMEM;
}

void kiommu_containers_exit(void)
{
	destroy_workqueue(kiommu_container_wq);
}
