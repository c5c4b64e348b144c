// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guests, see guest.h: looking them up by key, making, settling and freeing
 * them.
 *
 * All tenants share guests_lock, so nothing is waited for or allocated under
 * it: it is held only to search the list or to change it. It is taken inside
 * locks that are held across changes of slots (kvm->slots_lock); memory reclaim
 * only tries to take it.
 *
 * A guest is made in two steps. What does not depend on others is done first;
 * then the guest enters the list, so that its key has one. Registering an MMU
 * notifier takes the mmap_lock of the guest's process, which the process can
 * hold for as long as it likes. A thread waits for it, and tasks that want the
 * guest wait for that thread, killably and under no lock. If it fails, the
 * guest leaves the list at once and all waiters get the error. When the last
 * waiter is killed, so is the thread. Otherwise the exit of that task would
 * wait for the thread, because an exiting task takes its mmap_lock for reading,
 * queued behind writers such as that thread.
 *
 * A guest that is being freed has left the list, too; its key may get a new
 * guest meanwhile.
 */
#include <linux/file.h>
#include <linux/kthread.h>
#include <linux/memcontrol.h>
#include <linux/module.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "guest/guest.h"
#include "guest/providers.h"
#include "port/compat.h"

static unsigned long idle_pins_mb = 64;
module_param(idle_pins_mb, ulong, 0644);
MODULE_PARM_DESC(idle_pins_mb,
		 "Memory of a guest that may stay pinned while no device can reach it, in MiB");

static DEFINE_MUTEX(guests_lock);
static LIST_HEAD(guests);

bool kiommu_guest_due(struct kiommu_guest *guest)
{
	return kiommu_notifier_due(guest) || kiommu_slots_due(guest) ||
	       READ_ONCE(guest->tracked.missed);
}

void kiommu_guest_settle(struct kiommu_guest *guest)
{
	lockdep_assert_held_write(&guest->lock);
	/* Slots first: memory of deleted slots need not be looked at. */
	kiommu_slots_settle(guest);
	kiommu_tracked_settle(guest);
	kiommu_notifier_settle(guest);
}

void kiommu_guest_unlock(struct kiommu_guest *guest)
{
	if (kiommu_core_pins_trim_due(guest->pins))
		kiommu_core_pins_trim_to_limit(guest->pins);
	up_write(&guest->lock);
}

/*
 * Pages count as asked for until they are unpinned, so that they are not asked
 * for twice.
 */
static void shrink(struct kiommu_guest *guest)
{
	u64 idle = kiommu_core_pins_idle(guest->pins);
	u64 pages = atomic64_read(&guest->shrink);

	if (!pages)
		return;
	kiommu_core_pins_trim(guest->pins, idle - min(idle, pages));
	atomic64_sub(pages, &guest->shrink);
}

/*
 * Allocations are charged to the process's memory cgroup, as if it had called.
 */
static void settle_work(struct work_struct *work)
{
	struct kiommu_guest *guest = container_of(work, struct kiommu_guest, work);
	struct mem_cgroup *memcg = get_mem_cgroup_from_mm(guest->mm);
	struct mem_cgroup *old = set_active_memcg(memcg);

	down_write(&guest->lock);
	kiommu_guest_settle(guest);
	shrink(guest);
	up_write(&guest->lock);
	set_active_memcg(old);
	mem_cgroup_put(memcg);
}

void kiommu_guest_kick(struct kiommu_guest *guest)
{
	queue_work(guest->wq, &guest->work);
}

/*
 * Work of a guest waits for its lock, and so for mmap_lock and inode locks,
 * whose holders may be in reclaim themselves. Work that reclaim can wait for
 * must not wait for these. So the queue has no WQ_MEM_RECLAIM, and reclaim
 * never waits for it (see shrinker.c).
 */
static struct workqueue_struct *alloc_works(void)
{
	return alloc_workqueue("kvm_iommu", WQ_UNBOUND, 0);
}

