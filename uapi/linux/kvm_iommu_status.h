/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * A part of linux/kvm_iommu.h, which includes it: why a call failed.
 */
#ifndef _LINUX_KVM_IOMMU_STATUS_H
#define _LINUX_KVM_IOMMU_STATUS_H

/*
 * Why a call failed or stopped, why a translation has no answer, what came of
 * an entry of a ring. The errno that goes with each is given in brackets.
 */
enum kvm_iommu_status {
	KVM_IOMMU_STATUS_OK = 0,
	/* Guest's tables, [EIO]: the entry or page at the IOVA is unusable. */
	KVM_IOMMU_STATUS_ENTRY_TYPE = 1, /* entry of another level's type */
	KVM_IOMMU_STATUS_ENTRY_LENGTH = 2, /* table length or offset bits */
	KVM_IOMMU_STATUS_ENTRY_RESERVED = 3, /* reserved bits are set */
	KVM_IOMMU_STATUS_NO_SLOT = 4, /* GPA in no memory slot */
	KVM_IOMMU_STATUS_UNBACKED = 5, /* slot without memory behind it */
	KVM_IOMMU_STATUS_READ_ONLY = 6, /* no right is left; RO table */
	KVM_IOMMU_STATUS_MMIO = 7, /* device memory that cannot be mapped */
	KVM_IOMMU_STATUS_PRIVATE = 8, /* slot of private (guest_memfd) memory */
	KVM_IOMMU_STATUS_PIN_REFUSED = 9, /* kernel refuses a long-term pin */
	KVM_IOMMU_STATUS_RESERVED_IOVA = 10, /* IOVA reserved by the host */
	KVM_IOMMU_STATUS_NOT_MAPPED = 11, /* TRANSLATE: entry is absent */
	/* Resources: make room and refresh again from stopped_iova. */
	KVM_IOMMU_STATUS_NO_MEMORY = 16, /* [ENOMEM] kernel memory */
	KVM_IOMMU_STATUS_SHADOW_LIMIT = 17, /* [ENOSPC] shadow_limit_mb */
	KVM_IOMMU_STATUS_MEMLOCK = 18, /* [ENOMEM] RLIMIT_MEMLOCK */
	/* Progress: refresh again from stopped_iova. */
	KVM_IOMMU_STATUS_BUDGET = 19, /* [EAGAIN] enough for one call */
	KVM_IOMMU_STATUS_INTERRUPTED = 20, /* [EINTR] a fatal signal */
	/* The host. */
	KVM_IOMMU_STATUS_HOST = 24, /* [EIO] host IOMMU refused a map */
	/* The call, or the entry of a ring, was refused: nothing has changed. */
	KVM_IOMMU_STATUS_NO_KVM = 32, /* [ENODEV] no KVM is registered */
	/*
	 * [EINVAL] outside of the aperture, the window of the anchor or what
	 * its tables reach; an empty window; not whole slots; a number of
	 * entries that rings cannot have; no room for a record
	 */
	KVM_IOMMU_STATUS_RANGE = 33,
	KVM_IOMMU_STATUS_FLAGS = 34, /* [EOPNOTSUPP] unknown flags */
	KVM_IOMMU_STATUS_NO_ANCHOR = 35, /* [ENXIO] no anchor is set */
	KVM_IOMMU_STATUS_PROCESS = 36, /* [EPERM] the KVM is not the caller's */
	KVM_IOMMU_STATUS_MISALIGNED = 37, /* [EINVAL] also if length is 0 */
	KVM_IOMMU_STATUS_OVERFLOW = 38, /* [EOVERFLOW] ends above 2^64 */
	KVM_IOMMU_STATUS_FORMAT = 39, /* [EOPNOTSUPP] unknown format */
	KVM_IOMMU_STATUS_DESIGNATION = 40, /* [EINVAL] iota, levels */
	KVM_IOMMU_STATUS_TABLE = 41, /* [EINVAL] not in writable memory slots */
	/* [EOPNOTSUPP] a field is set that is reserved or of no use here */
	KVM_IOMMU_STATUS_FIELD = 42,
	KVM_IOMMU_STATUS_RIGHTS = 43, /* [EINVAL] none, or unknown ones */
	KVM_IOMMU_STATUS_MODE = 44, /* [EOPNOTSUPP] unknown mode or operation */
	/* [EOPNOTSUPP] this kernel or this KVM does not have the mode */
	KVM_IOMMU_STATUS_UNSUPPORTED = 45,
	KVM_IOMMU_STATUS_NOT_TRACKED = 46, /* [ENXIO] mode is not TRACKED */
	KVM_IOMMU_STATUS_NO_FD = 47, /* [EBADF] no such file descriptor */
	KVM_IOMMU_STATUS_FD_TYPE = 48, /* [EINVAL] descriptor of another kind */
	KVM_IOMMU_STATUS_NO_DEVICE = 49, /* [ENODEV] no device is open */
	/*
	 * [EBUSY] another KVM is registered; a zPCI function is started; iommufd
	 * has the device
	 */
	KVM_IOMMU_STATUS_BUSY = 50,
	KVM_IOMMU_STATUS_EXISTS = 51, /* [EEXIST] an anchor, a log, a device */
	KVM_IOMMU_STATUS_NO_LOG = 52, /* [ENOENT] nothing is logged */
	KVM_IOMMU_STATUS_KVM_GONE = 53, /* [ENODEV] KVM or process is going */
	KVM_IOMMU_STATUS_RELEASED = 54, /* [ESTALE] container was released */
	/* [EFAULT] what a field points to cannot be written */
	KVM_IOMMU_STATUS_BAD_ADDRESS = 55,
	KVM_IOMMU_STATUS_SAME_FD = 56, /* [EINVAL] doorbell and notification */
	KVM_IOMMU_STATUS_NOT_ATTACHED = 57, /* [ENOENT] no such device here */
	/* [EINVAL] the device or its IOMMU cannot be served */
	KVM_IOMMU_STATUS_UNSUITABLE = 58,
	KVM_IOMMU_STATUS_NOT_BOUND = 59, /* [ENOTCONN] to an iommufd */
	KVM_IOMMU_STATUS_INTERRUPTS = 60, /* [EPERM] they are not isolated */
	/* Another errno; nothing more is known. */
	KVM_IOMMU_STATUS_OTHER = 63,
};

#endif /* _LINUX_KVM_IOMMU_STATUS_H */
