// SPDX-License-Identifier: GPL-2.0-only
/*
 * Domains as HWPTs of an iommufd, see hwpt.h. Only for an iommufd with the patch of
 * kvm-iommu/patches/iommufd.
 *
 * An HWPT is a domain with one host, whose iommu_domain iommufd attaches to devices
 * as it likes. Its guest is the IOAS of the parent HWPT, and its anchor is set as
 * long as it lives.
 *
 * iommufd calls these functions with no lock of its own but, to attach, the group's
 * (iommufd_group.lock), inside VFIO's lock of the device set: D and P are taken
 * inside both. Whoever holds D or P of an HWPT reads tables and pins pages that
 * iommufd has pinned already, so he waits for no process. It makes sure that the
 * HWPT lives as long as a call on it, and that nothing is attached when it is freed.
 *
 * With a KVM the HWPT follows the stores of its guest. The HWPT holds the KVM, and
 * the KVM's device of type VFIO holds files of devices, which hold the iommufd; but
 * such a device lets go of them when its own file is closed, not with the KVM.
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
#include "guest/guest.h"
#include "guest/ioas_memory.h"
#include "guest/providers.h"
#include "object/groups.h"
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

/*
 * Copies a struct of a size that the caller chose, of which @least bytes were
 * published first.
 */
static int copy_struct(void *to, size_t size, const void __user *from, size_t length,
		       size_t least)
{
	if (length < least)
		return -EINVAL;
	/* Trailing bytes are checked to be zero: limit how many. */
	if (length > PAGE_SIZE)
		return -E2BIG;
	return copy_struct_from_user(to, size, from, length);
}

static void destroy(struct kiommu_object *object)
{
	struct kiommu_left left;

	kiommu_lock_exclusive(object);
	left = kiommu_object_stop(object);
	kiommu_groups_take_back(object);
	kiommu_unlock_exclusive(object);
	kiommu_object_leave(left);
	kiommu_object_release(object);
}

static void hwpt_free(void *data)
{
	destroy(data);
}

/* Context: kiommu_lock_exclusive(). Consumes @guest if it is started. */
static int anchor(struct kiommu_object *object, struct device *dev,
		  struct kiommu_guest *guest, struct kvm_iommu_hwpt *cmd)
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
	int ret;

	ret = kiommu_group_lend(object, dev);
	if (ret) {
		if (ret == -EINVAL)
			cmd->status = KVM_IOMMU_STATUS_UNSUITABLE;
		return ret;
	}
	ret = kiommu_object_start(object, guest);
	if (ret)
		return ret;
	return kiommu_core_register_ioat(object->domain, &anchor, &cmd->status);
}

/* The guest of the IOAS, and of the KVM if there is one. */
static struct kiommu_guest *get_guest(struct iommufd_ctx *ictx, u32 ioas_id,
				      int kvm_fd)
{
	struct kiommu_guest *guest = ERR_PTR(-EINVAL);
	struct file *file;
	const void *key;

	if (kvm_fd == -1)
		return kiommu_ioas_guest(ictx, ioas_id, NULL);
	file = fget(kvm_fd);
	if (!file)
		return ERR_PTR(-EBADF);
	/* The file holds what the key names. */
	key = kiommu_providers_key(file);
	if (key)
		guest = kiommu_ioas_guest(ictx, ioas_id, key);
	fput(file);
	return guest;
}

static int set_up(struct kiommu_object *object, struct iommufd_ctx *ictx,
		  u32 ioas_id, struct device *dev, struct kvm_iommu_hwpt *cmd)
{
	struct kiommu_guest *guest = get_guest(ictx, ioas_id, cmd->kvm_fd);
	bool started = false;
	int ret;

	if (IS_ERR(guest))
		return PTR_ERR(guest);
	ret = kiommu_lock_exclusive_killable(object);
	if (!ret) {
		ret = anchor(object, dev, guest, cmd);
		started = object->guest;
		kiommu_unlock_exclusive(object);
	}
	if (!started)
		kiommu_guest_put(guest);
	return ret;
}

/* Follows the stores of the KVM's guest, from what the tables map now on. */
static int follow(struct kiommu_object *object, struct kvm_iommu_hwpt *cmd)
{
	struct kvm_iommu_set_sync sync = { .mode = KVM_IOMMU_SYNC_TRACKED };
	int ret;

	if (cmd->kvm_fd == -1)
		return 0;
	ret = kiommu_set_sync(object, &sync);
	cmd->status = sync.status;
	return ret;
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

static struct kiommu_object *create(struct iommufd_ctx *ictx, u32 ioas_id,
				    struct device *dev,
				    struct kvm_iommu_hwpt *cmd,
				    struct kvm_iommu_hwpt __user *answer)
{
	struct kiommu_object *object;
	int ret;

	ret = check(cmd);
	if (ret)
		return ERR_PTR(ret);
	object = kiommu_object_create(false);
	if (IS_ERR(object))
		return object;
	ret = set_up(object, ictx, ioas_id, dev, cmd) ?: follow(object, cmd);
	if (!ret && cmd->flags & KVM_IOMMU_HWPT_FAULT_FD)
		ret = give_fault_fd(object, cmd, answer);
	else if (!ret && put_user(cmd->status, &answer->status))
		ret = -EFAULT;
	if (!ret)
		return object;
	destroy(object);
	return ERR_PTR(ret);
}

static void *hwpt_alloc(struct iommufd_ctx *ictx, u32 ioas_id,
			struct device *dev,
			const struct iommu_user_data *user_data,
			struct iommu_domain **domain)
{
	struct kvm_iommu_hwpt __user *answer = user_data->uptr;
	struct kiommu_object *object;
	struct kvm_iommu_hwpt cmd;
	int ret;

	ret = copy_struct(&cmd, sizeof(cmd), answer, user_data->len,
			  offsetofend(struct kvm_iommu_hwpt, __reserved));
	if (ret)
		return ERR_PTR(ret);
	object = create(ictx, ioas_id, dev, &cmd, answer);
	if (!IS_ERR(object)) {
		*domain = object->hosts.hosts[0]->domain;
		return object;
	}
	if (!cmd.status)
		cmd.status = status_of(PTR_ERR(object));
	return put_user(cmd.status, &answer->status) ? ERR_PTR(-EFAULT) : object;
}

static int hwpt_attach(void *data, struct device *dev)
{
	struct kiommu_object *object = data;
	int ret;

	ret = kiommu_lock_exclusive_killable(object);
	if (ret)
		return ret;
	ret = kiommu_group_lend(object, dev);
	kiommu_unlock_exclusive(object);
	return ret;
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

	ret = copy_struct(&entry, sizeof(entry), from, length, least);
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

static const struct iommufd_hwpt_provider provider = {
	.owner = THIS_MODULE,
	.data_type = IOMMU_HWPT_DATA_KVM_IOMMU,
	.alloc = hwpt_alloc,
	.free = hwpt_free,
	.attach = hwpt_attach,
	.invalidate = hwpt_invalidate,
};

int kiommu_hwpt_register(void)
{
	return iommufd_register_hwpt_provider(&provider);
}

void kiommu_hwpt_unregister(void)
{
	iommufd_unregister_hwpt_provider(&provider);
}
