/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * A part of linux/kvm_iommu.h, which includes it: calls that report
 * on many pages.
 */
#ifndef _LINUX_KVM_IOMMU_PAGES_H
#define _LINUX_KVM_IOMMU_PAGES_H

#include <linux/kvm_iommu.h>

/**
 * struct kvm_iommu_translation - KVM_IOMMU_TRANSLATE_RANGE: one record
 * @iova: of its first byte.
 * @gpa: what the guest's tables say of that.
 * @length: bytes; the pages follow each other in IOVA and in GPA.
 * @page_size: size of the guest's pages; the range can begin or end within one.
 * @rights: as for KVM_IOMMU_TRANSLATE.
 * @shadow_rights: likewise.
 * @status: enum kvm_iommu_status of each of the pages; @gpa, @page_size and
 *	@rights are 0 unless it is OK.
 * @__reserved: 0.
 */
struct kvm_iommu_translation {
	__aligned_u64 iova;
	__aligned_u64 gpa;
	__aligned_u64 length;
	__aligned_u64 page_size;
	__u32 rights;
	__u32 shadow_rights;
	__u32 status;
	__u32 __reserved;
};

/**
 * struct kvm_iommu_translate_range - KVM_IOMMU_TRANSLATE_RANGE: many IOVAs
 * @size: sizeof(struct kvm_iommu_translate_range).
 * @flags: must be 0.
 * @iova: first byte, a multiple of 4096.
 * @length: bytes, a multiple of 4096, not 0.
 * @records: user pointer to an array of struct kvm_iommu_translation.
 * @capacity: its entries, not 0.
 * @count: out: entries that were written, from the first one on; at most
 *	KVM_IOMMU_TRANSLATE_RECORDS a call.
 * @next_iova: out: all IOVAs of the range below it are reported; @iova + @length
 *	(0 if that is 2^64) when it is complete.
 * @status: out: OK when it is complete. Else ask again from @next_iova: BUDGET
 *	no room for more records, or enough for one call; NO_MEMORY kernel memory
 *	to look up a memory slot.
 * @__reserved: must be 0.
 *
 * Reports for each page of the range what KVM_IOMMU_TRANSLATE does, in ascending
 * order. Neighbours that follow each other in IOVA and in GPA, and of which all
 * else is the same, share a record if one call reports both. There is none where neither
 * the guest maps something (NOT_MAPPED; with IDENTITY NO_SLOT, too) nor a device
 * can reach anything; an IOVA that the guest does not map, but a device can
 * reach (@shadow_rights is not 0), has one: a refresh is due. Entries that are
 * bad have one, with their status, and the walk goes on behind them.
 *
 * Changes nothing. The tables may change while they are read: what one record
 * says was true at some moment during the call. Refreshes of the range wait
 * while up to a page of records is collected.
 *
 * Errors: ENODEV no KVM; ENXIO no anchor; EPERM; EINVAL @iova or @length
 * misaligned, or @length 0 (MISALIGNED), @capacity 0, or outside the aperture or
 * the window of the anchor (RANGE); EOVERFLOW the end is above 2^64; EFAULT also
 * for @records; EOPNOTSUPP (FLAGS, FIELD); ENOMEM; EINTR. @count and
 * @next_iova still describe what was reported before.
 */
struct kvm_iommu_translate_range {
	__u32 size;
	__u32 flags;
	__aligned_u64 iova;
	__aligned_u64 length;
	__aligned_u64 records;
	__u32 capacity;
	__u32 count;
	__aligned_u64 next_iova;
	__u32 status;
	__u32 __reserved;
};
#define KVM_IOMMU_TRANSLATE_RANGE _IO(KVM_IOMMU_TYPE, KVM_IOMMU_BASE + 13)

#define KVM_IOMMU_TRANSLATE_RECORDS 8192

/* What to do, for kvm_iommu_dirty_log.op. */
enum kvm_iommu_dirty_op {
	/* Begin to log. */
	KVM_IOMMU_DIRTY_START = 0,
	/* End it: what was not read is forgotten. */
	KVM_IOMMU_DIRTY_STOP = 1,
	/* Take pages out of the log. */
	KVM_IOMMU_DIRTY_READ = 2,
};

/**
 * struct kvm_iommu_dirty_log - KVM_IOMMU_DIRTY_LOG: pages that devices wrote
 * @size: sizeof(struct kvm_iommu_dirty_log).
 * @flags: must be 0.
 * @op: enum kvm_iommu_dirty_op.
 * @status: out: enum kvm_iommu_status.
 * @gpa: READ: first byte, a multiple of 4096; else 0.
 * @length: READ: bytes, a multiple of 4096, not 0; else 0.
 * @bitmap: READ: user pointer to a bitmap with a bit for each page of the
 *	range, rounded up to multiples of 64 bits; else 0.
 * @next_gpa: out: READ: where to go on; @gpa + @length (0 if that is 2^64) when
 *	all of the range was read.
 * @dirty: out: READ: bits that are set in what was read.
 *
 * The log is one of the guest's memory: of all containers of the KVM, whichever
 * of them is asked, until STOP or until the last of them, and the last READ that
 * was under way, lets go of the KVM.
 * With it, a page of 4096 bytes is dirty if a device could write it at some
 * time since it was last read (or since START), because it was mapped for it
 * with the right to write: pages that are mapped so now are dirty at each READ,
 * those that were unmapped, or made read-only, since, at the next one. Whether
 * the device did write is not known. Device memory is never dirty. What the
 * kernel writes into the guest's memory for KVM_IOMMU_SET_SYNC, the ring, is not
 * logged: a VMM takes the pages of the ring as dirty. KVM reports what vCPUs
 * write (KVM_GET_DIRTY_LOG).
 *
 * READ writes one bit for each page, bit 0 of byte 0 first, as
 * KVM_GET_DIRTY_LOG does, on each machine; pages in no memory slot are 0. The
 * bits that were written to @bitmap are cleared in the log, no others: where
 * @bitmap cannot be written READ ends, with success if some of it was, and
 * @next_gpa tells where. Its cost is that of @length, whatever is mapped; START
 * looks once at all that is mapped in all containers of the KVM, and can be
 * killed. A page that was mapped with the right to write by 255 entries at a
 * time, or more, of all containers together, is dirty at each READ until STOP.
 *
 * When a memory slot is deleted, its bits are gone. The log takes nine bits of
 * kernel memory for each page of the slots that devices use
 * (kvm_iommu_info.pin_bytes); with a log, maps of a slot that is used for the
 * first time can fail with NO_MEMORY for it.
 *
 * Errors (nothing changed): ENODEV no KVM; EPERM; EEXIST START: it is logged
 * already; ENOENT STOP, READ: it is not; EINVAL (MISALIGNED); EOVERFLOW the end
 * is above 2^64; EOPNOTSUPP unknown @op (MODE), unknown flags (FLAGS), or a field
 * is set that is not the operation's (FIELD); EFAULT READ also for @bitmap;
 * ENOMEM; EINTR.
 */
struct kvm_iommu_dirty_log {
	__u32 size;
	__u32 flags;
	__u32 op;
	__u32 status;
	__aligned_u64 gpa;
	__aligned_u64 length;
	__aligned_u64 bitmap;
	__aligned_u64 next_gpa;
	__aligned_u64 dirty;
};
#define KVM_IOMMU_DIRTY_LOG _IO(KVM_IOMMU_TYPE, KVM_IOMMU_BASE + 14)

#endif /* _LINUX_KVM_IOMMU_PAGES_H */
