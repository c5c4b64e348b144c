/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The guest's memory: a registered KVM. What the core knows as struct
 * kiommu_mem.
 */
#ifndef KIOMMU_GUEST_H
#define KIOMMU_GUEST_H

#include <linux/mm_types.h>

struct kvm;

/**
 * struct kiommu_mem - a KVM that is registered with one domain
 * @kvm: referenced.
 * @mm: the process whose memory is the guest's, referenced (mmgrab).
 * @put_kvm: kvm_put_kvm(); kvm.ko is held while it is kept.
 *
 * Immutable while it exists.
 */
struct kiommu_mem {
	struct kvm *kvm;
	struct mm_struct *mm;
	void (*put_kvm)(struct kvm *kvm);
};

/**
 * kiommu_guest_get() - reference a KVM
 * @kvm: a KVM that cannot go away during the call.
 *
 * Context: may sleep. Return: the guest, or -ENOMEM; -ENODEV if kvm.ko is not
 * there or the KVM is being destroyed.
 */
struct kiommu_mem *kiommu_guest_get(struct kvm *kvm);

/**
 * kiommu_guest_get_fd() - reference the KVM of a file descriptor
 *
 * Context: may sleep. Return: the guest, or -EBADF; -EBADFD if it is no KVM's
 * file descriptor; or what kiommu_guest_get() returns.
 */
struct kiommu_mem *kiommu_guest_get_fd(int fd);

/**
 * kiommu_guest_put() - drop a reference
 * @guest: may be NULL.
 *
 * Context: may destroy the KVM, so no lock may be held that KVM's teardown
 * takes; in particular no container's lock.
 */
void kiommu_guest_put(struct kiommu_mem *guest);

#endif /* KIOMMU_GUEST_H */
