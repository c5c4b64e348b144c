// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM as the provider of a guest's memory, see memory_provider.h.
 *
 * Symbols of kvm.ko are looked up when a KVM is registered, as in VFIO, so this
 * module loads without kvm.ko. Memory slots are read under kvm->srcu by the
 * inline functions of kvm_host.h, which need no symbol.
 *
 * KVM's page tracker, while it is registered, calls track_deleted() from within
 * KVM_SET_USER_MEMORY_REGION, under kvm->slots_lock, once the slot cannot be
 * found any more: see slots.c. It does so for slots of each address space. It
 * must not be unregistered under the guest's lock, because that waits for
 * track_deleted() to return. On kernels without the tracker, changes of slots
 * are noticed by the generation.
 *
 * The tracker calls track_write() after each store that KVM emulates, in the
 * vCPU's thread and with kvm->srcu held for reading: see tracked_pages.c.
 */
#include <linux/interval_tree.h>
#include <linux/kallsyms.h>
#include <linux/kvm_host.h>
#include <linux/module.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/version.h>

#include "guest/guest.h"

/**
 * struct kvm_memory - a KVM that is registered
 * @memory: its key is @kvm.
 * @kvm: referenced.
 * @put_kvm: kvm_put_kvm(); holds a reference to kvm.ko.
 * @guest: guest that @tracker reports to, while it is registered.
 * @tracker: called by KVM for deleted slots and for stores.
 * @untrack: kvm_page_track_unregister_notifier() while @tracker is registered,
 *	else NULL. Protected by kiommu_slots.lock.
 * @add_gfn: kvm_write_track_add_gfn().
 * @remove_gfn: kvm_write_track_remove_gfn(). Both are set when @tracker is
 *	first registered; @put_kvm holds kvm.ko for them.
 */
struct kvm_memory {
	struct kiommu_memory memory;
	struct kvm *kvm;
	void (*put_kvm)(struct kvm *kvm);
#ifdef CONFIG_KVM_EXTERNAL_WRITE_TRACKING
	struct kiommu_guest *guest;
	struct kvm_page_track_notifier_node tracker;
	void (*untrack)(struct kvm *kvm,
			struct kvm_page_track_notifier_node *tracker);
	int (*add_gfn)(struct kvm *kvm, gfn_t gfn);
	int (*remove_gfn)(struct kvm *kvm, gfn_t gfn);
#endif
};

static struct kvm_memory *to_kvm_memory(struct kiommu_memory *memory)
{
	return container_of(memory, struct kvm_memory, memory);
}

/* Whether the file is that of a VM, whose private_data is the struct kvm. */
#if KERNEL_VERSION(7, 0, 0) > LINUX_VERSION_CODE

static bool is_vm(struct file *file)
{
	bool (*is_kvm)(struct file *file);
	bool ret;

	is_kvm = symbol_get(file_is_kvm);
	if (!is_kvm)
		return false;
	ret = is_kvm(file);
	symbol_put(file_is_kvm);
	return ret;
}

#else

/*
 * file_is_kvm() is for KVM's own modules only by now. So the kernel is asked for the
 * name of the function that serves the file's ioctls. That of VMs is a static function
 * of kvm.ko, kvm_vm_ioctl(), which itself takes any file that it is called for to be a
 * VM's. User space chooses neither the operations of a file nor the names of
 * functions; module names are unique, and the file keeps the module from going away.
 * The offset must be 0, and nothing may follow the module: "kvm_vm_ioctl+0x0/0x123
 * [kvm]", without the last word if KVM is built in. Where names are missing
 * (CONFIG_KALLSYMS), or a compiler has changed this one, no file is a VM's.
 */
static noinline_for_stack bool is_vm(struct file *file)
{
	static const char function[] = "kvm_vm_ioctl+0x0/0x";
	const unsigned long ioctl = (unsigned long)file->f_op->unlocked_ioctl;
	char name[KSYM_SYMBOL_LEN];
	size_t size;

	if (!ioctl)
		return false;
	sprint_symbol(name, ioctl);
	size = str_has_prefix(name, function);
	if (!size)
		return false;
	size += strspn(name + size, "0123456789abcdef");
	return !strcmp(name + size, IS_MODULE(CONFIG_KVM) ? " [kvm]" : "");
}

