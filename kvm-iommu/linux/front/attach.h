/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Attaching devices to domains that have a file.
 */
#ifndef KIOMMU_ATTACH_H
#define KIOMMU_ATTACH_H

#include <linux/types.h>

struct kiommu_object;
struct kvm_iommu_attach;
struct kvm_iommu_detach;

/**
 * kiommu_attach() - KVM_IOMMU_ATTACH
 * kiommu_detach() - KVM_IOMMU_DETACH
 * @cmd: the caller's struct; the status is set where the errno does not say
 *	enough.
 *
 * Context: may sleep; no lock of lock.h is held.
 * Return: 0 or an errno of the ioctl.
 */
int kiommu_attach(struct kiommu_object *object, struct kvm_iommu_attach *cmd);
int kiommu_detach(struct kiommu_object *object, struct kvm_iommu_detach *cmd);

/* KVM_IOMMU_FEATURE_* that tell what KVM_IOMMU_ATTACH takes in this kernel. */
u64 kiommu_attach_features(void);

#endif /* KIOMMU_ATTACH_H */
