// SPDX-License-Identifier: GPL-2.0-only
/*
 * zPCI functions that KVMs have started, see zpci_functions.h.
 *
 * The table is a hash of KVMs: what is found by one is a short list of its own
 * functions, among which the handle is looked for by what the zdev says now. A
 * zdev is freed by RCU: its handle can be read in look-ups also when it has gone.
 *
 * functions_lock is a lock of all KVMs: it is held to change the table and to look
 * at all of it, innermost, and nothing is waited for under it. A function is in
 * the table from before START takes its container's lock (D) until after STOP has
 * let it go, so that it is started once; in between, while it is live, look-ups
 * find it. They do not take the lock. Which function of a container is the last
 * one is decided under D.
 */
#include <linux/hashtable.h>
#include <linux/iommu.h>
#include <linux/pci.h>
#include <linux/slab.h>

#include "zpci_functions.h"
#include "guest/guest.h"
#include "object/container.h"
#include "object/lock.h"

static DEFINE_HASHTABLE(functions, 8);
static DEFINE_MUTEX(functions_lock); /* of changes of the table */

/* Started, and not being stopped. */
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
	if (function->container)
		kiommu_container_put(function->container);
	pci_dev_put(function->pdev);
	kfree_rcu(function, rcu);
}

/* Where the function is: its pci_dev, and the container of its group. */
static int find_container(struct kiommu_function *function)
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
	function->container = kiommu_container_get_group(group);
	iommu_group_put(group);
	if (!function->container)
		return -ENXIO;
	return kiommu_container_catch_up(function->container);
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
	ret = find_container(function);
	if (ret) {
		free_function(function);
		return ERR_PTR(ret);
	}
	return function;
}

/* Context: functions_lock is held. */
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

/*
 * Return: as kiommu_container_start(); -ENXIO the container has no open device,
 * or was released.
 */
static int enter_container(struct kiommu_function *function,
			   struct kiommu_mem *guest)
{
	struct kiommu_container *container = function->container;
	int ret;

	ret = kiommu_lock_exclusive_killable(container);
	if (ret)
		return ret == -ESTALE ? -ENXIO : ret;
	ret = kiommu_container_start(container, guest);
	if (ret >= 0) {
		function->registered = !ret;
		WRITE_ONCE(function->live, true);
	}
	kiommu_unlock_exclusive(container);
	/* ENODEV is for a KVM or a function that is going away. */
	return ret == -ENODEV ? -ENXIO : ret;
}

static int start(struct kiommu_function *function, struct kiommu_mem *guest)
{
	int ret;

	ret = enter_table(function);
	if (ret)
		return ret;
	ret = enter_container(function, guest);
	if (ret < 0)
		leave_table(function);
	return ret;
}

int kiommu_function_start(const void *key, struct zpci_dev *zdev)
{
	struct kiommu_function *function;
	struct kiommu_mem *guest;
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
 * Another live function of the container takes the registration over, if there is
 * one. Context: the container's lock is held for writing.
 */
static bool hand_on(struct kiommu_function *function)
{
	struct kiommu_function *other;
	bool found = false;

	mutex_lock(&functions_lock);
	hash_for_each_possible(functions, other, node,
			       (unsigned long)function->key) {
		found = other->container == function->container &&
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
 * The function, which is not live any more, leaves its container, whose lock is
 * held. Return: what is for kiommu_container_leave() then.
 */
static struct kiommu_left leave_container(struct kiommu_function *function)
{
	struct kiommu_container *container = function->container;
	struct kiommu_left nothing = {};

	if (!container->domain)
		return nothing;
	kiommu_zpci_reset(&function->zpci, container->domain);
	if (!function->registered || hand_on(function))
		return nothing;
	/* User space may have exchanged it meanwhile. */
	if (!container->guest || container->guest->memory->key != function->key)
		return nothing;
	return kiommu_container_stop(container);
}

/*
 * Of a function that nobody else stops. All references but those of calls under
 * way are dropped, and these end soon: it is stopped.
 */
static void stop(struct kiommu_function *function)
{
	struct kiommu_left left;

	kiommu_lock_exclusive(function->container);
	left = leave_container(function);
	kiommu_unlock_exclusive(function->container);
	leave_table(function);
	kiommu_container_leave(left);
	kiommu_function_put(function);
	wait_for_completion(&function->unused);
	free_function(function);
}

/* Whoever is the first to say so stops it. */
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

/* VFIO has released the container: no device of it is open any more. */
static int lock_error(int ret)
{
	return ret == -ESTALE ? -ENOENT : ret;
}

int kiommu_function_lock_exclusive(struct kiommu_function *function)
{
	int ret;

	ret = lock_error(kiommu_lock_exclusive_killable(function->container));
	if (!ret)
		kiommu_zpci_set_handle(&function->zpci,
				       handle_of(function->zdev));
	return ret;
}

void kiommu_function_unlock_exclusive(struct kiommu_function *function)
{
	kiommu_unlock_exclusive(function->container);
}

/* It was reset. RPCITs by the old handle must not see the new one. */
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
		ret = lock_error(kiommu_lock_shared(function->container));
		if (ret)
			return ret;
		if (likely(function->zpci.fh == handle_of(function->zdev)))
			return 0;
		kiommu_unlock_shared(function->container);
		ret = follow_handle(function);
		if (ret)
			return ret;
	}
}

void kiommu_function_unlock_shared(struct kiommu_function *function)
{
	kiommu_unlock_shared(function->container);
}

int kiommu_function_make_room(struct kiommu_function *function)
{
	int ret;

	ret = lock_error(kiommu_lock_pins(function->container));
	if (ret)
		return ret;
	kiommu_core_pins_trim(function->container->guest->pins, 0);
	kiommu_unlock_pins(function->container);
	return 0;
}