#endif

static const void *key_of_file(struct file *file)
{
	return is_vm(file) ? file->private_data : NULL;
}

static int get_kvm(struct kvm_memory *memory, struct kvm *kvm)
{
	bool (*get)(struct kvm *kvm);

	memory->put_kvm = symbol_get(kvm_put_kvm);
	if (!memory->put_kvm)
		return -ENODEV;
	get = symbol_get(kvm_get_kvm_safe);
	if (!get)
		goto err_symbol;
	if (!get(kvm)) {
		symbol_put(kvm_get_kvm_safe);
		goto err_symbol;
	}
	symbol_put(kvm_get_kvm_safe);
	memory->kvm = kvm;
	return 0;

err_symbol:
	symbol_put(kvm_put_kvm);
	return -ENODEV;
}

/* KVM is asked last: a key that no other provider knows is a KVM. */
static struct kiommu_memory *get_memory(const void *key)
{
	struct kvm_memory *memory;
	int ret;

	memory = kzalloc(sizeof(*memory), GFP_KERNEL_ACCOUNT);
	if (!memory)
		return ERR_PTR(-ENOMEM);
	ret = get_kvm(memory, (struct kvm *)key);
	if (ret) {
		kfree(memory);
		return ERR_PTR(ret);
	}
	memory->memory.key = key;
	memory->memory.mm = memory->kvm->mm;
	mmgrab(memory->memory.mm);
	return &memory->memory;
}

static void put_memory(struct kiommu_memory *base)
{
	struct kvm_memory *memory = to_kvm_memory(base);
	struct mm_struct *mm = base->mm;

	memory->put_kvm(memory->kvm);
	symbol_put(kvm_put_kvm);
	mmdrop(mm);
	kfree(memory);
}

/*
 * Looks up slots of address space 0, which is what devices see. Slots that KVM
 * made for itself are not the guest's memory.
 */
static int find_slot(struct kiommu_memory *memory, u64 gfn,
		     struct kiommu_slot *slot)
{
	struct kvm *kvm = to_kvm_memory(memory)->kvm;
	struct kvm_memslot_iter iter;
	int ret = -ENOENT;
	int idx;

	idx = srcu_read_lock(&kvm->srcu);
	kvm_for_each_memslot_in_gfn_range(&iter, kvm_memslots(kvm), gfn,
					  ~0ULL) {
		const struct kvm_memory_slot *found = iter.slot;

		if (!kvm_is_visible_memslot(iter.slot))
			continue;
		slot->first_gfn = found->base_gfn;
		slot->pages = found->npages;
		slot->hva = found->userspace_addr;
		slot->flags = 0;
		if (found->flags & KVM_MEM_READONLY)
			slot->flags |= KIOMMU_SLOT_READ_ONLY;
		if (found->flags & KVM_MEM_GUEST_MEMFD)
			slot->flags |= KIOMMU_SLOT_PRIVATE;
		ret = 0;
		break;
	}
	srcu_read_unlock(&kvm->srcu, idx);
	return ret;
}

static bool hold_hva(struct kiommu_memory *memory, unsigned long first,
		     unsigned long last)
{
	struct kvm *kvm = to_kvm_memory(memory)->kvm;
	bool found;
	int idx;

	idx = srcu_read_lock(&kvm->srcu);
	found = interval_tree_iter_first(&kvm_memslots(kvm)->hva_tree, first,
					 last);
	srcu_read_unlock(&kvm->srcu, idx);
	return found;
}

/*
 * The slot arrays are part of struct kvm. When one becomes active, its
 * generation is updated last.
 */
