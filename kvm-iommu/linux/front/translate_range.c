// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM_IOMMU_TRANSLATE_RANGE, a page of records at a time, see dirty.h.
 */
#include <linux/mm.h>
#include <linux/sched/signal.h>
#include <linux/uaccess.h>

#include <linux/kvm_iommu.h>

#include "front/dirty.h"
#include "front/ioctls.h"
#include "object/lock.h"
#include "object/object.h"

#define RECORDS ((u32)(PAGE_SIZE / sizeof(struct kiommu_range_record)))

/* The records are copied to the caller as they are. */
#define SAME(_field) \
	static_assert(offsetof(struct kiommu_range_record, _field) == \
		      offsetof(struct kvm_iommu_translation, _field))
static_assert(sizeof(struct kiommu_range_record) ==
	      sizeof(struct kvm_iommu_translation));
SAME(iova);
SAME(gpa);
SAME(length);
SAME(page_size);
SAME(rights);
SAME(shadow_rights);
SAME(status);

/*
 * Collects translations of the rest of the range, up to @room records; *@next
 * is set to where they end. The caller's struct advances only once they are
 * copied out.
 */
static int collect(struct kiommu_object *object,
		   struct kvm_iommu_translate_range *cmd,
		   struct kiommu_range_record *records, u32 room, u32 *count,
		   kiommu_u64 *next)
{
	int ret;

	ret = kiommu_lock_shared(object);
	if (ret)
		return ret;
	ret = kiommu_object_check_caller(object);
	if (!ret)
		ret = kiommu_core_translate_range(object->domain,
						  cmd->next_iova,
						  cmd->iova + cmd->length -
						  cmd->next_iova, records,
						  room, count, next,
						  &cmd->status);
	kiommu_unlock_shared(object);
	return ret;
}

int kiommu_translate_range(struct kiommu_object *object,
			   struct kvm_iommu_translate_range *cmd)
{
	struct kvm_iommu_translation __user *to =
		u64_to_user_ptr(cmd->records);
	const u32 capacity = min(cmd->capacity, KVM_IOMMU_TRANSLATE_RECORDS);
	struct kiommu_range_record *records;
	kiommu_u64 next;
	u32 count;
	int ret;

	cmd->count = 0;
	cmd->next_iova = cmd->iova;
	if (!cmd->capacity) {
		cmd->status = KVM_IOMMU_STATUS_RANGE;
		return -EINVAL;
	}
	records = (void *)get_zeroed_page(GFP_KERNEL_ACCOUNT);
	if (!records)
		return -ENOMEM;
	do {
		cmd->status = KVM_IOMMU_STATUS_OK;
		ret = fatal_signal_pending(current) ? -EINTR :
		      collect(object, cmd, records,
			      min(capacity - cmd->count, RECORDS), &count,
			      &next);
		if (!ret && copy_to_user(to + cmd->count, records,
					 count * sizeof(*records))) {
			cmd->status = KVM_IOMMU_STATUS_BAD_ADDRESS;
			ret = -EFAULT;
		}
		if (ret)
			break;
		cmd->count += count;
		cmd->next_iova = next;
		/*
		 * Fewer than a page: the core stopped for a reason other than
		 * room.
		 */
	} while (cmd->status && count == RECORDS &&
		 cmd->count < capacity);
	free_page((unsigned long)records);
	return ret;
}
