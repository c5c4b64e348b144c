// SPDX-License-Identifier: GPL-2.0-only
/*
 * Attaching devices, see attach.h: which device a file descriptor stands for.
 */
#include <linux/err.h>
#include <linux/file.h>

#include <linux/kvm_iommu.h>

#include "front/attach.h"
#include "front/device_file.h"
#include "front/vfio_driver.h"
#include "object/member.h"

/* Returns NULL if the file is of another kind, or an ERR_PTR(). */
static struct kiommu_member *member_of_fd(int fd)
{
	struct kiommu_member *member;
	struct file *file;

	file = fget(fd);
	if (!file)
		return ERR_PTR(-EBADF);
	member = kiommu_container_of_file(file) ?: kiommu_device_of_file(file);
	fput(file);
	return member;
}

int kiommu_attach(struct kiommu_object *object, struct kvm_iommu_attach *cmd)
{
	struct kiommu_member *member;
	int ret;

	member = member_of_fd(cmd->device_fd);
	if (!member) {
		cmd->status = KVM_IOMMU_STATUS_FD_TYPE;
		return -EINVAL;
	}
	if (IS_ERR(member)) {
		ret = PTR_ERR(member);
	} else {
		ret = kiommu_member_attach(member, object, &cmd->device);
		kiommu_member_put(member);
	}
	switch (ret) {
	case -EINVAL:
		cmd->status = KVM_IOMMU_STATUS_UNSUITABLE;
		break;
	case -ENOTCONN:
		cmd->status = KVM_IOMMU_STATUS_NOT_BOUND;
		break;
	case -EPERM:
		cmd->status = KVM_IOMMU_STATUS_INTERRUPTS;
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

u64 kiommu_attach_features(void)
{
	return IS_ENABLED(CONFIG_VFIO_DEVICE_CDEV) ?
	       KVM_IOMMU_FEATURE_DEVICE_FILE : 0;
}