/* Idle pages that a guest may keep pinned. */
static u64 idle_limit(void)
{
	const u64 limit = min(READ_ONCE(idle_pins_mb), ULONG_MAX >> 20);

	return limit << (20 - PAGE_SHIFT);
}

/*
 * Makes what does not depend on others. The guest is in no list, and no
 * notifier is registered. Consumes what was found, also on failure.
 */
static struct kiommu_guest *alloc_guest(struct kiommu_found found)
{
	const u64 limit = found.provider->resolve ? 0 : idle_limit();
	struct kiommu_guest *guest;

	guest = kzalloc(sizeof(*guest), GFP_KERNEL_ACCOUNT);
	if (!guest)
		goto err_memory;
	guest->provider = found.provider;
	guest->memory = found.memory;
	guest->mm = found.memory->mm;
	refcount_set(&guest->refs, 1);
	INIT_LIST_HEAD(&guest->list);
	init_completion(&guest->made);
	init_rwsem(&guest->lock);
	INIT_WORK(&guest->work, settle_work);
	kiommu_slots_init(&guest->slots);
	kiommu_mmio_init(&guest->mmio);
	kiommu_tracked_init(&guest->tracked);
	kiommu_notifier_init(&guest->notifier);

	guest->wq = alloc_works();
	if (!guest->wq)
		goto err_free;
	if (kiommu_core_pins_create(guest, limit, &guest->pins))
		goto err_works;
	return guest;

err_works:
	destroy_workqueue(guest->wq);
err_free:
	kfree(guest);
err_memory:
	kiommu_providers_put(found);
	return ERR_PTR(-ENOMEM);
}

/*
 * No callback comes any more but kiommu_slots_deleted(), for memory that is not put
 * yet: whoever takes it away waits there until it is unpinned. Work that callbacks
 * have queued is done first.
 */
static void free_guest(struct kiommu_guest *guest)
{
	const struct kiommu_found found = { guest->provider, guest->memory };

	destroy_workqueue(guest->wq);
	down_write(&guest->lock);
	kiommu_core_pins_destroy(guest->pins);
	guest->pins = NULL;
	up_write(&guest->lock);
	kiommu_tracked_destroy(&guest->tracked);
	kiommu_providers_put(found);
	kfree(guest);
}

/*
 * Returns the guest with this key and a reference, or NULL. The caller holds
 * guests_lock.
 */
static struct kiommu_guest *find_guest(const void *key)
{
	struct kiommu_guest *guest;

	list_for_each_entry(guest, &guests, list) {
		if (guest->memory->key == key) {
			refcount_inc(&guest->refs);
			return guest;
		}
	}
	return NULL;
}

static struct kiommu_guest *look_up(const void *key)
{
	struct kiommu_guest *guest;

	mutex_lock(&guests_lock);
	guest = find_guest(key);
	mutex_unlock(&guests_lock);
	return guest;
}

/*
 * The guest is made, or making it failed. Context: no lock is held; the caller
 * has a reference.
 */
static void finish(struct kiommu_guest *guest, int error)
{
	mutex_lock(&guests_lock);
	guest->error = error;
	guest->maker = NULL;
	if (error)
		list_del_init(&guest->list);
	mutex_unlock(&guests_lock);
	complete_all(&guest->made);
}

static bool is_abandoned(struct kiommu_guest *guest)
{
	bool abandoned;

	mutex_lock(&guests_lock);
	abandoned = guest->error;
	mutex_unlock(&guests_lock);
	return abandoned;
}

/*
 * Owns a reference to the process's memory (mmget), to the guest and to this
 * module.
 */
static int make_thread(void *data)
{
	struct kiommu_guest *guest = data;
	int ret = -EINTR;

	/* A signal that was sent before this was lost. */
	allow_signal(SIGKILL);
	if (!is_abandoned(guest))
		ret = kiommu_notifier_register(guest);
	if (!ret)
		kiommu_slots_watch(guest);
	mmput(guest->mm);
	finish(guest, ret);
	kiommu_guest_put(guest);
	module_put_and_kthread_exit(0);
}

