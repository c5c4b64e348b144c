// SPDX-License-Identifier: GPL-2.0-only
/*
 * Reports DMA faults of a device, as the host's IOMMU driver would, where that
 * driver or its emulation reports none; and refuses maps, as that driver does
 * when it has no memory. Parameters in /sys/module/kiommu_inject/parameters:
 *
 *   device     written: a PCI address; faults are reported for this device, and
 *              the current fault handler of its IOMMU domain is remembered
 *   report     written: "IOVA ACCESS COUNT STRIDE CONTEXT": COUNT faults, from
 *              IOVA on, STRIDE bytes apart; ACCESS: r or w; CONTEXT:
 *                thread  to the domain that the device is in now
 *                irq     the same, from a hard interrupt
 *                late    to the handler that was remembered, whatever became
 *                        of its domain: as a driver does that was interrupted
 *                        just before it called the handler
 *   unhandled  read: how many of the last ones no handler accepted, so that a
 *              driver would log them
 *
 *   refuse     written: "FIRST COUNT": of the domain that the device is in now,
 *              the FIRST-th map, counted from 1 and from this write, fails with
 *              ENOMEM, as do the next COUNT - 1; "0 0": maps succeed again
 *   refused    read: how many have failed since that was written
 *   refuse_attach
 *              written: 1: attaching devices to that domain fails with ENOMEM,
 *              too, until 0 is written, or maps succeed again
 *
 *   refuse_ids written: 1: the kernel has no numbers left (ida_alloc_range()) for
 *              the process that writes this, until 0 is written: Intel's driver
 *              needs one for each domain that a device is attached to
 *   ids_refused
 *              read: how many times since 1 was written; -1: they cannot be refused
 *
 *   reserve    written: "FIRST LENGTH": the group of the device reserves these IOVAs,
 *              too, for whoever asks from now on (iommu_get_group_resv_regions());
 *              "0 0": it does not any more
 *
 * /dev/kiommu_not_kvm is a file whose ioctls a function serves that has the name of
 * KVM's for VMs, in this module.
 *
 * The writer makes sure that the device stays in its domain meanwhile (except
 * for "late"), and that kvm_iommu.ko stays loaded. If a domain is freed while
 * its maps are refused, maps are no longer refused.
 */
#include <linux/iommu.h>
#include <linux/idr.h>
#include <linux/irq_work.h>
#include <linux/kprobes.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/pci.h>

/*
 * In newer kernels drivers may leave their tables to the kernel: maps then go by the
 * operations of the tables, not by those of the domain. What else has changed by then
 * depends on this, too.
 */
#if __has_include("linux/generic_pt/iommu.h")
#define HAVE_GENERIC_PT
#include <linux/generic_pt/iommu.h>
#endif

/* Faults that are reported in one interrupt. */
#define IN_ONE_INTERRUPT 256

/* All state is serialised by the kernel's lock for writing parameters. */
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
	handler = NULL;
#ifdef HAVE_GENERIC_PT
	/* Other cookies lie in the same place. */
	if (domain && domain->cookie_type != IOMMU_COOKIE_FAULT_HANDLER)
		return 0;
#endif
	handler = domain ? domain->handler : NULL;
	handler_token = domain ? domain->handler_token : NULL;
	return 0;
}

/*
 * The domain whose maps are refused, or NULL. It has a copy of its driver's
 * operations, with three of them replaced; so have its tables, with one.
 */
static struct iommu_domain *refusing;
static const struct iommu_domain_ops *driver_ops;
static struct iommu_domain_ops refusing_ops;
static atomic_long_t maps_until_refusal;
static long refusals;
static atomic_long_t refused;
static bool refuse_attach;

static bool is_refused(void)
{
	long left = atomic_long_dec_return(&maps_until_refusal);

	if (left > 0 || left <= -READ_ONCE(refusals))
		return false;
	atomic_long_inc(&refused);
	return true;
}

static int refuse_map_pages(struct iommu_domain *domain, unsigned long iova,
			    phys_addr_t paddr, size_t pgsize, size_t pgcount,
			    int prot, gfp_t gfp, size_t *mapped)
{
	if (is_refused())
		return -ENOMEM;
	return driver_ops->map_pages(domain, iova, paddr, pgsize, pgcount, prot,
				     gfp, mapped);
}

#ifdef HAVE_GENERIC_PT

static const struct pt_iommu_ops *table_ops;
static struct pt_iommu_ops refusing_table_ops;

