// SPDX-License-Identifier: GPL-2.0-only
/*
 * zPCI functions that KVMs have started, see zpci_functions.h.
 *
 * The table is hashed by KVM. A lookup goes through the short list of one KVM's
 * functions, and compares handles with what the zdevs say now. A zdev is freed
 * by RCU, so lookups may read its handle even after it has gone.
 *
 * functions_lock is shared by all KVMs and innermost. It is held to change the
 * table and to walk all of it, and nothing is waited for under it. Lookups do
 * not take it. A function is in the table from before START takes its
 * domain's lock (D) until after STOP has released it, so that it is started
 * only once; while it is live in between, lookups find it. D decides which
 * function of a domain is the last one.
 */
#include <linux/hashtable.h>
#include <linux/iommu.h>
#include <linux/pci.h>
#include <linux/slab.h>

#include "zpci_functions.h"
#include "guest/guest.h"
#include "object/lock.h"
#include "object/member.h"
#include "object/object.h"

static DEFINE_HASHTABLE(functions, 8);
static DEFINE_MUTEX(functions_lock); /* protects changes of the table */

/* Started and not being stopped. */
static bool is_live(const struct kiommu_function *function)
{
	return READ_ONCE(function->live);
}

static u32 handle_of(const struct zpci_dev *zdev)
{
	return READ_ONCE(zdev->fh);
}

bool kiommu_functions_started(const void *key)
{
	struct kiommu_function *function;
	bool found = false;

	rcu_read_lock();
	hash_for_each_possible_rcu(functions, function, node,
				   (unsigned long)key) {
		found = function->key == key && is_live(function);
		if (found)
			break;
	}
	rcu_read_unlock();
	return found;
}

struct kiommu_function *kiommu_function_get(const void *key,
					    const struct zpci_dev *zdev)
{
	struct kiommu_function *function, *found = NULL;

	rcu_read_lock();
	hash_for_each_possible_rcu(functions, function, node,
				   (unsigned long)key) {
		if (function->key == key && function->zdev == zdev &&
		    is_live(function) && refcount_inc_not_zero(&function->refs)) {
			found = function;
			break;
		}
	}
	rcu_read_unlock();
	return found;
}

struct kiommu_function *kiommu_function_get_handle(const void *key, u32 fh)
{
	struct kiommu_function *function, *found = NULL;

	rcu_read_lock();
	hash_for_each_possible_rcu(functions, function, node,
				   (unsigned long)key) {
		if (function->key == key && handle_of(function->zdev) == fh &&
		    is_live(function) && refcount_inc_not_zero(&function->refs)) {
			found = function;
			break;
		}
	}
	rcu_read_unlock();
	return found;
}

void kiommu_function_put(struct kiommu_function *function)
{
	if (refcount_dec_and_test(&function->refs))
		complete(&function->unused);
}

static void free_function(struct kiommu_function *function)
{
	if (function->object)
		kiommu_object_put(function->object);
	pci_dev_put(function->pdev);
	kfree_rcu(function, rcu);
}

/* Finds the pci_dev of the function, and the domain of its IOMMU group. */
static int find_object(struct kiommu_function *function)
{
	struct zpci_dev *zdev = function->zdev;
	struct iommu_group *group;

	if (zdev->zbus->bus)
		function->pdev = pci_get_slot(zdev->zbus->bus, zdev->devfn);
	if (!function->pdev)
		return -ENODEV;
	group = iommu_group_get(&function->pdev->dev);
	if (!group)
		return -ENXIO;
	function->object = kiommu_object_of_group(group);
	iommu_group_put(group);
	if (!function->object)
		return -ENXIO;
	return kiommu_devices_catch_up(function->object);
}

static struct kiommu_function *create_function(const void *key,
					       struct zpci_dev *zdev)
{
	struct kiommu_function *function;
	int ret;

