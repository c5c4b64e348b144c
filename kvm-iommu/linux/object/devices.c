// SPDX-License-Identifier: GPL-2.0-only
/*
 * Open devices, see devices.h.
 *
 * When the last device is closed, VFIO holds a lock that others need. The
 * registration therefore ends in a work item, which waits for D; calls that hold
 * D can be killed. The KVM that a device came with is not referenced until a
 * call registers it, because VFIO holds it until then.
 */
#include <linux/err.h>
#include <linux/kvm_host.h>

#include "guest/guest.h"
#include "object/devices.h"
#include "object/lock.h"
#include "object/object.h"

static struct workqueue_struct *leave_wq;

void kiommu_devices_open(struct kiommu_object *object, struct kvm *kvm)
{
	struct kiommu_devices *devices = &object->devices;

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

void kiommu_devices_close(struct kiommu_object *object, struct kvm *kvm)
{
	struct kiommu_devices *devices = &object->devices;
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
	refcount_inc(&object->refs);
	/* Not the last reference: the container has one. */
	if (!queue_work(leave_wq, &object->devices.leave))
		refcount_dec(&object->refs);
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
 * kiommu_object.lock for writing.
 */
static void note_conflict(struct kiommu_devices *devices)
{
	mutex_lock(&devices->lock);
	if (!devices->left)
		WRITE_ONCE(devices->conflict, true);
	mutex_unlock(&devices->lock);
}

/* Consumes @guest, which belongs to @kvm; both may be NULL. */
static int settle_devices(struct kiommu_object *object,
			  struct kiommu_guest *guest, struct kvm *kvm)
{
	struct kiommu_left left = {};
	bool leaves;
	int ret;

	ret = kiommu_lock_exclusive_killable(object);
	if (ret) {
		kiommu_guest_put(guest);
		return ret;
	}
	ret = 1;
	if (take_due(&object->devices, kvm, &leaves) && guest)
		ret = 0;
	/* Mappings of a client's own memory need no open device. */
	if (leaves && !object->user)
		left = kiommu_object_stop(object);
	if (!ret)
		ret = kiommu_object_start(object, guest);
	if (ret == -EBUSY)
		note_conflict(&object->devices);
	kiommu_unlock_exclusive(object);
	kiommu_object_leave(left);
	if (ret)
		kiommu_guest_put(guest);
	return 0;
}

int kiommu_devices_catch_up(struct kiommu_object *object)
{
	struct kiommu_devices *devices = &object->devices;
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
	return settle_devices(object, guest, kvm);
}

/* Context: a kernel thread, which gets no fatal signal. */
static void leave_work(struct work_struct *work)
{
	struct kiommu_object *object =
		container_of(work, struct kiommu_object, devices.leave);

	/* Fails if the domain was released: everything has left by then. */
	settle_devices(object, NULL, NULL);
	kiommu_object_put(object);
}

void kiommu_devices_init(struct kiommu_devices *devices)
{
	mutex_init(&devices->lock);
	INIT_WORK(&devices->leave, leave_work);
}

int kiommu_devices_start_queue(void)
{
	leave_wq = alloc_workqueue("kvm_iommu_leave", WQ_UNBOUND, WQ_MAX_ACTIVE);
	return leave_wq ? 0 : -ENOMEM;
}

void kiommu_devices_stop_queue(void)
{
	destroy_workqueue(leave_wq);
}
