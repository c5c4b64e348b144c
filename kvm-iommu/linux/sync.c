// SPDX-License-Identifier: GPL-2.0-only
/*
 * Modes of a container, see sync.h: what the change from one to another takes.
 *
 * A doorbell is made before any lock is taken, and freed after: who looks at its
 * ring takes the container's lock, and looks whether the ring is still the
 * container's. What is in the ring that is set when a call comes is done before
 * the call takes the lock for writing: others can go on meanwhile.
 */
#include <linux/err.h>
#include <linux/sched.h>

#include <linux/kvm_iommu.h>

#include "container.h"
#include "doorbell.h"
#include "guest.h"
#include "ioctls.h"
#include "lock.h"
#include "tracking.h"

/* Return: enum kvm_iommu_status of what is wrong, or 0. */
static u32 check_fields(const struct kvm_iommu_set_sync *cmd)
{
	bool ring = cmd->entries || cmd->ring || cmd->kick_fd || cmd->notify_fd;
	bool unused;

	switch (cmd->mode) {
	case KVM_IOMMU_SYNC_EXPLICIT:
		unused = ring || cmd->burst || cmd->flags;
		break;
	case KVM_IOMMU_SYNC_RING:
		unused = cmd->burst;
		break;
	case KVM_IOMMU_SYNC_TRACKED:
		unused = ring || cmd->flags;
		break;
	default:
		return KVM_IOMMU_STATUS_MODE;
	}
	return unused ? KVM_IOMMU_STATUS_FIELD : KVM_IOMMU_STATUS_OK;
}

static int check_state(struct kiommu_container *container)
{
	if (!container->guest)
		return -ENODEV;
	return kiommu_check_caller(container);
}

struct kiommu_doorbell *kiommu_sync_reset(struct kiommu_container *container)
{
	struct kiommu_doorbell *bell = container->sync.doorbell;

	lockdep_assert_held_write(&container->lock);
	if (container->sync.mode == KVM_IOMMU_SYNC_TRACKED)
		kiommu_tracking_stop(container);
	container->sync.doorbell = NULL;
	container->sync.mode = KVM_IOMMU_SYNC_EXPLICIT;
	return bell;
}

static int set_explicit(struct kiommu_container *container)
{
	struct kiommu_doorbell *old = NULL;
	int ret;

	kiommu_doorbell_drain(container);
	ret = kiommu_lock_exclusive_killable(container);
	if (ret)
		return ret;
	ret = check_state(container);
	if (!ret)
		old = kiommu_sync_reset(container);
	kiommu_unlock_exclusive(container);
	kiommu_doorbell_close(old);
	return ret;
}

static int set_ring(struct kiommu_container *container,
		    struct kvm_iommu_set_sync *cmd)
{
	struct kiommu_doorbell *bell, *old = NULL;
	int ret;

	bell = kiommu_doorbell_create(container, cmd);
	if (IS_ERR(bell))
		return PTR_ERR(bell);
	kiommu_doorbell_drain(container);
	ret = kiommu_lock_exclusive_killable(container);
	if (ret)
		goto err_bell;
	ret = check_state(container);
	if (!ret) {
		old = kiommu_sync_reset(container);
		container->sync.doorbell = bell;
		container->sync.mode = KVM_IOMMU_SYNC_RING;
		kiommu_doorbell_open(bell);
	}
	kiommu_unlock_exclusive(container);
	if (ret)
		goto err_bell;
	kiommu_doorbell_close(old);
	return 0;

err_bell:
	kiommu_doorbell_close(bell);
	return ret;
}

/* The old mode ends no sooner than it is known that the new one works. */
static int set_tracked(struct kiommu_container *container,
		       const struct kvm_iommu_set_sync *cmd)
{
	struct kiommu_doorbell *old = NULL;
	int ret;

	kiommu_doorbell_drain(container);
	ret = kiommu_lock_exclusive_killable(container);
	if (ret)
		return ret;
	ret = check_state(container);
	if (ret)
		goto out;
	if (container->sync.mode == KVM_IOMMU_SYNC_TRACKED)
		kiommu_sync_reset(container);
	ret = kiommu_tracking_start(container, cmd->burst);
	if (ret)
		goto out;
	if (container->sync.mode != KVM_IOMMU_SYNC_TRACKED)
		old = kiommu_sync_reset(container);
	container->sync.mode = KVM_IOMMU_SYNC_TRACKED;
	ret = kiommu_tracking_fill(container);
	if (ret)
		kiommu_sync_reset(container);
out:
	kiommu_unlock_exclusive(container);
	kiommu_doorbell_close(old);
	return ret;
}

int kiommu_set_sync(struct kiommu_container *container,
		    struct kvm_iommu_set_sync *cmd)
{
	int ret;

	cmd->status = check_fields(cmd);
	if (cmd->status)
		return -EOPNOTSUPP;
	switch (cmd->mode) {
	case KVM_IOMMU_SYNC_RING:
		ret = set_ring(container, cmd);
		break;
	case KVM_IOMMU_SYNC_TRACKED:
		ret = set_tracked(container, cmd);
		break;
	default:
		ret = set_explicit(container);
	}
	/* This kernel's make_thread(), or kiommu_tracking_start(). */
	if (ret == -EOPNOTSUPP)
		cmd->status = KVM_IOMMU_STATUS_UNSUPPORTED;
	return ret;
}