/*
 * Registering a notifier fails when a signal is pending, but opening a device
 * cannot be restarted. Also, a killed task must not be stuck waiting for
 * mmap_lock here. So a thread does it, one for each guest: work on a shared
 * queue could be held up by that of others.
 */
static int start_making(struct kiommu_guest *guest)
{
	struct task_struct *thread;

	if (!mmget_not_zero(guest->mm))
		return -ENODEV;
	kiommu_guest_hold(guest);
	__module_get(THIS_MODULE);
	thread = kthread_create(make_thread, guest, "kvm_iommu-guest");
	if (IS_ERR(thread)) {
		module_put(THIS_MODULE);
		mmput(guest->mm);
		/* Not the last reference: the caller has one. */
		refcount_dec(&guest->refs);
		return PTR_ERR(thread);
	}
	mutex_lock(&guests_lock);
	guest->maker = thread;
	mutex_unlock(&guests_lock);
	wake_up_process(thread);
	return 0;
}

/*
 * Has the thread give up if nobody waits for it any more. A caller that comes
 * before it has done so waits, gets the error, and makes the guest anew.
 */
static void stop_waiting(struct kiommu_guest *guest, bool killed)
{
	mutex_lock(&guests_lock);
	if (!--guest->waiters && killed && guest->maker) {
		guest->error = -EINTR;
		send_sig(SIGKILL, guest->maker, 1);
	}
	mutex_unlock(&guests_lock);
}

/* Return: 0; the error that making it failed with; -EINTR on a fatal signal. */
static int wait_until_made(struct kiommu_guest *guest)
{
	bool killed;

	mutex_lock(&guests_lock);
	guest->waiters++;
	mutex_unlock(&guests_lock);
	killed = wait_for_completion_killable(&guest->made);
	stop_waiting(guest, killed);
	return killed ? -EINTR : guest->error;
}

/*
 * Returns a guest that is made or being made: @guest, unless another one with
 * its key came first.
 */
static struct kiommu_guest *make_guest(struct kiommu_guest *guest)
{
	struct kiommu_guest *first;
	int ret;

	mutex_lock(&guests_lock);
	first = find_guest(guest->memory->key);
	if (!first)
		list_add(&guest->list, &guests);
	mutex_unlock(&guests_lock);
	if (first) {
		free_guest(guest);
		return first;
	}
	ret = start_making(guest);
	if (ret)
		finish(guest, ret);
	return guest;
}

/* Returns a new guest with the memory that @key names; it is in no list yet. */
static struct kiommu_guest *alloc_guest_of_key(const void *key)
{
	struct kiommu_found found;
	int ret;

	ret = kiommu_providers_find(key, &found);
	if (ret)
		return ERR_PTR(ret);
	return alloc_guest(found);
}

/*
 * @mm: the process that the guest must belong to, or NULL for any.
 */
static struct kiommu_guest *find_or_make(const void *key, struct mm_struct *mm)
{
	struct kiommu_guest *guest;
	int ret;

	guest = look_up(key);
	if (!guest) {
		guest = alloc_guest_of_key(key);
		if (IS_ERR(guest))
			return guest;
		if (mm && guest->mm != mm) {
			free_guest(guest);
			return ERR_PTR(-EPERM);
		}
		guest = make_guest(guest);
	}
	ret = mm && guest->mm != mm ? -EPERM : wait_until_made(guest);
	if (!ret)
		return guest;
	kiommu_guest_put(guest);
	return ERR_PTR(ret);
}

/*
 * No memory of a process is watched, so nothing can fail or has to be waited for. The
 * guest enters no list: nobody looks it up, as its key is known to the caller alone,
 * and to unpin its idle pages, which are pinned elsewhere as well, frees no memory.
 */
static void make_without_process(struct kiommu_guest *guest)
{
	kiommu_slots_watch(guest);
	complete_all(&guest->made);
}

