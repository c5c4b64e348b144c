// SPDX-License-Identifier: GPL-2.0-only
/*
 * kvm_iommu: KVM-owned IOMMU domains.
 */
#include <linux/module.h>

#include "zpci_hook.h"
#include "front/domain_file.h"
#include "front/hwpt.h"
#include "front/vfio_driver.h"
#include "guest/guest.h"
#include "object/devices.h"
#include "object/doorbell.h"
#include "object/faults.h"

static int __init kiommu_init(void)
{
	int ret;

	kiommu_guests_init();
	ret = kiommu_devices_start_queue();
	if (ret)
		return ret;
	ret = kiommu_shrinker_init();
	if (ret)
		goto err_queue;
	ret = kiommu_zpci_hook_init();
	if (ret)
		goto err_shrinker;
	ret = kiommu_domain_files_register();
	if (ret)
		goto err_hook;
	/* Last, because domains can be created from here on. */
	ret = kiommu_vfio_register();
	if (ret)
		goto err_files;
	ret = kiommu_hwpt_register();
	if (ret)
		goto err_vfio;
	kiommu_domain_files_ready();
	return 0;

err_vfio:
	kiommu_vfio_unregister();
err_files:
	kiommu_domain_files_unregister();
err_hook:
	kiommu_zpci_hook_exit();
err_shrinker:
	kiommu_shrinker_exit();
err_queue:
	kiommu_devices_stop_queue();
	return ret;
}
module_init(kiommu_init);

static void __exit kiommu_exit(void)
{
	kiommu_hwpt_unregister();
	kiommu_vfio_unregister();
	kiommu_domain_files_unregister();
	kiommu_zpci_hook_exit();
	kiommu_shrinker_exit();
	kiommu_devices_stop_queue();
	kiommu_dma_faults_exit();
	kiommu_doorbells_exit();
}
module_exit(kiommu_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("KVM-owned IOMMU domain: shadows a guest's I/O tables");
