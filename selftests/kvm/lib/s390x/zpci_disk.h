/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * zPCI functions that are virtio disks, with all that they need in the guest's
 * memory and tables; and functions whose DMA was refused.
 *
 * A zPCI function whose DMA is refused goes into the error state: its registers
 * read as ones, and all of its DMA is blocked until it is taken out of that
 * state. So a refusal shows in two ways; the tests also look at memory.
 */
#ifndef KIOMMU_SELFTEST_ZPCI_DISK_H
#define KIOMMU_SELFTEST_ZPCI_DISK_H

#include <stdint.h>

#include "guest_vm.h"
#include "tables.h"
#include "vfio.h"
#include "virtio_blk.h"
#include "virtio_rng.h"

struct zpci_disk {
	struct virtio_blk blk;
	struct kiommu_device *dev;
	struct kiommu_vm *vm;
	char *ring;		/* a page of the area */
	uint64_t iova;		/* where the tables map it */
};

/*
 * Gives the disk a page of the area for its queue, has the guest map it at
 * @iova of @t, and refreshes that on the container @fd. @dev must be open.
 * Return: 0 or -errno.
 */
int zpci_disk_open(struct zpci_disk *d, struct kiommu_vm *vm, int fd,
		   struct kiommu_device *dev, struct ioat *t, uint64_t iova);
/* Resets the device, and takes the function out of the error state. */
void zpci_disk_close(struct zpci_disk *d);

/*
 * Keeps the disk from looking at its queue until the next transfer; called
 * before the queue goes away. Return: 0 or -errno.
 */
int zpci_disk_rest(struct zpci_disk *d);

/* As virtio_blk_read() and _write(); the disk is opened if it has to be. */
int zpci_disk_read(struct zpci_disk *d, uint64_t iova, uint64_t sector,
		   uint32_t bytes);
int zpci_disk_write(struct zpci_disk *d, uint64_t iova, uint64_t sector,
		    uint32_t bytes);

/*
 * Whether @ret, the result of a request, comes from a refused DMA. If so, takes
 * the function out of the error state, resets the device behind it, and returns
 * 0. Otherwise returns what is wrong, -EPROTO if nothing was refused.
 */
int zpci_refused(struct kiommu_vm *vm, const struct kiommu_device *dev,
		 struct virtio_pci *pci, int ret);
int zpci_disk_refused(struct zpci_disk *d, int ret);

/*
 * Errors of functions, as the machine reports them to the host's kernel. The
 * first must be called before the error, and returns a file descriptor. The
 * second returns the event's code (PEC), or -ETIMEDOUT.
 */
int zpci_events_open(void);
int zpci_events_await(int events, const struct kiommu_device *dev);

/*
 * Disables and enables the function as an operator does ("recover"), and binds
 * it to vfio-pci again. Device and group must be closed; @dev gets the new
 * group. If the function is in error, the kernel must have been told of it.
 */
int zpci_recover(struct kiommu_device *dev);

#endif