	function = kzalloc(sizeof(*function), GFP_KERNEL_ACCOUNT);
	if (!function)
		return ERR_PTR(-ENOMEM);
	refcount_set(&function->refs, 1);
	init_completion(&function->unused);
	function->key = key;
	function->zdev = zdev;
	function->zpci.fh = handle_of(zdev);
	function->zpci.sdma = zdev->start_dma;
	ret = find_object(function);
	if (ret) {
		free_function(function);
		return ERR_PTR(ret);
	}
	return function;
}

/* The caller holds functions_lock. */
static int check_unused(const void *key, const struct zpci_dev *zdev)
{
	struct kiommu_function *function;
	int bucket;

	hash_for_each(functions, bucket, function, node)
		if (function->zdev == zdev)
			return function->key == key ? -EEXIST : -EBUSY;
	return 0;
}

static int enter_table(struct kiommu_function *function)
{
	int ret;

	mutex_lock(&functions_lock);
	ret = check_unused(function->key, function->zdev);
	if (!ret)
		hash_add_rcu(functions, &function->node,
			     (unsigned long)function->key);
	mutex_unlock(&functions_lock);
	return ret;
}

static void leave_table(struct kiommu_function *function)
{
	mutex_lock(&functions_lock);
	hash_del_rcu(&function->node);
	mutex_unlock(&functions_lock);
}

/* The caller holds D: the group does not move meanwhile. */
static bool is_in(const struct kiommu_function *function,
		  const struct kiommu_object *object)
{
	struct iommu_group *group = iommu_group_get(&function->pdev->dev);
	bool in = group && kiommu_object_has_group(object, group);

	iommu_group_put(group);
	return in;
}

/*
 * Return: as kiommu_object_start(); -ENXIO if the domain is that of a container
 * without an open device, was released, or has just lost the group.
 */
static int enter_object(struct kiommu_function *function,
			struct kiommu_guest *guest)
{
	struct kiommu_object *object = function->object;
	struct kiommu_left left = {};
	int ret;

	ret = kiommu_lock_exclusive_killable(object);
	if (ret)
		return ret == -ESTALE ? -ENXIO : ret;
	ret = -ENXIO;
	if (is_in(function, object)) {
		left = kiommu_object_stop_unused(object);
		ret = kiommu_object_start(object, guest);
	}
	if (ret >= 0) {
		object->functions++;
		function->registered = !ret;
		WRITE_ONCE(function->live, true);
	}
	kiommu_unlock_exclusive(object);
	kiommu_object_leave(left);
	/* -ENODEV is for a KVM or a function that is going away. */
	return ret == -ENODEV ? -ENXIO : ret;
}

static int start(struct kiommu_function *function, struct kiommu_guest *guest)
{
	int ret;

	ret = enter_table(function);
	if (ret)
		return ret;
	ret = enter_object(function, guest);
	if (ret < 0)
		leave_table(function);
	return ret;
}

int kiommu_function_start(const void *key, struct zpci_dev *zdev)
{
	struct kiommu_function *function;
	struct kiommu_guest *guest;
	int ret;

	function = create_function(key, zdev);
	if (IS_ERR(function))
		return PTR_ERR(function);
	guest = kiommu_guest_get(key);
	if (IS_ERR(guest)) {
		free_function(function);
		return PTR_ERR(guest);
	}
	ret = start(function, guest);
	if (ret)
		kiommu_guest_put(guest);
	if (ret < 0)
		free_function(function);
	return min(ret, 0);
}

/*
 * Hands the registration on to another live function of the domain, if there
 * is one. The caller holds the domain's lock for writing.
 */
static bool hand_on(struct kiommu_function *function)
{
	struct kiommu_function *other;
	bool found = false;

	mutex_lock(&functions_lock);
	hash_for_each_possible(functions, other, node,
			       (unsigned long)function->key) {
		found = other->object == function->object &&
			is_live(other);
		if (found) {
			other->registered = true;
			break;
		}
	}
	mutex_unlock(&functions_lock);
	return found;
}

