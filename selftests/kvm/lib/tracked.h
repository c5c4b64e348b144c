/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Mode TRACKED: what the VMM calls, what the guest stores, and what can be
 * observed.
 */
#ifndef KIOMMU_SELFTEST_TRACKED_H
#define KIOMMU_SELFTEST_TRACKED_H

#include <stdbool.h>
#include <stdint.h>

#include <linux/kvm_iommu.h>

/* KVM_IOMMU_SET_SYNC: 0 or -errno. KVM_IOMMU_UNTRACK: pages, or -errno. */
int kiommu_set_tracked(int fd, uint32_t burst);
int kiommu_untrack(int fd, uint64_t gpa, uint64_t length);

/* Fields of kvm_iommu_info. */
uint64_t kiommu_tracked_pages(int fd);
uint64_t kiommu_unsynced_pages(int fd);

/*
 * Whether the tables map @iova to @gpa, and the shadow maps @iova with all
 * rights. The target of the shadow cannot be read: it is what @iova was mapped
 * to since it was last blocked.
 */
bool kiommu_maps(int fd, uint64_t iova, uint64_t gpa);

/* Whether no device can reach @iova. */
bool kiommu_blocks(int fd, uint64_t iova);

/* Guest: one store of 8 bytes. Returns 0. */
uint64_t kiommu_store(uint64_t *entry, uint64_t value);

#endif /* KIOMMU_SELFTEST_TRACKED_H */
