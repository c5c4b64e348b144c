// SPDX-License-Identifier: GPL-2.0-only
/* Doorbells by KVM_IOEVENTFD, notifications by KVM_IRQFD, see bell.h. */
#include <string.h>
#include <unistd.h>

#include <sys/eventfd.h>

#include <linux/compiler.h>

#include "kvm_util.h"
#include "processor.h"
#include "apic.h"

#include "bell.h"

#define PORT 0x510
#define MMIO_GPA (KIOMMU_IOVA_BASE + 0x600000000ull)
#define MMIO_GVA MMIO_GPA
#define GSI 24 /* beyond the pins of the I/O APIC */
#define VECTOR 0x41
#define MSI_ADDRESS 0xfee00000u /* to the APIC with ID 0 */

static void ring_port(uint64_t port)
{
	asm volatile("outl %0, %w1" : : "a"(0), "d"((uint16_t)port) : "memory");
}

static void ring_address(uint64_t gva)
{
	WRITE_ONCE(*(uint32_t *)gva, 0);
}

void kiommu_bell_open(struct kiommu_bell *bell, struct kiommu_vm *vm,
		      struct kiommu_ring *ring, enum kiommu_bell_kind kind)
{
	const bool pio = kind == KIOMMU_BELL_PIO;

	memset(bell, 0, sizeof(*bell));
	bell->vm = vm->vm;
	bell->notify_fd = -1;
	bell->kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	TEST_ASSERT(bell->kick_fd >= 0, "no eventfd");
	bell->io = (struct kvm_ioeventfd){
		.addr = pio ? PORT : MMIO_GPA,
		.len = sizeof(uint32_t),
		.fd = bell->kick_fd,
		.flags = pio ? KVM_IOEVENTFD_FLAG_PIO : 0,
	};
	vm_ioctl(vm->vm, KVM_IOEVENTFD, &bell->io);
	ring->ring_bell = pio ? ring_port : ring_address;
	ring->bell_argument = pio ? PORT : MMIO_GVA;
	if (!pio)
		virt_map(vm->vm, MMIO_GVA, MMIO_GPA, 1);
}

void kiommu_bell_close(struct kiommu_bell *bell)
{
	struct kvm_irqfd irq = {
		.fd = bell->notify_fd,
		.gsi = GSI,
		.flags = KVM_IRQFD_FLAG_DEASSIGN,
	};

	bell->io.flags |= KVM_IOEVENTFD_FLAG_DEASSIGN;
	vm_ioctl(bell->vm, KVM_IOEVENTFD, &bell->io);
	close(bell->kick_fd);
	if (bell->notify_fd < 0)
		return;
	vm_ioctl(bell->vm, KVM_IRQFD, &irq);
	close(bell->notify_fd);
}

void kiommu_bell_open_notify(struct kiommu_bell *bell, struct kiommu_vm *vm,
			     void (*handler)(struct ex_regs *regs))
{
	struct kvm_irq_routing *routing = kvm_gsi_routing_create();
	struct kvm_irqfd irq = { .gsi = GSI };

	routing->entries[routing->nr++] = (struct kvm_irq_routing_entry){
		.gsi = GSI,
		.type = KVM_IRQ_ROUTING_MSI,
		.u.msi.address_lo = MSI_ADDRESS,
		.u.msi.data = VECTOR,
	};
	kvm_gsi_routing_write(vm->vm, routing);
	bell->notify_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	TEST_ASSERT(bell->notify_fd >= 0, "no eventfd");
	irq.fd = bell->notify_fd;
	vm_ioctl(vm->vm, KVM_IRQFD, &irq);
	vm_install_exception_handler(vm->vm, VECTOR, handler);
}

void kiommu_bell_accept_interrupts(void)
{
	x2apic_enable();
	asm volatile("sti");
}

/*
 * The CPU takes no interrupt between STI and HLT. But QEMU's SVM does not load
 * the interrupt shadow at VMRUN: if the host's timer ticks in between, the
 * guest's interrupt is taken before HLT, which would then wait forever. So the
 * handler steps over the HLT, see kiommu_bell_end_of_interrupt().
 */
extern const char kiommu_bell_hlt[];

__attribute__((naked)) void kiommu_bell_wait(void)
{
	asm volatile("sti\n\t"
		     "kiommu_bell_hlt:\n\t"
		     "hlt\n\t"
		     "cli\n\t"
		     "ret");
}

void kiommu_bell_end_of_interrupt(struct ex_regs *regs)
{
	if (regs->rip == (uint64_t)kiommu_bell_hlt)
		regs->rip++;
	x2apic_write_reg(APIC_EOI, 0);
}
