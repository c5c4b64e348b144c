// SPDX-License-Identifier: GPL-2.0-only
/*
 * What Intel's IOMMUs can say of themselves, and the emulated ones do not: as long as
 * this is loaded, their driver says it. Parameters, given when it is loaded:
 *
 *   cap, ecap  bits that IOMMU_GET_HW_INFO shows in these registers, too
 *   dirty      1: dirty pages can be tracked: HWPTs that shall do it can be allocated,
 *              but must not be used, and be gone when this is unloaded
 *   coherent   1: DMA can be had coherent, whatever the device asks for
 *   provider   1: another module serves HWPTs of VT-d's data type, but for no device
 *   child      a PCI address: the device has a child, of no class that anyone knows
 */
#include <linux/device.h>
#include <linux/err.h>
#include <linux/iommu.h>
#include <linux/iommufd_provider.h>
#include <linux/kprobes.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <uapi/linux/iommufd.h>

static ulong cap;
static ulong ecap;
static bool dirty;
static bool coherent;
static bool provider;
static char *child;
module_param(cap, ulong, 0400);
module_param(ecap, ulong, 0400);
module_param(dirty, bool, 0400);
module_param(coherent, bool, 0400);
module_param(provider, bool, 0400);
module_param(child, charp, 0400);

static int info_got(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	struct iommu_hw_info_vtd *vtd = (void *)regs_return_value(regs);

	if (!IS_ERR_OR_NULL(vtd)) {
		vtd->cap_reg |= cap;
		vtd->ecap_reg |= ecap;
	}
	return 0;
}

static int capable_asked(struct kretprobe_instance *instance,
			 struct pt_regs *regs)
{
	switch (regs_get_kernel_argument(regs, 1)) {
	case IOMMU_CAP_DIRTY_TRACKING:
		return !dirty;
	case IOMMU_CAP_ENFORCE_CACHE_COHERENCY:
		return !coherent;
	default:
		return 1;
	}
}

static int capable_got(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	regs_set_return_value(regs, true);
	return 0;
}

static int set_dirty_tracking(struct iommu_domain *domain, bool enabled)
{
	return 0;
}

static int read_and_clear_dirty(struct iommu_domain *domain, unsigned long iova,
				size_t size, unsigned long flags,
				struct iommu_dirty_bitmap *bitmap)
{
	return 0;
}

static const struct iommu_dirty_ops dirty_ops = {
	.set_dirty_tracking = set_dirty_tracking,
	.read_and_clear_dirty = read_and_clear_dirty,
};

/* The driver is not asked for what it would refuse. */
static int domain_wanted(struct kretprobe_instance *instance,
			 struct pt_regs *regs)
{
	if (!dirty || !(regs->si & IOMMU_HWPT_ALLOC_DIRTY_TRACKING))
		return 1;
	regs->si &= ~(unsigned long)IOMMU_HWPT_ALLOC_DIRTY_TRACKING;
	return 0;
}

static int domain_got(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	struct iommu_domain *domain = (void *)regs_return_value(regs);

	if (!IS_ERR_OR_NULL(domain))
		domain->dirty_ops = &dirty_ops;
	return 0;
}

static struct kretprobe info = {
	.kp.symbol_name = "intel_iommu_hw_info",
	.handler = info_got,
};

static struct kretprobe ability = {
	.kp.symbol_name = "device_iommu_capable",
	.entry_handler = capable_asked,
	.handler = capable_got,
};

static struct kretprobe domains = {
	.kp.symbol_name = "intel_iommu_domain_alloc_user",
	.entry_handler = domain_wanted,
	.handler = domain_got,
};

static bool serves(u32 type, const void *info, size_t length)
{
	return false;
}

static const struct iommufd_hwpt_provider taken = {
	.owner = THIS_MODULE,
	.data_type = IOMMU_HWPT_DATA_VTD_S1,
	.serves = serves,
};

static const struct iommufd_hwpt_provider *const providers[] = { &taken };

static struct kretprobe *probes[] = { &info, &ability, &domains };
static struct class *class;
static struct device *device;

static int add_child(void)
{
	unsigned int segment, bus, slot, function;
	struct pci_dev *parent;

	if (sscanf(child, "%x:%x:%x.%x", &segment, &bus, &slot, &function) != 4)
		return -EINVAL;
	parent = pci_get_domain_bus_and_slot(segment, bus,
					     PCI_DEVFN(slot, function));
	if (!parent)
		return -ENODEV;
	class = class_create("kiommu_child");
	device = IS_ERR(class) ? ERR_CAST(class) :
		 device_create(class, &parent->dev, 0, NULL, "kiommu_child");
	pci_dev_put(parent);
	if (!IS_ERR(device))
		return 0;
	if (!IS_ERR(class))
		class_destroy(class);
	return PTR_ERR(device);
}

static int __init claims_init(void)
{
	int ret = register_kretprobes(probes, ARRAY_SIZE(probes));

	if (ret)
		return ret;
	if (child)
		ret = add_child();
	if (!ret && provider)
		ret = iommufd_register_hwpt_providers(providers,
						      ARRAY_SIZE(providers));
	if (ret)
		unregister_kretprobes(probes, ARRAY_SIZE(probes));
	return ret;
}
module_init(claims_init);

static void __exit claims_exit(void)
{
	unregister_kretprobes(probes, ARRAY_SIZE(probes));
	if (provider)
		iommufd_unregister_hwpt_providers(providers,
						  ARRAY_SIZE(providers));
	if (child) {
		device_unregister(device);
		class_destroy(class);
	}
}
module_exit(claims_exit);

MODULE_IMPORT_NS(IOMMUFD);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Says more of a VT-d than there is, for tests of kvm_iommu");
