// SPDX-License-Identifier: GPL-2.0-only
/*
 * Faults of devices, see faults.h: devices that the host's IOMMU refuses to
 * take into a domain again, and accesses that it blocked, as far as its driver
 * reports them (report_iommu_fault()). In 6.12 and 7.3 the driver of AMD-Vi does; no
 * other driver for x86 or s390 does.
 *
 * A driver may report a fault at any time and in any context, even of a domain
 * that the device is just being detached from, and takes the handler out of the
 * domain without a lock. So the handler stays set for the lifetime of the
 * domain. It is given the number of a domain rather than a pointer, and does
 * not touch the domain.
 */
#include <linux/iommu.h>
#include <linux/pci.h>
#include <linux/rcupdate.h>

#include <linux/kvm_iommu.h>

#include "host/hosts.h"
#include "object/faults.h"
#include "object/object.h"

/* Names a device as kvm_iommu_fault.device does, if it fits in there. */
static void name_device(struct kiommu_fault *fault, struct device *dev)
{
	struct pci_dev *pdev;
	int segment;

	if (!dev || !dev_is_pci(dev))
		return;
	pdev = to_pci_dev(dev);
	segment = pci_domain_nr(pdev->bus);
	if (segment != (u16)segment)
		return;
	fault->flags |= KVM_IOMMU_FAULT_PCI;
	fault->device = (u32)segment << 16 | pci_dev_id(pdev);
}

/*
 * Return: 0 if somebody reads the faults; -ENOSYS if not, and the driver logs
 * it.
 */
static int dma_fault(struct iommu_domain *domain, struct device *dev,
		     unsigned long iova, int flags, void *token)
{
	struct kiommu_object *object = kiommu_object_get((unsigned long)token);
	struct kiommu_fault fault = {
		.iova = iova,
		.flags = KVM_IOMMU_FAULT_HAS_IOVA,
		.access = flags & IOMMU_FAULT_WRITE ? KVM_IOMMU_WRITE :
						      KVM_IOMMU_READ,
	};
	int queued;

	if (!object)
		return -ENOSYS;
	name_device(&fault, dev);
	queued = kiommu_core_report_dma_fault(object->faults, &fault);
	kiommu_object_put(object);
	return queued ? 0 : -ENOSYS;
}

static int report_device(struct device *dev, void *data)
{
	struct kiommu_object *object = data;
	struct kiommu_fault fault = {
		.reason = KVM_IOMMU_FAULT_HOST,
		.status = KVM_IOMMU_STATUS_HOST,
	};

	name_device(&fault, dev);
	kiommu_core_report_fault(object->faults, &fault);
	return 0;
}

static void report_blocked(unsigned long id, struct iommu_group *group)
{
	struct kiommu_object *object =
		kiommu_object_get(id);

	/* The domain was released: the group is leaving. */
	if (!object)
		return;
	iommu_group_for_each_dev(group, object, report_device);
	kiommu_object_put(object);
}

const struct kiommu_host_reports kiommu_dma_faults = {
	.fault = dma_fault,
	.blocked = report_blocked,
};

/*
 * A threaded interrupt handler may have been preempted in the fault handler, or
 * on its way into it. It has left the module once it has slept.
 */
void kiommu_dma_faults_exit(void)
{
	synchronize_rcu_tasks();
}
