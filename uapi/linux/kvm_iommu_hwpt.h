/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * A part of linux/kvm_iommu.h, which includes it: domains that are HWPTs of an
 * iommufd, for kernels whose iommufd takes providers of HWPTs
 * (KVM_IOMMU_FEATURE_HWPT). The calls and their structs are those of
 * linux/iommufd.h; here is what their data_uptr points to.
 */
#ifndef _LINUX_KVM_IOMMU_HWPT_H
#define _LINUX_KVM_IOMMU_HWPT_H

#include <linux/kvm_iommu.h>

/* iommu_hwpt_alloc.data_type and iommu_hwpt_invalidate.data_type. */
#define IOMMU_HWPT_DATA_KVM_IOMMU 0x4b564d49u

/**
 * struct kvm_iommu_hwpt - IOMMU_HWPT_ALLOC: a domain with an anchor
 * @flags: KVM_IOMMU_HWPT_*.
 * @kvm_fd: -1, or the KVM whose guest keeps the tables, as in KVM_IOMMU_START: its
 *	stores to them are followed.
 * @format: enum kvm_iommu_format.
 * @levels: as the fields from here on to @rights of struct
 *	kvm_iommu_register_ioat.
 * @iota: GPAs are IOVAs of the IOAS.
 * @offset: see @levels.
 * @first: see @levels.
 * @last: see @levels.
 * @rights: see @levels.
 * @fault_fd: out, with KVM_IOMMU_HWPT_FAULT_FD: file descriptor of the faults of the
 *	domain (close-on-exec), see struct kvm_iommu_get_fault_fd.
 * @status: out: enum kvm_iommu_status.
 * @__reserved: must be 0.
 *
 * iommu_hwpt_alloc.data_len is the size of this struct; as with the structs of
 * linux/kvm_iommu.h a larger one is accepted while the rest of it is zero.
 * iommu_hwpt_alloc.flags is 0. pt_id is an HWPT that was allocated of an IOAS,
 * with no requirement of the host's IOMMU, and without
 * IOMMU_HWPT_ALLOC_DIRTY_TRACKING: dirty pages are not told of here.
 *
 * The IOAS is the guest's memory. What tables of the given format, in it, map to
 * memory in it is what devices can reach that are attached to the new HWPT, as far as
 * ranges have been refreshed (IOMMU_HWPT_INVALIDATE) and the IOAS allows: memory
 * that it maps for reading only is mapped for reading, and memory that it does not
 * map for reading is no memory here. When IOMMU_IOAS_UNMAP returns, no device
 * reaches what was unmapped; the IOVAs are blocked until they are refreshed.
 * Tables are read, and memory is pinned, through the IOAS, so any process that has
 * the iommufd may call. The pages are those that the IOAS has pinned and charged.
 *
 * With @kvm_fd the HWPT is in mode KVM_IOMMU_SYNC_TRACKED from the beginning: it
 * maps what the tables map, and what the guest stores to them is followed, as far
 * as a page of them is at the same GPA in a memory slot of the KVM. A page that is
 * out of sync (a fault tells) is followed again after IOMMU_HWPT_INVALIDATE of
 * what it maps. Only the process of the KVM may allocate. The KVM lives as long as
 * the HWPT.
 *
 * Attaching, replacing, detaching and destroying are as with other HWPTs
 * (VFIO_DEVICE_ATTACH_IOMMUFD_PT, IOMMU_DESTROY). To attach fails with EINVAL if
 * what is mapped is reserved for the device or out of its reach, or if the IOMMU of
 * the device is not of the kind for which the HWPT was allocated (dev_id). What is
 * reserved for a device cannot be mapped any more once it was attached.
 *
 * Errors: those of IOMMU_HWPT_ALLOC, without a status. EINVAL @data_len too small,
 * E2BIG, EFAULT, also without. EOPNOTSUPP unknown @flags (FLAGS), @__reserved
 * (FIELD), as at KVM_IOMMU_REGISTER_IOAT (FORMAT, FIELD), or stores of this KVM
 * cannot be followed (UNSUPPORTED). EBADF, EINVAL, EPERM, ENODEV @kvm_fd, as at
 * KVM_IOMMU_START; EBUSY if 1024 HWPTs follow this KVM (BUSY). EINVAL as at
 * KVM_IOMMU_REGISTER_IOAT (DESIGNATION, MISALIGNED, TABLE, RANGE, RIGHTS), or the
 * device's IOMMU has no 4 KiB pages, does not enforce the coherency that it promised,
 * or has no tables before a device is attached, as virtio-iommu (UNSUITABLE). EAGAIN
 * the IOAS changed meanwhile (BUDGET). ENOMEM; EINTR; EMFILE, ENFILE. EFAULT with a
 * @status: an answer could not be stored.
 * There is no HWPT then, and no file, whatever @fault_fd says.
 */
struct kvm_iommu_hwpt {
	__u32 flags;
#define KVM_IOMMU_HWPT_FAULT_FD (1u << 0)
	__s32 kvm_fd;
	__u32 format;
	__u32 levels;
	__aligned_u64 iota;
	__aligned_u64 offset;
	__aligned_u64 first;
	__aligned_u64 last;
	__u32 rights;
	__s32 fault_fd;
	__u32 status;
	__u32 __reserved;
};

/**
 * struct kvm_iommu_hwpt_invalidate - IOMMU_HWPT_INVALIDATE: refresh a range
 * @iova: first byte of the range, a multiple of 4096.
 * @length: bytes, a multiple of 4096, not 0.
 * @stopped_iova: out: as in struct kvm_iommu_refresh.
 * @status: out: enum kvm_iommu_status.
 * @__reserved: must be 0.
 *
 * Each entry is a KVM_IOMMU_REFRESH, called again by the kernel as long as it is
 * EAGAIN. iommu_hwpt_invalidate.entry_len is the size of an entry; one that ends
 * before @stopped_iova is accepted, and has no answers.
 *
 * On return entry_num says how many entries were done, in their order, also after a
 * failure: then the next one is that which failed, with its answers stored, and
 * what comes after it was not looked at. Without entries the call only asks whether
 * the HWPT takes this data_type.
 *
 * Errors: those of IOMMU_HWPT_INVALIDATE. EINVAL another data_type, entry_len too
 * small; E2BIG; EFAULT; EOPNOTSUPP @__reserved (FIELD); and those of
 * KVM_IOMMU_REFRESH but EAGAIN.
 */
struct kvm_iommu_hwpt_invalidate {
	__aligned_u64 iova;
	__aligned_u64 length;
	__aligned_u64 stopped_iova;
	__u32 status;
	__u32 __reserved;
};

#endif /* _LINUX_KVM_IOMMU_HWPT_H */
