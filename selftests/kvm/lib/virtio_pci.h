/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Modern virtio-pci devices with one queue, driven through a VFIO device fd.
 * Virtual I/O Device (VIRTIO) 1.2, sections 2.7 (split queue), 4.1 (PCI).
 *
 * Registers are accessed by pread() and pwrite(), because BARs of zPCI
 * functions cannot be mapped everywhere. There are no interrupts: memory is
 * polled for the completion. All DMA of the device, that to the queue too, goes
 * through the IOMMU: a device that would bypass it is refused.
 *
 * Where a function returns an error:
 *   -EIO        the device has failed: it says that it needs a reset, or its
 *               registers read as all ones (a zPCI function in error state)
 *   -ETIMEDOUT  the request did not complete
 *   -ENODEV     not the wanted device, or not a modern one
 *   -EOPNOTSUPP the device lacks a feature: VERSION_1, ACCESS_PLATFORM
 *   -EINVAL     arguments
 * A refused DMA may cause none of these: a device may consider the request
 * done. Its outcome shows in memory.
 *
 * After -EIO and -ETIMEDOUT the device may still write to memory until it is
 * reset. It accepts no more requests until it is opened again, which resets it.
 */
#ifndef KIOMMU_SELFTEST_VIRTIO_PCI_H
#define KIOMMU_SELFTEST_VIRTIO_PCI_H

#include <stdbool.h>
#include <stdint.h>

#include <sys/types.h>

/*
 * A page for the queue, and for what else a driver shares with the device. The
 * device must be able to read and write it; it may lie anywhere.
 */
#define VIRTIO_PCI_MEMORY 4096u
/* The driver's half of it: both its offset and its size in bytes. */
#define VIRTIO_PCI_DRIVER_AREA 2048u

/* Segments of a request. */
#define VIRTIO_PCI_MAX_SEGMENTS 64u

/* A part of a request: one descriptor. */
struct virtio_segment {
	uint64_t iova;
	uint32_t bytes;
	bool to_memory;		/* the device writes it, else it reads it */
};

struct vring_desc;
struct vring_avail;
struct vring_used;

struct virtio_pci {
	int fd;			/* of the VFIO device; the caller's */
	off_t common;		/* registers, as offsets of that file */
	off_t device;		/* device-specific registers, or 0 */
	off_t notify;		/* of the queue */
	uint64_t features;	/* negotiated */
	char *memory;		/* VIRTIO_PCI_MEMORY bytes, the caller's */
	uint64_t iova;		/* where the device sees them */
	struct vring_desc *desc;
	struct vring_avail *avail;
	struct vring_used *used;
	uint16_t size;		/* descriptors of the queue */
	uint16_t last_used;
	bool broken;		/* must be opened again */
};

/*
 * Resets the device and brings it into use. @id: VIRTIO_ID_*. @features: bits
 * that are wanted if offered. @memory is cleared. It must be mapped for the
 * device from now on until the reset: devices look at their queue when they
 * come into use, and may look again after a request.
 *
 * The function must have bus mastering and memory space enabled.
 */
int virtio_pci_open(struct virtio_pci *v, int fd, uint32_t id, uint64_t features,
		    void *memory, uint64_t iova);
/* Resets the device: it does no DMA after this. May be called again. */
int virtio_pci_reset(struct virtio_pci *v);

/*
 * Makes one request, from its first descriptor to its completion. @written: set
 * to the bytes that the device says it has written, or NULL.
 */
int virtio_pci_request(struct virtio_pci *v, const struct virtio_segment *segment,
		       unsigned int count, uint32_t *written);

/* Device status (VIRTIO_CONFIG_S_*), or -EIO. */
int virtio_pci_status(const struct virtio_pci *v);
/* Reads bytes of the device's own configuration, little-endian as they are. */
int virtio_pci_config(const struct virtio_pci *v, unsigned int offset, void *to,
		      unsigned int bytes);

#endif
