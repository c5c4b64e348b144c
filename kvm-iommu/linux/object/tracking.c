// SPDX-License-Identifier: GPL-2.0-only
/*
 * A container that follows the stores of its guest, see tracking.h. Which pages are
 * tracked, and how stores come here: guest/tracked_pages.c.
 */
#include <linux/errno.h>

#include <linux/kvm_iommu.h>

#include "core_sync.h"
#include "guest/guest.h"
#include "object/container.h"
#include "object/lock.h"
#include "object/tracking.h"

static struct kiommu_container *
container_of_follower(struct kiommu_follower *follower)
{
	return container_of(follower, struct kiommu_container, sync.follower);
}

/* VFIO's reference is dropped after the follower has left the list. */
static void hold_container(struct kiommu_follower *follower)
{
	refcount_inc(&container_of_follower(follower)->refs);
}

/* Never the last reference of the guest: it is the guest that calls. */
static void put_container(struct kiommu_follower *follower)
{
	kiommu_container_put(container_of_follower(follower));
}

/*
 * Long work lets others at the locks. Return: 0; -EINTR some of it is left: other
 * vCPUs can go on, if the process that was killed was not the only one that has
 * the memory.
 */
static int follow_store(struct kiommu_follower *follower,
			struct kiommu_mem *guest, u64 gpa, u32 bytes)
{
	struct kiommu_container *container = container_of_follower(follower);
	struct kiommu_tracking_work work;
	bool begun = false;
	int ret;

	do {
		ret = kiommu_lock_shared(container);
		/* VFIO has released it: nothing of it follows the guest. */
		if (ret == -ESTALE)
			return 0;
		if (ret)
			return ret;
		if (container->guest != guest) {
			kiommu_unlock_shared(container);
			return 0;
		}
		if (!begun)
			kiommu_core_tracking_store(container->domain, gpa,
						   bytes, &work);
		begun = true;
		ret = kiommu_core_tracking_step(container->domain, &work);
		kiommu_unlock_shared(container);
	} while (ret == -EAGAIN);
	return ret;
}

bool kiommu_tracking_possible(struct kiommu_mem *guest)
{
	return guest->provider->can_track &&
	       guest->provider->can_track(guest->memory);
}

static const struct kiommu_follower_ops follower_ops = {
	.hold = hold_container,
	.store = follow_store,
	.put = put_container,
};

int kiommu_tracking_start(struct kiommu_container *container, u32 burst)
{
	struct kiommu_mem *guest = container->guest;
	int ret;

	lockdep_assert_held_write(&guest->lock);
	if (!kiommu_tracking_possible(guest))
		return -EOPNOTSUPP;
	ret = kiommu_core_tracking_start(container->domain, burst);
	if (ret)
		return ret;
	container->sync.follower.ops = &follower_ops;
	kiommu_tracked_add(&guest->tracked, &container->sync.follower);
	return 0;
}

void kiommu_tracking_stop(struct kiommu_container *container)
{
	struct kiommu_mem *guest = container->guest;

	lockdep_assert_held_write(&guest->lock);
	kiommu_tracked_remove(&guest->tracked, &container->sync.follower);
	kiommu_core_tracking_stop(container->domain);
}

/* Slots can have changed since the locks were taken; nobody else can tell. */
int kiommu_tracking_fill(struct kiommu_container *container)
{
	struct kiommu_tracking_work work;
	int ret;

	lockdep_assert_held_write(&container->guest->lock);
	kiommu_core_tracking_all(container->domain, &work);
	do {
		kiommu_guest_settle(container->guest);
		ret = kiommu_core_tracking_step(container->domain, &work);
	} while (ret == -EAGAIN);
	return ret;
}

int kiommu_tracking_untrack(struct kiommu_container *container,
			    struct kvm_iommu_untrack *cmd)
{
	kiommu_u64 count = 0;
	int ret = -ENXIO;

	if (!container->guest)
		return -ENODEV;
	if (container->sync.mode == KVM_IOMMU_SYNC_TRACKED)
		ret = kiommu_core_untrack(container->domain, cmd->gpa,
					  cmd->length, &count, &cmd->status);
	else
		cmd->status = KVM_IOMMU_STATUS_NOT_TRACKED;
	cmd->count = count;
	return ret;
}
