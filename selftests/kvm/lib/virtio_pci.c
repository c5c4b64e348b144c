// SPDX-License-Identifier: GPL-2.0-only
/*
 * Driver of modern virtio-pci devices over VFIO. Everything that is shared with
 * the device is little-endian, whatever the CPU is.
 */
#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <sys/ioctl.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>
#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>
#include <linux/virtio_ring.h>

#include "virtio_pci.h"

#define VENDOR 0x1af4
#define FIRST_MODERN_ID 0x1040
/* Read where no device answers. */
#define ALL_ONES 0xff
#define NEEDED (1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_F_ACCESS_PLATFORM)
/* Longer than the slowest emulator takes for a request. */
#define TIMEOUT_MS 30000
#define POLLS_AT_ONCE 64

/* The queue in its page, aligned as 2.7 wants it. */
#define AVAIL_AT 1024
#define USED_AT 1280
static_assert(VIRTIO_PCI_MAX_SEGMENTS * sizeof(struct vring_desc) <= AVAIL_AT,
	      "descriptors");
static_assert(AVAIL_AT + 6 + 2 * VIRTIO_PCI_MAX_SEGMENTS <= USED_AT, "avail");
static_assert(USED_AT + 6 + 8 * VIRTIO_PCI_MAX_SEGMENTS <= VIRTIO_PCI_DRIVER_AREA,
	      "used");

#define COMMON(_field) offsetof(struct virtio_pci_common_cfg, _field)

static int get(int fd, off_t at, void *to, size_t bytes)
{
	return pread(fd, to, bytes, at) == (ssize_t)bytes ? 0 : -EIO;
}

static int put(int fd, off_t at, const void *from, size_t bytes)
{
	return pwrite(fd, from, bytes, at) == (ssize_t)bytes ? 0 : -EIO;
}

static int get16(int fd, off_t at, uint16_t *value)
{
	int ret = get(fd, at, value, sizeof(*value));

	*value = le16toh(*value);
	return ret;
}

static int get32(int fd, off_t at, uint32_t *value)
{
	int ret = get(fd, at, value, sizeof(*value));

	*value = le32toh(*value);
	return ret;
}

static int put8(int fd, off_t at, uint8_t value)
{
	return put(fd, at, &value, sizeof(value));
}

static int put16(int fd, off_t at, uint16_t value)
{
	value = htole16(value);
	return put(fd, at, &value, sizeof(value));
}

static int put32(int fd, off_t at, uint32_t value)
{
	value = htole32(value);
	return put(fd, at, &value, sizeof(value));
}

/* Registers of 64 bits are written in halves (4.1.3.1). */
static int put64(int fd, off_t at, uint64_t value)
{
	int ret = put32(fd, at, (uint32_t)value);

	return ret ? ret : put32(fd, at + 4, value >> 32);
}

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000ull + now.tv_nsec / 1000000;
}

static int region(int fd, uint32_t index, struct vfio_region_info *info)
{
	*info = (struct vfio_region_info){ .argsz = sizeof(*info), .index = index };
	return ioctl(fd, VFIO_DEVICE_GET_REGION_INFO, info) ? -errno : 0;
}

int virtio_pci_status(const struct virtio_pci *v)
{
	uint8_t status;

	if (get(v->fd, v->common + COMMON(device_status), &status, 1) ||
	    status == ALL_ONES)
		return -EIO;
	return status;
}

static int set_status(struct virtio_pci *v, uint8_t bits)
{
	return put8(v->fd, v->common + COMMON(device_status), bits);
}

int virtio_pci_config(const struct virtio_pci *v, unsigned int offset, void *to,
		      unsigned int bytes)
{
	return v->device ? get(v->fd, v->device + offset, to, bytes) : -ENODEV;
}

int virtio_pci_reset(struct virtio_pci *v)
{
	uint64_t end = now_ms() + TIMEOUT_MS;
	int status = set_status(v, 0);

	v->broken = true;
	if (status)
		return status;
	while ((status = virtio_pci_status(v)) > 0) {
		if (now_ms() > end)
			return -ETIMEDOUT;
		usleep(100);
	}
	return status;
}

/*
 * One of the device's capabilities (4.1.4), which locates a structure in a BAR.
 */