/*
 * Has the function, which is not live any more, leave its object, whose lock
 * is held for writing. Return: what must be passed to kiommu_object_leave()
 * later.
 */
static struct kiommu_left leave_object(struct kiommu_function *function)
{
	struct kiommu_object *object = function->object;
	struct kiommu_left nothing = {};

	object->functions--;
	if (!object->domain)
		return nothing;
	kiommu_zpci_reset(&function->zpci, object->domain);
	if (!function->registered || hand_on(function))
		return nothing;
	/* User space may have replaced the KVM meanwhile. */
	if (!object->guest || object->guest->memory->key != function->key)
		return nothing;
	return kiommu_object_stop(object);
}

/*
 * Stops a function after set_dead(). Waits until calls under way have dropped
 * their references, which does not take long.
 */
static void stop(struct kiommu_function *function)
{
	struct kiommu_left left;

	kiommu_lock_exclusive(function->object);
	left = leave_object(function);
	kiommu_unlock_exclusive(function->object);
	leave_table(function);
	kiommu_object_leave(left);
	kiommu_function_put(function);
	wait_for_completion(&function->unused);
	free_function(function);
}

/* Return: true for the first caller, which then stops the function. */
static bool set_dead(struct kiommu_function *function)
{
	bool first;

	mutex_lock(&functions_lock);
	first = function->live;
	WRITE_ONCE(function->live, false);
	mutex_unlock(&functions_lock);
	return first;
}

int kiommu_function_stop(const void *key, struct zpci_dev *zdev)
{
	struct kiommu_function *function;
	bool first;

	function = kiommu_function_get(key, zdev);
	if (!function)
		return -ENOENT;
	first = set_dead(function);
	kiommu_function_put(function);
	if (!first)
		return -ENOENT;
	stop(function);
	return 0;
}

void kiommu_functions_exit(void)
{
	struct kiommu_function *function;
	struct hlist_node *next;
	int bucket;

	hash_for_each_safe(functions, bucket, next, function, node) {
		if (set_dead(function))
			stop(function);
	}
}

/* The domain was released: its container or its file is closed. */
static int lock_error(int ret)
{
	return ret == -ESTALE ? -ENOENT : ret;
}

int kiommu_function_lock_exclusive(struct kiommu_function *function)
{
	int ret;

	ret = lock_error(kiommu_lock_exclusive_killable(function->object));
	if (!ret)
		kiommu_zpci_set_handle(&function->zpci,
				       handle_of(function->zdev));
	return ret;
}

void kiommu_function_unlock_exclusive(struct kiommu_function *function)
{
	kiommu_unlock_exclusive(function->object);
}

/*
 * The function was reset. RPCITs with the old handle must not see the new one.
 */
static int follow_handle(struct kiommu_function *function)
{
	int ret;

	ret = kiommu_function_lock_exclusive(function);
	if (!ret)
		kiommu_function_unlock_exclusive(function);
	return ret;
}

int kiommu_function_lock_shared(struct kiommu_function *function)
{
	int ret;

	for (;;) {
		ret = lock_error(kiommu_lock_shared(function->object));
		if (ret)
			return ret;
		if (likely(function->zpci.fh == handle_of(function->zdev)))
			return 0;
		kiommu_unlock_shared(function->object);
		ret = follow_handle(function);
		if (ret)
			return ret;
	}
}

void kiommu_function_unlock_shared(struct kiommu_function *function)
{
	kiommu_unlock_shared(function->object);
}

int kiommu_function_make_room(struct kiommu_function *function)
{
	int ret;

	ret = lock_error(kiommu_lock_pins(function->object));
	if (ret)
		return ret;
	kiommu_core_pins_trim(function->object->guest->pins, 0);
	kiommu_unlock_pins(function->object);
	return 0;
}
