// SPDX-License-Identifier: GPL-2.0-only
/*
 * Modes of a domain, see sync.h: how one is changed to another.
 *
 * A doorbell is created before any lock is taken, and freed after all are
 * released: the thread that consumes its ring takes the domain's lock, and
 * checks whether the ring is still the domain's. In the same way, listening
 * to the guest's slots starts before and ends after that, because to start and
 * to stop wait for KVM. Entries of the old ring are consumed before the call
 * takes the lock for writing, so that other calls can go on meanwhile.
 */
#include <linux/err.h>
#include <linux/sched.h>

#include <linux/kvm_iommu.h>

#include "guest/guest.h"
#include "object/doorbell.h"
#include "object/lock.h"
#include "object/object.h"
#include "object/tracking.h"

/* Return: enum kvm_iommu_status of what is wrong, or 0. */
static u32 check_fields(const struct kvm_iommu_set_sync *cmd)
{
	bool ring = cmd->entries || cmd->ring || cmd->kick_fd || cmd->notify_fd;
	u32 flags = cmd->flags & ~KVM_IOMMU_SYNC_SLOTS;
	bool unused;

	switch (cmd->mode) {
	case KVM_IOMMU_SYNC_EXPLICIT:
		unused = ring || cmd->burst || flags;
		break;
	case KVM_IOMMU_SYNC_RING:
		unused = cmd->burst;
		break;
	case KVM_IOMMU_SYNC_TRACKED:
		unused = ring || flags;
		break;
	default:
		return KVM_IOMMU_STATUS_MODE;
	}
	return unused ? KVM_IOMMU_STATUS_FIELD : KVM_IOMMU_STATUS_OK;
}

static bool must_listen(const struct kvm_iommu_set_sync *cmd)
{
	return cmd->mode == KVM_IOMMU_SYNC_TRACKED ||
	       cmd->flags & KVM_IOMMU_SYNC_SLOTS;
}

struct kiommu_sync_left kiommu_sync_reset(struct kiommu_object *object)
{
	struct kiommu_sync_left left = {
		.doorbell = object->sync.doorbell,
		.listens = object->sync.listens,
	};

	lockdep_assert_held_write(&object->lock);
	if (object->sync.mode == KVM_IOMMU_SYNC_TRACKED)
		kiommu_tracking_stop(object);
	object->sync.doorbell = NULL;
	object->sync.listens = false;
	object->sync.mode = KVM_IOMMU_SYNC_EXPLICIT;
	return left;
}

void kiommu_sync_leave(struct kiommu_sync_left left, struct kiommu_guest *guest)
{
	kiommu_doorbell_close(left.doorbell);
	if (left.listens)
		kiommu_slots_unlisten(guest);
}

/* Ends the old mode only once the new one is known to work. */
static int set_tracked(struct kiommu_object *object, u32 burst,
		       struct kiommu_sync_left *old)
{
	bool anew = object->sync.mode == KVM_IOMMU_SYNC_TRACKED;
	int ret;

	if (anew)
		*old = kiommu_sync_reset(object);
	ret = kiommu_tracking_start(object, burst);
	if (ret)
		return ret;
	if (!anew)
		*old = kiommu_sync_reset(object);
	object->sync.mode = KVM_IOMMU_SYNC_TRACKED;
	ret = kiommu_tracking_fill(object);
	if (ret)
		kiommu_sync_reset(object);
	return ret;
}

/*
 * Sets *@old to what the old mode left behind, possibly on failure, too; @new is
 * what the new mode was given. Context: kiommu_lock_exclusive().
 */
static int set_mode(struct kiommu_object *object,
		    const struct kvm_iommu_set_sync *cmd,
		    const struct kiommu_sync_left *new,
		    struct kiommu_sync_left *old)
{
	int ret = 0;

	switch (cmd->mode) {
	case KVM_IOMMU_SYNC_RING:
		ret = kiommu_doorbell_open(new->doorbell);
		if (ret)
			break;
		*old = kiommu_sync_reset(object);
		object->sync.doorbell = new->doorbell;
		object->sync.mode = KVM_IOMMU_SYNC_RING;
		break;
	case KVM_IOMMU_SYNC_TRACKED:
		ret = set_tracked(object, cmd->burst, old);
		break;
	default:
		*old = kiommu_sync_reset(object);
	}
	if (!ret)
		object->sync.listens = new->listens;
	return ret;
}

/*
 * Gets what the new mode needs and what has to be waited for. Context: no lock
 * of lock.h is held.
 */
static int prepare(struct kiommu_object *object, struct kiommu_guest *guest,
		   struct kvm_iommu_set_sync *cmd,
		   struct kiommu_sync_left *new)
{
	struct kiommu_doorbell *bell;
	int ret;

	if (must_listen(cmd)) {
		ret = kiommu_slots_listen(guest);
		if (ret)
			return ret;
		new->listens = true;
	}
	if (cmd->mode != KVM_IOMMU_SYNC_RING)
		return 0;
	bell = kiommu_doorbell_create(object, cmd);
	if (IS_ERR(bell))
		return PTR_ERR(bell);
	new->doorbell = bell;
	return 0;
}

static int change_mode(struct kiommu_object *object,
		       struct kiommu_guest *guest,
		       const struct kvm_iommu_set_sync *cmd,
		       const struct kiommu_sync_left *new,
		       struct kiommu_sync_left *old)
{
	int ret;

	ret = kiommu_lock_exclusive_killable(object);
	if (ret)
		return ret;
	/* Another KVM may have been registered meanwhile. */
	ret = object->guest == guest ? 0 : -ENODEV;
	if (!ret)
		ret = set_mode(object, cmd, new, old);
	kiommu_unlock_exclusive(object);
	return ret;
}

int kiommu_set_sync(struct kiommu_object *object,
		    struct kvm_iommu_set_sync *cmd)
{
	struct kiommu_sync_left new = {}, old = {};
	struct kiommu_guest *guest;
	int ret;

	cmd->status = check_fields(cmd);
	if (cmd->status)
		return -EOPNOTSUPP;
	guest = kiommu_object_hold_guest(object);
	if (IS_ERR(guest))
		return PTR_ERR(guest);
	ret = prepare(object, guest, cmd, &new);
	if (!ret) {
		kiommu_doorbell_drain(object);
		ret = change_mode(object, guest, cmd, &new, &old);
	}
	kiommu_sync_leave(old, guest);
	if (ret)
		kiommu_sync_leave(new, guest);
	kiommu_guest_put(guest);
	/* This kernel, or this KVM, does not support it. */
	if (ret == -EOPNOTSUPP)
		cmd->status = KVM_IOMMU_STATUS_UNSUPPORTED;
	return ret;
}
