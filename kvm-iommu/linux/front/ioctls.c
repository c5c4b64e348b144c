// SPDX-License-Identifier: GPL-2.0-only
/*
 * The module's own ioctls: a table with the sizes of the struct and the
 * handler of each. All checks of the struct itself are done in one place, here.
 */
#include <linux/file.h>
#include <linux/sched.h>
#include <linux/uaccess.h>

#include <linux/kvm_iommu.h>

#include "front/dirty.h"
#include "front/ioctls.h"
#include "guest/guest.h"
#include "object/doorbell.h"
#include "object/lock.h"
#include "object/object.h"
#include "object/sync.h"
#include "object/tracking.h"

union kiommu_ucmd {
	struct {
		__u32 size;
		__u32 flags;
	} head;
	struct kvm_iommu_info info;
	struct kvm_iommu_start start;
	struct kvm_iommu_stop stop;
	struct kvm_iommu_register_ioat register_ioat;
	struct kvm_iommu_unregister_ioat unregister_ioat;
	struct kvm_iommu_refresh refresh;
	struct kvm_iommu_translate translate;
	struct kvm_iommu_pin_memory pin_memory;
	struct kvm_iommu_unpin_memory unpin_memory;
	struct kvm_iommu_set_idle_limit set_idle_limit;
	struct {
		struct kvm_iommu_get_fault_fd cmd;
		struct file *file; /* installed once the answer is stored */
	} get_fault_fd;
	struct kvm_iommu_set_sync set_sync;
	struct kvm_iommu_untrack untrack;
	struct kvm_iommu_translate_range translate_range;
	struct kvm_iommu_dirty_log dirty_log;
};

/* Features of this kernel and of the registered KVM. */
static u64 features(const struct kiommu_object *object)
{
	u64 features = KVM_IOMMU_FEATURE_P2P | KVM_IOMMU_FEATURE_DIRTY_LOG |
		       KVM_IOMMU_FEATURE_ANCHOR_RIGHTS |
		       kiommu_doorbell_features();

	if (object->guest && kiommu_tracking_possible(object->guest))
		features |= KVM_IOMMU_FEATURE_TRACKED;
	return features;
}

static int get_info(struct kiommu_object *object,
		    union kiommu_ucmd *ucmd)
{
	const struct kiommu_host_caps *caps = &object->hosts.caps;
	struct kvm_iommu_info *info = &ucmd->info;
	struct kiommu_core_info core;

	kiommu_core_get_info(object->domain, &core);
	*info = (struct kvm_iommu_info){
		.size = sizeof(*info),
		.state = core.state,
		.format = core.anchor.format,
		.iota = core.anchor.iota,
		.formats = core.formats,
		.page_sizes = caps->page_sizes,
		.aperture_first = caps->aperture.first,
		.aperture_last = caps->aperture.last,
		.mapped_pages = core.mapped_pages,
		.pinned_pages = core.pinned_pages,
		.shadow_bytes = core.shadow_bytes,
		.shadow_limit = core.shadow_limit,
		.idle_pages = core.idle_pages,
		.idle_limit = core.idle_limit,
		.pin_bytes = core.pin_bytes,
		.sync = object->sync.mode,
		.tracked_pages = core.tracked_pages,
		.unsynced_pages = core.unsynced_pages,
		.features = features(object),
	};
	if (kiommu_hosts_coherent(&object->hosts))
		info->flags |= KVM_IOMMU_INFO_CACHE_COHERENT;
	if (READ_ONCE(object->devices.conflict))
		info->flags |= KVM_IOMMU_INFO_KVM_CONFLICT;
	return 0;
}

static int register_ioat(struct kiommu_object *object,
			 union kiommu_ucmd *ucmd)
{
	struct kvm_iommu_register_ioat *cmd = &ucmd->register_ioat;
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

	ret = kiommu_object_check_caller(object);
	if (!ret)
		ret = kiommu_core_register_ioat(object->domain, &anchor,
						&cmd->status);
	if (ret || object->sync.mode != KVM_IOMMU_SYNC_TRACKED)
		return ret;
	ret = kiommu_tracking_fill(object);
	if (ret)
		kiommu_core_unregister_ioat(object->domain);
	return ret;
}

