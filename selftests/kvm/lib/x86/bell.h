/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The doorbell of a ring and its notification: KVM_IOEVENTFD and KVM_IRQFD of
 * a test guest.
 */
#ifndef KIOMMU_SELFTEST_BELL_H
#define KIOMMU_SELFTEST_BELL_H

#include <stdint.h>

#include "guest_vm.h"
#include "ring.h"

enum kiommu_bell_kind {
	KIOMMU_BELL_PIO,	/* a port */
	KIOMMU_BELL_MMIO,	/* an address without memory */
};

struct kiommu_bell {
	struct kvm_vm *vm;
	int kick_fd;
	int notify_fd;		/* or -1 */
	struct kvm_ioeventfd io;
};

/*
 * Creates a doorbell for @ring, of which a guest can have one of each kind. One
 * of kind MMIO must be created before the guest runs for the first time,
 * because the guest's page tables get an entry.
 */
void kiommu_bell_open(struct kiommu_bell *bell, struct kiommu_vm *vm,
		      struct kiommu_ring *ring, enum kiommu_bell_kind kind);
void kiommu_bell_close(struct kiommu_bell *bell);

/*
 * Creates notify_fd, which interrupts the guest: @handler runs in the guest.
 * Must be called before the guest runs for the first time.
 */
void kiommu_bell_open_notify(struct kiommu_bell *bell, struct kiommu_vm *vm,
			     void (*handler)(struct ex_regs *regs));
/* Guest: enables interrupts. */
void kiommu_bell_accept_interrupts(void);
/*
 * Guest, with interrupts disabled: halts until an interrupt has been handled,
 * also if it was pending before the call. Disables interrupts again.
 */
void kiommu_bell_wait(void);
/* Guest: ends the interrupt that @regs are of. */
void kiommu_bell_end_of_interrupt(struct ex_regs *regs);

#endif /* KIOMMU_SELFTEST_BELL_H */
