// SPDX-License-Identifier: GPL-2.0-only
/*
 * The locks of a container and of its guest, see lock.h.
 *
 * container->guest says which P belongs to D. It changes only while both are
 * held for writing: kiommu_container_start() takes P itself, and
 * kiommu_container_stop() releases it.
 */
#include "guest/guest.h"
#include "object/object.h"
#include "object/lock.h"

static int lock_container(struct kiommu_container *container)
{
	if (down_read_killable(&container->lock))
		return -EINTR;
	if (container->domain)
		return 0;
	up_read(&container->lock);
	return -ESTALE;
}

int kiommu_lock_shared(struct kiommu_container *container)
{
	struct kiommu_guest *guest;
	int ret;

	ret = lock_container(container);
	if (ret)
		return ret;
	guest = container->guest;
	if (!guest)
		return 0;
	if (likely(!kiommu_guest_due(guest))) {
		ret = down_read_killable(&guest->lock);
	} else {
		ret = down_write_killable(&guest->lock);
		if (!ret) {
			kiommu_guest_settle(guest);
			downgrade_write(&guest->lock);
		}
	}
	if (ret)
		up_read(&container->lock);
	return ret;
}

void kiommu_unlock_shared(struct kiommu_container *container)
{
	struct kiommu_guest *guest = container->guest;

	if (guest) {
		up_read(&guest->lock);
		/*
		 * If killed, leave trimming to a later call or to the
		 * destruction of the guest.
		 */
		if (kiommu_core_pins_trim_due(guest->pins) &&
		    !down_write_killable(&guest->lock)) {
			kiommu_core_pins_trim_to_limit(guest->pins);
			up_write(&guest->lock);
		}
	}
	up_read(&container->lock);
}

int kiommu_lock_exclusive_killable(struct kiommu_container *container)
{
	if (down_write_killable(&container->lock))
		return -EINTR;
	if (!container->domain) {
		up_write(&container->lock);
		return -ESTALE;
	}
	if (!container->guest)
		return 0;
	if (down_write_killable(&container->guest->lock)) {
		up_write(&container->lock);
		return -EINTR;
	}
	kiommu_guest_settle(container->guest);
	return 0;
}

void kiommu_lock_exclusive(struct kiommu_container *container)
{
	down_write(&container->lock);
	if (!container->guest)
		return;
	down_write(&container->guest->lock);
	kiommu_guest_settle(container->guest);
}

void kiommu_unlock_exclusive(struct kiommu_container *container)
{
	if (container->guest)
		kiommu_guest_unlock(container->guest);
	up_write(&container->lock);
}

int kiommu_lock_pins(struct kiommu_container *container)
{
	int ret;

	ret = lock_container(container);
	if (ret)
		return ret;
	ret = -ENODEV;
	if (!container->guest)
		goto err_unlock;
	ret = down_write_killable(&container->guest->lock);
	if (ret)
		goto err_unlock;
	kiommu_guest_settle(container->guest);
	return 0;

err_unlock:
	up_read(&container->lock);
	return ret;
}

void kiommu_unlock_pins(struct kiommu_container *container)
{
	kiommu_guest_unlock(container->guest);
	up_read(&container->lock);
}
