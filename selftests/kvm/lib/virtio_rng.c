// SPDX-License-Identifier: GPL-2.0-only
/* Driver of virtio entropy devices. */
#include <errno.h>

#include <linux/virtio_ids.h>

#include "virtio_rng.h"

int virtio_rng_open(struct virtio_rng *r, int device_fd, void *ring_memory,
		    uint64_t ring_iova)
{
	return virtio_pci_open(&r->pci, device_fd, VIRTIO_ID_RNG, 0, ring_memory,
			       ring_iova);
}

int virtio_rng_close(struct virtio_rng *r)
{
	return virtio_pci_reset(&r->pci);
}

int virtio_rng_fill(struct virtio_rng *r, uint64_t iova, uint32_t bytes)
{
	while (bytes) {
		const struct virtio_segment segment = {
			.iova = iova, .bytes = bytes, .to_memory = true,
		};
		uint32_t written;
		int ret = virtio_pci_request(&r->pci, &segment, 1, &written);

		if (ret)
			return ret;
		/* The device returns at least one byte (5.4.6.2). */
		if (!written || written > bytes)
			return -EREMOTEIO;
		iova += written;
		bytes -= written;
	}
	return 0;
}
