/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * A part of linux/kvm_iommu.h, which includes it: the file of faults.
 */
#ifndef _LINUX_KVM_IOMMU_FAULTS_H
#define _LINUX_KVM_IOMMU_FAULTS_H

#include <linux/kvm_iommu.h>

/**
 * struct kvm_iommu_get_fault_fd - KVM_IOMMU_GET_FAULT_FD: read what goes wrong
 * @size: sizeof(struct kvm_iommu_get_fault_fd).
 * @flags: KVM_IOMMU_FAULT_FD_*.
 * @fd: out: the new file descriptor (close-on-exec).
 * @__reserved: must be 0.
 *
 * struct kvm_iommu_fault is read from the file, one for each fault of the domain
 * that was reported to no caller. A domain has one such file at a time; faults are queued while
 * it is open. Legal in each state.
 *
 * read() gives whole records, as many as there are and as fit, and waits for the
 * first one; EAGAIN if it may not wait (O_NONBLOCK), neither for a record nor for
 * another reader that takes some out, which poll() does not report; EINVAL the
 * buffer is smaller than a record; EFAULT, EINTR: no record is lost. Each record
 * is read once, also where several threads or processes share the file. When the
 * container is gone, what is left can still be read, then read() returns 0.
 * poll() reports POLLIN while there are records, POLLHUP once the container is
 * gone. There is nothing to write.
 *
 * The queue holds KVM_IOMMU_FAULT_RECORDS records. A fault that is like one in
 * it (all but @sequence, @count, @lost and the lower 12 bits of @iova equal) is
 * counted there; when the queue is full, others are lost, and counted. Nobody
 * who meets a fault waits for the reader.
 *
 * Errors (nothing changed): EBUSY such a file is open; EMFILE, ENFILE, ENOMEM;
 * EOPNOTSUPP; E2BIG; EINVAL.
 */
struct kvm_iommu_get_fault_fd {
	__u32 size;
	__u32 flags;
#define KVM_IOMMU_FAULT_FD_NONBLOCK (1u << 0) /* as O_NONBLOCK of open() */
	__s32 fd;
	__u32 __reserved;
};
#define KVM_IOMMU_GET_FAULT_FD _IO(KVM_IOMMU_TYPE, KVM_IOMMU_BASE + 10)

#define KVM_IOMMU_FAULT_RECORDS 128

/* What went wrong, for kvm_iommu_fault.reason. */
enum kvm_iommu_fault_reason {
	/* The host's IOMMU blocked an access of a device. */
	KVM_IOMMU_FAULT_DMA = 1,
	/* An entry of the guest's tables, or what it names, is unusable. */
	KVM_IOMMU_FAULT_ENTRY = 2,
	/* The guest named IOVAs outside the aperture or the anchor's window. */
	KVM_IOMMU_FAULT_RANGE = 3,
	/* There is no anchor, or no KVM. */
	KVM_IOMMU_FAULT_STATE = 4,
	/* No room: memory, a limit, the budget of a call. */
	KVM_IOMMU_FAULT_RESOURCES = 5,
	/*
	 * The host's IOMMU refused a map; or, without HAS_IOVA, to have @device
	 * in a domain: see KVM_IOMMU_UNREGISTER_IOAT.
	 */
	KVM_IOMMU_FAULT_HOST = 6,
	/*
	 * A ring, which is at @gpa, is broken; or, with @iova, an entry of it
	 * has unknown flags.
	 */
	KVM_IOMMU_FAULT_RING = 7,
	/*
	 * A page of tables, @gpa, is out of sync: what its entries map, from
	 * @iova on, follows it no longer, until a refresh.
	 */
	KVM_IOMMU_FAULT_SYNC = 8,
	/*
	 * Mappings of @length bytes from @iova on are gone that nobody asked to
	 * be removed: the host had no memory (@status) to map the rest of a
	 * large page again of which a part was unmapped, or a page that
	 * replaces another. A refresh of them brings them back.
	 */
	KVM_IOMMU_FAULT_LOST = 9,
};

/**
 * struct kvm_iommu_fault - one record of a fault file
 * @sequence: counts the faults of the file from 0; those that were lost have
 *	a number, too, repeats have none.
 * @iova: where; with repeats, that of the first; valid with HAS_IOVA.
 * @gpa: where the entry that is to blame points to for @iova, a page or a
 *	table; valid with HAS_GPA.
 * @count: how often it happened, 1: once.
 * @lost: how many faults, repeats included, were lost since the last record
 *	that was read.
 * @reason: enum kvm_iommu_fault_reason.
 * @flags: KVM_IOMMU_FAULT_HAS_*, which fields mean something, and how @device
 *	is to be read: KVM_IOMMU_FAULT_PCI or KVM_IOMMU_FAULT_ZPCI, or neither:
 *	not known.
 * @code: what the guest's architecture calls it, by @format, for the event to
 *	inject into the guest. ZPCI: the PCI event code (PEC). VTD_SS: the
 *	fault reason (VT-d specification, appendix A). 0: none, or not known.
 * @status: enum kvm_iommu_status, where one says more; else 0.
 * @format: enum kvm_iommu_format of the anchor; valid with HAS_FORMAT, else
 *	none was set.
 * @access: KVM_IOMMU_READ, KVM_IOMMU_WRITE: what was tried; 0: not an access.
 * @level: of the table that holds the entry, 1 for the one whose entries are
 *	pages of the smallest size; 0: none (the anchor, or no entry is to blame).
 * @device: KVM_IOMMU_FAULT_PCI: segment << 16 | bus << 8 | device << 3 |
 *	function, as the host numbers them. KVM_IOMMU_FAULT_ZPCI: the function
 *	handle.
 * @pasid: whose address space it was; valid with HAS_PASID.
 * @group: what the guest's answer (a page response) is to name; valid with
 *	HAS_GROUP.
 * @cookie: what the answer is to carry; valid with HAS_COOKIE.
 * @length: LOST: bytes from @iova on; else 0.
 *
 * No fault has HAS_PASID, HAS_GROUP or HAS_COOKIE today: the fields are 0, and
 * the flags are kept for them.
 */
struct kvm_iommu_fault {
	__aligned_u64 sequence;
	__aligned_u64 iova;
	__aligned_u64 gpa;
	__aligned_u64 count;
	__aligned_u64 lost;
	__u32 reason;
	__u32 flags;
#define KVM_IOMMU_FAULT_HAS_IOVA (1u << 0)
#define KVM_IOMMU_FAULT_HAS_GPA (1u << 1)
#define KVM_IOMMU_FAULT_HAS_FORMAT (1u << 2)
#define KVM_IOMMU_FAULT_PCI (1u << 3)
#define KVM_IOMMU_FAULT_ZPCI (1u << 4)
#define KVM_IOMMU_FAULT_HAS_PASID (1u << 5)
#define KVM_IOMMU_FAULT_HAS_GROUP (1u << 6)
#define KVM_IOMMU_FAULT_HAS_COOKIE (1u << 7)
	__u32 code;
	__u32 status;
	__u32 format;
	__u32 access;
	__u32 level;
	__u32 device;
	__u32 pasid;
	__u32 group;
	__aligned_u64 cookie;
	__aligned_u64 length;
};

#endif /* _LINUX_KVM_IOMMU_FAULTS_H */
