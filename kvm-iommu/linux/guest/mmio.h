/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Device memory of other devices that is mapped for DMA (peer-to-peer).
 */
#ifndef KIOMMU_MMIO_H
#define KIOMMU_MMIO_H

#include <linux/mutex.h>
#include <linux/rbtree.h>

struct kiommu_host;
struct kiommu_hosts;

/* Maximum number of records of a guest; each has up to 512 pages. */
#define KIOMMU_MAX_MMIO_RECORDS 4096

/**
 * struct kiommu_mmio - device memory of a guest that is mapped
 * @lock: protects all fields below, the trees of the hosts, and which hosts
 *	there are. Taken in MMU notifiers, so memory may only be allocated under
 *	it without reclaim. The locks of the IOMMU drivers are taken inside it.
 * @by_hva: struct kiommu_record by their address in the process.
 * @count: number of records. Also read without @lock.
 */
struct kiommu_mmio {
	struct mutex lock; /* protects all fields below */
	struct rb_root_cached by_hva;
	unsigned int count;
};

void kiommu_mmio_init(struct kiommu_mmio *mmio);

/**
 * kiommu_mmio_revoke() - take device memory out of all hosts
 * @first: HVA.
 * @last: HVA, inclusive.
 *
 * No device can reach it on return.
 *
 * Context: may sleep; may be called in memory reclaim.
 * Return: whether there was any.
 */
bool kiommu_mmio_revoke(struct kiommu_mmio *mmio, unsigned long first,
			unsigned long last);

/**
 * kiommu_mmio_add_host() - add a host, and map all device memory in it
 * @mmio: NULL if no KVM is registered.
 *
 * Return: 0, or what the host's IOMMU driver returned; the host was not added
 * then.
 */
int kiommu_mmio_add_host(struct kiommu_mmio *mmio, struct kiommu_hosts *hosts,
			 struct kiommu_host *host);

/* Removes a host, if it was added. Its mappings stay as they are. */
void kiommu_mmio_remove_host(struct kiommu_mmio *mmio,
			     struct kiommu_hosts *hosts,
			     struct kiommu_host *host);

#endif /* KIOMMU_MMIO_H */
