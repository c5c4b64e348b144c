/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Mode TRACKED of a domain: its shadow follows the guest's stores to its
 * tables.
 */
#ifndef KIOMMU_TRACKING_H
#define KIOMMU_TRACKING_H

#include <linux/types.h>

struct kiommu_object;
struct kiommu_guest;
struct kvm_iommu_untrack;

/**
 * kiommu_tracking_start() - track pages of tables as the walker meets them
 * @burst: as in KVM_IOMMU_SET_SYNC.
 *
 * Context: kiommu_lock_exclusive(); a KVM is registered and listened to
 * (kiommu_slots_listen()); tracking has not been started.
 * Return: 0; -EOPNOTSUPP if this kernel or this KVM cannot track; -ENOMEM.
 */
int kiommu_tracking_start(struct kiommu_object *object, u32 burst);

/**
 * kiommu_tracking_stop() - stop tracking all pages
 *
 * Cannot fail, never allocates.
 *
 * Context: kiommu_lock_exclusive().
 */
void kiommu_tracking_stop(struct kiommu_object *object);

/**
 * kiommu_tracking_fill() - shadow everything that the tables map
 *
 * Bad entries are reported as faults. Does nothing without an anchor.
 *
 * Context: kiommu_lock_exclusive(); in a thread of the guest's process.
 * Return: 0; -EINTR.
 */
int kiommu_tracking_fill(struct kiommu_object *object);

/**
 * kiommu_tracking_refresh() - bring IOVAs up to date with the tables
 * @first: IOVA of the first page.
 * @last: inclusive, the last byte of a page.
 *
 * For who invalidates what hardware would have cached: reads the tables again, even
 * those that are in sync. What they do not map is unmapped, and so is what cannot be
 * brought up to date; this and bad entries are reported as faults. What has not been
 * done when a fatal signal comes is as it was, or out of sync.
 *
 * Context: no lock of lock.h is held; the mode is TRACKED; in a thread of the guest's
 * process.
 * Return: 0; -EINTR; -ESTALE as kiommu_lock_shared().
 */
int kiommu_tracking_refresh(struct kiommu_object *object, u64 first, u64 last);

/**
 * kiommu_tracking_untrack() - KVM_IOMMU_UNTRACK
 *
 * Context: kiommu_lock_shared().
 * Return: as documented for the ioctl.
 */
int kiommu_tracking_untrack(struct kiommu_object *object,
			    struct kvm_iommu_untrack *cmd);

/* Whether stores of the guest can be tracked. Context: it is registered. */
bool kiommu_tracking_possible(struct kiommu_guest *guest);

#endif /* KIOMMU_TRACKING_H */
