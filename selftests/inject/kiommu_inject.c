// SPDX-License-Identifier: GPL-2.0-only
/*
 * Reports faults of DMA of a device, as the driver of its host's IOMMU would,
 * where that driver or its emulation reports none. By parameters in
 * /sys/module/kiommu_inject/parameters:
 *
 *   device     written: a PCI address; what is reported is of this device, and
 *              what its IOMMU domain has as a handler now is remembered
 *   report     written: "IOVA ACCESS COUNT STRIDE CONTEXT": COUNT faults, from
 *              IOVA on, STRIDE bytes apart; ACCESS: r or w; CONTEXT:
 *                thread  to the domain that the device is in now
 *                irq     the same, from a hard interrupt
 *                late    to the handler that was remembered, whatever became
 *                        of its domain: as a driver does that was interrupted
 *                        on its way to it
 *   unhandled  read: of the last ones, those that nobody wanted, so that a
 *              driver would log them
 *
 * Who writes makes sure that the device stays in its domain meanwhile (but for
 * "late"), and that kvm_iommu.ko stays loaded.
 */
#include <linux/iommu.h>
#include <linux/irq_work.h>
#include <linux/module.h>
#include <linux/pci.h>

/* Faults that are reported in one interrupt. */
#define IN_ONE_INTERRUPT 256

/* All of it: parameters are written one at a time. */
static struct pci_dev *device;
static iommu_fault_handler_t handler;
static void *handler_token;
static unsigned long unhandled;

struct series {
	struct irq_work work;
	u64 iova;
	u64 stride;
	unsigned long count;
	int flags;
	bool late;
};

static void report_some(struct series *series, unsigned long max)
{
	struct iommu_domain *domain = iommu_get_domain_for_dev(&device->dev);
	unsigned long i;
	int ret;

	for (i = 0; i < max && series->count; i++) {
		if (series->late)
			ret = handler(NULL, &device->dev, series->iova,
				      series->flags, handler_token);
		else
			ret = report_iommu_fault(domain, &device->dev,
						 series->iova, series->flags);
		if (ret)
			unhandled++;
		series->iova += series->stride;
		series->count--;
	}
}

static void in_interrupt_context(struct irq_work *work)
{
	report_some(container_of(work, struct series, work), IN_ONE_INTERRUPT);
}

static int set_report(const char *text, const struct kernel_param *param)
{
	struct series series = {
		.work = IRQ_WORK_INIT_HARD(in_interrupt_context),
	};
	char access, context[8];

	if (sscanf(text, "%lli %c %lu %lli %7s", &series.iova, &access,
		   &series.count, &series.stride, context) != 5)
		return -EINVAL;
	if (!device)
		return -ENODEV;
	series.flags = access == 'w' ? IOMMU_FAULT_WRITE : IOMMU_FAULT_READ;
	series.late = !strcmp(context, "late");
	if (series.late ? !handler : !iommu_get_domain_for_dev(&device->dev))
		return -ENODEV;
	unhandled = 0;
	if (strcmp(context, "irq")) {
		report_some(&series, series.count);
		return 0;
	}
	while (series.count) {
		irq_work_queue(&series.work);
		irq_work_sync(&series.work);
	}
	return 0;
}

static int set_device(const char *text, const struct kernel_param *param)
{
	unsigned int segment, bus, slot, function;
	struct iommu_domain *domain;
	struct pci_dev *pdev;

	if (sscanf(text, "%x:%x:%x.%x", &segment, &bus, &slot, &function) != 4)
		return -EINVAL;
	pdev = pci_get_domain_bus_and_slot(segment, bus,
					   PCI_DEVFN(slot, function));
	if (!pdev)
		return -ENODEV;
	pci_dev_put(device);
	device = pdev;
	domain = iommu_get_domain_for_dev(&device->dev);
	handler = domain ? domain->handler : NULL;
	handler_token = domain ? domain->handler_token : NULL;
	return 0;
}

static const struct kernel_param_ops report_ops = { .set = set_report };
static const struct kernel_param_ops device_ops = { .set = set_device };

module_param_cb(report, &report_ops, NULL, 0200);
module_param_cb(device, &device_ops, NULL, 0200);
module_param(unhandled, ulong, 0400);

static int __init inject_init(void)
{
	return 0;
}
module_init(inject_init);

static void __exit inject_exit(void)
{
	pci_dev_put(device);
}
module_exit(inject_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Reports faults of DMA, for tests of kvm_iommu");
