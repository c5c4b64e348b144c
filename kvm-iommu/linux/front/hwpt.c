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
 * inside both. (To ask whom we serve it may hold iommufd_ioas.mutex.) Whoever holds D
 * or P of an HWPT reads tables and pins pages that iommufd has pinned already, so he
 * waits for no process. iommufd makes sure that the HWPT lives as long as a call on it,
 * and that nothing is attached when it is freed.
 *
 * With a KVM the HWPT follows the stores of its guest. The HWPT holds the KVM, and
 * the KVM's device of type VFIO holds files of devices, which hold the iommufd; but
 * such a device lets go of them when its own file is closed, not with the KVM.
 */
#include <linux/err.h>
#include <linux/iommu.h>
#include <linux/iommufd_provider.h>
#include <linux/uaccess.h>

#include "front/hwpt.h"
#include "guest/guest.h"
#include "guest/ioas_memory.h"
#include "object/groups.h"
#include "object/lock.h"
#include "object/object.h"

int kiommu_hwpt_copy(void *to, size_t size, const void __user *from, size_t length,
		     size_t least)
{
	if (length < least)
		return -EINVAL;
	/* Trailing bytes are checked to be zero: limit how many. */
	if (length > PAGE_SIZE)
		return -E2BIG;
	return copy_struct_from_user(to, size, from, length);
}

/* Context: kiommu_lock_exclusive(). Consumes @guest if it is started. */
static int anchor_in(struct kiommu_object *object, struct device *dev,
		     struct kiommu_guest *guest,
		     const struct kiommu_anchor *anchor, u32 *status)
{
	int ret;

	ret = kiommu_group_lend(object, dev);
	if (ret) {
		if (ret == -EINVAL)
			*status = KVM_IOMMU_STATUS_UNSUITABLE;
		return ret;
	}
	ret = kiommu_object_start(object, guest);
	if (ret)
		return ret;
	return kiommu_core_register_ioat(object->domain, anchor, status);
}

static int set_up(struct kiommu_object *object,
		  const struct kiommu_hwpt_place *place, const void *stores,
		  const struct kiommu_anchor *anchor, u32 *status)
{
	struct kiommu_guest *guest;
	bool started = false;
	int ret;

	guest = kiommu_ioas_guest(place->ictx, place->ioas_id, stores);
	if (IS_ERR(guest))
		return PTR_ERR(guest);
	ret = kiommu_lock_exclusive_killable(object);
	if (!ret) {
		ret = anchor_in(object, place->dev, guest, anchor, status);
		started = object->guest;
		kiommu_unlock_exclusive(object);
	}
	if (!started)
		kiommu_guest_put(guest);
	return ret;
}

/* Follows the stores of the guest, from what the tables map now on. */
static int follow(struct kiommu_object *object, u32 *status)
{
	struct kvm_iommu_set_sync sync = { .mode = KVM_IOMMU_SYNC_TRACKED };
	int ret;

	ret = kiommu_set_sync(object, &sync);
	*status = sync.status;
	return ret;
}

struct kiommu_object *kiommu_hwpt_create(const struct kiommu_hwpt_place *place,
					 const void *stores,
					 const struct kiommu_anchor *anchor,
					 u32 *status)
{
	struct kiommu_object *object;
	int ret;

	*status = KVM_IOMMU_STATUS_OK;
	object = kiommu_object_create(false);
	if (IS_ERR(object))
		return object;
	ret = set_up(object, place, stores, anchor, status);
	if (!ret && stores)
		ret = follow(object, status);
	if (!ret)
		return object;
	kiommu_hwpt_free(object);
	return ERR_PTR(ret);
}

struct iommu_domain *kiommu_hwpt_domain(const struct kiommu_object *object)
{
	return object->hosts.hosts[0]->domain;
}

void kiommu_hwpt_free(void *data)
{
	struct kiommu_object *object = data;
	struct kiommu_left left;

	kiommu_lock_exclusive(object);
	left = kiommu_object_stop(object);
	kiommu_groups_take_back(object);
	kiommu_unlock_exclusive(object);
	kiommu_object_leave(left);
	kiommu_object_release(object);
}

int kiommu_hwpt_attach(void *data, struct device *dev)
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

static const struct iommufd_hwpt_provider *const providers[] = {
	&kiommu_hwpt_kvm_iommu,
	&kiommu_hwpt_vtd_s1,
};

int kiommu_hwpt_register(void)
{
	return iommufd_register_hwpt_providers(providers, ARRAY_SIZE(providers));
}

void kiommu_hwpt_unregister(void)
{
	iommufd_unregister_hwpt_providers(providers, ARRAY_SIZE(providers));
}
