// SPDX-License-Identifier: GPL-2.0-only
/* Domains with a file of their own. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "domain.h"
#include "ioctls.h"

int kiommu_domain_create_with(struct kvm_iommu_domain_create *cmd)
{
	int control = open("/dev/kvm_iommu", O_RDWR | O_CLOEXEC);
	int ret;

	if (control < 0)
		return -errno;
	ret = kiommu_ioctl(control, KVM_IOMMU_DOMAIN_CREATE, cmd);
	close(control);
	return ret;
}

int kiommu_domain_create(int kvm_fd)
{
	struct kvm_iommu_domain_create cmd = {
		.size = sizeof(cmd),
		.kvm_fd = kvm_fd,
	};

	return kiommu_domain_create_with(&cmd) ?: cmd.fd;
}

int kiommu_domain_attach(int fd, int container, struct kvm_iommu_attach *result)
{
	struct kvm_iommu_attach cmd = {
		.size = sizeof(cmd),
		.device_fd = container,
	};
	int ret = kiommu_ioctl(fd, KVM_IOMMU_ATTACH, &cmd);

	if (result)
		*result = cmd;
	return ret ?: (int)cmd.device;
}

int kiommu_domain_detach(int fd, uint32_t device, uint32_t *status)
{
	struct kvm_iommu_detach cmd = {
		.size = sizeof(cmd),
		.device = device,
	};
	int ret = kiommu_ioctl(fd, KVM_IOMMU_DETACH, &cmd);

	if (status)
		*status = cmd.status;
	return ret;
}
