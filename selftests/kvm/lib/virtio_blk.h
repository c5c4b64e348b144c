/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A virtio disk, read and written by DMA of the device. Errors: virtio_pci.h.
 * VIRTIO 1.2, section 5.2.
 */
#ifndef KIOMMU_SELFTEST_VIRTIO_BLK_H
#define KIOMMU_SELFTEST_VIRTIO_BLK_H

#include <stdint.h>

#include "virtio_pci.h"

#define VIRTIO_BLK_SECTOR 512u
/* Two more segments are for the header and the status. */
#define VIRTIO_BLK_MAX_SEGMENTS (VIRTIO_PCI_MAX_SEGMENTS - 2)

struct virtio_blk {
	struct virtio_pci pci;
	uint64_t sectors;	/* of the disk */
};

/*
 * @device_fd: of VFIO, kept open by the caller while the disk is in use; it
 * must have bus mastering on. @ring_memory: VIRTIO_PCI_MEMORY bytes, which the
 * device finds at @ring_iova, to be read and written.
 */
int virtio_blk_open(struct virtio_blk *b, int device_fd, void *ring_memory,
		    uint64_t ring_iova);
/* Resets the device; ring_memory and device_fd stay the caller's. */
int virtio_blk_close(struct virtio_blk *b);

/*
 * One transfer between the disk and memory at @iova: read is from the disk to
 * memory. @bytes: a multiple of VIRTIO_BLK_SECTOR. Return 0; -EREMOTEIO if the
 * device answers that the transfer failed; or as virtio_pci_request().
 */
int virtio_blk_read(struct virtio_blk *b, uint64_t iova, uint64_t sector,
		    uint32_t bytes);
int virtio_blk_write(struct virtio_blk *b, uint64_t iova, uint64_t sector,
		     uint32_t bytes);

/* The same with memory in up to VIRTIO_BLK_MAX_SEGMENTS parts, of any size. */
struct virtio_blk_part {
	uint64_t iova;
	uint32_t bytes;
};

int virtio_blk_readv(struct virtio_blk *b, const struct virtio_blk_part *part,
		     unsigned int count, uint64_t sector);
int virtio_blk_writev(struct virtio_blk *b, const struct virtio_blk_part *part,
		      unsigned int count, uint64_t sector);

#endif
