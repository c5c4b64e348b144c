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
#include <linux/uaccess.h>

#include <linux/kvm_iommu.h>

#include "front/hwpt.h"
#include "guest/providers.h"
#include "object/lock.h"
#include "object/object.h"

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

/* Also stores the status, because nobody may have the file without it. */
static int give_fault_fd(struct kiommu_object *object,
			 struct kvm_iommu_hwpt *cmd,
			 struct kvm_iommu_hwpt __user *answer)
{
	struct file *file;
	int ret, fd;

	ret = kiommu_fault_fd(object, 0, &fd, &file);
	if (ret)
		return ret;
	if (put_user(fd, &answer->fault_fd) ||
	    put_user(cmd->status, &answer->status)) {
		put_unused_fd(fd);
		fput(file);
		return -EFAULT;
	}
	fd_install(fd, file);
	return 0;
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

static struct kiommu_object *create(const struct kiommu_hwpt_place *place,
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
	int ret;

	ret = check(cmd);
	if (ret)
		return ERR_PTR(ret);
	object = create_for_kvm(place, &anchor, cmd);
	if (IS_ERR(object))
		return object;
	if (cmd->flags & KVM_IOMMU_HWPT_FAULT_FD)
		ret = give_fault_fd(object, cmd, answer);
	else if (put_user(cmd->status, &answer->status))
		ret = -EFAULT;
	if (!ret)
		return object;
	kiommu_hwpt_free(object);
	return ERR_PTR(ret);
}

static void *hwpt_alloc(struct iommufd_ctx *ictx, u32 ioas_id,
			struct device *dev,
			const struct iommu_user_data *user_data,
			struct iommu_domain **domain)
{
	const struct kiommu_hwpt_place place = { ictx, ioas_id, dev };
	struct kvm_iommu_hwpt __user *answer = user_data->uptr;
	struct kiommu_object *object;
	struct kvm_iommu_hwpt cmd;
	int ret;

	ret = kiommu_hwpt_copy(&cmd, sizeof(cmd), answer, user_data->len,
			       offsetofend(struct kvm_iommu_hwpt, __reserved));
	if (ret)
		return ERR_PTR(ret);
	object = create(&place, &cmd, answer);
	if (!IS_ERR(object)) {
		*domain = kiommu_hwpt_domain(object);
		return object;
	}
	if (!cmd.status)
		cmd.status = status_of(PTR_ERR(object));
	return put_user(cmd.status, &answer->status) ? ERR_PTR(-EFAULT) : object;
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
	int ret = 0;
	u32 i;

	array->entry_num = 0;
	if (array->type != IOMMU_HWPT_DATA_KVM_IOMMU)
		return -EINVAL;
	for (i = 0; i < count && !ret; i++) {
		ret = invalidate_one(data, array->uptr + (u64)i * array->entry_len,
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
	.free = kiommu_hwpt_free,
	.attach = kiommu_hwpt_attach,
	.invalidate = hwpt_invalidate,
};
