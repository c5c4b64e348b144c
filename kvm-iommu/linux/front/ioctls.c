// SPDX-License-Identifier: GPL-2.0-only
/*
 * The module's own ioctls on a domain: a table with the sizes of the struct and
 * the handler of each.
 */
#include <linux/file.h>
#include <linux/sched.h>
#include <linux/vfio.h>

#include <linux/kvm_iommu.h>

#include "front/attach.h"
#include "front/command.h"
#include "front/dirty.h"
#include "front/hwpt.h"
#include "front/ioctls.h"
#include "guest/guest.h"
#include "object/doorbell.h"
#include "object/lock.h"
#include "object/object.h"
#include "object/sync.h"
#include "object/tracking.h"

/* Features of this kernel and of the registered KVM. */
static u64 features(const struct kiommu_object *object)
{
	u64 features = KVM_IOMMU_FEATURE_P2P | KVM_IOMMU_FEATURE_DIRTY_LOG |
		       KVM_IOMMU_FEATURE_ANCHOR_RIGHTS |
		       KVM_IOMMU_FEATURE_DOMAIN_FILE |
		       kiommu_attach_features() | kiommu_hwpt_features() |
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
	if (object->user) {
		/* Its anchor is not one that a caller has set. */
		info->flags |= KVM_IOMMU_INFO_USER_MAPS;
		info->state = KVM_IOMMU_STATE_CREATED;
	}
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
	if (object->user)
		return -ENODEV;
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

static void finish_fault_fd(union kiommu_ucmd *ucmd, bool stored)
{
	kiommu_finish_fd(ucmd->get_fault_fd.cmd.fd, ucmd->get_fault_fd.file,
			 stored);
}

/*
 * These take the locks themselves: they get and put KVMs or doorbells, which must
 * not happen under a lock.
 */
int kiommu_start_fd(struct kiommu_object *object, int kvm_fd, u32 *status)
{
	struct kiommu_left left;
	struct kiommu_guest *guest;
	int ret;

	guest = kiommu_guest_get_fd(kvm_fd);
	if (IS_ERR(guest)) {
		ret = PTR_ERR(guest);
		if (ret == -EINVAL)
			*status = KVM_IOMMU_STATUS_FD_TYPE;
		else if (ret == -ENODEV)
			*status = KVM_IOMMU_STATUS_KVM_GONE;
		return ret;
	}
	ret = kiommu_lock_exclusive_killable(object);
	if (!ret) {
		left = kiommu_object_stop_unused(object);
		ret = kiommu_object_start(object, guest);
		kiommu_unlock_exclusive(object);
		kiommu_object_leave(left);
		if (ret == -ENODEV)
			*status = KVM_IOMMU_STATUS_NO_DEVICE;
	}
	if (ret)
		kiommu_guest_put(guest);
	return ret < 0 ? ret : 0;
}

static int start(struct kiommu_object *object, union kiommu_ucmd *ucmd)
{
	return kiommu_start_fd(object, ucmd->start.kvm_fd, &ucmd->start.status);
}

static int stop(struct kiommu_object *object, union kiommu_ucmd *ucmd)
{
	struct kiommu_left left = {};
	int ret;

	ret = kiommu_lock_exclusive_killable(object);
	if (ret)
		return ret;
	if (!object->user)
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

static int attach(struct kiommu_object *object, union kiommu_ucmd *ucmd)
{
	return kiommu_attach(object, &ucmd->attach);
}

static int detach(struct kiommu_object *object, union kiommu_ucmd *ucmd)
{
	return kiommu_detach(object, &ucmd->detach);
}

static const struct kiommu_locking shared = {
	kiommu_lock_shared, kiommu_unlock_shared
};

static const struct kiommu_locking exclusive = {
	kiommu_lock_exclusive_killable, kiommu_unlock_exclusive
};

static const struct kiommu_locking pins = {
	kiommu_lock_pins, kiommu_unlock_pins
};

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
	KIOMMU_STATUS_OP(KVM_IOMMU_ATTACH, kvm_iommu_attach, __reserved, NULL,
			 attach, RESERVED(kvm_iommu_attach), .of_file = true),
	KIOMMU_STATUS_OP(KVM_IOMMU_DETACH, kvm_iommu_detach, status, NULL,
			 detach, .of_file = true),
};

long kiommu_ioctl(struct kiommu_object *object, unsigned int cmd,
		  unsigned long arg)
{
	return kiommu_command(kiommu_ops, ARRAY_SIZE(kiommu_ops), object, cmd,
			      arg);
}

long kiommu_object_ioctl(struct kiommu_object *object, unsigned int cmd,
			 unsigned long arg)
{
	if (cmd == VFIO_CHECK_EXTENSION)
		return kiommu_check_extension(object, arg);
	if (_IOC_TYPE(cmd) == KVM_IOMMU_TYPE)
		return kiommu_ioctl(object, cmd, arg);
	return kiommu_type1_ioctl(object, cmd, arg);
}
