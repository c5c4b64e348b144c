/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The open devices of a VFIO container, and the registration of a KVM that they
 * keep alive in the container's domain.
 *
 * A registration in the domain of a container lasts at most as long as a device
 * of the container is open. VFIO follows the same rule for its own reference,
 * and has to: KVM_DEV_VFIO_FILE_ADD makes the KVM hold the group, and the group
 * holds the container, so a container that held the KVM for longer would keep
 * all three forever.
 */
#ifndef KIOMMU_DEVICES_H
#define KIOMMU_DEVICES_H

#include <linux/mutex.h>
#include <linux/workqueue.h>

struct kiommu_object;
struct kvm;

/**
 * struct kiommu_devices - see above; part of a domain
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
 * domain before anything else.
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

void kiommu_devices_init(struct kiommu_devices *devices);

/**
 * kiommu_devices_open() - note that a device is opened
 * @kvm: the KVM set by KVM_DEV_VFIO_FILE_ADD, or NULL; valid until the device
 *	is closed.
 *
 * The next call on the domain registers @kvm if no KVM is registered by then,
 * or notes a conflict if another one is.
 *
 * Context: the lock of the device set is held; waits for nobody.
 */
void kiommu_devices_open(struct kiommu_object *object, struct kvm *kvm);

/**
 * kiommu_devices_close() - note that a device is closed
 * @kvm: as when it was opened.
 *
 * After the last device is closed, the registered KVM leaves as soon as D is
 * available, and before the next call on the domain at the latest. Mappings and
 * pins are gone then.
 *
 * Context: as kiommu_devices_open().
 */
void kiommu_devices_close(struct kiommu_object *object, struct kvm *kvm);

/**
 * kiommu_devices_catch_up() - act on devices that were opened and closed
 *
 * Each call on the domain begins with this, and so sees the effect of all opens
 * and closes before it.
 *
 * Context: as kiommu_guest_get() and kiommu_guest_put().
 * Return: as kiommu_lock_exclusive_killable(), or -ENOMEM. On failure the work
 * is left to the next call.
 */
int kiommu_devices_catch_up(struct kiommu_object *object);

/* Allocates the workqueue of all domains. Return: 0 or -ENOMEM. */
int kiommu_devices_start_queue(void);
/* No domain is left. Waits for work that still refers to one. */
void kiommu_devices_stop_queue(void);

#endif /* KIOMMU_DEVICES_H */