static int unregister_ioat(struct kiommu_object *object,
			   union kiommu_ucmd *ucmd)
{
	return kiommu_core_unregister_ioat(object->domain);
}

static int refresh(struct kiommu_object *object, union kiommu_ucmd *ucmd)
{
	struct kvm_iommu_refresh *cmd = &ucmd->refresh;
	struct kiommu_refresh_result result = {};
	int ret;

	ret = kiommu_object_check_caller(object);
	if (!ret)
		ret = kiommu_core_refresh(object->domain, cmd->iova,
					  cmd->length, &result);
	cmd->stopped_iova = result.stopped_iova;
	cmd->mapped = result.mapped;
	cmd->unmapped = result.unmapped;
	cmd->status = result.status;
	return ret;
}

static int translate(struct kiommu_object *object,
		     union kiommu_ucmd *ucmd)
{
	struct kvm_iommu_translate *cmd = &ucmd->translate;
	struct kiommu_translation result = {};
	int ret;

	ret = kiommu_object_check_caller(object);
	if (!ret)
		ret = kiommu_core_translate(object->domain, cmd->iova,
					    &result);
	cmd->gpa = result.gpa;
	cmd->page_size = result.page_size;
	cmd->rights = result.rights;
	cmd->shadow_rights = result.shadow_rights;
	cmd->status = result.status;
	return ret;
}

static int pin_memory(struct kiommu_object *object,
		      union kiommu_ucmd *ucmd)
{
	struct kvm_iommu_pin_memory *cmd = &ucmd->pin_memory;

	return kiommu_object_check_caller(object) ?:
	       kiommu_core_pins_preregister(object->guest->pins, cmd->gpa,
					    cmd->length, &cmd->status);
}

static int unpin_memory(struct kiommu_object *object,
			union kiommu_ucmd *ucmd)
{
	struct kvm_iommu_unpin_memory *cmd = &ucmd->unpin_memory;

	return kiommu_object_check_caller(object) ?:
	       kiommu_core_pins_unregister(object->guest->pins, cmd->gpa,
					   cmd->length, &cmd->status);
}

static int set_idle_limit(struct kiommu_object *object,
			  union kiommu_ucmd *ucmd)
{
	int ret = kiommu_object_check_caller(object);

	if (!ret)
		kiommu_core_pins_set_idle_limit(object->guest->pins,
						ucmd->set_idle_limit.pages);
	return ret;
}

static int get_fault_fd(struct kiommu_object *object,
			union kiommu_ucmd *ucmd)
{
	return kiommu_fault_fd(object, ucmd->get_fault_fd.cmd.flags,
			       &ucmd->get_fault_fd.cmd.fd,
			       &ucmd->get_fault_fd.file);
}

/* The descriptor must not be usable before the caller has been told of it. */
static void finish_fault_fd(union kiommu_ucmd *ucmd, bool stored)
{
	if (stored) {
		fd_install(ucmd->get_fault_fd.cmd.fd, ucmd->get_fault_fd.file);
	} else {
		put_unused_fd(ucmd->get_fault_fd.cmd.fd);
		fput(ucmd->get_fault_fd.file);
	}
}

/*
 * start(), stop() and set_sync() take the locks themselves: they get and put KVMs
 * or doorbells, which must not happen under a lock.
 */
static int start(struct kiommu_object *object, union kiommu_ucmd *ucmd)
{
	struct kvm_iommu_start *cmd = &ucmd->start;
	struct kiommu_guest *guest;
	int ret;

	guest = kiommu_guest_get_fd(cmd->kvm_fd);
	if (IS_ERR(guest)) {
		ret = PTR_ERR(guest);
		if (ret == -EINVAL)
			cmd->status = KVM_IOMMU_STATUS_FD_TYPE;
		else if (ret == -ENODEV)
			cmd->status = KVM_IOMMU_STATUS_KVM_GONE;
		return ret;
	}
	ret = kiommu_lock_exclusive_killable(object);
	if (!ret) {
		ret = kiommu_object_start(object, guest);
		kiommu_unlock_exclusive(object);
		if (ret == -ENODEV)
			cmd->status = KVM_IOMMU_STATUS_NO_DEVICE;
	}
	if (ret)
		kiommu_guest_put(guest);
	return ret < 0 ? ret : 0;
}

