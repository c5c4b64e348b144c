// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM_IOMMU_DIRTY_LOG: the dirty log of the guest's memory, read in chunks, see
 * dirty.h. The core's bitmaps are machine words, the caller's are
 * little-endian.
 */
#include <linux/bitops.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include <linux/kvm_iommu.h>

#include "core_dirty.h"
#include "front/dirty.h"
#include "front/ioctls.h"
#include "guest/guest.h"
#include "object/lock.h"
#include "object/object.h"

static u64 swap_and_count(u64 *bits, u64 words)
{
	u64 i, dirty = 0;

	for (i = 0; i < words; i++) {
		dirty += hweight64(bits[i]);
		bits[i] = (__force u64)cpu_to_le64(bits[i]);
	}
	return dirty;
}

static void put_back(struct kiommu_guest *guest, u64 gpa, u64 length, u64 *bits,
		     u64 words)
{
	u64 i;

	for (i = 0; i < words; i++)
		bits[i] = le64_to_cpu((__force __le64)bits[i]);
	/*
	 * Not killable: no dirty page may be lost, even if the caller is
	 * killed.
	 */
	down_write(&guest->lock);
	kiommu_guest_settle(guest);
	kiommu_core_dirty_put_back(guest->pins, gpa, length, bits);
	kiommu_guest_unlock(guest);
}

/* Reads at most one chunk, starting at @cmd->next_gpa. */
static int read_chunk(struct kiommu_guest *guest,
		      struct kvm_iommu_dirty_log *cmd, u64 *bits)
{
	const u64 gpa = cmd->next_gpa;
	const u64 length = min(cmd->gpa + cmd->length - gpa,
			       KIOMMU_CHUNK_PAGES << PAGE_SHIFT);
	const u64 pages = length >> PAGE_SHIFT;
	const u64 at = (gpa - cmd->gpa) >> PAGE_SHIFT;
	void __user *to = u64_to_user_ptr(cmd->bitmap + at / BITS_PER_BYTE);
	u64 dirty;
	int ret = 0;

	/* An uncontended down_write_killable() does not check for signals. */
	cond_resched();
	if (fatal_signal_pending(current) || down_write_killable(&guest->lock))
		return -EINTR;
	kiommu_guest_settle(guest);
	if (gpa == cmd->gpa)
		ret = kiommu_core_dirty_check(guest->pins, cmd->gpa,
					      cmd->length, &cmd->status);
	if (!ret)
		ret = kiommu_core_dirty_take(guest->pins, gpa, length, bits,
					     &cmd->status);
	kiommu_guest_unlock(guest);
	if (ret)
		return ret;

	dirty = swap_and_count(bits, DIV_ROUND_UP_ULL(pages, 64));
	if (copy_to_user(to, bits, kiommu_bitmap_bytes(pages))) {
		put_back(guest, gpa, length, bits,
			 DIV_ROUND_UP_ULL(pages, 64));
		return -EFAULT;
	}
	cmd->next_gpa += length;
	cmd->dirty += dirty;
	return 0;
}

static int read_log(struct kiommu_object *object,
		    struct kvm_iommu_dirty_log *cmd)
{
	const u64 pages = min(cmd->length >> PAGE_SHIFT, KIOMMU_CHUNK_PAGES);
	struct kiommu_guest *guest;
	u64 *bits;
	int ret;

	cmd->next_gpa = cmd->gpa;
	cmd->dirty = 0;
	guest = kiommu_object_hold_guest(object);
	if (IS_ERR(guest))
		return PTR_ERR(guest);
	/* At least one word, for lengths that the core rejects. */
	bits = kvmalloc(kiommu_bitmap_bytes(pages ?: 1), GFP_KERNEL_ACCOUNT);
	ret = bits ? 0 : -ENOMEM;
	while (!ret) {
		/* A killed task still gets an uncontended lock: check here. */
		ret = fatal_signal_pending(current) ? -EINTR :
						      read_chunk(guest, cmd, bits);
		if (cmd->next_gpa == cmd->gpa + cmd->length)
			break;
	}
	/* Like read(), return what was read before the error. */
	if (cmd->next_gpa != cmd->gpa) {
		cmd->status = KVM_IOMMU_STATUS_OK;
		ret = 0;
	}
	kvfree(bits);
	kiommu_guest_put(guest);
	return ret;
}

static int change_log(struct kiommu_object *object,
		      struct kvm_iommu_dirty_log *cmd)
{
	struct kiommu_pins *pins;
	int ret;

	ret = kiommu_lock_pins(object);
	if (ret)
		return ret;
	pins = object->guest->pins;
	ret = kiommu_object_check_caller(object);
	if (!ret && cmd->op == KVM_IOMMU_DIRTY_START)
		ret = kiommu_core_dirty_start(pins, &cmd->status);
	else if (!ret)
		ret = kiommu_core_dirty_stop(pins, &cmd->status);
	kiommu_unlock_pins(object);
	return ret;
}

int kiommu_dirty_log(struct kiommu_object *object,
		     struct kvm_iommu_dirty_log *cmd)
{
	switch (cmd->op) {
	case KVM_IOMMU_DIRTY_START:
	case KVM_IOMMU_DIRTY_STOP:
		if (!cmd->gpa && !cmd->length && !cmd->bitmap)
			return change_log(object, cmd);
		cmd->status = KVM_IOMMU_STATUS_FIELD;
		return -EOPNOTSUPP;
	case KVM_IOMMU_DIRTY_READ:
		return read_log(object, cmd);
	default:
		cmd->status = KVM_IOMMU_STATUS_MODE;
		return -EOPNOTSUPP;
	}
}
