// SPDX-License-Identifier: GPL-2.0-only
/*
 * KIOMMU_MEMORY_RESET_ERROR, see kiommu_memory.h: takes a zPCI function whose
 * DMA was refused out of the error state.
 *
 * The machine reports the error by an event, which Linux handles in a thread of
 * its own. It finds no driver that recovers (vfio-pci does not), and marks the
 * pci_dev as failed for good. The reset must wait for that: an event that is
 * handled later would mark the pci_dev again.
 */
#include <linux/delay.h>
#include <linux/jiffies.h>
#include <linux/pci.h>
#include <asm/pci_insn.h>

#include "kiommu_memory.h"
#include "memory.h"

#define EVENT_TIMEOUT (10 * HZ)

static int wait_for_event(struct pci_dev *pdev)
{
	unsigned long end = jiffies + EVENT_TIMEOUT;

	while (READ_ONCE(pdev->error_state) != pci_channel_io_perm_failure) {
		if (time_after(jiffies, end))
			return -ETIMEDOUT;
		if (msleep_interruptible(1))
			return -EINTR;
	}
	return 0;
}

static int reset_error(struct pci_dev *pdev)
{
	struct zpci_fib fib = {};
	u8 status;
	int ret;

	ret = wait_for_event(pdev);
	if (ret)
		return ret;
	/* The event's handler holds this lock until it is done. */
	device_lock(&pdev->dev);
	if (zpci_mod_fc(ZPCI_CREATE_REQ(to_zpci(pdev)->fh, 0,
					ZPCI_MOD_FC_RESET_ERROR),
			&fib, &status))
		ret = -EREMOTEIO;
	else
		WRITE_ONCE(pdev->error_state, pci_channel_io_normal);
	device_unlock(&pdev->dev);
	return ret;
}

int kiommu_test_reset_error(const struct kiommu_memory_function *function)
{
	struct pci_dev *pdev;
	int ret;

	pdev = pci_get_domain_bus_and_slot(function->domain, function->bus,
					   function->devfn);
	if (!pdev)
		return -ENODEV;
	ret = reset_error(pdev);
	pci_dev_put(pdev);
	return ret;
}
