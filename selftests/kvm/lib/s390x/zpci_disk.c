// SPDX-License-Identifier: GPL-2.0-only
/* Disks behind zPCI, see zpci_disk.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kvm_util.h"

#include "ioctls.h"
#include "modules/memory/kiommu_memory.h"
#include "zpci_disk.h"

/* Return: -ETIMEDOUT if the function is in no error. */
static int reset_error(struct kiommu_vm *vm, const struct kiommu_device *dev)
{
	struct kiommu_memory_function function;
	unsigned int slot, fn;

	TEST_ASSERT(sscanf(dev->bdf, "%x:%x:%x.%x", &function.domain,
			   &function.bus, &slot, &fn) == 4, "%s", dev->bdf);
	function.devfn = slot << 3 | fn;
	return kiommu_ioctl(vm->fd, KIOMMU_MEMORY_RESET_ERROR, &function);
}

static int open_again(struct zpci_disk *d)
{
	return virtio_blk_open(&d->blk, d->dev->fd, d->ring, d->iova);
}

int zpci_disk_open(struct zpci_disk *d, struct kiommu_vm *vm, int fd,
		   struct kiommu_device *dev, struct ioat *t, uint64_t iova)
{
	int ret;

	*d = (struct zpci_disk){
		.dev = dev,
		.vm = vm,
		.ring = kiommu_alloc_page(vm->area),
		.iova = iova,
	};
	kiommu_guest_call(vm, ioat_map, t, iova, kiommu_gpa(vm->area, d->ring), 0,
			  IOAT_RW);
	ret = kiommu_refresh(fd, iova, KIOMMU_PAGE, NULL);
	return ret ? ret : open_again(d);
}

void zpci_disk_close(struct zpci_disk *d)
{
	/* After a failure, the next test must be able to use the function. */
	if (d->ring && virtio_blk_close(&d->blk) == -EIO)
		reset_error(d->vm, d->dev);
	d->ring = NULL;
}

int zpci_disk_read(struct zpci_disk *d, uint64_t iova, uint64_t sector,
		   uint32_t bytes)
{
	int ret = d->blk.pci.broken ? open_again(d) : 0;

	return ret ? ret : virtio_blk_read(&d->blk, iova, sector, bytes);
}

int zpci_disk_write(struct zpci_disk *d, uint64_t iova, uint64_t sector,
		    uint32_t bytes)
{
	int ret = d->blk.pci.broken ? open_again(d) : 0;

	return ret ? ret : virtio_blk_write(&d->blk, iova, sector, bytes);
}

int zpci_disk_rest(struct zpci_disk *d)
{
	return virtio_blk_close(&d->blk);
}

/*
 * The device may have been notified twice, and look at its queue for the second
 * time after the error is over. A reset keeps it from doing so.
 */
int zpci_refused(struct kiommu_vm *vm, const struct kiommu_device *dev,
		 struct virtio_pci *pci, int ret)
{
	if (ret != -EIO)
		return ret ? ret : -EPROTO;
	for (int i = 0; i < 4 && ret == -EIO; i++) {
		ret = reset_error(vm, dev);
		if (!ret)
			ret = virtio_pci_reset(pci);
	}
	return ret;
}

int zpci_disk_refused(struct zpci_disk *d, int ret)
{
	return zpci_refused(d->vm, d->dev, &d->blk.pci, ret);
}

int zpci_events_open(void)
{
	int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK);

	TEST_ASSERT(fd >= 0, "/dev/kmsg: %s", strerror(errno));
	lseek(fd, 0, SEEK_END);
	return fd;
}

int zpci_events_await(int events, const struct kiommu_device *dev)
{
	char record[1024], wanted[64];

	snprintf(wanted, sizeof(wanted), "zpci: %s: Event ", dev->bdf);
	for (int i = 0; i < 1000; i++) {
		ssize_t length = read(events, record, sizeof(record) - 1);
		const char *found;

		if (length <= 0) {
			usleep(10000);
			continue;
		}
		record[length] = 0;
		found = strstr(record, wanted);
		if (found)
			return strtol(found + strlen(wanted), NULL, 16);
	}
	return -ETIMEDOUT;
}

static int put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);
	int ret = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		ret = -errno;
	close(fd);
	return ret;
}

int zpci_recover(struct kiommu_device *dev)
{
	char path[128], target[256];
	ssize_t length;
	int ret;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/recover", dev->bdf);
	ret = put(path, "1");
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/driver_override",
		 dev->bdf);
	if (!ret)
		ret = put(path, "vfio-pci");
	if (!ret)
		ret = put("/sys/bus/pci/drivers_probe", dev->bdf);
	if (ret)
		return ret;
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/iommu_group", dev->bdf);
	length = readlink(path, target, sizeof(target) - 1);
	if (length < 0)
		return -errno;
	target[length] = 0;
	return sscanf(strrchr(target, '/') + 1, "%d", &dev->group_id) == 1 ? 0 : -EIO;
}
