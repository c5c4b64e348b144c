/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Device memory of other devices that is mapped for devices (peer-to-peer).
 */
#ifndef KIOMMU_MMIO_H
#define KIOMMU_MMIO_H

#include <linux/mutex.h>
#include <linux/rbtree.h>

struct kiommu_host;
struct kiommu_hosts;

/* Records of a guest, each of up to 512 pages. */
#define KIOMMU_MAX_MMIO_RECORDS 4096

/**
 * struct kiommu_mmio - what is mapped of a guest's device memory
 * @lock: protects all below, the trees of the hosts, and which hosts there
 *	are. Taken in callbacks of the process's memory, so that nothing may be
 *	allocated under it but without reclaim; inside of it: locks of the IOMMU
 *	drivers.
 * @by_hva: struct kiommu_record, where the process has it.
 * @count: records. Read without the lock, too.
 */
struct kiommu_mmio {
	struct mutex lock; /* of all below */
	struct rb_root_cached by_hva;
	unsigned int count;
};

void kiommu_mmio_init(struct kiommu_mmio *mmio);

/**
 * kiommu_mmio_revoke() - take device memory out of all hosts
 * @first: HVA; @last: HVA, inclusive.
 *
 * No device can reach it on return. Context: may sleep; memory reclaim
 * included. Return: whether there was any.
 */
bool kiommu_mmio_revoke(struct kiommu_mmio *mmio, unsigned long first,
			unsigned long last);

/**
 * kiommu_mmio_add_host() - a host joins, with the device memory of all others
 * @mmio: NULL if no KVM is registered.
 *
 * Return: 0, or what the host's IOMMU driver returned; it has not joined then.
 */
int kiommu_mmio_add_host(struct kiommu_mmio *mmio, struct kiommu_hosts *hosts,
			 struct kiommu_host *host);

/* It leaves, if it has joined. Its mappings stay as they are. */
void kiommu_mmio_remove_host(struct kiommu_mmio *mmio,
			     struct kiommu_hosts *hosts,
			     struct kiommu_host *host);

#endif /* KIOMMU_MMIO_H */
