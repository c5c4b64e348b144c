// SPDX-License-Identifier: GPL-2.0-only
/*
 * Faults of devices, see faults.h: those that a host's IOMMU takes no more, and
 * accesses that it blocked and whose driver reports so (report_iommu_fault()). In
 * 6.12 that of AMD-Vi does, on x86 and s390 no other.
 *
 * A driver may report at any time, in any context, also of a domain that it is
 * just being detached from: it takes the handler out of the domain under no
 * lock. So the handler stays in the domain for as long as that lives, is given
 * the number of a container, not a pointer, and touches nothing of the domain.
 */
#include <linux/iommu.h>
#include <linux/pci.h>
#include <linux/rcupdate.h>

#include <linux/kvm_iommu.h>

#include "host/hosts.h"
#include "object/container.h"
#include "object/faults.h"

/* Names a device as kvm_iommu_fault.device does, if that has room for it. */
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
 * Return: 0 somebody reads it; -ENOSYS nobody does: the driver logs it then.
 */
static int dma_fault(struct iommu_domain *domain, struct device *dev,
		     unsigned long iova, int flags, void *token)
{
	struct kiommu_container *container = kiommu_container_get(token);
	struct kiommu_fault fault = {
		.iova = iova,
		.flags = KVM_IOMMU_FAULT_HAS_IOVA,
		.access = flags & IOMMU_FAULT_WRITE ? KVM_IOMMU_WRITE :
						      KVM_IOMMU_READ,
	};
	int queued;

	if (!container)
		return -ENOSYS;
	name_device(&fault, dev);
	queued = kiommu_core_report_dma_fault(container->faults, &fault);
	kiommu_container_put(container);
	return queued ? 0 : -ENOSYS;
}

static int report_device(struct device *dev, void *data)
{
	struct kiommu_container *container = data;
	struct kiommu_fault fault = {
		.reason = KVM_IOMMU_FAULT_HOST,
		.status = KVM_IOMMU_STATUS_HOST,
	};

	name_device(&fault, dev);
	kiommu_core_report_fault(container->faults, &fault);
	return 0;
}

static void report_blocked(unsigned long id, struct iommu_group *group)
{
	struct kiommu_container *container =
		kiommu_container_get((void *)id);

	/* VFIO has released it: the group leaves. */
	if (!container)
		return;
	iommu_group_for_each_dev(group, container, report_device);
	kiommu_container_put(container);
}

const struct kiommu_host_reports kiommu_dma_faults = {
	.fault = dma_fault,
	.blocked = report_blocked,
};

/*
 * A thread of an interrupt may have been preempted within the handler, or on
 * its way into it: it has left the module when it has slept.
 */
void kiommu_dma_faults_exit(void)
{
	synchronize_rcu_tasks();
}
