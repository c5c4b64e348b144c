// SPDX-License-Identifier: GPL-2.0-only
/*
 * HWPTs of our own data type, IOMMU_HWPT_DATA_KVM_IOMMU: see linux/kvm_iommu_hwpt.h.
 */
#include <linux/err.h>
#include <linux/file.h>
#include <linux/iommu.h>
#include <linux/iommufd_provider.h>
#include <linux/module.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include <linux/kvm_iommu.h>

#include "front/hwpt.h"
#include "guest/providers.h"
#include "object/lock.h"
#include "object/object.h"

/**
 * struct hwpt - what iommufd keeps
 * @object: the domain.
 * @faults: its file of faults, until it is installed; or NULL.
 * @fault_fd: reserved for @faults, in the process that allocates.
 */
struct hwpt {
	struct kiommu_object *object;
	struct file *faults;
	int fault_fd;
};

/* The status of a failure that only the errno explains. */
static u32 status_of(int error)
{
	switch (error) {
	case 0:
		return KVM_IOMMU_STATUS_OK;
	case -ENOMEM:
		return KVM_IOMMU_STATUS_NO_MEMORY;
	case -EINTR:
		return KVM_IOMMU_STATUS_INTERRUPTED;
	case -EBUSY:
		return KVM_IOMMU_STATUS_BUSY;
	case -EFAULT:
		return KVM_IOMMU_STATUS_BAD_ADDRESS;
	default:
		return KVM_IOMMU_STATUS_OTHER;
	}
}

static int open_faults(struct hwpt *hwpt, struct kvm_iommu_hwpt __user *answer)
{
	struct file *file;
	int ret;

	ret = kiommu_fault_fd(hwpt->object, 0, &hwpt->fault_fd, &file);
	if (ret)
		return ret;
	hwpt->faults = file;
	return put_user(hwpt->fault_fd, &answer->fault_fd) ? -EFAULT : 0;
}

/* User space gets the file with the HWPT, or neither. */
static void hwpt_finish(void *data)
{
	struct hwpt *hwpt = data;

	if (hwpt->faults)
		fd_install(hwpt->fault_fd, hwpt->faults);
	hwpt->faults = NULL;
}

static void hwpt_free(void *data)
{
	struct hwpt *hwpt = data;

	if (hwpt->faults) {
		put_unused_fd(hwpt->fault_fd);
		fput(hwpt->faults);
	}
	kiommu_hwpt_free(hwpt->object);
	kfree(hwpt);
}

static int hwpt_attach(void *data, struct device *dev)
{
	const struct hwpt *hwpt = data;

	return kiommu_hwpt_attach(hwpt->object, dev);
}

static int check(struct kvm_iommu_hwpt *cmd)
{
	cmd->status = KVM_IOMMU_STATUS_OK;
	if (cmd->flags & ~KVM_IOMMU_HWPT_FAULT_FD)
		cmd->status = KVM_IOMMU_STATUS_FLAGS;
	else if (cmd->__reserved)
		cmd->status = KVM_IOMMU_STATUS_FIELD;
	return cmd->status ? -EOPNOTSUPP : 0;
}

/* Of the guest that the KVM has, if there is one. */
static struct kiommu_object *
create_for_kvm(const struct kiommu_hwpt_place *place,
	       const struct kiommu_anchor *anchor, struct kvm_iommu_hwpt *cmd)
{
	struct kiommu_object *object = ERR_PTR(-EINVAL);
	struct file *file;
	const void *key;

	if (cmd->kvm_fd == -1)
		return kiommu_hwpt_create(place, NULL, anchor, &cmd->status);
	file = fget(cmd->kvm_fd);
	if (!file)
		return ERR_PTR(-EBADF);
	/* The file holds what the key names. */
	key = kiommu_providers_key(file);
	if (key)
		object = kiommu_hwpt_create(place, key, anchor, &cmd->status);
	fput(file);
	return object;
}

static struct hwpt *create(const struct kiommu_hwpt_place *place,
			   struct kvm_iommu_hwpt *cmd,
			   struct kvm_iommu_hwpt __user *answer)
{
	const struct kiommu_anchor anchor = {
		.format = cmd->format,
		.levels = cmd->levels,
		.iota = cmd->iota,
		.offset = cmd->offset,
		.first = cmd->first,
		.last = cmd->last,
		.rights = cmd->rights,
	};
	struct kiommu_object *object;
	struct hwpt *hwpt;
	int ret;

