/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A virtio entropy device: random bytes into memory by DMA of the device.
 * Errors: virtio_pci.h. VIRTIO 1.2, section 5.4.
 */
#ifndef KIOMMU_SELFTEST_VIRTIO_RNG_H
#define KIOMMU_SELFTEST_VIRTIO_RNG_H

#include <stdint.h>

#include "virtio_pci.h"

struct virtio_rng {
	struct virtio_pci pci;
};

/* As virtio_blk_open(). */
int virtio_rng_open(struct virtio_rng *r, int device_fd, void *ring_memory,
		    uint64_t ring_iova);
int virtio_rng_close(struct virtio_rng *r);

/*
 * Fills memory at @iova, by more than one request if the device returns less.
 */
int virtio_rng_fill(struct virtio_rng *r, uint64_t iova, uint32_t bytes);

#endif
