// SPDX-License-Identifier: GPL-2.0-only
/*
 * A domain that follows the stores of its guest, see tracking.h. Which pages
 * are tracked, and how stores get here: guest/tracked_pages.c.
 */
#include <linux/errno.h>
#include <linux/sched.h>

#include <linux/kvm_iommu.h>

#include "core_sync.h"
#include "guest/guest.h"
#include "object/lock.h"
#include "object/object.h"
#include "object/tracking.h"

static struct kiommu_object *
object_of_follower(struct kiommu_follower *follower)
{
	return container_of(follower, struct kiommu_object, sync.follower);
}

/* The front drops its reference only after the follower has left the list. */
static void hold_object(struct kiommu_follower *follower)
{
	refcount_inc(&object_of_follower(follower)->refs);
}

/* Does not drop the last reference to the guest, which is making the store. */
static void put_object(struct kiommu_follower *follower)
{
	kiommu_object_put(object_of_follower(follower));
}

/*
 * Releases the locks between steps of long work. Return: 0; -EINTR if part of
 * the work is left. Other vCPUs may still run after that, if the process that
 * was killed shared its mm with another one.
 */
static int follow_store(struct kiommu_follower *follower,
			struct kiommu_guest *guest, u64 gpa, u32 bytes)
{
	struct kiommu_object *object = object_of_follower(follower);
	struct kiommu_tracking_work work;
	bool begun = false;
	int ret;

	do {
		ret = kiommu_lock_shared(object);
		/*
		 * The domain was released: none of it follows the
		 * guest.
		 */
		if (ret == -ESTALE)
			return 0;
		if (ret)
			return ret;
		if (object->guest != guest) {
			kiommu_unlock_shared(object);
			return 0;
		}
		if (!begun)
			kiommu_core_tracking_store(object->domain, gpa,
						   bytes, &work);
		begun = true;
		ret = kiommu_core_tracking_step(object->domain, &work);
		kiommu_unlock_shared(object);
	} while (ret == -EAGAIN);
	return ret;
}

bool kiommu_tracking_possible(struct kiommu_guest *guest)
{
	return guest->provider->can_track &&
	       guest->provider->can_track(guest->memory);
}

static const struct kiommu_follower_ops follower_ops = {
	.hold = hold_object,
	.store = follow_store,
	.put = put_object,
};

int kiommu_tracking_start(struct kiommu_object *object, u32 burst)
{
	struct kiommu_guest *guest = object->guest;
	int ret;

	lockdep_assert_held_write(&guest->lock);
	if (!kiommu_tracking_possible(guest))
		return -EOPNOTSUPP;
	ret = kiommu_core_tracking_start(object->domain, burst);
	if (ret)
		return ret;
	kiommu_tracked_add(&guest->tracked, &object->sync.follower,
			   &follower_ops);
	return 0;
}

void kiommu_tracking_stop(struct kiommu_object *object)
{
	struct kiommu_guest *guest = object->guest;

	lockdep_assert_held_write(&guest->lock);
	kiommu_tracked_remove(&guest->tracked, &object->sync.follower);
	kiommu_core_tracking_stop(object->domain);
}

/*
 * Slots may change while the locks are held. They are held for writing, so
 * nobody else can settle the guest.
 */
int kiommu_tracking_fill(struct kiommu_object *object)
{
	struct kiommu_tracking_work work;
	int ret;

	lockdep_assert_held_write(&object->guest->lock);
	kiommu_core_tracking_range(0, U64_MAX, &work);
	do {
		kiommu_guest_settle(object->guest);
		ret = kiommu_core_tracking_step(object->domain, &work);
	} while (ret == -EAGAIN);
	return ret;
}

int kiommu_tracking_refresh(struct kiommu_object *object, u64 first, u64 last)
{
	struct kiommu_tracking_work work;
	int ret;

	kiommu_core_tracking_range(first, last, &work);
	do {
		ret = kiommu_lock_shared(object);
		if (ret)
			return ret;
		ret = kiommu_core_tracking_step(object->domain, &work);
		kiommu_unlock_shared(object);
		cond_resched();
	} while (ret == -EAGAIN);
	return ret;
}

int kiommu_tracking_untrack(struct kiommu_object *object,
			    struct kvm_iommu_untrack *cmd)
{
	kiommu_u64 count = 0;
	int ret = -ENXIO;

	if (!object->guest)
		return -ENODEV;
	if (object->sync.mode == KVM_IOMMU_SYNC_TRACKED)
		ret = kiommu_core_untrack(object->domain, cmd->gpa,
					  cmd->length, &count, &cmd->status);
	else
		cmd->status = KVM_IOMMU_STATUS_NOT_TRACKED;
	cmd->count = count;
	return ret;
}
