// SPDX-License-Identifier: GPL-2.0-only
/*
 * Attaching devices, see attach.h: which device a file descriptor stands for.
 */
#include <linux/file.h>

#include <linux/kvm_iommu.h>

#include "front/attach.h"
#include "front/vfio_driver.h"
#include "object/member.h"

int kiommu_attach(struct kiommu_object *object, struct kvm_iommu_attach *cmd)
{
	struct kiommu_member *member;
	struct file *file;
	int ret;

	file = fget(cmd->device_fd);
	if (!file)
		return -EBADF;
	member = kiommu_container_of_file(file);
	fput(file);
	if (!member) {
		cmd->status = KVM_IOMMU_STATUS_FD_TYPE;
		return -EINVAL;
	}
	ret = kiommu_member_attach(member, object, &cmd->device);
	kiommu_member_put(member);
	switch (ret) {
	case -EINVAL:
		cmd->status = KVM_IOMMU_STATUS_UNSUITABLE;
		break;
	case -EEXIST:
		cmd->status = KVM_IOMMU_STATUS_EXISTS;
		break;
	case -ENODEV:
		/* From the IOMMU driver; of no KVM. */
		cmd->status = KVM_IOMMU_STATUS_OTHER;
	}
	return ret;
}

int kiommu_detach(struct kiommu_object *object, struct kvm_iommu_detach *cmd)
{
	int ret = kiommu_member_detach(object, cmd->device);

	if (ret == -ENOENT)
		cmd->status = KVM_IOMMU_STATUS_NOT_ATTACHED;
	return ret;
}
