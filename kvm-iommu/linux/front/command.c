// SPDX-License-Identifier: GPL-2.0-only
/*
 * The module's own ioctls, see command.h. All checks of a struct itself are done
 * in one place, here.
 */
#include <linux/file.h>
#include <linux/kernel.h>
#include <linux/nospec.h>
#include <linux/uaccess.h>

#include "front/command.h"
#include "object/devices.h"
#include "object/object.h"

/* The status of a failure that only the errno explains. */
static u32 status_of(int error)
{
	switch (error) {
	case -ENODEV:
		return KVM_IOMMU_STATUS_NO_KVM;
	case -ENXIO:
		return KVM_IOMMU_STATUS_NO_ANCHOR;
	case -EPERM:
		return KVM_IOMMU_STATUS_PROCESS;
	case -EBADF:
		return KVM_IOMMU_STATUS_NO_FD;
	case -EBUSY:
		return KVM_IOMMU_STATUS_BUSY;
	case -ENOMEM:
		return KVM_IOMMU_STATUS_NO_MEMORY;
	case -EINTR:
		return KVM_IOMMU_STATUS_INTERRUPTED;
	case -ESTALE:
		return KVM_IOMMU_STATUS_RELEASED;
	case -EFAULT:
		return KVM_IOMMU_STATUS_BAD_ADDRESS;
	default:
		return KVM_IOMMU_STATUS_OTHER;
	}
}

/* Returns the field of @ucmd at @offset, within the size of its op. */
static u32 *field(union kiommu_ucmd *ucmd, u32 offset)
{
	return (u32 *)((u8 *)ucmd + offset);
}

static int execute(struct kiommu_object *object,
		   const struct kiommu_op *op, union kiommu_ucmd *ucmd)
{
	int ret;

	if (op->bare)
		return op->execute(NULL, ucmd);
	if (!object)
		return -ESTALE;
	ret = kiommu_devices_catch_up(object);
	if (ret)
		return ret;
	if (!op->locking)
		return op->execute(object, ucmd);
	ret = op->locking->lock(object);
	if (ret)
		return ret;
	ret = op->execute(object, ucmd);
	op->locking->unlock(object);
	return ret;
}

/* Checks what is common to all structs. Return: a status, or 0. */
static u32 check_struct(const struct kiommu_op *op, union kiommu_ucmd *ucmd)
{
	if (ucmd->head.flags & ~op->flags)
		return KVM_IOMMU_STATUS_FLAGS;
	if (op->reserved && *field(ucmd, op->reserved))
		return KVM_IOMMU_STATUS_FIELD;
	return KVM_IOMMU_STATUS_OK;
}

/*
 * Checks the struct and executes the ioctl; sets the status, if there is one.
 */
static int answer(struct kiommu_object *object,
		  const struct kiommu_op *op, union kiommu_ucmd *ucmd)
{
	u32 *status = op->status ? field(ucmd, op->status) : NULL;
	u32 wrong = check_struct(op, ucmd);
	int ret;

	if (status)
		*status = wrong;
	ret = wrong ? -EOPNOTSUPP : execute(object, op, ucmd);
	if (status && ret && !*status)
		*status = status_of(ret);
	return ret;
}

static bool must_reply(const struct kiommu_op *op, int ret)
{
	switch (op->reply) {
	case REPLY_NEVER:
		return false;
	case REPLY_ON_SUCCESS:
		return !ret;
	case REPLY_ALWAYS:
		return true;
	}
	return false;
}

/*
 * A call whose answer could not be stored must change nothing. The struct spans
 * two pages at most, so writing back its first and its last byte probes all of
 * it.
 */
static bool can_reply(void __user *argp, const union kiommu_ucmd *ucmd,
		      u32 size)
{
	const u8 *from = (const u8 *)ucmd;
	u8 __user *to = argp;

	static_assert(sizeof(*ucmd) <= PAGE_SIZE);
	return !put_user(from[0], to) && !put_user(from[size - 1], to + size - 1);
}

static const struct kiommu_op *find_op(const struct kiommu_op *ops,
				       unsigned int count,
				       const struct kiommu_object *object,
				       unsigned int cmd)
{
	unsigned int i;

	for (i = 0; i < count; i++)
		if (ops[i].cmd == cmd)
			break;
	if (i == count)
		return NULL;
	ops += array_index_nospec(i, count);
	if (ops->of_file && (!object || object->of_container))
		return NULL;
	return ops;
}

long kiommu_command(const struct kiommu_op *ops, unsigned int count,
		    struct kiommu_object *object, unsigned int cmd,
		    unsigned long arg)
{
	const struct kiommu_op *op = find_op(ops, count, object, cmd);
	void __user *argp = (void __user *)arg;
	union kiommu_ucmd ucmd; /* op->size bytes are set below */
	bool stored;
	u32 size;
	int ret;

	if (!op)
		return -ENOTTY;
	if (get_user(size, (u32 __user *)argp))
		return -EFAULT;
	if (size < op->min_size)
		return -EINVAL;
	/* Trailing bytes are checked to be zero: limit how many. */
	if (size > PAGE_SIZE)
		return -E2BIG;
	ret = copy_struct_from_user(&ucmd, op->size, argp, size);
	if (ret)
		return ret;
	if (op->reply != REPLY_NEVER && !can_reply(argp, &ucmd, min(size, op->size)))
		return -EFAULT;
	ret = answer(object, op, &ucmd);
	stored = !must_reply(op, ret) ||
		 !copy_to_user(argp, &ucmd, min(size, op->size));
	if (!ret && op->finish)
		op->finish(&ucmd, stored);
	return stored ? ret : -EFAULT;
}

void kiommu_finish_fd(int fd, struct file *file, bool stored)
{
	if (stored) {
		fd_install(fd, file);
	} else {
		put_unused_fd(fd);
		fput(file);
	}
}
