/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The doorbell of a ring (linux/kvm_iommu_ring.h): how it is rung, and which
 * thread then consumes the ring. The ring itself belongs to the core.
 */
#ifndef KIOMMU_DOORBELL_H
#define KIOMMU_DOORBELL_H

struct kiommu_object;
struct kiommu_doorbell;
struct kvm_iommu_set_sync;

/**
 * kiommu_doorbell_create() - create a doorbell whose ring is not consumed yet
 * @object: the domain that the ring is for.
 * @cmd: KVM_IOMMU_SET_SYNC with mode RING.
 *
 * Context: may sleep; no lock of lock.h is held; in a thread of the guest's
 * process.
 * Return: the doorbell, or an ERR_PTR() of the errors that KVM_IOMMU_SET_SYNC
 * returns for a ring; @cmd->status is set for -EINVAL and -EOVERFLOW.
 */
struct kiommu_doorbell *
kiommu_doorbell_create(struct kiommu_object *object,
		       struct kvm_iommu_set_sync *cmd);

/**
 * kiommu_doorbell_features() - what this kernel supports for rings
 *
 * Context: any preemptible context.
 * Return: KVM_IOMMU_FEATURE_*.
 */
u64 kiommu_doorbell_features(void);

/**
 * kiommu_doorbell_open() - begin to consume the ring
 *
 * Entries that the guest put into the ring earlier are consumed, too.
 *
 * Context: kiommu_lock_exclusive(); the caller stores @bell in the domain
 * before it releases the lock; in a thread of the guest's process.
 * Return: 0; -ENOMEM; -EINTR.
 */
int kiommu_doorbell_open(struct kiommu_doorbell *bell);

/**
 * kiommu_doorbell_drain() - consume what is in the domain's ring by now
 *
 * Does nothing if the domain has no ring. Releases the locks between
 * batches, and ends early on a fatal signal.
 *
 * Context: may sleep; no lock of lock.h is held; in a thread of the guest's
 * process.
 */
void kiommu_doorbell_drain(struct kiommu_object *object);

/**
 * kiommu_doorbell_close() - stop listening and free the doorbell
 * @bell: no longer in any object; may be NULL.
 *
 * The ring is not accessed any more on return.
 *
 * Context: may sleep; no lock of lock.h is held.
 */
void kiommu_doorbell_close(struct kiommu_doorbell *bell);

/* For module exit, when no doorbell exists any more. Context: may sleep. */
void kiommu_doorbells_exit(void);

#endif /* KIOMMU_DOORBELL_H */
