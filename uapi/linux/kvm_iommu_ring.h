/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * kvm-iommu: the ring, by which a guest's driver says which IOVAs it has changed
 * in its I/O translation tables. For authors of guest drivers.
 *
 * The ring lies in guest memory, little-endian, one producer (the guest) and
 * one consumer (the host's kernel). The VMM tells the host where it is and how
 * many entries it has (KVM_IOMMU_SET_SYNC), and defines how a guest learns of it
 * and of the doorbell: a port or an address to which the guest writes any value.
 *
 * Indices count entries, modulo 2^32, since the ring was set up; entry i is
 * entries[i % n], n a power of two. All are 0 in the beginning.
 *
 * The guest, to have ranges refreshed:
 *  1. changes its tables;
 *  2. fills entries[avail % n] and those after it, as long as less than n are
 *     not done (avail - done < n); status may be anything;
 *  3. write barrier; stores the new avail;
 *  4. full barrier; loads kick, and writes to the doorbell if avail has passed
 *     it: kvm_iommu_ring_passed(kick, new avail, old avail).
 * An entry is done when done has passed it: then its status says what came of
 * it, and the host's IOTLBs hold nothing older than the change. Entries are done
 * in their order. (Read barrier between done and status.)
 *
 * The guest, to be notified (by the interrupt that the VMM has tied to the
 * notify_fd of KVM_IOMMU_SET_SYNC): stores the index of the entry it waits for
 * to notify; full barrier; looks at done once more, then waits. There is one
 * notification when done passes notify.
 *
 * What the host finds wrong with the ring itself (more than n entries are not
 * done; its memory is gone) ends it: KVM_IOMMU_RING_BROKEN is set, if it can be,
 * and no entry is looked at until the VMM has set a ring up again.
 */
#ifndef _UAPI_LINUX_KVM_IOMMU_RING_H
#define _UAPI_LINUX_KVM_IOMMU_RING_H

#include <linux/types.h>

/* The ring begins at a multiple of this. */
#define KVM_IOMMU_RING_ALIGN 64
#define KVM_IOMMU_RING_MIN_ENTRIES 2
#define KVM_IOMMU_RING_MAX_ENTRIES 32768

/**
 * struct kvm_iommu_ring_entry - a range of IOVA that has changed
 * @iova: first byte, a multiple of 4096.
 * @length: bytes, a multiple of 4096, not 0.
 * @flags: KVM_IOMMU_RING_*.
 * @status: by the host: enum kvm_iommu_status (linux/kvm_iommu.h).
 * @stopped_iova: by the host, as of KVM_IOMMU_REFRESH: where it stopped if
 *	@status is not KVM_IOMMU_STATUS_OK; on success @iova + @length.
 */
struct kvm_iommu_ring_entry {
	__le64 iova;
	__le64 length;
	__le32 flags;
/* The tables map nothing of the range any more: they need not be looked at. */
#define KVM_IOMMU_RING_UNMAP (1u << 0)
	__le32 status;
	__le64 stopped_iova;
};

/**
 * struct kvm_iommu_ring - see above
 * @avail: by the guest: entries up to this one are to be looked at.
 * @notify: by the guest: it waits for this entry to be done.
 * @done: by the host: entries up to this one are done.
 * @kick: by the host: it waits for this entry to become available.
 * @flags: by the host.
 * @entries: n of them.
 */
struct kvm_iommu_ring {
	__le32 avail;
	__le32 notify;
	__u8 __pad0[56];
	__le32 done;
	__le32 kick;
	__le32 flags;
#define KVM_IOMMU_RING_BROKEN (1u << 0)
	__u8 __pad1[52];
	struct kvm_iommu_ring_entry entries[];
};

/*
 * Whether an index that moved from @old_index to @new_index has passed @event:
 * kick with avail, notify with done.
 */
static inline int kvm_iommu_ring_passed(__u32 event, __u32 new_index,
					__u32 old_index)
{
	return (__u32)(new_index - event - 1) < (__u32)(new_index - old_index);
}

#endif /* _UAPI_LINUX_KVM_IOMMU_RING_H */
