// SPDX-License-Identifier: GPL-2.0-only
/*
 * zPCI functions that KVMs have started, see zpci_functions.h.
 *
 * The table is a hash of KVMs: what is found by one is a short list of its own
 * functions, among which the handle is looked for by what the zdev says now. A
 * zdev is freed by RCU: its handle can be read in look-ups also when it has gone.
 *
 * functions_lock comes before D: it serialises START and STOP, so that a function
 * is started once, and the last one of a container is known. Look-ups do not take
 * it.
 */
#include <linux/hashtable.h>
#include <linux/iommu.h>
#include <linux/pci.h>
#include <linux/slab.h>

#include "container.h"
#include "guest.h"
#include "lock.h"
#include "zpci_functions.h"

static DEFINE_HASHTABLE(functions, 8);
static DEFINE_MUTEX(functions_lock); /* of changes of the table */

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
		found = function->key == key;
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
		    refcount_inc_not_zero(&function->refs)) {
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
		    refcount_inc_not_zero(&function->refs)) {
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
	return function->container ? 0 : -ENXIO;
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

/*
 * Context: functions_lock is held. Return: as kiommu_container_start(); -ENXIO
 * the container has no open device, or was released.
 */
static int start_locked(struct kiommu_function *function,
			struct kiommu_mem *guest)
{
	struct kiommu_container *container = function->container;
	int ret;

	ret = check_unused(function->key, function->zdev);
	if (ret)
		return ret;
	ret = kiommu_lock_exclusive_killable(container);
	if (ret)
		return ret == -ESTALE ? -ENXIO : ret;
	ret = kiommu_container_start(container, guest);
	kiommu_unlock_exclusive(container);
	/* ENODEV is for a KVM or a function that is going away. */
	if (ret == -ENODEV)
		return -ENXIO;
	if (ret < 0)
		return ret;
	function->registered = !ret;
	hash_add_rcu(functions, &function->node, (unsigned long)function->key);
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
	mutex_lock(&functions_lock);
	ret = start_locked(function, guest);
	mutex_unlock(&functions_lock);
	if (ret)
		kiommu_guest_put(guest);
	if (ret < 0)
		free_function(function);
	return min(ret, 0);
}

/*
 * The function leaves its container, whose lock is held, as is functions_lock.
 * Return: what is for kiommu_container_leave() then.
 */
static struct kiommu_left leave_container(struct kiommu_function *function)
{
	struct kiommu_container *container = function->container;
	struct kiommu_left nothing = {};
	struct kiommu_function *other;

	if (!container->domain)
		return nothing;
	kiommu_zpci_reset(&function->zpci, container->domain);
	if (!function->registered)
		return nothing;
	hash_for_each_possible(functions, other, node,
			       (unsigned long)function->key) {
		if (other->container == container) {
			other->registered = true;
			return nothing;
		}
	}
	/* User space may have exchanged it meanwhile. */
	if (!container->guest || container->guest->memory->key != function->key)
		return nothing;
	return kiommu_container_stop(container);
}

/* Context: functions_lock is held; the caller gets the table's reference. */
static struct kiommu_left stop_locked(struct kiommu_function *function)
{
	struct kiommu_left left;

	hash_del_rcu(&function->node);
	kiommu_lock_exclusive(function->container);
	left = leave_container(function);
	kiommu_unlock_exclusive(function->container);
	return left;
}

/* The last reference but for calls under way, which end soon: it is stopped. */
static void wait_and_free(struct kiommu_function *function,
			  struct kiommu_left left)
{
	kiommu_container_leave(left);
	kiommu_function_put(function);
	wait_for_completion(&function->unused);
	free_function(function);
}

int kiommu_function_stop(const void *key, struct zpci_dev *zdev)
{
	struct kiommu_function *function;
	struct kiommu_left left = {};

	mutex_lock(&functions_lock);
	function = kiommu_function_get(key, zdev);
	if (function)
		left = stop_locked(function);
	mutex_unlock(&functions_lock);
	if (!function)
		return -ENOENT;
	kiommu_function_put(function);
	wait_and_free(function, left);
	return 0;
}

void kiommu_functions_exit(void)
{
	struct kiommu_function *function;
	struct hlist_node *next;
	struct kiommu_left left;
	int bucket;

	hash_for_each_safe(functions, bucket, next, function, node) {
		mutex_lock(&functions_lock);
		left = stop_locked(function);
		mutex_unlock(&functions_lock);
		wait_and_free(function, left);
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