static int refuse_map_range(struct pt_iommu *table, dma_addr_t iova,
			    phys_addr_t paddr, dma_addr_t len, unsigned int prot,
			    gfp_t gfp, size_t *mapped)
{
	if (is_refused())
		return -ENOMEM;
	return table_ops->map_range(table, iova, paddr, len, prot, gfp, mapped);
}

static void refuse_tables(struct iommu_domain *domain)
{
	struct pt_iommu *table = iommupt_from_domain(domain);

	if (!table)
		return;
	table_ops = table->ops;
	refusing_table_ops = *table_ops;
	refusing_table_ops.map_range = refuse_map_range;
	WRITE_ONCE(table->ops, &refusing_table_ops);
}

static void accept_tables(struct iommu_domain *domain)
{
	struct pt_iommu *table = iommupt_from_domain(domain);

	if (table)
		WRITE_ONCE(table->ops, table_ops);
}

/* Intel's driver knows a domain's kind by its operations: it sees its own. */
static int refuse_attach_dev(struct iommu_domain *domain, struct device *dev,
			     struct iommu_domain *old)
{
	int ret;

	if (READ_ONCE(refuse_attach))
		return -ENOMEM;
	WRITE_ONCE(domain->ops, driver_ops);
	ret = driver_ops->attach_dev(domain, dev, old);
	WRITE_ONCE(domain->ops, &refusing_ops);
	return ret;
}

#else

static void refuse_tables(struct iommu_domain *domain)
{
}

static void accept_tables(struct iommu_domain *domain)
{
}

static int refuse_attach_dev(struct iommu_domain *domain, struct device *dev)
{
	return READ_ONCE(refuse_attach) ? -ENOMEM :
	       driver_ops->attach_dev(domain, dev);
}

#endif

static void stop_refusing(void)
{
	if (refusing) {
		WRITE_ONCE(refusing->ops, driver_ops);
		accept_tables(refusing);
	}
	refusing = NULL;
}

static void refuse_free(struct iommu_domain *domain)
{
	stop_refusing();
	driver_ops->free(domain);
}

static int set_refuse(const char *text, const struct kernel_param *param)
{
	struct iommu_domain *domain;
	long first, count;

	if (sscanf(text, "%ld %ld", &first, &count) != 2 || first < 0 || count < 0)
		return -EINVAL;
	stop_refusing();
	if (!first)
		return 0;
	domain = device ? iommu_get_domain_for_dev(&device->dev) : NULL;
	if (!domain || !(domain->type & __IOMMU_DOMAIN_PAGING))
		return -ENODEV;
	driver_ops = domain->ops;
	refusing_ops = *driver_ops;
	if (driver_ops->map_pages)
		refusing_ops.map_pages = refuse_map_pages;
	refusing_ops.attach_dev = refuse_attach_dev;
	refusing_ops.free = refuse_free;
	atomic_long_set(&maps_until_refusal, first);
	refusals = count;
	atomic_long_set(&refused, 0);
	refusing = domain;
	refuse_tables(domain);
	WRITE_ONCE(domain->ops, &refusing_ops);
	return 0;
}

#ifdef CONFIG_KRETPROBES

static pid_t without_ids; /* 0: nobody */
static atomic_long_t ids_refused;

/* Keeps the IDA, so that the number can be given back. */
static int id_wanted(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	*(void **)instance->data =
		(void *)regs_get_kernel_argument(regs, 0);
	return current->tgid != READ_ONCE(without_ids);
}

static int id_got(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	int id = (int)regs_return_value(regs);

	if (id < 0)
		return 0;
	ida_free(*(void **)instance->data, id);
	regs_set_return_value(regs, -ENOSPC);
	atomic_long_inc(&ids_refused);
	return 0;
}

static struct kretprobe ids = {
	.kp.symbol_name = "ida_alloc_range",
	.entry_handler = id_wanted,
	.handler = id_got,
	.data_size = sizeof(void *),
};

/* What an earlier registration has left in @probe is in the way. */
static int start_probe(struct kretprobe *probe)
{
	probe->kp.addr = NULL;
	probe->kp.flags = 0;
	return register_kretprobe(probe);
}

static int set_refuse_ids(const char *text, const struct kernel_param *param)
{
	bool refuse, refusing = without_ids;
	int ret = kstrtobool(text, &refuse);

	if (ret || refuse == refusing)
		return ret;
	if (refuse) {
		atomic_long_set(&ids_refused, 0);
		without_ids = current->tgid;
		ret = start_probe(&ids);
		if (!ret)
			return 0;
	} else {
		unregister_kretprobe(&ids);
	}
	without_ids = 0;
	return ret;
}

