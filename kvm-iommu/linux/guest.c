// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guests, see guest.h: found by their key, made, settled, freed. And those who
 * provide their memory, see memory_provider.h.
 *
 * guests_lock protects both lists and serialises making guests, so that a key
 * has one. It is taken outside of all other locks here, and inside of those that
 * are held across changes of slots (kvm->slots_lock); memory reclaim only tries
 * it. A guest that is being freed has left the list: its key may get a new one
 * meanwhile.
 */
#include <linux/file.h>
#include <linux/memcontrol.h>
#include <linux/module.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>

#include "guest.h"

static unsigned long idle_pins_mb = 64;
module_param(idle_pins_mb, ulong, 0644);
MODULE_PARM_DESC(idle_pins_mb,
		 "Memory of a guest that may stay pinned while no device can reach it, in MiB");

static DEFINE_MUTEX(guests_lock);
static LIST_HEAD(guests);
static LIST_HEAD(providers);
static struct workqueue_struct *kiommu_wq;

bool kiommu_guest_due(struct kiommu_mem *guest)
{
	return kiommu_notifier_due(guest) || kiommu_slots_due(guest);
}

void kiommu_guest_settle(struct kiommu_mem *guest)
{
	lockdep_assert_held_write(&guest->lock);
	/* First the slots: memory of those that are gone need not be looked at. */
	kiommu_slots_settle(guest);
	kiommu_notifier_settle(guest);
}

static void shrink(struct kiommu_mem *guest)
{
	u64 idle = kiommu_core_pins_idle(guest->pins);
	u64 pages = atomic64_xchg(&guest->shrink, 0);

	if (pages)
		kiommu_core_pins_trim(guest->pins, idle - min(idle, pages));
}

/* What is allocated is charged as if the process had come by itself. */
static void settle_work(struct work_struct *work)
{
	struct kiommu_mem *guest = container_of(work, struct kiommu_mem, work);
	struct mem_cgroup *memcg = get_mem_cgroup_from_mm(guest->mm);
	struct mem_cgroup *old = set_active_memcg(memcg);

	down_write(&guest->lock);
	kiommu_guest_settle(guest);
	shrink(guest);
	up_write(&guest->lock);
	set_active_memcg(old);
	mem_cgroup_put(memcg);
}

void kiommu_guest_kick(struct kiommu_mem *guest)
{
	queue_work(kiommu_wq, &guest->work);
}

/*
 * Asks a provider for the memory that @key names. Return: 0; -ENOENT it is none
 * of its; -ENODEV it is going away; -ENOMEM.
 */
static int get_memory(struct kiommu_mem *guest,
		      const struct kiommu_memory_provider *provider,
		      const void *key)
{
	struct kiommu_memory *memory;

	/* Not while its exit waits for guests_lock: nothing is its then. */
	if (!try_module_get(provider->owner))
		return -ENOENT;
	memory = provider->get(key);
	if (IS_ERR_OR_NULL(memory)) {
		module_put(provider->owner);
		return memory ? PTR_ERR(memory) : -ENOENT;
	}
	guest->provider = provider;
	guest->memory = memory;
	guest->mm = memory->mm;
	return 0;
}

static void put_memory(struct kiommu_mem *guest)
{
	struct module *owner = guest->provider->owner;

	guest->provider->put(guest->memory);
	module_put(owner);
}

static int find_memory(struct kiommu_mem *guest, const void *key)
{
	const struct kiommu_memory_provider *provider;
	int ret = -ENOENT;

	list_for_each_entry(provider, &providers, list) {
		ret = get_memory(guest, provider, key);
		if (ret != -ENOENT)
			break;
	}
	return ret;
}

struct kiommu_register {
	struct work_struct work;
	struct kiommu_mem *guest;
	int ret;
};

static void register_work(struct work_struct *work)
{
	struct kiommu_register *reg =
		container_of(work, struct kiommu_register, work);

	reg->ret = kiommu_notifier_register(reg->guest);
}

/*
 * mmu_notifier_register() fails when a signal is pending, and who opens a
 * device cannot be told to try again: a kernel thread does it.
 */
static int register_notifier(struct kiommu_mem *guest)
{
	struct kiommu_register reg = { .guest = guest };

	if (!mmget_not_zero(guest->mm))
		return -ENODEV;
	INIT_WORK_ONSTACK(&reg.work, register_work);
	queue_work(kiommu_wq, &reg.work);
	flush_work(&reg.work);
	destroy_work_on_stack(&reg.work);
	mmput(guest->mm);
	return reg.ret;
}

static struct kiommu_mem *create_guest(const void *key)
{
	u64 limit = min(READ_ONCE(idle_pins_mb), ULONG_MAX >> 20);
	struct kiommu_mem *guest;
	int ret;

	guest = kzalloc(sizeof(*guest), GFP_KERNEL_ACCOUNT);
	if (!guest)
		return ERR_PTR(-ENOMEM);
	refcount_set(&guest->refs, 1);
	init_rwsem(&guest->lock);
	INIT_WORK(&guest->work, settle_work);
	kiommu_mmio_init(&guest->mmio);
	kiommu_tracked_init(&guest->tracked);
	kiommu_notifier_init(&guest->notifier);