static u64 generation(struct kiommu_memory *memory)
{
	struct kvm *kvm = to_kvm_memory(memory)->kvm;
	struct kvm_memslots *slots =
		rcu_dereference_check(kvm->memslots[0], true);

	/*
	 * Pairs with the update of the generation: slots looked up after this
	 * are at least as new.
	 */
	return smp_load_acquire(&slots->generation);
}

#ifdef CONFIG_KVM_EXTERNAL_WRITE_TRACKING

static void track_deleted(gfn_t gfn, unsigned long pages,
			  struct kvm_page_track_notifier_node *node)
{
	kiommu_slots_deleted(container_of(node, struct kvm_memory,
					  tracker)->guest,
			     gfn, pages);
}

static void track_write(gpa_t gpa, const u8 *new, int bytes,
			struct kvm_page_track_notifier_node *node)
{
	kiommu_tracked_store(container_of(node, struct kvm_memory,
					  tracker)->guest,
			     gpa, bytes);
}

/* The symbols stay valid while kvm.ko is referenced. */
static void find_symbols(struct kvm_memory *memory)
{
	memory->add_gfn = symbol_get(kvm_write_track_add_gfn);
	if (memory->add_gfn)
		symbol_put(kvm_write_track_add_gfn);
	memory->remove_gfn = symbol_get(kvm_write_track_remove_gfn);
	if (memory->remove_gfn)
		symbol_put(kvm_write_track_remove_gfn);
}

/*
 * KVM allocates two bytes for each page of each slot, charged to the caller,
 * and takes slots_arch_lock and mmu_lock of the VM, so this can take long. KVM
 * allows it only to the process that created the VM.
 */
static int listen(struct kiommu_memory *base, struct kiommu_guest *guest)
{
	struct kvm_memory *memory = to_kvm_memory(base);
	int (*track)(struct kvm *kvm,
		     struct kvm_page_track_notifier_node *tracker);
	int ret = -EOPNOTSUPP;
	int idx;

	track = symbol_get(kvm_page_track_register_notifier);
	if (!track)
		return ret;
	memory->untrack = symbol_get(kvm_page_track_unregister_notifier);
	if (!memory->untrack)
		goto out;
	memory->tracker.track_remove_region = track_deleted;
	memory->tracker.track_write = track_write;
	memory->guest = guest;
	find_symbols(memory);
	/* It walks all slots with only slots_arch_lock held, not slots_lock. */
	idx = srcu_read_lock(&memory->kvm->srcu);
	ret = track(memory->kvm, &memory->tracker);
	srcu_read_unlock(&memory->kvm->srcu, idx);
	if (ret) {
		symbol_put(kvm_page_track_unregister_notifier);
		memory->untrack = NULL;
	}
out:
	symbol_put(kvm_page_track_register_notifier);
	return ret;
}

static void ignore(struct kiommu_memory *base)
{
	struct kvm_memory *memory = to_kvm_memory(base);

	memory->untrack(memory->kvm, &memory->tracker);
	memory->untrack = NULL;
	symbol_put(kvm_page_track_unregister_notifier);
}

static bool can_track(struct kiommu_memory *base)
{
	struct kvm_memory *memory = to_kvm_memory(base);

	return memory->add_gfn && memory->remove_gfn;
}

static int track(struct kiommu_memory *base, u64 gfn)
{
	struct kvm_memory *memory = to_kvm_memory(base);

	return memory->add_gfn(memory->kvm, gfn);
}

static void untrack(struct kiommu_memory *base, u64 gfn)
{
	struct kvm_memory *memory = to_kvm_memory(base);

	memory->remove_gfn(memory->kvm, gfn);
}

#endif

struct kiommu_memory_provider kiommu_kvm_memory = {
	.key_of_file = key_of_file,
	.get = get_memory,
	.put = put_memory,
	.find_slot = find_slot,
	.hold_hva = hold_hva,
	.generation = generation,
#ifdef CONFIG_KVM_EXTERNAL_WRITE_TRACKING
	.listen = listen,
	.ignore = ignore,
	.can_track = can_track,
	.track = track,
	.untrack = untrack,
#endif
};
