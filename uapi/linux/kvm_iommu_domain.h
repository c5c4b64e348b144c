/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * A part of linux/kvm_iommu.h, which includes it: domains that have a file of
 * their own, and devices that are attached to them.
 */
#ifndef _LINUX_KVM_IOMMU_DOMAIN_H
#define _LINUX_KVM_IOMMU_DOMAIN_H

#include <linux/kvm_iommu.h>

/**
 * struct kvm_iommu_domain_create - KVM_IOMMU_DOMAIN_CREATE: create a domain
 * @size: sizeof(struct kvm_iommu_domain_create).
 * @flags: must be 0.
 * @kvm_fd: file descriptor of the VM that is registered at once, as by
 *	KVM_IOMMU_START; -1: none yet.
 * @fd: out: file descriptor of the domain (close-on-exec).
 * @status: out: enum kvm_iommu_status.
 * @__reserved: must be 0.
 *
 * Issued on /dev/kvm_iommu. The file takes the same ioctls as a container of
 * type VFIO_KVM_IOMMU, VFIO_CHECK_EXTENSION and those of type1 included, and
 * besides these KVM_IOMMU_ATTACH and KVM_IOMMU_DETACH. It needs no device: a
 * domain can be anchored and filled before the first one is attached. Without a
 * device, KVM_IOMMU_GET_INFO shows no page sizes and an aperture without
 * limits; to attach a device fails if what is mapped is out of its reach.
 *
 * A registration lasts until KVM_IOMMU_STOP or until the last descriptor of the
 * file is closed, which also detaches all devices and removes the domain. The
 * KVMs that devices come with (KVM_DEV_VFIO_FILE_ADD) are not registered.
 *
 * Errors (nothing changed): those of KVM_IOMMU_START but EBUSY and NO_DEVICE;
 * EMFILE, ENFILE; ENOMEM; EOPNOTSUPP; E2BIG; EINVAL; EFAULT.
 */
struct kvm_iommu_domain_create {
	__u32 size;
	__u32 flags;
	__s32 kvm_fd;
	__s32 fd;
	__u32 status;
	__u32 __reserved;
};
#define KVM_IOMMU_DOMAIN_CREATE _IO(KVM_IOMMU_TYPE, KVM_IOMMU_BASE + 16)

/**
 * struct kvm_iommu_attach - KVM_IOMMU_ATTACH: devices use this domain
 * @size: sizeof(struct kvm_iommu_attach).
 * @flags: must be 0.
 * @device_fd: a VFIO container of type VFIO_KVM_IOMMU: all of its groups, also
 *	those that are added to it later; or a device file of VFIO
 *	(/dev/vfio/devices/vfioN) that is bound to an iommufd: that device, which
 *	must be alone in its group. KVM_IOMMU_FEATURE_DEVICE_FILE tells whether the
 *	kernel has the latter.
 * @device: out: their number in this domain, for KVM_IOMMU_DETACH.
 * @status: out: enum kvm_iommu_status.
 * @__reserved: must be 0.
 *
 * A container keeps the right to the devices' DMA, and a domain of its own,
 * which its own descriptor refers to as before; but its devices use this domain
 * instead. The iommufd keeps the right to the DMA of a device that is bound to
 * it, and cannot attach the device meanwhile: VFIO_DEVICE_ATTACH_IOMMUFD_PT is
 * EBUSY, as KVM_IOMMU_ATTACH is while that has attached it. Devices that are
 * attached to another domain move. On return they use what is mapped here.
 * Until then, an access is translated by the old domain or the new one, or is
 * lost: the IOMMU's driver may block it for the moment of the change, also if
 * the call then fails, and while a host IOMMU that served no device of this
 * domain before is filled with what is mapped. Where it did serve one, the time
 * does not depend on what is mapped.
 *
 * A container that is closed, or a group that is taken out of it, leaves the
 * domain. The domain holds a device file open until KVM_IOMMU_DETACH or until
 * its own file is closed: after all other descriptors were closed, the device
 * stays attached, open and bound, and a driver cannot be unbound from it.
 *
 * If an IOMMU driver fails to take a device back after a move has failed, its
 * DMA is blocked until KVM_IOMMU_DETACH, or KVM_IOMMU_ATTACH to another domain;
 * KVM_IOMMU_FAULT_HOST tells the reader of the faults of the domain that it was
 * in.
 *
 * Errors (nothing changed but for that): EBADF no such fd; EINVAL the fd is neither a
 * container of that type nor a device file (FD_TYPE), or what is mapped is
 * reserved for one of its devices or out of its reach, or its IOMMU has no 4
 * KiB pages or does not enforce the coherency that others promise, or the
 * device of a file is not alone in its group or has no IOMMU (UNSUITABLE);
 * ENOTCONN a device file that is not bound to an iommufd (NOT_BOUND); EPERM its
 * interrupts are not isolated (INTERRUPTS); EEXIST it is attached here already;
 * ESTALE it is being released; EBUSY iommufd has attached it, or a zPCI
 * function that KVM answers for is started in the domain that it leaves; ENOSPC
 * more kinds of host IOMMUs than a domain can have; ENOMEM; EINTR; or what the
 * IOMMU driver returned. ENOTTY the file is no domain's.
 */
struct kvm_iommu_attach {
	__u32 size;
	__u32 flags;
	__s32 device_fd;
	__u32 device;
	__u32 status;
	__u32 __reserved;
};
#define KVM_IOMMU_ATTACH _IO(KVM_IOMMU_TYPE, KVM_IOMMU_BASE + 17)

/**
 * struct kvm_iommu_detach - KVM_IOMMU_DETACH: devices go back
 * @size: sizeof(struct kvm_iommu_detach).
 * @flags: must be 0.
 * @device: as KVM_IOMMU_ATTACH returned it.
 * @status: out: enum kvm_iommu_status.
 *
 * On return the devices use the own domain of their container again, which maps
 * nothing unless it was anchored and refreshed. The DMA of a device file is
 * blocked; iommufd may attach it then. If the IOMMU driver does not take a
 * device of a container back, its DMA is blocked, whatever is mapped, until it
 * is attached to a domain or its group is put into a container anew:
 * KVM_IOMMU_FAULT_HOST tells the reader of the faults of the container's
 * domain, and the kernel's log its group.
 *
 * Errors (nothing changed): ENOENT there is no such device here (NOT_ATTACHED);
 * EBUSY a zPCI function that KVM answers for is started here; EINTR. ENOTTY the
 * file is no domain's.
 */
struct kvm_iommu_detach {
	__u32 size;
	__u32 flags;
	__u32 device;
	__u32 status;
};
#define KVM_IOMMU_DETACH _IO(KVM_IOMMU_TYPE, KVM_IOMMU_BASE + 18)

#endif /* _LINUX_KVM_IOMMU_DOMAIN_H */