struct kiommu_guest *
kiommu_guest_create(const struct kiommu_memory_provider *provider,
		    struct kiommu_memory *memory)
{
	struct kiommu_guest *guest;
	int ret;

	__module_get(provider->owner);
	guest = alloc_guest((struct kiommu_found){ provider, memory });
	if (IS_ERR(guest))
		return guest;
	if (!kiommu_guest_of_process(guest)) {
		make_without_process(guest);
		return guest;
	}
	guest = make_guest(guest);
	ret = wait_until_made(guest);
	if (!ret)
		return guest;
	kiommu_guest_put(guest);
	return ERR_PTR(ret);
}

/*
 * If the tasks that first waited for the guest were killed, try again: that is
 * no error of this caller.
 */
static struct kiommu_guest *get_guest(const void *key, struct mm_struct *mm)
{
	struct kiommu_guest *guest;

	do {
		guest = find_or_make(key, mm);
	} while (guest == ERR_PTR(-EINTR) && !fatal_signal_pending(current));
	return guest;
}

struct kiommu_guest *kiommu_guest_get(const void *key)
{
	return get_guest(key, NULL);
}

struct kiommu_guest *kiommu_guest_get_fd(int fd)
{
	struct kiommu_guest *guest = ERR_PTR(-EINVAL);
	struct file *file;
	const void *key;

	file = fget(fd);
	if (!file)
		return ERR_PTR(-EBADF);
	/* The file holds what the key names. */
	key = kiommu_providers_key(file);
	if (key)
		guest = get_guest(key, current->mm);
	fput(file);
	return guest;
}

void kiommu_guest_hold(struct kiommu_guest *guest)
{
	refcount_inc(&guest->refs);
}

void kiommu_guest_slots_changed(const void *key)
{
	struct kiommu_guest *guest = look_up(key);

	if (!guest)
		return;
	kiommu_slots_deleted(guest, 0, 0);
	/* May be the last reference; the caller holds what the key names. */
	kiommu_guest_put(guest);
}
EXPORT_SYMBOL_NS_GPL(kiommu_guest_slots_changed, KIOMMU_NAMESPACE(KVM_IOMMU));

/*
 * Callbacks are unregistered first, then the work that they queue is drained,
 * then what both use is freed. With the last reference gone, making the guest
 * has ended, because the thread that makes it has a reference, too.
 */
void kiommu_guest_put(struct kiommu_guest *guest)
{
	if (!guest || !refcount_dec_and_mutex_lock(&guest->refs, &guests_lock))
		return;
	list_del(&guest->list);
	mutex_unlock(&guests_lock);

	if (!guest->error) {
		kiommu_slots_ignore(guest);
		if (kiommu_guest_of_process(guest))
			kiommu_notifier_unregister(guest);
	}
	free_guest(guest);
}

/* Idle pages that were not asked for yet. */
static u64 idle_pages(struct kiommu_guest *guest)
{
	u64 idle = kiommu_core_pins_idle(guest->pins);
	u64 asked = atomic64_read(&guest->shrink);

	return idle - min(idle, asked);
}

unsigned long kiommu_guests_idle(void)
{
	struct kiommu_guest *guest;
	unsigned long pages = 0;

	if (!mutex_trylock(&guests_lock))
		return 0;
	list_for_each_entry(guest, &guests, list)
		pages += idle_pages(guest);
	mutex_unlock(&guests_lock);
	return pages;
}

unsigned long kiommu_guests_shrink(unsigned long pages)
{
	struct kiommu_guest *guest;
	unsigned long asked = 0;

	if (!mutex_trylock(&guests_lock))
		return 0;
	list_for_each_entry(guest, &guests, list) {
		u64 count = min_t(u64, idle_pages(guest), pages - asked);

		if (!count)
			continue;
		atomic64_add(count, &guest->shrink);
		kiommu_guest_kick(guest);
		asked += count;
	}
	mutex_unlock(&guests_lock);
	return asked;
}

void kiommu_guests_init(void)
{
	kiommu_memory_register(&kiommu_kvm_memory);
}
