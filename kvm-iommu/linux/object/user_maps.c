// SPDX-License-Identifier: GPL-2.0-only
/*
 * Mappings of clients of type1, see user_maps.h.
 *
 * P of the user memory is held for writing over each change, so the list of
 * mappings, what the hosts map and what is pinned change together: the next
 * mapping at these IOVAs pins anew.
 */
#include <linux/err.h>
#include <linux/module.h>

#include <linux/kvm_iommu.h>

#include "guest/guest.h"
#include "object/lock.h"
#include "object/object.h"
#include "object/user_maps.h"

static unsigned int dma_entry_limit = U16_MAX;
module_param(dma_entry_limit, uint, 0644);
MODULE_PARM_DESC(dma_entry_limit,
		 "Mappings that a client of type1 can make in a container");

bool kiommu_takes_user_maps(const struct kiommu_object *object)
{
	return object->type1 &&
	       (READ_ONCE(object->user) || !READ_ONCE(object->guest));
}

/* Return: 0 if the memory is registered; 1 if something is already; an errno. */
static int register_memory(struct kiommu_object *object,
			   struct kiommu_guest *guest)
{
	const struct kiommu_anchor identity = {
		.format = KVM_IOMMU_FORMAT_IDENTITY,
		.rights = KVM_IOMMU_READ | KVM_IOMMU_WRITE,
	};
	kiommu_u32 status;
	int ret;

	ret = kiommu_lock_exclusive_killable(object);
	if (ret)
		return ret;
	if (object->guest) {
		kiommu_unlock_exclusive(object);
		return 1;
	}
	down_write(&guest->lock);
	ret = kiommu_core_start(object->domain, guest->pins) ?:
	      kiommu_core_register_ioat(object->domain, &identity, &status);
	if (ret) {
		kiommu_core_stop(object->domain);
		up_write(&guest->lock);
	} else {
		object->guest = guest;
		WRITE_ONCE(object->user, true);
	}
	kiommu_unlock_exclusive(object);
	return ret;
}

static int start(struct kiommu_object *object)
{
	struct kiommu_guest *guest = kiommu_user_memory_create();
	int ret;

	if (IS_ERR(guest))
		return PTR_ERR(guest);
	ret = register_memory(object, guest);
	if (ret)
		kiommu_guest_put(guest);
	return min(ret, 0);
}

struct kiommu_left kiommu_object_stop_unused(struct kiommu_object *object)
{
	lockdep_assert_held_write(&object->lock);
	if (object->user && !kiommu_user_mappings(object->guest))
		return kiommu_object_stop(object);
	return (struct kiommu_left){};
}

/* Lets go of the memory of a process that has no mappings any more. */
static int stop_unused(struct kiommu_object *object)
{
	struct kiommu_left left;
	int ret;

	ret = kiommu_lock_exclusive_killable(object);
	if (ret)
		return ret;
	left = kiommu_object_stop_unused(object);
	kiommu_unlock_exclusive(object);
	kiommu_object_leave(left);
	return 0;
}

/*
 * Locks the domain with the memory of the current process registered. Context:
 * kiommu_lock_pins() on 0.
 */
static int lock_for_map(struct kiommu_object *object)
{
	struct kiommu_guest *guest;
	int ret;

	for (;;) {
		ret = kiommu_lock_pins(object);
		if (ret == -ENODEV) {
			ret = start(object);
			if (ret)
				return ret;
			continue;
		}
		if (ret)
			return ret;
		guest = object->guest;
		if (object->user && guest->mm == current->mm)
			return 0;
		ret = !object->user ? -EBUSY :
		      kiommu_user_mappings(guest) ? -EPERM : 0;
		kiommu_unlock_pins(object);
		if (!ret)
			ret = stop_unused(object);
		if (ret)
			return ret;
	}
}

/* The errno of type1 for why the core has not mapped something. */
static int map_error(int ret, kiommu_u32 status)
{
	switch (status) {
	case KVM_IOMMU_STATUS_NO_SLOT:
	case KVM_IOMMU_STATUS_RESERVED_IOVA:
	case KVM_IOMMU_STATUS_RANGE:
		return -EINVAL;
	case KVM_IOMMU_STATUS_UNBACKED:
	case KVM_IOMMU_STATUS_READ_ONLY:
	case KVM_IOMMU_STATUS_MMIO:
	case KVM_IOMMU_STATUS_PIN_REFUSED:
		return -EFAULT;
	default:
		return ret;
	}
}

