// SPDX-License-Identifier: GPL-2.0-only
/*
 * The locks of a domain and of its guest, see lock.h.
 *
 * object->guest says which P belongs to D. It changes only while both are
 * held for writing: kiommu_object_start() takes P itself, and
 * kiommu_object_stop() releases it.
 */
#include "guest/guest.h"
#include "object/lock.h"
#include "object/object.h"

static int lock_object(struct kiommu_object *object)
{
	if (down_read_killable(&object->lock))
		return -EINTR;
	if (object->domain)
		return 0;
	up_read(&object->lock);
	return -ESTALE;
}

int kiommu_lock_shared(struct kiommu_object *object)
{
	struct kiommu_guest *guest;
	int ret;

	ret = lock_object(object);
	if (ret)
		return ret;
	guest = object->guest;
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
		up_read(&object->lock);
	return ret;
}

void kiommu_unlock_shared(struct kiommu_object *object)
{
	struct kiommu_guest *guest = object->guest;

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
	up_read(&object->lock);
}

int kiommu_lock_exclusive_killable(struct kiommu_object *object)
{
	if (down_write_killable(&object->lock))
		return -EINTR;
	if (!object->domain) {
		up_write(&object->lock);
		return -ESTALE;
	}
	if (!object->guest)
		return 0;
	if (down_write_killable(&object->guest->lock)) {
		up_write(&object->lock);
		return -EINTR;
	}
	kiommu_guest_settle(object->guest);
	return 0;
}

void kiommu_lock_exclusive(struct kiommu_object *object)
{
	down_write(&object->lock);
	if (!object->guest)
		return;
	down_write(&object->guest->lock);
	kiommu_guest_settle(object->guest);
}

void kiommu_unlock_exclusive(struct kiommu_object *object)
{
	if (object->guest)
		kiommu_guest_unlock(object->guest);
	up_write(&object->lock);
}

int kiommu_lock_pins(struct kiommu_object *object)
{
	int ret;

	ret = lock_object(object);
	if (ret)
		return ret;
	ret = -ENODEV;
	if (!object->guest)
		goto err_unlock;
	ret = down_write_killable(&object->guest->lock);
	if (ret)
		goto err_unlock;
	kiommu_guest_settle(object->guest);
	return 0;

err_unlock:
	up_read(&object->lock);
	return ret;
}

void kiommu_unlock_pins(struct kiommu_object *object)
{
	kiommu_guest_unlock(object->guest);
	up_read(&object->lock);
}

static int lock_write(struct rw_semaphore *lock, bool killable)
{
	if (killable)
		return down_write_killable(lock);
	down_write(lock);
	return 0;
}

/* Waits for the one that was found held, with nothing held. */
static int lock_both(struct rw_semaphore *a, struct rw_semaphore *b,
		     bool killable)
{
	int ret;

	for (;;) {
		ret = lock_write(a, killable);
		if (ret || down_write_trylock(b))
			return ret;
		up_write(a);
		swap(a, b);
	}
}

static int lock_guests(struct kiommu_guest *a, struct kiommu_guest *b,
		       bool killable)
{
	if (a && b && a != b)
		return lock_both(&a->lock, &b->lock, killable);
	if (a || b)
		return lock_write(a ? &a->lock : &b->lock, killable);
	return 0;
}

int kiommu_lock_pair(struct kiommu_object *a, struct kiommu_object *b,
		     bool killable)
{
	int ret;

	if (!b) {
		if (killable)
			return kiommu_lock_exclusive_killable(a);
		kiommu_lock_exclusive(a);
		return 0;
	}
	ret = lock_both(&a->lock, &b->lock, killable);
	if (ret)
		return ret;
	ret = killable && (!a->domain || !b->domain) ? -ESTALE :
	      lock_guests(a->guest, b->guest, killable);
	if (ret) {
		up_write(&a->lock);
		up_write(&b->lock);
		return ret;
	}
	if (a->guest)
		kiommu_guest_settle(a->guest);
	if (b->guest && b->guest != a->guest)
		kiommu_guest_settle(b->guest);
	return 0;
}

void kiommu_unlock_pair(struct kiommu_object *a, struct kiommu_object *b)
{
	struct kiommu_guest *guest = a->guest;

	if (!b) {
		kiommu_unlock_exclusive(a);
		return;
	}
	if (b->guest && b->guest != guest)
		kiommu_guest_unlock(b->guest);
	if (guest)
		kiommu_guest_unlock(guest);
	up_write(&b->lock);
	up_write(&a->lock);
}
