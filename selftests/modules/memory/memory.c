// SPDX-License-Identifier: GPL-2.0-only
/*
 * /dev/kiommu_memory: see kiommu_memory.h for what it does, and
 * memory_provider.h for what kvm_iommu.ko expects of it.
 *
 * The slots of a memory are an array that is never changed: a change makes a
 * new array and replaces the pointer. Lookups read it under RCU, and copy what
 * they find. After the replacement kvm_iommu.ko is told if a slot has gone, and
 * waits for the calls that may have found it. So a change needs a grace period
 * only to free the old array.
 */
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/overflow.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "kiommu_memory.h"
#include "memory.h"

struct slot {
	u32 id;
	u32 flags;
	u64 gfn;
	u64 pages;
	u64 hva;
};

/**
 * struct kiommu_test_slots - the slots at one time
 * @rcu: frees the array after a grace period.
 * @generation: counts changes.
 * @count: number of slots.
 * @slot: sorted by GFN, none overlaps another.
 */
struct kiommu_test_slots {
	struct rcu_head rcu;
	u64 generation;
	unsigned int count;
	struct slot slot[] __counted_by(count);
};

static DEFINE_MUTEX(memories_lock);
static LIST_HEAD(memories); /* protected by memories_lock */

static const struct file_operations memory_fops;

static struct kiommu_test_memory *to_test(struct kiommu_memory *memory)
{
	return container_of(memory, struct kiommu_test_memory, memory);
}

static void free_memory(struct kref *refs)
{
	struct kiommu_test_memory *memory =
		container_of(refs, struct kiommu_test_memory, refs);

	/* There are no more lookups. */
	kfree(rcu_dereference_protected(memory->slots, true));
	mmdrop(memory->memory.mm);
	mutex_destroy(&memory->slots_lock);
	kfree(memory);
}

/* The provider */

static const void *key_of_file(struct file *file)
{
	return file->f_op == &memory_fops ? file->private_data : NULL;
}

/* The key may point to anything: it is only compared. */
static struct kiommu_memory *get_memory(const void *key)
{
	struct kiommu_test_memory *memory;
	struct kiommu_memory *found = NULL;

	mutex_lock(&memories_lock);
	list_for_each_entry(memory, &memories, list) {
		if (memory == key) {
			kref_get(&memory->refs);
			found = &memory->memory;
			break;
		}
	}
	mutex_unlock(&memories_lock);
	return found;
}

static void put_memory(struct kiommu_memory *memory)
{
	kref_put(&to_test(memory)->refs, free_memory);
}

static int find_slot(struct kiommu_memory *memory, u64 gfn,
		     struct kiommu_slot *found)
{
	const struct kiommu_test_slots *slots;
	unsigned int low = 0, high;
	int ret = -ENOENT;

	rcu_read_lock();
	slots = rcu_dereference(to_test(memory)->slots);
	/* Find the first slot that ends above @gfn. */
	high = slots->count;
	while (low < high) {
		unsigned int middle = (low + high) / 2;
		const struct slot *slot = &slots->slot[middle];

		if (slot->gfn + slot->pages > gfn)
			high = middle;
		else
			low = middle + 1;
	}
	if (low < slots->count) {
		const struct slot *slot = &slots->slot[low];

		found->first_gfn = slot->gfn;
		found->pages = slot->pages;
		found->hva = slot->hva;
		found->flags = slot->flags & KIOMMU_MEMORY_READONLY ?
			       KIOMMU_SLOT_READ_ONLY : 0;
		ret = 0;
	}
	rcu_read_unlock();
	return ret;
}

static bool hold_hva(struct kiommu_memory *memory, unsigned long first,
		     unsigned long last)
{
	const struct kiommu_test_slots *slots;
	bool found = false;
	unsigned int i;

	rcu_read_lock();
	slots = rcu_dereference(to_test(memory)->slots);
	for (i = 0; i < slots->count && !found; i++) {
		const struct slot *slot = &slots->slot[i];

		found = slot->hva <= last &&
			first < slot->hva + (slot->pages << PAGE_SHIFT);
	}
	rcu_read_unlock();
	return found;
}

