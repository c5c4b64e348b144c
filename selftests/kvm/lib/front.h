/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The front that tests use domains through: a VFIO container, or a file of the
 * domain (KIOMMU_FRONT=file, see selftests/vm/init), or that and files of devices
 * instead of containers (cdev, see cdev.h). An HWPT of an iommufd has no file that
 * could answer what the tests ask of a domain: hwpt is cdev on a kernel that has
 * them, and their tests use hwpt.h.
 *
 * Tests know containers only. With files, the library creates a domain for each
 * container that gets the type VFIO_KVM_IOMMU, attaches the container to it, and
 * sends it the requests that the container's driver would get. The domain is
 * closed together with the container. Nobody registers the guest of a device
 * there, nor ends that, so the library does, when devices are opened for a guest
 * and when kiommu_close_devices() has closed them.
 *
 * A test of what only containers do is skipped with the reason:
 *
 *	if (kiommu_front_lacks(KIOMMU_CONTAINER_RULES))
 *		SKIP(return, "%s", kiommu_front_lacks(KIOMMU_CONTAINER_RULES));
 */
#ifndef KIOMMU_SELFTEST_FRONT_H
#define KIOMMU_SELFTEST_FRONT_H

#include <stdbool.h>

struct kiommu_device;

enum kiommu_front_property {
	/*
	 * A domain has the life of its container: it holds the module once,
	 * lasts as long as the groups do, and has a guest only while a device
	 * is open, which may bring it (KVM_DEV_VFIO_FILE_ADD).
	 */
	KIOMMU_CONTAINER_RULES,
	/* Containers have no other domain than their own. */
	KIOMMU_AT_HOME,
	/* What a test does with groups and containers are single calls of VFIO. */
	KIOMMU_GROUPS,
};

/* Return: NULL if the front has the property, else why not. */
const char *kiommu_front_lacks(enum kiommu_front_property property);

/* Domains have a file; also true if the front is cdev. */
bool kiommu_front_is_file(void);
bool kiommu_front_is_cdev(void);
/* The kernel is one whose iommufd takes providers of HWPTs. */
bool kiommu_front_has_hwpt(void);

/* References to the module that so many containers hold, with their domains. */
long kiommu_front_refs(unsigned int containers);

/*
 * Return: the file that takes the requests of a container: that of its domain,
 * or its own. For tests that hand it to a process that the library does not know
 * of.
 */
int kiommu_front_fd(int container);

/* For ioctls.c: the file that takes @request, issued on @fd. */
int kiommu_front_of(int fd, unsigned long request);
/*
 * For ioctls.c: whether the library does what a request asks for; if so, @ret is set
 * to what the ioctl returns, or -errno.
 */
bool kiommu_front_takes(int fd, unsigned long request, void *arg, int *ret);

/* For guest_vm.c: @kvm_vfio stands for the guest of the file @vm_fd. */
void kiommu_front_note_guest(int kvm_vfio, int vm_fd);
/* A device was opened, its domain gets its guest. Return: 0 or -errno. */
int kiommu_front_start(const struct kiommu_device *dev);
/* All devices of its domain were closed, the guest leaves. */
void kiommu_front_stop(const struct kiommu_device *dev);

/* The linker puts these in place of close(). */
int __real_close(int fd);
int __wrap_close(int fd);

#endif