static int stop(struct kiommu_object *object, union kiommu_ucmd *ucmd)
{
	struct kiommu_left left;
	int ret;

	ret = kiommu_lock_exclusive_killable(object);
	if (ret)
		return ret;
	left = kiommu_object_stop(object);
	kiommu_unlock_exclusive(object);
	kiommu_object_leave(left);
	return left.guest ? 0 : -ENODEV;
}

static int set_sync(struct kiommu_object *object, union kiommu_ucmd *ucmd)
{
	return kiommu_set_sync(object, &ucmd->set_sync);
}

static int untrack(struct kiommu_object *object, union kiommu_ucmd *ucmd)
{
	return kiommu_object_check_caller(object) ?:
	       kiommu_tracking_untrack(object, &ucmd->untrack);
}

static int translate_range(struct kiommu_object *object,
			   union kiommu_ucmd *ucmd)
{
	return kiommu_translate_range(object, &ucmd->translate_range);
}

static int dirty_log(struct kiommu_object *object,
		     union kiommu_ucmd *ucmd)
{
	return kiommu_dirty_log(object, &ucmd->dirty_log);
}

/* When the struct is written back. */
enum kiommu_reply {
	REPLY_NEVER,
	REPLY_ON_SUCCESS,
	REPLY_ALWAYS, /* the struct has a status */
};

/**
 * struct kiommu_locking - the locks that a handler runs under
 * @lock: returns 0, or the errno that the ioctl fails with.
 * @unlock: the opposite.
 */
struct kiommu_locking {
	int (*lock)(struct kiommu_object *object);
	void (*unlock)(struct kiommu_object *object);
};

static const struct kiommu_locking shared = {
	kiommu_lock_shared, kiommu_unlock_shared
};

static const struct kiommu_locking exclusive = {
	kiommu_lock_exclusive_killable, kiommu_unlock_exclusive
};

static const struct kiommu_locking pins = {
	kiommu_lock_pins, kiommu_unlock_pins
};

/**
 * struct kiommu_op - an ioctl
 * @size: current size of its struct.
 * @min_size: size of its struct when it was first published.
 * @status: offset of its status, for REPLY_ALWAYS.
 * @reserved: offset of its reserved field, or 0.
 * @reply: when the struct is written back.
 * @flags: flags that a caller may set.
 * @locking: locks taken around @execute; NULL if it takes its own.
 * @execute: the handler.
 * @finish: optional; called without any lock after @execute has succeeded and
 *	the answer was stored, or could not be.
 */
struct kiommu_op {
	u32 size;
	u32 min_size;
	u32 status;
	u32 reserved;
	enum kiommu_reply reply;
	u32 flags;
	const struct kiommu_locking *locking;
	int (*execute)(struct kiommu_object *object,
		       union kiommu_ucmd *ucmd);
	void (*finish)(union kiommu_ucmd *ucmd, bool stored);
};

#define KIOMMU_OP(_cmd, _struct, _last, _reply, _locking, _execute, ...) \
	[_IOC_NR(_cmd) - KVM_IOMMU_BASE] = {				\
		.size = sizeof(struct _struct),				\
		.min_size = offsetofend(struct _struct, _last),		\
		.reply = _reply,					\
		.locking = _locking,					\
		.execute = _execute,					\
		##__VA_ARGS__						\
	}

