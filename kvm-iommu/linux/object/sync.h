/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * How the shadow of a container follows the guest's tables: KVM_IOMMU_SET_SYNC.
 */
#ifndef KIOMMU_SYNC_H
#define KIOMMU_SYNC_H

#include <linux/types.h>

#include "guest/tracked_pages.h"

struct kiommu_container;
struct kiommu_doorbell;
struct kiommu_mem;
struct kvm_iommu_set_sync;

/**
 * struct kiommu_sync - see above; part of a container
 * @mode: enum kvm_iommu_sync_mode.
 * @doorbell: RING: the one whose ring is looked at, or NULL.
 * @follower: TRACKED: in the list of those who follow the guest.
 * @listens: the container is a listener of the guest's slots: TRACKED, or
 *	KVM_IOMMU_SYNC_SLOTS.
 *
 * All change with D held for writing.
 */
struct kiommu_sync {
	u32 mode;
	struct kiommu_doorbell *doorbell;
	struct kiommu_follower follower;
	bool listens;
};

/* What a mode that has ended has left behind. */
struct kiommu_sync_left {
	struct kiommu_doorbell *doorbell;
	bool listens;
};

/**
 * kiommu_set_sync() - KVM_IOMMU_SET_SYNC
 *
 * Context: may sleep; no lock of lock.h. Return: as documented there.
 */
int kiommu_set_sync(struct kiommu_container *container,
		    struct kvm_iommu_set_sync *cmd);

/**
 * kiommu_sync_reset() - back to KVM_IOMMU_SYNC_EXPLICIT: the KVM leaves
 *
 * Context: kiommu_lock_exclusive(). Return: what the caller must give to
 * kiommu_sync_leave() after kiommu_unlock_exclusive().
 */
struct kiommu_sync_left kiommu_sync_reset(struct kiommu_container *container);

/*
 * @guest: that was registered, held. Context: as kiommu_doorbell_close() and
 * kiommu_slots_unlisten().
 */
void kiommu_sync_leave(struct kiommu_sync_left left, struct kiommu_mem *guest);

#endif /* KIOMMU_SYNC_H */
