// SPDX-License-Identifier: GPL-2.0-only
/* VFIO set-up and teardown, step by step. */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sys/mman.h>
#include <linux/pci_regs.h>

#include "kvm_util.h"

#include "host.h"
#include "ioctls.h"
#include "vfio.h"

static int group_of(const char *bdf)
{
	char path[128], target[256];
	ssize_t length;
	int id = -1;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/iommu_group", bdf);
	length = readlink(path, target, sizeof(target) - 1);
	TEST_ASSERT(length > 0, "%s has no IOMMU group", bdf);
	target[length] = 0;
	TEST_ASSERT(sscanf(strrchr(target, '/') + 1, "%d", &id) == 1,
		    "IOMMU group of %s: %s", bdf, target);
	return id;
}

static unsigned int list_devices(struct kiommu_device *dev)
{
	const char *list = getenv("KIOMMU_DEVICES");
	unsigned int count = 0;
	int used = 0;
	char bdf[16];

	while (list && count < KIOMMU_MAX_DEVICES &&
	       sscanf(list, "%15s%n", bdf, &used) == 1) {
		if (dev)
			memcpy(dev[count].bdf, bdf, sizeof(bdf));
		list += used;
		count++;
	}
	return count;
}

unsigned int kiommu_device_count(void)
{
	return list_devices(NULL);
}

void kiommu_container_open(struct kiommu_container *c)
{
	memset(c, 0, sizeof(*c));
	c->count = list_devices(c->dev);
	__TEST_REQUIRE(c->count, "no device in KIOMMU_DEVICES");
	for (unsigned int i = 0; i < c->count; i++) {
		c->dev[i].group_id = group_of(c->dev[i].bdf);
		c->dev[i].group = -1;
		c->dev[i].fd = -1;
		c->dev[i].container = -1;
		c->dev[i].guest = -1;
	}
	c->fd = open_path_or_exit("/dev/vfio/vfio", O_RDWR);
	TEST_ASSERT(ioctl(c->fd, VFIO_GET_API_VERSION) == VFIO_API_VERSION,
		    "unknown VFIO API");
}

void kiommu_container_close(struct kiommu_container *c)
{
	for (unsigned int i = 0; i < c->count; i++) {
		kiommu_device_close(&c->dev[i]);
		kiommu_group_close(&c->dev[i]);
	}
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
}

/* A group can be opened once; devices of one group share the file. */
int kiommu_group_open(struct kiommu_container *c, struct kiommu_device *dev)
{
	char path[64];

	for (unsigned int i = 0; i < c->count; i++) {
		const struct kiommu_device *other = &c->dev[i];

		if (other->group_id == dev->group_id && other->group >= 0) {
			dev->group = dup(other->group);
			return dev->group < 0 ? -errno : 0;
		}
	}
	snprintf(path, sizeof(path), "/dev/vfio/%d", dev->group_id);
	dev->group = open(path, O_RDWR);
	return dev->group < 0 ? -errno : 0;
}

int kiommu_group_attach(struct kiommu_container *c, struct kiommu_device *dev)
{
	int ret = kiommu_ioctl(dev->group, VFIO_GROUP_SET_CONTAINER, &c->fd);

	if (!ret)
		dev->container = c->fd;
	return ret;
}

int kiommu_group_detach(struct kiommu_device *dev)
{
	return kiommu_ioctl(dev->group, VFIO_GROUP_UNSET_CONTAINER, NULL);
}

void kiommu_group_close(struct kiommu_device *dev)
{
	if (dev->group >= 0)
		close(dev->group);
	dev->group = -1;
}

int kiommu_check_extension(int fd, unsigned long type)
{
	return kiommu_ioctl(fd, VFIO_CHECK_EXTENSION, (void *)type);
}

int kiommu_set_iommu(int fd, unsigned long type)
{
	return kiommu_ioctl(fd, VFIO_SET_IOMMU, (void *)type);
}

int kiommu_device_open(struct kiommu_device *dev)
{
	int ret = kiommu_ioctl(dev->group, VFIO_GROUP_GET_DEVICE_FD, dev->bdf);

	if (ret < 0)
		return ret;
	dev->fd = ret;
	return kiommu_device_opened(dev);
}

void kiommu_device_close(struct kiommu_device *dev)
{
	if (dev->bar)
		munmap(dev->bar, dev->bar_size);
	dev->bar = NULL;
	if (dev->fd >= 0)
		close(dev->fd);
	dev->fd = -1;
}

static struct vfio_region_info region_of(struct kiommu_device *dev, uint32_t index)
{
	struct vfio_region_info info = { .argsz = sizeof(info), .index = index };
	int ret = kiommu_ioctl(dev->fd, VFIO_DEVICE_GET_REGION_INFO, &info);

	TEST_ASSERT(!ret, "%s: region %u: %d", dev->bdf, index, ret);
	return info;
}

void kiommu_device_enable(struct kiommu_device *dev, int on)
{
	struct vfio_region_info config = region_of(dev, VFIO_PCI_CONFIG_REGION_INDEX);
	off_t at = config.offset + PCI_COMMAND;
	const uint16_t bits = PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
	uint16_t command;

	TEST_ASSERT(pread(dev->fd, &command, sizeof(command), at) == sizeof(command),
		    "%s: cannot read the PCI command register", dev->bdf);
	command = on ? command | htole16(bits) : command & ~htole16(bits);
	TEST_ASSERT(pwrite(dev->fd, &command, sizeof(command), at) == sizeof(command),
		    "%s: cannot write the PCI command register", dev->bdf);
}

void kiommu_device_map(struct kiommu_device *dev)
{
	struct vfio_region_info info;
	void *bar;

	if (!kiommu_host_has(KIOMMU_BARS))
		return;
	info = region_of(dev, VFIO_PCI_BAR0_REGION_INDEX);
	TEST_ASSERT(info.flags & VFIO_REGION_INFO_FLAG_MMAP,
		    "%s: BAR 0 cannot be mapped", dev->bdf);
	bar = mmap(NULL, info.size, PROT_READ | PROT_WRITE, MAP_SHARED, dev->fd,
		   info.offset);
	TEST_ASSERT(bar != MAP_FAILED, "%s: BAR 0: %s", dev->bdf, strerror(errno));
	dev->bar = bar;
	dev->bar_size = info.size;
}