static u64 generation(struct kiommu_memory *memory)
{
	u64 number;

	rcu_read_lock();
	number = rcu_dereference(to_test(memory)->slots)->generation;
	rcu_read_unlock();
	return number;
}

static struct kiommu_memory_provider provider = {
	.owner = THIS_MODULE,
	.key_of_file = key_of_file,
	.get = get_memory,
	.put = put_memory,
	.find_slot = find_slot,
	.hold_hva = hold_hva,
	.generation = generation,
};

/* Changes of slots */

static const struct slot *slot_with_id(const struct kiommu_test_slots *slots,
				       u32 id)
{
	unsigned int i;

	for (i = 0; i < slots->count; i++)
		if (slots->slot[i].id == id)
			return &slots->slot[i];
	return NULL;
}

/* The checks that KVM does before it looks at its slots. */
static int check_slot(const struct kiommu_memory_slot *arg, struct slot *slot)
{
	const u32 flags = KIOMMU_MEMORY_LOG_DIRTY | KIOMMU_MEMORY_READONLY;
	u64 end;

	if (arg->slot >= KIOMMU_MEMORY_MAX_SLOTS || arg->flags & ~flags ||
	    arg->gpa & ~PAGE_MASK || arg->size & ~PAGE_MASK ||
	    arg->userspace_addr & ~PAGE_MASK ||
	    arg->size >> PAGE_SHIFT > KIOMMU_MEMORY_MAX_PAGES ||
	    check_add_overflow(arg->gpa, arg->size, &end) ||
	    !access_ok(u64_to_user_ptr(arg->userspace_addr), arg->size))
		return -EINVAL;
	slot->id = arg->slot;
	slot->flags = arg->flags;
	slot->gfn = arg->gpa >> PAGE_SHIFT;
	slot->pages = arg->size >> PAGE_SHIFT;
	slot->hva = arg->userspace_addr;
	return 0;
}

/* Only the GPA and the dirty logging of an existing slot can change. */
static bool may_become(const struct slot *old, const struct slot *slot)
{
	return old->hva == slot->hva && old->pages == slot->pages &&
	       !((old->flags ^ slot->flags) & KIOMMU_MEMORY_READONLY);
}

/* The slots without the one that @slot names, plus @slot if it has pages. */
static struct kiommu_test_slots *
changed_slots(const struct kiommu_test_slots *old, const struct slot *slot)
{
	struct kiommu_test_slots *new;
	bool placed = !slot->pages;
	unsigned int i, count = 0;

	new = kzalloc(struct_size(new, slot, old->count + 1),
		      GFP_KERNEL_ACCOUNT);
	if (!new)
		return ERR_PTR(-ENOMEM);
	new->generation = old->generation + 1;
	new->count = old->count + 1;
	for (i = 0; i < old->count; i++) {
		const struct slot *other = &old->slot[i];

		if (other->id == slot->id)
			continue;
		if (slot->gfn < other->gfn + other->pages &&
		    other->gfn < slot->gfn + slot->pages) {
			kfree(new);
			return ERR_PTR(-EEXIST);
		}
		if (!placed && slot->gfn < other->gfn) {
			new->slot[count++] = *slot;
			placed = true;
		}
		new->slot[count++] = *other;
	}
	if (!placed)
		new->slot[count++] = *slot;
	new->count = count;
	return new;
}

