/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Domains with a file of their own, and devices that are attached to them.
 */
#ifndef KIOMMU_SELFTEST_DOMAIN_H
#define KIOMMU_SELFTEST_DOMAIN_H

#include <linux/kvm_iommu.h>

/*
 * @kvm_fd: a guest that is registered at once, or -1. Return: a file descriptor,
 * or -errno.
 */
int kiommu_domain_create(int kvm_fd);
/* @cmd: the struct with its size set; it is left as the kernel returns it. */
int kiommu_domain_create_with(struct kvm_iommu_domain_create *cmd);

/*
 * @container: file descriptor of a VFIO container. @result: the struct as the
 * kernel left it, or NULL. Return: the device's number, or -errno.
 */
int kiommu_domain_attach(int fd, int container, struct kvm_iommu_attach *result);
/* Return: 0 or -errno. @status: set to the struct's, or NULL. */
int kiommu_domain_detach(int fd, uint32_t device, uint32_t *status);
void kiommu_domain_close(int fd);

/*
 * A thread for each of the domains @fds attaches @device_fd to its domain again and
 * again, and detaches it now and then. Return: 0, or the first -errno that cannot come
 * of the other threads.
 */
int kiommu_domains_compete(const int *fds, unsigned int count, int device_fd);

/*
 * The domain that a container was attached to by these functions, in this
 * process; @container itself if to none.
 */
int kiommu_domain_of(int container);

#endif
