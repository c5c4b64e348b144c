/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * How the shadow of a container follows the guest's tables: KVM_IOMMU_SET_SYNC.
 */
#ifndef KIOMMU_SYNC_H
#define KIOMMU_SYNC_H

#include <linux/list.h>
#include <linux/types.h>

struct kiommu_container;
struct kiommu_doorbell;
struct kvm_iommu_set_sync;

/**
 * struct kiommu_sync - see above; part of a container
 * @mode: enum kvm_iommu_sync_mode.
 * @doorbell: RING: the one whose ring is looked at, or NULL.
 * @tracking: TRACKED: in the list of the guest's containers that are.
 *
 * All change with D held for writing.
 */
struct kiommu_sync {
	u32 mode;
	struct kiommu_doorbell *doorbell;
	struct list_head tracking;
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
 * kiommu_doorbell_close() after kiommu_unlock_exclusive(), or NULL.
 */
struct kiommu_doorbell *kiommu_sync_reset(struct kiommu_container *container);

#endif /* KIOMMU_SYNC_H */