static int add_structure(struct virtio_pci *v, off_t config, uint8_t at,
			 uint32_t *multiplier)
{
	struct virtio_pci_cap cap;
	struct vfio_region_info bar;
	off_t place;
	int ret = get(v->fd, config + at, &cap, sizeof(cap));

	if (ret)
		return ret;
	if (cap.bar >= PCI_STD_NUM_BARS)
		return 0;
	ret = region(v->fd, VFIO_PCI_BAR0_REGION_INDEX + cap.bar, &bar);
	if (ret || !bar.size)
		return ret;
	place = bar.offset + le32toh(cap.offset);
	switch (cap.cfg_type) {
	case VIRTIO_PCI_CAP_COMMON_CFG:
		v->common = place;
		break;
	case VIRTIO_PCI_CAP_NOTIFY_CFG:
		v->notify = place;
		return get32(v->fd, config + at + sizeof(cap), multiplier);
	case VIRTIO_PCI_CAP_DEVICE_CFG:
		v->device = place;
		break;
	}
	return 0;
}

static int find_structures(struct virtio_pci *v, off_t config, uint32_t *multiplier)
{
	uint8_t at, id;
	int ret = get(v->fd, config + PCI_CAPABILITY_LIST, &at, 1);

	/* A list can have no more entries than fit. */
	for (unsigned int i = 0; !ret && at >= 0x40 && i < 48; i++) {
		ret = get(v->fd, config + at, &id, 1);
		if (!ret && id == PCI_CAP_ID_VNDR)
			ret = add_structure(v, config, at, multiplier);
		if (!ret)
			ret = get(v->fd, config + at + PCI_CAP_LIST_NEXT, &at, 1);
	}
	if (ret)
		return ret;
	return v->common && v->notify ? 0 : -ENODEV;
}

static int identify(struct virtio_pci *v, uint32_t id, uint32_t *multiplier)
{
	struct vfio_region_info config;
	uint16_t vendor, device;
	int ret = region(v->fd, VFIO_PCI_CONFIG_REGION_INDEX, &config);

	if (!ret)
		ret = get16(v->fd, config.offset + PCI_VENDOR_ID, &vendor);
	if (!ret)
		ret = get16(v->fd, config.offset + PCI_DEVICE_ID, &device);
	if (ret)
		return ret;
	if (vendor == 0xffff)
		return -EIO;
	if (vendor != VENDOR || device != FIRST_MODERN_ID + id)
		return -ENODEV;
	return find_structures(v, config.offset, multiplier);
}

static int negotiate(struct virtio_pci *v, uint64_t wanted)
{
	uint64_t offered = 0;
	int ret = 0;

	for (unsigned int half = 0; !ret && half < 2; half++) {
		uint32_t bits = 0;

		ret = put32(v->fd, v->common + COMMON(device_feature_select), half);
		if (!ret)
			ret = get32(v->fd, v->common + COMMON(device_feature), &bits);
		offered |= (uint64_t)bits << 32 * half;
	}
	if (ret)
		return ret;
	if ((offered & NEEDED) != NEEDED)
		return -EOPNOTSUPP;
	v->features = (offered & wanted) | NEEDED;
	for (unsigned int half = 0; !ret && half < 2; half++) {
		ret = put32(v->fd, v->common + COMMON(guest_feature_select), half);
		if (!ret)
			ret = put32(v->fd, v->common + COMMON(guest_feature),
				    v->features >> 32 * half);
	}
	return ret;
}

