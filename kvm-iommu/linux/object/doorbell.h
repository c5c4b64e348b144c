/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The doorbell of a ring (linux/kvm_iommu_ring.h): who rings it, and who then
 * looks at the ring, which is the core's.
 */
#ifndef KIOMMU_DOORBELL_H
#define KIOMMU_DOORBELL_H

struct kiommu_container;
struct kiommu_doorbell;
struct kvm_iommu_set_sync;

/**
 * kiommu_doorbell_create() - a doorbell, whose ring nobody looks at yet
 * @container: that the ring is to be of.
 * @cmd: mode RING.
 *
 * Context: may sleep; no lock of lock.h; in a thread of the guest's process.
 * Return: the doorbell, or an ERR_PTR() of the errors that KVM_IOMMU_SET_SYNC
 * has for a ring; @cmd->status is set where that is -EINVAL or -EOVERFLOW.
 */
struct kiommu_doorbell *
kiommu_doorbell_create(struct kiommu_container *container,
		       struct kvm_iommu_set_sync *cmd);

/**
 * kiommu_doorbell_features() - what this kernel can do for rings
 *
 * Context: any that may be preempted. Return: KVM_IOMMU_FEATURE_*.
 */
u64 kiommu_doorbell_features(void);

/**
 * kiommu_doorbell_open() - begin with the ring
 *
 * What the guest has put into the ring before is looked at, too.
 * Context: kiommu_lock_exclusive(); @bell becomes the container's before the lock
 * is released; in a thread of the guest's process. Return: 0; -ENOMEM; -EINTR.
 */
int kiommu_doorbell_open(struct kiommu_doorbell *bell);

/**
 * kiommu_doorbell_drain() - do all that is in the container's ring by now
 *
 * Nothing is done if it has none. Lets others at the locks between batches, and
 * ends early with a fatal signal.
 * Context: may sleep; no lock of lock.h; in a thread of the guest's process.
 */
void kiommu_doorbell_drain(struct kiommu_container *container);

/**
 * kiommu_doorbell_close() - stop to listen, free it
 * @bell: no container's any more; may be NULL.
 *
 * Nobody looks at the ring any more on return.
 * Context: may sleep; no lock of lock.h.
 */
void kiommu_doorbell_close(struct kiommu_doorbell *bell);

/* The module goes, and nobody has a doorbell. Context: may sleep. */
void kiommu_doorbells_exit(void);

#endif /* KIOMMU_DOORBELL_H */
