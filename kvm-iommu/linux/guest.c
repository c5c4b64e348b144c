// SPDX-License-Identifier: GPL-2.0-only
/*
 * The guest's memory, see guest.h: the slots of a KVM, and reads through them.
 *
 * Symbols of kvm.ko are looked up when a KVM registers, as VFIO itself does:
 * this module loads without kvm.ko. Memory slots need none of them: they are
 * read under kvm->srcu by the inline functions of kvm_host.h.
 */
#include <linux/file.h>
#include <linux/kvm_host.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "guest.h"
#include "port.h"

struct kiommu_mem *kiommu_guest_get(struct kvm *kvm)
{
	bool (*get_kvm)(struct kvm *kvm);
	struct kiommu_mem *guest;

	guest = kzalloc(sizeof(*guest), GFP_KERNEL_ACCOUNT);
	if (!guest)
		return ERR_PTR(-ENOMEM);

	guest->put_kvm = symbol_get(kvm_put_kvm);
	if (!guest->put_kvm)
		goto err_free;
	get_kvm = symbol_get(kvm_get_kvm_safe);
	if (!get_kvm)
		goto err_symbol;
	if (!get_kvm(kvm)) {
		symbol_put(kvm_get_kvm_safe);
		goto err_symbol;
	}
	symbol_put(kvm_get_kvm_safe);

	guest->kvm = kvm;
	guest->mm = kvm->mm;
	mmgrab(guest->mm);
	return guest;

err_symbol:
	symbol_put(kvm_put_kvm);
err_free:
	kfree(guest);
	return ERR_PTR(-ENODEV);
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

void kiommu_guest_put(struct kiommu_mem *guest)
{
	if (!guest)
		return;
	guest->put_kvm(guest->kvm);
	symbol_put(kvm_put_kvm);
	mmdrop(guest->mm);
	kfree(guest);
}

/*
 * Slots of address space 0: what devices see. Slots that KVM made for itself
 * are not the guest's memory.
 */
int kiommu_port_find_slot(struct kiommu_mem *mem, kiommu_u64 gfn,
			  struct kiommu_slot *slot)
{
	struct kvm_memslot_iter iter;
	int ret = -ENOENT;
	int idx;

	idx = srcu_read_lock(&mem->kvm->srcu);
	kvm_for_each_memslot_in_gfn_range(&iter, kvm_memslots(mem->kvm), gfn,
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
		if (kvm_slot_can_be_private(found))
			slot->flags |= KIOMMU_SLOT_PRIVATE;
		ret = 0;
		break;
	}
	srcu_read_unlock(&mem->kvm->srcu, idx);
	return ret;
}

/*
 * A guest can point to the BAR of its device: reading registers may change
 * the device.
 */
static int check_no_mmio(struct mm_struct *mm, unsigned long hva,
			 unsigned long bytes)
{
	const unsigned long mmio = VM_IO | VM_PFNMAP;
	struct vm_area_struct *vma;
	int ret = 0;

	if (mmap_read_lock_killable(mm))
		return -EFAULT;
	vma = vma_lookup(mm, hva);
	if (vma && vma->vm_flags & mmio)
		ret = -ENXIO;
	/* A table can reach over a page, and so into the next mapping. */
	if (vma && vma->vm_end - hva < bytes) {
		vma = vma_lookup(mm, vma->vm_end);
		if (vma && vma->vm_flags & mmio)
			ret = -ENXIO;
	}
	mmap_read_unlock(mm);
	return ret;
}

/*
 * The guest writes entries while they are read: each is one aligned 8-byte
 * load, and is looked at in the copy only.
 */
int kiommu_port_read_entries(struct kiommu_mem *mem, kiommu_u64 hva,
			     kiommu_u64 *entries, kiommu_u32 count)
{
	const u64 __user *from = u64_to_user_ptr(hva);
	kiommu_u32 i;
	int ret;

	if (current->mm != mem->mm)
		return -EPERM;
	ret = check_no_mmio(mem->mm, hva, count * sizeof(*from));
	if (ret)
		return ret;
	if (!user_read_access_begin(from, count * sizeof(*from)))
		return -EFAULT;
	for (i = 0; i < count; i++)
		unsafe_get_user(entries[i], from + i, fault);
	user_read_access_end();
	return 0;

fault:
	user_read_access_end();
	return -EFAULT;
}