static int set_up_queue(struct virtio_pci *v, uint32_t multiplier)
{
	const off_t at = v->common;
	uint16_t size, notify;
	int ret = put16(v->fd, at + COMMON(queue_select), 0);

	if (!ret)
		ret = get16(v->fd, at + COMMON(queue_size), &size);
	if (!ret)
		ret = get16(v->fd, at + COMMON(queue_notify_off), &notify);
	if (ret)
		return ret;
	if (!size)
		return -ENODEV;
	v->size = size < VIRTIO_PCI_MAX_SEGMENTS ? size : VIRTIO_PCI_MAX_SEGMENTS;
	v->notify += (off_t)notify * multiplier;

	memset(v->memory, 0, VIRTIO_PCI_MEMORY);
	v->desc = (struct vring_desc *)v->memory;
	v->avail = (struct vring_avail *)(v->memory + AVAIL_AT);
	v->used = (struct vring_used *)(v->memory + USED_AT);
	v->avail->flags = htole16(VRING_AVAIL_F_NO_INTERRUPT);
	v->last_used = 0;

	ret = put16(v->fd, at + COMMON(queue_size), v->size);
	if (!ret)
		ret = put64(v->fd, at + COMMON(queue_desc_lo), v->iova);
	if (!ret)
		ret = put64(v->fd, at + COMMON(queue_avail_lo), v->iova + AVAIL_AT);
	if (!ret)
		ret = put64(v->fd, at + COMMON(queue_used_lo), v->iova + USED_AT);
	if (!ret)
		ret = put16(v->fd, at + COMMON(queue_enable), 1);
	return ret;
}

int virtio_pci_open(struct virtio_pci *v, int fd, uint32_t id, uint64_t features,
		    void *memory, uint64_t iova)
{
	const uint8_t begin = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER;
	uint32_t multiplier = 0;
	int ret, status;

	*v = (struct virtio_pci){
		.fd = fd, .memory = memory, .iova = iova, .broken = true,
	};
	ret = identify(v, id, &multiplier);
	if (!ret)
		ret = virtio_pci_reset(v);
	if (!ret)
		ret = set_status(v, begin);
	if (!ret)
		ret = negotiate(v, features);
	if (!ret)
		ret = set_status(v, begin | VIRTIO_CONFIG_S_FEATURES_OK);
	if (ret)
		return ret;
	status = virtio_pci_status(v);
	if (status < 0)
		return status;
	if (!(status & VIRTIO_CONFIG_S_FEATURES_OK))
		return -EOPNOTSUPP;
	ret = set_up_queue(v, multiplier);
	if (!ret)
		ret = set_status(v, begin | VIRTIO_CONFIG_S_FEATURES_OK |
				 VIRTIO_CONFIG_S_DRIVER_OK);
	v->broken = ret;
	return ret;
}

static uint16_t used_index(const struct virtio_pci *v)
{
	return le16toh(__atomic_load_n(&v->used->idx, __ATOMIC_ACQUIRE));
}

/* Waits until the device has used one more chain of descriptors. */
static int wait_used(struct virtio_pci *v)
{
	uint64_t end = now_ms() + TIMEOUT_MS;

	for (;;) {
		int status;

		for (unsigned int i = 0; i < POLLS_AT_ONCE; i++)
			if (used_index(v) != v->last_used)
				return 0;
		status = virtio_pci_status(v);
		if (status < 0)
			return status;
		if (status & VIRTIO_CONFIG_S_NEEDS_RESET)
			return -EIO;
		if (now_ms() > end)
			return -ETIMEDOUT;
		usleep(100);
	}
}

int virtio_pci_request(struct virtio_pci *v, const struct virtio_segment *segment,
		       unsigned int count, uint32_t *written)
{
	uint16_t avail;
	int ret;

	if (v->broken)
		return -EIO;
	if (!count || count > v->size)
		return -EINVAL;
	for (unsigned int i = 0; i < count; i++) {
		uint16_t flags = segment[i].to_memory ? VRING_DESC_F_WRITE : 0;

		if (i + 1 < count)
			flags |= VRING_DESC_F_NEXT;
		v->desc[i] = (struct vring_desc){
			.addr = htole64(segment[i].iova),
			.len = htole32(segment[i].bytes),
			.flags = htole16(flags),
			.next = htole16(i + 1),
		};
	}
	avail = le16toh(v->avail->idx);
	v->avail->ring[avail % v->size] = htole16(0);
	__atomic_store_n(&v->avail->idx, htole16(avail + 1), __ATOMIC_RELEASE);
	/* The device must see the request before it is notified. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	ret = put16(v->fd, v->notify, 0);
	if (!ret)
		ret = wait_used(v);
	if (ret) {
		v->broken = true;
		return ret;
	}
	if (written)
		*written = le32toh(v->used->ring[v->last_used % v->size].len);
	v->last_used++;
	return 0;
}