/* The caller holds slots_lock. */
static int change_slot(struct kiommu_test_memory *memory,
		       const struct slot *slot)
{
	struct kiommu_test_slots *old, *new;
	const struct slot *before;
	bool goes;

	old = rcu_dereference_protected(memory->slots,
					lockdep_is_held(&memory->slots_lock));
	before = slot_with_id(old, slot->id);
	if (!slot->pages && !before)
		return -EINVAL;
	if (slot->pages && before && !may_become(before, slot))
		return -EINVAL;
	goes = before && (!slot->pages || before->gfn != slot->gfn);
	new = changed_slots(old, slot);
	if (IS_ERR(new))
		return PTR_ERR(new);
	rcu_assign_pointer(memory->slots, new);
	kfree_rcu(old, rcu);
	if (goes)
		kiommu_test_slots_changed(memory);
	return 0;
}

static int set_slot(struct kiommu_test_memory *memory, void __user *argp)
{
	struct kiommu_memory_slot arg;
	struct slot slot;
	int ret;

	if (copy_from_user(&arg, argp, sizeof(arg)))
		return -EFAULT;
	ret = check_slot(&arg, &slot);
	if (ret)
		return ret;
	mutex_lock(&memory->slots_lock);
	ret = change_slot(memory, &slot);
	mutex_unlock(&memory->slots_lock);
	return ret;
}

/* The file */

static int memory_open(struct inode *inode, struct file *file)
{
	struct kiommu_test_memory *memory;
	struct kiommu_test_slots *slots;

	memory = kzalloc(sizeof(*memory), GFP_KERNEL_ACCOUNT);
	slots = kzalloc(sizeof(*slots), GFP_KERNEL_ACCOUNT);
	if (!memory || !slots) {
		kfree(memory);
		kfree(slots);
		return -ENOMEM;
	}
	kref_init(&memory->refs);
	mutex_init(&memory->slots_lock);
	RCU_INIT_POINTER(memory->slots, slots);
	memory->memory.key = memory;
	memory->memory.mm = current->mm;
	mmgrab(current->mm);
	mutex_lock(&memories_lock);
	list_add(&memory->list, &memories);
	mutex_unlock(&memories_lock);
	file->private_data = memory;
	return nonseekable_open(inode, file);
}

/* A guest may keep the memory and its slots for longer. */
static int memory_release(struct inode *inode, struct file *file)
{
	struct kiommu_test_memory *memory = file->private_data;

	kiommu_test_hook_release(memory);
	mutex_lock(&memories_lock);
	list_del(&memory->list);
	mutex_unlock(&memories_lock);
	kref_put(&memory->refs, free_memory);
	return 0;
}

static int reset_error(void __user *argp)
{
	struct kiommu_memory_function function;

	if (copy_from_user(&function, argp, sizeof(function)))
		return -EFAULT;
	return kiommu_test_reset_error(&function);
}

static long memory_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct kiommu_test_memory *memory = file->private_data;
	void __user *argp = (void __user *)arg;

	if (current->mm != memory->memory.mm)
		return -EIO;
	switch (cmd) {
	case KIOMMU_MEMORY_SET_SLOT:
		return set_slot(memory, argp);
	case KIOMMU_MEMORY_RESET_ERROR:
		return reset_error(argp);
	default:
		return kiommu_test_hook_ioctl(memory, cmd, arg);
	}
}

static const struct file_operations memory_fops = {
	.owner = THIS_MODULE,
	.open = memory_open,
	.release = memory_release,
	.unlocked_ioctl = memory_ioctl,
};

static struct miscdevice memory_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "kiommu_memory",
	.fops = &memory_fops,
};

static int __init memory_init(void)
{
	int ret;

	kiommu_memory_register(&provider);
	ret = misc_register(&memory_device);
	if (ret)
		kiommu_memory_unregister(&provider);
	return ret;
}
module_init(memory_init);

static void __exit memory_exit(void)
{
	misc_deregister(&memory_device);
	kiommu_memory_unregister(&provider);
}
module_exit(memory_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Guest memory without KVM, for tests of kvm_iommu");
MODULE_IMPORT_NS(KVM_IOMMU);
