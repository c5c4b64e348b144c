// SPDX-License-Identifier: GPL-2.0-only
/*
 * A driver without a device of its own: it takes the function whose
 * driver_override names it. What it has mapped stays until the machine stops,
 * because that is when its memory is examined: the module cannot be unloaded.
 */
#include <linux/module.h>
#include <linux/pci.h>

#include "image.h"

struct image_record image_record;

static int image_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	int ret;

	if (image_record.dev)
		return -EBUSY;
	ret = pci_enable_device_mem(pdev);
	if (ret)
		return ret;
	image_record.dev = &pdev->dev;
	return image_map_variety(&image_record);
}

/* Matched by driver_override alone. */
static const struct pci_device_id image_ids[] = {
	{ }
};

static struct pci_driver image_driver = {
	.name = "kiommu_image",
	.id_table = image_ids,
	.probe = image_probe,
	.driver.suppress_bind_attrs = true,
};

static int __init image_init(void)
{
	image_report_init();
	return pci_register_driver(&image_driver);
}
module_init(image_init);

MODULE_DESCRIPTION("I/O translation tables for a test of the walker");
MODULE_LICENSE("GPL");
