/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * VFIO, step by step: container, groups, IOMMU type, devices.
 *
 * The devices are those of the environment variable KIOMMU_DEVICES (PCI
 * addresses such as "0000:00:03.0 0000:00:04.0"), bound to vfio-pci already.
 *
 * Order of the steps: kiommu_container_open, kiommu_group_open,
 * kiommu_group_attach, kiommu_set_iommu, [kiommu_kvm_add_group],
 * kiommu_device_open, kiommu_device_enable, kiommu_device_map. VFIO passes the
 * KVM on when a device is opened, so the group must be added before that.
 * The steps can be undone in any order; kiommu_container_close() undoes what is
 * left. Functions that return int return 0 or -errno; the others assert.
 */
#ifndef KIOMMU_SELFTEST_VFIO_H
#define KIOMMU_SELFTEST_VFIO_H

#include <stdint.h>

#include <linux/vfio.h>

#define KIOMMU_MAX_DEVICES 8

struct kiommu_device {
	char bdf[16];		/* PCI address */
	int group_id;
	int group;		/* fd of /dev/vfio/<group_id>, or -1 */
	int fd;			/* fd of the device, or -1 */
	int container;		/* fd of the group's last container, or -1 */
	int guest;		/* kvm_vfio of kiommu_kvm_add_group(), or -1 */
	void *bar;		/* BAR 0, or NULL */
	uint64_t bar_size;	/* bytes */
};

struct kiommu_container {
	int fd;			/* of /dev/vfio/vfio, or -1 */
	unsigned int count;
	struct kiommu_device dev[KIOMMU_MAX_DEVICES];
};

/* How many devices KIOMMU_DEVICES lists. */
unsigned int kiommu_device_count(void);

/* Opens a container and lists its devices. Skips the test if there is none. */
void kiommu_container_open(struct kiommu_container *c);
void kiommu_container_close(struct kiommu_container *c);

int kiommu_group_open(struct kiommu_container *c, struct kiommu_device *dev);
int kiommu_group_attach(struct kiommu_container *c, struct kiommu_device *dev);
int kiommu_group_detach(struct kiommu_device *dev);
void kiommu_group_close(struct kiommu_device *dev);

/* @type: VFIO_KVM_IOMMU or VFIO_TYPE1v2_IOMMU. */
int kiommu_check_extension(int fd, unsigned long type);
int kiommu_set_iommu(int fd, unsigned long type);

int kiommu_device_open(struct kiommu_device *dev);
/* In guest_vm.c: registers the guest, unless KVM does so by itself. */
int kiommu_device_opened(struct kiommu_device *dev);
/* Unmaps BAR 0 too. Take it out of the guest first: kiommu_vm_del_bar(). */
void kiommu_device_close(struct kiommu_device *dev);
/* Memory space and bus master on (or off) in the PCI command register. */
void kiommu_device_enable(struct kiommu_device *dev, int on);
/* Maps BAR 0 into this process, where BARs can be mapped. */
void kiommu_device_map(struct kiommu_device *dev);

#endif
