// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guests, see guest.h: found by their KVM, made, settled, freed.
 *
 * guests_lock protects the list and serialises making guests, so that a KVM
 * has one. It is taken outside of all other locks here; memory reclaim only
 * tries it. A guest that is being freed has left the list: its KVM may get a
 * new one meanwhile.
 *
 * Symbols of kvm.ko are looked up when a KVM registers, as VFIO itself does:
 * this module loads without kvm.ko.
 */
#include <linux/file.h>
#include <linux/kvm_host.h>
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

static int get_kvm(struct kiommu_mem *guest, struct kvm *kvm)
{
	bool (*get)(struct kvm *kvm);

	guest->put_kvm = symbol_get(kvm_put_kvm);
	if (!guest->put_kvm)
		return -ENODEV;
	get = symbol_get(kvm_get_kvm_safe);
	if (!get)
		goto err_symbol;
	if (!get(kvm)) {
		symbol_put(kvm_get_kvm_safe);
		goto err_symbol;
	}
	symbol_put(kvm_get_kvm_safe);
	guest->kvm = kvm;
	guest->mm = kvm->mm;
	mmgrab(guest->mm);
	return 0;

err_symbol:
	symbol_put(kvm_put_kvm);
	return -ENODEV;
}

static void put_kvm(struct kiommu_mem *guest)
{
	guest->put_kvm(guest->kvm);
	symbol_put(kvm_put_kvm);
	mmdrop(guest->mm);
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

static struct kiommu_mem *create_guest(struct kvm *kvm)
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
	kiommu_notifier_init(&guest->notifier);

	ret = get_kvm(guest, kvm);
	if (ret)
		goto err_free;
	ret = kiommu_core_pins_create(guest, limit << (20 - PAGE_SHIFT),
				      &guest->pins);
	if (ret)
		goto err_kvm;
	ret = register_notifier(guest);
	if (ret)
		goto err_pins;
	return guest;

err_pins:
	kiommu_core_pins_destroy(guest->pins);
err_kvm:
	/* The caller has a reference: this one is not the last. */
	put_kvm(guest);
err_free:
	kfree(guest);
	return ERR_PTR(ret);
}

struct kiommu_mem *kiommu_guest_get(struct kvm *kvm)
{
	struct kiommu_mem *guest;

	mutex_lock(&guests_lock);
	list_for_each_entry(guest, &guests, list) {
		if (guest->kvm == kvm) {
			refcount_inc(&guest->refs);
			goto found;
		}
	}
	guest = create_guest(kvm);
	if (IS_ERR(guest))
		goto out;
	list_add(&guest->list, &guests);
found:
	kiommu_slots_register(guest);
out:
	mutex_unlock(&guests_lock);
	return guest;
}

struct kiommu_mem *kiommu_guest_get_fd(int fd)
{
	bool (*is_kvm)(struct file *file);
	struct kiommu_mem *guest = ERR_PTR(-EBADFD);
	struct file *file;

	file = fget(fd);
	if (!file)
		return ERR_PTR(-EBADF);

	is_kvm = symbol_get(file_is_kvm);
	if (is_kvm) {
		/* The file holds a reference to its KVM. */
		if (is_kvm(file))
			guest = kiommu_guest_get(file->private_data);
		symbol_put(file_is_kvm);
	}
	fput(file);
	return guest;
}

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

	kiommu_slots_unregister(guest);
	kiommu_notifier_unregister(guest);
	cancel_work_sync(&guest->work);
	kiommu_core_pins_destroy(guest->pins);
	put_kvm(guest);
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
	return kiommu_wq ? 0 : -ENOMEM;
}

void kiommu_guests_exit(void)
{
	destroy_workqueue(kiommu_wq);
}
