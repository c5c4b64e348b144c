// SPDX-License-Identifier: GPL-2.0-only
/* Driver of virtio disks. */
#include <endian.h>
#include <errno.h>
#include <stddef.h>

#include <linux/virtio_blk.h>
#include <linux/virtio_ids.h>

#include "virtio_blk.h"

/* The header, which the device reads first, and the status, which it writes. */
struct around {
	struct virtio_blk_outhdr header;
	uint8_t status;
};

/* A status that no device writes. */
#define NO_STATUS 0xff

int virtio_blk_open(struct virtio_blk *b, int device_fd, void *ring_memory,
		    uint64_t ring_iova)
{
	uint64_t sectors;
	int ret = virtio_pci_open(&b->pci, device_fd, VIRTIO_ID_BLOCK, 0,
				  ring_memory, ring_iova);

	if (!ret)
		ret = virtio_pci_config(&b->pci, offsetof(struct virtio_blk_config,
							  capacity),
					&sectors, sizeof(sectors));
	b->sectors = ret ? 0 : le64toh(sectors);
	return ret;
}

int virtio_blk_close(struct virtio_blk *b)
{
	return virtio_pci_reset(&b->pci);
}

static int transfer(struct virtio_blk *b, uint32_t type,
		    const struct virtio_blk_part *part, unsigned int count,
		    uint64_t sector)
{
	struct around *around = (void *)(b->pci.memory + VIRTIO_PCI_DRIVER_AREA);
	uint64_t iova = b->pci.iova + VIRTIO_PCI_DRIVER_AREA;
	struct virtio_segment segment[VIRTIO_PCI_MAX_SEGMENTS];
	uint64_t bytes = 0;
	int ret;

	if (!count || count > VIRTIO_BLK_MAX_SEGMENTS)
		return -EINVAL;
	segment[0] = (struct virtio_segment){
		.iova = iova, .bytes = sizeof(around->header),
	};
	for (unsigned int i = 0; i < count; i++) {
		segment[i + 1] = (struct virtio_segment){
			.iova = part[i].iova,
			.bytes = part[i].bytes,
			.to_memory = type == VIRTIO_BLK_T_IN,
		};
		bytes += part[i].bytes;
	}
	segment[count + 1] = (struct virtio_segment){
		.iova = iova + offsetof(struct around, status),
		.bytes = sizeof(around->status),
		.to_memory = true,
	};
	if (!bytes || bytes % VIRTIO_BLK_SECTOR)
		return -EINVAL;
	around->header = (struct virtio_blk_outhdr){
		.type = htole32(type), .sector = htole64(sector),
	};
	around->status = NO_STATUS;
	ret = virtio_pci_request(&b->pci, segment, count + 2, NULL);
	if (ret)
		return ret;
	return around->status == VIRTIO_BLK_S_OK ? 0 : -EREMOTEIO;
}

int virtio_blk_readv(struct virtio_blk *b, const struct virtio_blk_part *part,
		     unsigned int count, uint64_t sector)
{
	return transfer(b, VIRTIO_BLK_T_IN, part, count, sector);
}

int virtio_blk_writev(struct virtio_blk *b, const struct virtio_blk_part *part,
		      unsigned int count, uint64_t sector)
{
	return transfer(b, VIRTIO_BLK_T_OUT, part, count, sector);
}

int virtio_blk_read(struct virtio_blk *b, uint64_t iova, uint64_t sector,
		    uint32_t bytes)
{
	const struct virtio_blk_part part = { iova, bytes };

	return virtio_blk_readv(b, &part, 1, sector);
}

int virtio_blk_write(struct virtio_blk *b, uint64_t iova, uint64_t sector,
		     uint32_t bytes)
{
	const struct virtio_blk_part part = { iova, bytes };

	return virtio_blk_writev(b, &part, 1, sector);
}