	ret = check(cmd);
	if (ret)
		return ERR_PTR(ret);
	hwpt = kzalloc(sizeof(*hwpt), GFP_KERNEL_ACCOUNT);
	if (!hwpt)
		return ERR_PTR(-ENOMEM);
	object = create_for_kvm(place, &anchor, cmd);
	if (IS_ERR(object)) {
		kfree(hwpt);
		return ERR_CAST(object);
	}
	hwpt->object = object;
	if (cmd->flags & KVM_IOMMU_HWPT_FAULT_FD)
		ret = open_faults(hwpt, answer);
	if (!ret && put_user(cmd->status, &answer->status))
		ret = -EFAULT;
	if (!ret)
		return hwpt;
	hwpt_free(hwpt);
	return ERR_PTR(ret);
}

static void *hwpt_alloc(struct iommufd_ctx *ictx, u32 ioas_id,
			struct device *dev,
			const struct iommu_user_data *user_data,
			struct iommu_domain **domain)
{
	const struct kiommu_hwpt_place place = { ictx, ioas_id, dev };
	struct kvm_iommu_hwpt __user *answer = user_data->uptr;
	struct kvm_iommu_hwpt cmd;
	struct hwpt *hwpt;
	int ret;

	ret = kiommu_hwpt_copy(&cmd, sizeof(cmd), answer, user_data->len,
			       offsetofend(struct kvm_iommu_hwpt, __reserved));
	if (ret)
		return ERR_PTR(ret);
	hwpt = create(&place, &cmd, answer);
	if (!IS_ERR(hwpt)) {
		*domain = kiommu_hwpt_domain(hwpt->object);
		return hwpt;
	}
	if (!cmd.status)
		cmd.status = status_of(PTR_ERR(hwpt));
	return put_user(cmd.status, &answer->status) ? ERR_PTR(-EFAULT) : hwpt;
}

/* A range can be as long as the caller likes: goes on until he is killed. */
static int refresh(struct kiommu_object *object,
		   struct kvm_iommu_hwpt_invalidate *entry)
{
	u64 iova = entry->iova, length = entry->length;
	int ret;

	do {
		struct kiommu_refresh_result result = {};

		ret = fatal_signal_pending(current) ? -EINTR :
		      kiommu_lock_shared(object);
		if (ret) {
			entry->stopped_iova = iova;
			entry->status = status_of(ret);
			return ret;
		}
		ret = kiommu_core_refresh(object->domain, iova, length, &result);
		kiommu_unlock_shared(object);
		entry->stopped_iova = result.stopped_iova;
		entry->status = result.status;
		if (ret == -EAGAIN) {
			length -= result.stopped_iova - iova;
			iova = result.stopped_iova;
			cond_resched();
		}
	} while (ret == -EAGAIN);
	return ret;
}

static int invalidate_one(struct kiommu_object *object, void __user *from,
			  u32 length)
{
	const size_t least = offsetofend(struct kvm_iommu_hwpt_invalidate,
					 length);
	const size_t answers = offsetof(struct kvm_iommu_hwpt_invalidate,
					stopped_iova);
	struct kvm_iommu_hwpt_invalidate entry;
	u32 size = min_t(u32, length, sizeof(entry));
	int ret;

	ret = kiommu_hwpt_copy(&entry, sizeof(entry), from, length, least);
	if (ret)
		return ret;
	if (entry.__reserved) {
		entry.stopped_iova = entry.iova;
		entry.status = KVM_IOMMU_STATUS_FIELD;
		ret = -EOPNOTSUPP;
	} else {
		ret = refresh(object, &entry);
	}
	if (size > answers &&
	    copy_to_user(from + answers, (u8 *)&entry + answers, size - answers))
		return ret ?: -EFAULT;
	return ret;
}

static int hwpt_invalidate(void *data, struct iommu_user_data_array *array)
{
	const u32 count = array->entry_num;
	struct hwpt *hwpt = data;
	int ret = 0;
	u32 i;

	array->entry_num = 0;
	if (array->type != IOMMU_HWPT_DATA_KVM_IOMMU)
		return -EINVAL;
	for (i = 0; i < count && !ret; i++) {
		ret = invalidate_one(hwpt->object, array->uptr + (u64)i * array->entry_len,
				     array->entry_len);
		if (!ret)
			array->entry_num++;
		cond_resched();
	}
	return ret;
}

const struct iommufd_hwpt_provider kiommu_hwpt_kvm_iommu = {
	.owner = THIS_MODULE,
	.data_type = IOMMU_HWPT_DATA_KVM_IOMMU,
	.alloc = hwpt_alloc,
	.finish = hwpt_finish,
	.free = hwpt_free,
	.attach = hwpt_attach,
	.invalidate = hwpt_invalidate,
};
