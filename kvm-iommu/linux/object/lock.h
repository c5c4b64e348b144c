/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The two locks of core.h: that of a domain (D), and that of the guest that
 * is registered with it (P), which several domains may share.
 *
 * Lock order, outermost first; locks separated by "|" are never held together:
 *	VFIO: group_lock of the container | lock of the device set
 *	iommufd_group.lock, when iommufd attaches
 *	kiommu_member.lock
 *	list of guests, nothing inside it (itself may be inside slots_lock)
 *	kiommu_slots.lock, without D, P; in it: slots_arch_lock, mmu_lock, vCPUs
 *	kvm->srcu (read), KVM's write tracker: held when KVM calls us
 *	D, kiommu_object.lock
 *	P, kiommu_guest.lock (or, without D, inside kvm->slots_lock)
 *	s390: functions_lock
 *	ring_lock of a doorbell
 *	range lock of a domain of the core
 *	mutexes of the core
 *	kiommu_tracked.lock
 *	kvm->srcu (read), kvm->mmu_lock
 *	iommufd: ioas_lock, iova_rwsem (read), mutex of pages
 *	mmap_lock of the process
 *	vfio-pci's memory_lock, locks of reverse maps
 *	kiommu_mmio.lock
 *	kiommu_notifier.lock | locks of the IOMMU core and drivers
 *	kiommu_fault_reader.lock, also in interrupts
 * The lock of an eventfd, and inside it thread_lock of a doorbell, are held
 * together with none of these except kvm->srcu.
 * kiommu_fault_reader.reading is held together with kiommu_fault_reader.lock
 * only, and with the locks that copying to user space takes.
 *
 * Each function below that takes P leaves the guest settled: the core has been
 * told of everything that happened to slots and memory before the call. Each
 * function that releases P trims the guest's idle pins to their limit, unless
 * it is killed.
 */
#ifndef KIOMMU_LOCK_H
#define KIOMMU_LOCK_H

#include <linux/types.h>

struct kiommu_object;

/**
 * kiommu_lock_shared() - take D and P for reading
 *
 * P is taken only if a KVM is registered.
 *
 * Return: 0; -EINTR on a fatal signal; -ESTALE if VFIO has released the
 * domain meanwhile.
 */
int kiommu_lock_shared(struct kiommu_object *object);
void kiommu_unlock_shared(struct kiommu_object *object);

/*
 * Take D and P for writing. The killable one returns as kiommu_lock_shared().
 */
int kiommu_lock_exclusive_killable(struct kiommu_object *object);
void kiommu_lock_exclusive(struct kiommu_object *object);
void kiommu_unlock_exclusive(struct kiommu_object *object);

/**
 * kiommu_lock_pair() - take D and P of two domains for writing
 * @b: NULL: there is only one.
 * @killable: give up on a fatal signal.
 *
 * The domains may have the same guest. No lock is waited for while the same one of
 * the other domain is held, so there is no order between them.
 *
 * Return: as kiommu_lock_shared(); 0 if not @killable.
 */
int kiommu_lock_pair(struct kiommu_object *a, struct kiommu_object *b,
		     bool killable);
void kiommu_unlock_pair(struct kiommu_object *a, struct kiommu_object *b);

/**
 * kiommu_lock_pins() - take D for reading and P for writing
 *
 * Return: as kiommu_lock_shared(); -ENODEV if no KVM is registered.
 */
int kiommu_lock_pins(struct kiommu_object *object);
void kiommu_unlock_pins(struct kiommu_object *object);

#endif /* KIOMMU_LOCK_H */
