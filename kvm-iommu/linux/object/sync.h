/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * How the shadow of a domain follows the guest's tables: KVM_IOMMU_SET_SYNC.
 */
#ifndef KIOMMU_SYNC_H
#define KIOMMU_SYNC_H

#include <linux/types.h>

#include "guest/tracked_pages.h"

struct kiommu_object;
struct kiommu_doorbell;
struct kiommu_guest;
struct kvm_iommu_set_sync;

/**
 * struct kiommu_sync - see above; part of a domain
 * @mode: enum kvm_iommu_sync_mode.
 * @doorbell: mode RING: the doorbell whose ring is consumed, else NULL.
 * @follower: mode TRACKED: entry in the guest's list of followers.
 * @listens: the domain listens to the guest's slots: in mode TRACKED, or
 *	with KVM_IOMMU_SYNC_SLOTS.
 *
 * Changed with D held for writing.
 */
struct kiommu_sync {
	u32 mode;
	struct kiommu_doorbell *doorbell;
	struct kiommu_follower follower;
	bool listens;
};

/* What remains to be dropped after a mode has ended. */
struct kiommu_sync_left {
	struct kiommu_doorbell *doorbell;
	bool listens;
};

/**
 * kiommu_set_sync() - KVM_IOMMU_SET_SYNC
 *
 * Context: may sleep; no lock of lock.h is held.
 * Return: as documented for the ioctl.
 */
int kiommu_set_sync(struct kiommu_object *object,
		    struct kvm_iommu_set_sync *cmd);

/**
 * kiommu_sync_reset() - end the mode: return to KVM_IOMMU_SYNC_EXPLICIT
 *
 * Context: kiommu_lock_exclusive().
 * Return: what the caller must pass to kiommu_sync_leave() after
 * kiommu_unlock_exclusive().
 */
struct kiommu_sync_left kiommu_sync_reset(struct kiommu_object *object);

/*
 * The caller has a reference to @guest, which was registered. Context: as
 * kiommu_doorbell_close() and kiommu_slots_unlisten().
 */
void kiommu_sync_leave(struct kiommu_sync_left left, struct kiommu_guest *guest);

#endif /* KIOMMU_SYNC_H */