/* An ioctl whose struct has a status. */
#define KIOMMU_STATUS_OP(_cmd, _struct, _last, _locking, _execute, ...)	\
	KIOMMU_OP(_cmd, _struct, _last, REPLY_ALWAYS, _locking, _execute, \
		  .status = offsetof(struct _struct, status), ##__VA_ARGS__)

#define RESERVED(_struct) .reserved = offsetof(struct _struct, __reserved)

static const struct kiommu_op kiommu_ops[] = {
	KIOMMU_OP(KVM_IOMMU_GET_INFO, kvm_iommu_info, shadow_limit,
		  REPLY_ON_SUCCESS, &shared, get_info,
		  RESERVED(kvm_iommu_info)),
	KIOMMU_STATUS_OP(KVM_IOMMU_START, kvm_iommu_start, status, NULL, start),
	KIOMMU_OP(KVM_IOMMU_STOP, kvm_iommu_stop, flags, REPLY_NEVER, NULL,
		  stop),
	KIOMMU_STATUS_OP(KVM_IOMMU_REGISTER_IOAT, kvm_iommu_register_ioat,
			 status, &exclusive, register_ioat),
	KIOMMU_OP(KVM_IOMMU_UNREGISTER_IOAT, kvm_iommu_unregister_ioat, flags,
		  REPLY_NEVER, &exclusive, unregister_ioat),
	KIOMMU_STATUS_OP(KVM_IOMMU_REFRESH, kvm_iommu_refresh, __reserved,
			 &shared, refresh, RESERVED(kvm_iommu_refresh)),
	KIOMMU_STATUS_OP(KVM_IOMMU_TRANSLATE, kvm_iommu_translate, __reserved,
			 &shared, translate, RESERVED(kvm_iommu_translate)),
	KIOMMU_STATUS_OP(KVM_IOMMU_PIN_MEMORY, kvm_iommu_pin_memory, __reserved,
			 &pins, pin_memory, RESERVED(kvm_iommu_pin_memory)),
	KIOMMU_STATUS_OP(KVM_IOMMU_UNPIN_MEMORY, kvm_iommu_unpin_memory,
			 __reserved, &pins, unpin_memory,
			 RESERVED(kvm_iommu_unpin_memory)),
	KIOMMU_OP(KVM_IOMMU_SET_IDLE_LIMIT, kvm_iommu_set_idle_limit, pages,
		  REPLY_NEVER, &pins, set_idle_limit),
	KIOMMU_OP(KVM_IOMMU_GET_FAULT_FD, kvm_iommu_get_fault_fd, __reserved,
		  REPLY_ON_SUCCESS, &shared, get_fault_fd,
		  RESERVED(kvm_iommu_get_fault_fd),
		  .flags = KVM_IOMMU_FAULT_FD_NONBLOCK,
		  .finish = finish_fault_fd),
	KIOMMU_STATUS_OP(KVM_IOMMU_SET_SYNC, kvm_iommu_set_sync, status, NULL,
			 set_sync,
			 .flags = KVM_IOMMU_SYNC_THREAD | KVM_IOMMU_SYNC_SLOTS),
	KIOMMU_STATUS_OP(KVM_IOMMU_UNTRACK, kvm_iommu_untrack, __reserved,
			 &shared, untrack, RESERVED(kvm_iommu_untrack)),
	KIOMMU_STATUS_OP(KVM_IOMMU_TRANSLATE_RANGE, kvm_iommu_translate_range,
			 __reserved, NULL, translate_range,
			 RESERVED(kvm_iommu_translate_range)),
	KIOMMU_STATUS_OP(KVM_IOMMU_DIRTY_LOG, kvm_iommu_dirty_log, dirty, NULL,
			 dirty_log),
};

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

long kiommu_ioctl(struct kiommu_object *object, unsigned int cmd,
		  unsigned long arg)
{
	unsigned int nr = _IOC_NR(cmd) - KVM_IOMMU_BASE;
	void __user *argp = (void __user *)arg;
	const struct kiommu_op *op;
	union kiommu_ucmd ucmd; /* op->size bytes are set below */
	bool stored;
	u32 size;
	int ret;

	if (nr >= ARRAY_SIZE(kiommu_ops) || cmd != _IO(KVM_IOMMU_TYPE, _IOC_NR(cmd)))
		return -ENOTTY;
	op = &kiommu_ops[array_index_nospec(nr, ARRAY_SIZE(kiommu_ops))];

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
