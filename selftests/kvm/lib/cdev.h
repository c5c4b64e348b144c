/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Device files of VFIO (/dev/vfio/devices) in the place of groups, for front.c.
 *
 * A test has the file of a group, which it adds to a container. When that gets the
 * type VFIO_KVM_IOMMU, the group's file descriptor is made to refer to the file of
 * the group's device, which is bound to an iommufd and attached to the domain. When
 * the group is to leave the container, the descriptor refers to the group again.
 */
#ifndef KIOMMU_SELFTEST_CDEV_H
#define KIOMMU_SELFTEST_CDEV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Opens the file of a device of a group. Return: fd or -errno. */
int kiommu_cdev_open(int group_id);
/* Binds it to an iommufd of this process. Return: 0 or -errno. */
int kiommu_cdev_bind(int fd);
/* Attaches it to a new IOAS. Return: 0 or -errno. */
int kiommu_cdev_attach_ioas(int fd);
int kiommu_cdev_detach_ioas(int fd);
/* Closes the iommufd; devices stay bound to it until they are closed. */
void kiommu_cdev_close_iommufd(void);

/* Whether the kernel has such files. */
bool kiommu_cdev_possible(void);

/*
 * The requests of groups; @domain is the container's, or -1 if it has none yet.
 * Return: as the ioctl, or -errno.
 */
int kiommu_cdev_set_container(int group, int container, int domain);
int kiommu_cdev_unset_container(int group);
int kiommu_cdev_get_device(int group, const char *name);

/*
 * Attaches the groups that were added to a container to its domain. Return: 0; or
 * -errno, and they are groups again.
 */
int kiommu_cdev_enter(int container, int domain);

/* The file is about to be closed; with all files of a group, it leaves its container. */
void kiommu_cdev_forget(int fd);

#endif