	ret = find_memory(guest, key);
	if (ret)
		goto err_free;
	ret = kiommu_core_pins_create(guest, limit << (20 - PAGE_SHIFT),
				      &guest->pins);
	if (ret)
		goto err_memory;
	ret = register_notifier(guest);
	if (ret)
		goto err_pins;
	return guest;

err_pins:
	kiommu_core_pins_destroy(guest->pins);
err_memory:
	/* The caller has a reference: this one is not the last. */
	put_memory(guest);
err_free:
	kfree(guest);
	return ERR_PTR(ret);
}

/* The guest with this key, referenced, or NULL. Context: guests_lock is held. */
static struct kiommu_mem *find_guest(const void *key)
{
	struct kiommu_mem *guest;

	list_for_each_entry(guest, &guests, list) {
		if (guest->memory->key == key) {
			refcount_inc(&guest->refs);
			return guest;
		}
	}
	return NULL;
}

static struct kiommu_mem *find_or_create_guest(const void *key)
{
	struct kiommu_mem *guest = find_guest(key);

	if (!guest) {
		guest = create_guest(key);
		if (IS_ERR(guest))
			return guest;
		list_add(&guest->list, &guests);
	}
	kiommu_slots_listen(guest);
	return guest;
}

struct kiommu_mem *kiommu_guest_get(const void *key)
{
	struct kiommu_mem *guest;

	mutex_lock(&guests_lock);
	guest = find_or_create_guest(key);
	mutex_unlock(&guests_lock);
	return guest;
}

/* The key of the guest whose file it is, or NULL. */
static const void *key_of_file(struct file *file)
{
	const struct kiommu_memory_provider *provider;
	const void *key = NULL;

	list_for_each_entry(provider, &providers, list) {
		key = provider->key_of_file(file);
		if (key)
			break;
	}
	return key;
}

struct kiommu_mem *kiommu_guest_get_fd(int fd)
{
	struct kiommu_mem *guest = ERR_PTR(-EINVAL);
	struct file *file;
	const void *key;

	file = fget(fd);
	if (!file)
		return ERR_PTR(-EBADF);
	mutex_lock(&guests_lock);
	/* The file holds what the key names. */
	key = key_of_file(file);
	if (key)
		guest = find_or_create_guest(key);
	mutex_unlock(&guests_lock);
	fput(file);
	return guest;
}

void kiommu_guest_slots_changed(const void *key)
{
	struct kiommu_mem *guest;

	mutex_lock(&guests_lock);
	guest = find_guest(key);
	mutex_unlock(&guests_lock);
	if (!guest)
		return;
	kiommu_slots_deleted(guest, 0, 0);
	/* If it is the last one: what the key names is held by the caller. */
	kiommu_guest_put(guest);
}
EXPORT_SYMBOL_NS_GPL(kiommu_guest_slots_changed, KVM_IOMMU);

void kiommu_memory_register(struct kiommu_memory_provider *provider)
{
	mutex_lock(&guests_lock);
	list_add(&provider->list, &providers);
	mutex_unlock(&guests_lock);
}
EXPORT_SYMBOL_NS_GPL(kiommu_memory_register, KVM_IOMMU);

void kiommu_memory_unregister(struct kiommu_memory_provider *provider)
{
	mutex_lock(&guests_lock);
	list_del(&provider->list);
	mutex_unlock(&guests_lock);
}
EXPORT_SYMBOL_NS_GPL(kiommu_memory_unregister, KVM_IOMMU);

/*
 * Who calls back goes first, then the work that callbacks queue, then what
 * both work on.
 */
void kiommu_guest_put(struct kiommu_mem *guest)
{
	if (!guest || !refcount_dec_and_mutex_lock(&guest->refs, &guests_lock))
		return;
	list_del(&guest->list);
	mutex_unlock(&guests_lock);

	kiommu_slots_ignore(guest);
	kiommu_notifier_unregister(guest);
	cancel_work_sync(&guest->work);
	kiommu_core_pins_destroy(guest->pins);
	kiommu_tracked_destroy(&guest->tracked);
	put_memory(guest);
	kfree(guest);
}

unsigned long kiommu_guests_idle(void)
{
	struct kiommu_mem *guest;
	unsigned long pages = 0;

	if (!mutex_trylock(&guests_lock))
		return 0;
	list_for_each_entry(guest, &guests, list)
		pages += kiommu_core_pins_idle(guest->pins);
	mutex_unlock(&guests_lock);
	return pages;
}

unsigned long kiommu_guests_shrink(unsigned long pages)
{
	struct kiommu_mem *guest;
	unsigned long asked = 0;

	if (!mutex_trylock(&guests_lock))
		return 0;
	list_for_each_entry(guest, &guests, list) {
		u64 idle = kiommu_core_pins_idle(guest->pins);
		u64 count = min_t(u64, idle, pages - asked);

		if (!count)
			continue;
		atomic64_add(count, &guest->shrink);
		kiommu_guest_kick(guest);
		asked += count;
	}
	mutex_unlock(&guests_lock);
	return asked;
}

/* Work here makes memory free: it must go on when there is none. */
int kiommu_guests_init(void)
{
	kiommu_wq = alloc_workqueue("kvm_iommu", WQ_UNBOUND | WQ_MEM_RECLAIM,
				    0);
	if (!kiommu_wq)
		return -ENOMEM;
	kiommu_memory_register(&kiommu_kvm_memory);
	return 0;
}

void kiommu_guests_exit(void)
{
	destroy_workqueue(kiommu_wq);
}
