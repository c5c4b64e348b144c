/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Mode TRACKED of a container: its shadow follows the stores of the guest to its
 * tables.
 */
#ifndef KIOMMU_TRACKING_H
#define KIOMMU_TRACKING_H

#include <linux/types.h>

struct kiommu_container;
struct kiommu_mem;
struct kvm_iommu_untrack;

/**
 * kiommu_tracking_start() - pages of tables are tracked as the walker meets them
 * @burst: as of KVM_IOMMU_SET_SYNC.
 *
 * Context: kiommu_lock_exclusive(); a KVM is registered, and it tells
 * (kiommu_slots_listen()); not started yet. Return: 0; -EOPNOTSUPP this kernel, or
 * this KVM, cannot; -ENOMEM.
 */
int kiommu_tracking_start(struct kiommu_container *container, u32 burst);

/**
 * kiommu_tracking_stop() - no page is tracked any more
 *
 * Context: kiommu_lock_exclusive(). Cannot fail, never allocates.
 */
void kiommu_tracking_stop(struct kiommu_container *container);

/**
 * kiommu_tracking_fill() - shadows all that the tables say
 *
 * What is wrong with them goes to the faults. Nothing happens without an anchor.
 * Context: kiommu_lock_exclusive(); in a thread of the guest's process. Return: 0;
 * -EINTR.
 */
int kiommu_tracking_fill(struct kiommu_container *container);

/**
 * kiommu_tracking_untrack() - KVM_IOMMU_UNTRACK
 *
 * Context: kiommu_lock_shared(). Return: as documented there.
 */
int kiommu_tracking_untrack(struct kiommu_container *container,
			    struct kvm_iommu_untrack *cmd);

/* Whether stores of the guest can be tracked. Context: the guest is registered. */
bool kiommu_tracking_possible(struct kiommu_mem *guest);

#endif /* KIOMMU_TRACKING_H */