static int get_ids_refused(char *buffer, const struct kernel_param *param)
{
	return sysfs_emit(buffer, "%ld\n", atomic_long_read(&ids_refused));
}

/* What is reserved in addition; not changed while the probe is registered. */
static u64 reserved_first, reserved_length;

/* Keeps the list that is filled, if it is for the device's group. */
static int windows_wanted(struct kretprobe_instance *instance,
			  struct pt_regs *regs)
{
	*(void **)instance->data =
		(void *)regs_get_kernel_argument(regs, 1);
	return (void *)regs_get_kernel_argument(regs, 0) !=
	       device->dev.iommu_group;
}

static int windows_got(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	struct iommu_resv_region *region;

	if (regs_return_value(regs))
		return 0;
	region = iommu_alloc_resv_region(reserved_first, reserved_length, 0,
					 IOMMU_RESV_RESERVED, GFP_ATOMIC);
	if (region)
		list_add_tail(&region->list, *(struct list_head **)instance->data);
	else
		regs_set_return_value(regs, -ENOMEM);
	return 0;
}

static struct kretprobe windows = {
	.kp.symbol_name = "iommu_get_group_resv_regions",
	.entry_handler = windows_wanted,
	.handler = windows_got,
	.data_size = sizeof(void *),
};

static void stop_reserving(void)
{
	if (reserved_length)
		unregister_kretprobe(&windows);
	reserved_length = 0;
}

static int set_reserve(const char *text, const struct kernel_param *param)
{
	u64 first, length;
	int ret;

	if (sscanf(text, "%lli %lli", &first, &length) != 2)
		return -EINVAL;
	stop_reserving();
	if (!length)
		return 0;
	if (!device)
		return -ENODEV;
	reserved_first = first;
	reserved_length = length;
	ret = start_probe(&windows);
	if (ret)
		reserved_length = 0;
	return ret;
}

#else

static void stop_reserving(void)
{
}

static int set_reserve(const char *text, const struct kernel_param *param)
{
	return -EOPNOTSUPP;
}

static int set_refuse_ids(const char *text, const struct kernel_param *param)
{
	return 0;
}

static int get_ids_refused(char *buffer, const struct kernel_param *param)
{
	return sysfs_emit(buffer, "-1\n");
}

#endif

static int get_refused(char *buffer, const struct kernel_param *param)
{
	return sysfs_emit(buffer, "%ld\n", atomic_long_read(&refused));
}

/* Not inlined, and of this name: see guest/kvm_memory.c. */
static noinline long kvm_vm_ioctl(struct file *file, unsigned int cmd,
				  unsigned long arg)
{
	return -ENOTTY;
}

static const struct file_operations not_kvm_fops = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = kvm_vm_ioctl,
};

static struct miscdevice not_kvm = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "kiommu_not_kvm",
	.fops = &not_kvm_fops,
};

static const struct kernel_param_ops refuse_ops = { .set = set_refuse };
static const struct kernel_param_ops refused_ops = { .get = get_refused };
static const struct kernel_param_ops refuse_ids_ops = { .set = set_refuse_ids };
static const struct kernel_param_ops ids_refused_ops = { .get = get_ids_refused };
static const struct kernel_param_ops reserve_ops = { .set = set_reserve };
static const struct kernel_param_ops report_ops = { .set = set_report };
static const struct kernel_param_ops device_ops = { .set = set_device };

module_param_cb(reserve, &reserve_ops, NULL, 0200);
module_param_cb(report, &report_ops, NULL, 0200);
module_param_cb(device, &device_ops, NULL, 0200);
module_param(unhandled, ulong, 0400);
module_param_cb(refuse, &refuse_ops, NULL, 0200);
module_param_cb(refused, &refused_ops, NULL, 0400);
module_param(refuse_attach, bool, 0200);
module_param_cb(refuse_ids, &refuse_ids_ops, NULL, 0200);
module_param_cb(ids_refused, &ids_refused_ops, NULL, 0400);

static int __init inject_init(void)
{
	return misc_register(&not_kvm);
}
module_init(inject_init);

static void __exit inject_exit(void)
{
	misc_deregister(&not_kvm);
	stop_refusing();
	stop_reserving();
	set_refuse_ids("0", NULL);
	pci_dev_put(device);
}
module_exit(inject_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Reports faults of DMA, refuses maps, for tests of kvm_iommu");
