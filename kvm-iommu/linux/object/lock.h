/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The two locks of core.h: that of a container (D), and that of the guest that
 * is registered with it (P), which several containers can share.
 *
 * Order, outermost first; what is on one line is never held together:
 *	VFIO: group_lock of the container | lock of the device set
 *	list of guests, without what is below | inside of kvm->slots_lock
 *	kiommu_slots.lock, without D and P: KVM's slots_arch_lock, mmu_lock; vCPUs
 *	kvm->srcu (read), KVM's write tracker: calls with it
 *	D, kiommu_container.lock
 *	P, kiommu_mem.lock | below kvm->slots_lock, without D
 *	ring_lock of a doorbell
 *	monitors of the core
 *	kiommu_tracked.lock
 *	kvm->srcu (read), kvm->mmu_lock
 *	mmap_lock of the process
 *	vfio-pci's memory_lock, locks of reverse maps
 *	kiommu_mmio.lock
 *	kiommu_notifier.lock | locks of the IOMMU core and drivers
 *	kiommu_fault_reader.lock, also in interrupts
 * The lock of an eventfd, then thread_lock of a doorbell, are held together with
 * none of these but kvm->srcu.
 * kiommu_fault_reader.reading is held together with the last alone, and with
 * what copying to user space takes.
 *
 * Each of these leaves the guest settled: the core has been told of all that
 * happened to slots and memory before the call. Each of the unlocking ones
 * brings the guest's idle pins down to their limit.
 */
#ifndef KIOMMU_LOCK_H
#define KIOMMU_LOCK_H

struct kiommu_container;

/**
 * kiommu_lock_shared() - for reading, both
 *
 * Return: 0; -EINTR a fatal signal; -ESTALE VFIO has released the container
 * meanwhile: it says so itself of one without an IOMMU driver.
 */
int kiommu_lock_shared(struct kiommu_container *container);
void kiommu_unlock_shared(struct kiommu_container *container);

/* For writing, both. The first returns as kiommu_lock_shared(). */
int kiommu_lock_exclusive_killable(struct kiommu_container *container);
void kiommu_lock_exclusive(struct kiommu_container *container);
void kiommu_unlock_exclusive(struct kiommu_container *container);

/**
 * kiommu_lock_pins() - the pin table alone, for writing
 *
 * Return: as kiommu_lock_shared(); -ENODEV no KVM is registered.
 */
int kiommu_lock_pins(struct kiommu_container *container);
void kiommu_unlock_pins(struct kiommu_container *container);

#endif /* KIOMMU_LOCK_H */
