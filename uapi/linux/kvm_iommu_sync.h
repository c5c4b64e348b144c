/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * A part of linux/kvm_iommu.h, which includes it: how the shadow follows the guest.
 */
#ifndef _LINUX_KVM_IOMMU_SYNC_H
#define _LINUX_KVM_IOMMU_SYNC_H

#include <linux/kvm_iommu.h>

/* How the shadow follows the guest's tables, for kvm_iommu_set_sync.mode. */
enum kvm_iommu_sync_mode {
	/* Only KVM_IOMMU_REFRESH (and RPCIT on s390). The initial mode. */
	KVM_IOMMU_SYNC_EXPLICIT = 0,
	/* In addition, ranges that the guest puts into a ring. */
	KVM_IOMMU_SYNC_RING = 1,
	/* In addition to EXPLICIT, the guest's stores to its tables. */
	KVM_IOMMU_SYNC_TRACKED = 2,
};

/**
 * struct kvm_iommu_set_sync - KVM_IOMMU_SET_SYNC: how the shadow follows
 * @size: sizeof(struct kvm_iommu_set_sync).
 * @flags: KVM_IOMMU_SYNC_*.
 * @mode: enum kvm_iommu_sync_mode.
 * @entries: RING: how many, a power of two from KVM_IOMMU_RING_MIN_ENTRIES to
 *	KVM_IOMMU_RING_MAX_ENTRIES (linux/kvm_iommu_ring.h); else 0.
 * @ring: RING: GPA of struct kvm_iommu_ring, a multiple of
 *	KVM_IOMMU_RING_ALIGN; else 0. Its memory is looked at when it is used.
 *	@done, @kick and @flags in it are set to 0.
 * @kick_fd: RING: eventfd, the doorbell (KVM_IOEVENTFD without DATAMATCH); else
 *	0.
 * @notify_fd: RING: eventfd to notify the guest by (KVM_IRQFD), or -1; else 0.
 * @burst: TRACKED: stores to one page of tables, without a refresh between,
 *	after which it goes out of sync; 0: never. Else 0.
 * @status: out: enum kvm_iommu_status.
 *
 * A mode lasts until the next KVM_IOMMU_SET_SYNC or until the KVM leaves; it
 * outlives anchors. Changing it loses nothing: what the guest has put into a
 * ring before is done before the call returns, and TRACKED begins with all that
 * the tables say. KVM_IOMMU_REFRESH works in each mode.
 *
 * RING: entries that arrived together are one refresh and one flush. They are
 * looked at by the vCPU that rings the doorbell, before its next instruction,
 * where the kernel allows that; else, or with KVM_IOMMU_SYNC_THREAD, by a thread
 * of the process, to which its CPU time is charged.
 *
 * TRACKED: each page of tables is write-protected; the shadow, and the hosts'
 * IOTLBs, are brought up to date within a store to it, before the vCPU's next
 * instruction. What KVM does not see is not followed: stores by the process
 * itself and by devices, and memory slots that are added. A page of tables that
 * is out of sync is followed no longer, until a refresh of IOVAs that it maps:
 * the guest must invalidate after each change, maps included, if @burst is set.
 *
 * KVM_IOMMU_SYNC_SLOTS, in any mode, implied by TRACKED: slots that are deleted are
 * taken from devices before KVM_SET_USER_MEMORY_REGION returns. While a container
 * of the KVM has it, KVM refuses to move slots (EINVAL). Once one has had it, KVM
 * uses two more bytes for each page of its slots, new ones too, until the VM ends.
 *
 * Bad entries, and whatever else KVM_IOMMU_REFRESH would report to its caller, are
 * reported through the file of KVM_IOMMU_GET_FAULT_FD in both modes.
 *
 * Errors (nothing changed, but see below): ENODEV no KVM; EPERM; EBADF @kick_fd
 * or @notify_fd is no file; EINVAL one of them is no eventfd (FD_TYPE) or both
 * are the same one (SAME_FD), @ring misaligned (MISALIGNED), @entries (RANGE);
 * EOVERFLOW the end of @ring is above 2^64; EOPNOTSUPP unknown flags (FLAGS),
 * unknown mode (MODE), a field is set that is not the mode's (FIELD), or a mode
 * or KVM_IOMMU_SYNC_SLOTS that this kernel or this KVM does not have
 * (UNSUPPORTED); ENOMEM; EINTR.
 *
 * TRACKED that is interrupted (EINTR), and TRACKED, set anew while it is set, that
 * fails with ENOMEM, may have ended what was set before: the mode is EXPLICIT then,
 * without KVM_IOMMU_SYNC_SLOTS, and the doorbell of a ring is closed.
 */
struct kvm_iommu_set_sync {
	__u32 size;
	__u32 flags;
#define KVM_IOMMU_SYNC_THREAD (1u << 0) /* RING: never by the vCPU */
#define KVM_IOMMU_SYNC_SLOTS (1u << 1) /* deleted slots are taken away at once */
	__u32 mode;
	__u32 entries;
	__aligned_u64 ring;
	__s32 kick_fd;
	__s32 notify_fd;
	__u32 burst;
	__u32 status;
};
#define KVM_IOMMU_SET_SYNC _IO(KVM_IOMMU_TYPE, KVM_IOMMU_BASE + 11)

/**
 * struct kvm_iommu_untrack - KVM_IOMMU_UNTRACK: stop following pages of tables
 * @size: sizeof(struct kvm_iommu_untrack).
 * @flags: must be 0.
 * @gpa: first byte, a multiple of 4096.
 * @length: bytes, a multiple of 4096, not 0.
 * @count: out: how many pages of tables that were (0: it was something else); one
 *	that a refresh beside the call brings back at once can count twice.
 * @status: out: enum kvm_iommu_status.
 * @__reserved: must be 0.
 *
 * TRACKED: pages of tables in the range go out of sync, with a fault record
 * each. For what KVM cannot emulate on a page that is write-protected (AVX
 * stores, cmpxchg16b): on KVM_EXIT_INTERNAL_ERROR a VMM that knows the GPA
 * calls this and runs the vCPU again. It must have enabled
 * KVM_CAP_EXIT_ON_EMULATION_FAILURE, else KVM gives the guest #UD, too.
 *
 * Errors (nothing changed): ENODEV no KVM; EPERM; ENXIO the mode is not TRACKED;
 * EINVAL (MISALIGNED); EOVERFLOW; EOPNOTSUPP (FLAGS, FIELD). EINTR: a fatal
 * signal, and some of the pages may be out of sync.
 */
struct kvm_iommu_untrack {
	__u32 size;
	__u32 flags;
	__aligned_u64 gpa;
	__aligned_u64 length;
	__aligned_u64 count;
	__u32 status;
	__u32 __reserved;
};
#define KVM_IOMMU_UNTRACK _IO(KVM_IOMMU_TYPE, KVM_IOMMU_BASE + 12)

#endif /* _LINUX_KVM_IOMMU_SYNC_H */