static int map_locked(struct kiommu_object *object,
		      const struct kiommu_user_mapping *mapping)
{
	struct kiommu_guest *guest = object->guest;
	kiommu_u32 status;
	int ret;

	if (kiommu_user_memory_find(guest, mapping->iova,
				    mapping->iova + mapping->size - 1))
		return -EEXIST;
	if (!kiommu_user_maps_avail(object))
		return -ENOSPC;
	ret = kiommu_user_memory_begin(guest, mapping);
	if (ret)
		return ret;
	ret = kiommu_core_map(object->domain, mapping->iova, mapping->size,
			      mapping->rights, &status);
	kiommu_user_memory_end(guest, !ret);
	return ret ? map_error(ret, status) : 0;
}

/*
 * Whether hosts may keep so many empty tables that they should be given back,
 * which is possible while nothing is mapped.
 */
static bool has_empty_tables(struct kiommu_object *object)
{
	struct kiommu_core_info info;

	if (kiommu_user_mappings(object->guest))
		return false;
	kiommu_core_get_info(object->domain, &info);
	return info.shadow_bytes > info.shadow_limit / 2;
}

/* @tidy: set if it failed and left too many empty tables. */
static int try_map(struct kiommu_object *object,
		   const struct kiommu_user_mapping *mapping, bool *tidy)
{
	int ret;

	*tidy = false;
	ret = lock_for_map(object);
	if (ret)
		return ret;
	ret = map_locked(object, mapping);
	if (ret)
		*tidy = has_empty_tables(object);
	kiommu_unlock_pins(object);
	return ret;
}

int kiommu_user_map(struct kiommu_object *object,
		    const struct kiommu_user_mapping *mapping)
{
	bool tidy;
	int ret;

	ret = try_map(object, mapping, &tidy);
	if (!ret || !tidy)
		return ret;
	/* Maps that failed have left tables, too. */
	stop_unused(object);
	return ret == -ENOSPC ? try_map(object, mapping, &tidy) : ret;
}

bool kiommu_user_maps_cut(const struct kiommu_object *object, u64 first,
			  u64 last)
{
	const struct kiommu_user_mapping *mapping;

	mapping = kiommu_user_memory_find(object->guest, first, last);
	if (!mapping)
		return false;
	if (mapping->iova < first)
		return true;
	/* It often is the only one. */
	if (mapping->iova + mapping->size - 1 != last)
		mapping = kiommu_user_memory_find(object->guest, last, last);
	return mapping && mapping->iova + mapping->size - 1 != last;
}

/*
 * What the first version of type1 unmaps in place of a range that cuts mappings: one
 * that the range ends in goes as a whole, and nothing goes if the range begins within
 * one. Return: whether anything goes. Context: as kiommu_user_maps_cut().
 */
static bool grow_to_maps(const struct kiommu_object *object, u64 first, u64 *last)
{
	const struct kiommu_user_mapping *mapping;

	mapping = kiommu_user_memory_find(object->guest, first, *last);
	if (!mapping || mapping->iova < first)
		return false;
	mapping = kiommu_user_memory_find(object->guest, *last, *last);
	if (mapping)
		*last = mapping->iova + mapping->size - 1;
	return true;
}

/* Takes what is mapped in a range out of the hosts. Context: D and P. */
static void block(struct kiommu_object *object, u64 first, u64 last)
{
	const struct kiommu_window *aperture = &object->hosts.caps.aperture;
	kiommu_u64 pages;

	/* Nothing is mapped elsewhere, and the core takes no other range. */
	first = max(first, aperture->first);
	last = min3(last, aperture->last, KIOMMU_USER_IOVA_END - 1);
	if (first <= last)
		kiommu_core_unmap(object->domain, first, last - first + 1,
				  &pages);
}

int kiommu_user_unmap(struct kiommu_object *object, u64 first, u64 last,
		      u64 *bytes)
{
	bool tidy = false;
	int ret;

	*bytes = 0;
	ret = kiommu_lock_pins(object);
	if (ret)
		return ret == -ENODEV ? 0 : ret;
	if (!object->user) {
		ret = -EBUSY;
	} else if (object->v1 && !grow_to_maps(object, first, &last)) {
		*bytes = 0;
	} else if (kiommu_user_maps_cut(object, first, last)) {
		ret = -EINVAL;
	} else {
		block(object, first, last);
		*bytes = kiommu_user_memory_remove(object->guest, first, last);
		tidy = has_empty_tables(object);
	}
	kiommu_unlock_pins(object);
	if (tidy)
		stop_unused(object);
	return ret;
}

unsigned int kiommu_user_maps_avail(const struct kiommu_object *object)
{
	unsigned int limit = READ_ONCE(dma_entry_limit);
	unsigned int count;

	count = object->user ? kiommu_user_mappings(object->guest) : 0;
	return limit - min(limit, count);
}
