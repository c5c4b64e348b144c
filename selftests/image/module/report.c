// SPDX-License-Identifier: GPL-2.0-only
/*
 * The file /sys/kernel/debug/kiommu_image, lines of words and hex numbers:
 *
 *   function BDF DRIVER IOTA PBA PAL  what is registered with the machine
 *   mapped BDF IOVA PHYSICAL RIGHTS   a page of this driver's function, as the
 *                                     DMA API's caller knows it
 *   unmapped BDF IOVA                 a page of it that was unmapped since
 *   seen BDF IOVA PHYSICAL            a page, as the kernel's IOMMU driver finds
 *                                     it when it is asked for each IOVA
 *   end
 *
 * PHYSICAL is an absolute address; RIGHTS are r or rw.
 */
#include <linux/debugfs.h>
#include <linux/iommu.h>
#include <linux/pci.h>
#include <linux/sched.h>
#include <linux/seq_file.h>
#include <asm/pci_insn.h>

#include "image.h"

#define MOST_BYTES (4u << 20)

/*
 * Store PCI Function Controls: reads the function's registers, here IOTA, PBA
 * and PAL, regardless of what the kernel remembers of them.
 */
static u8 store_function_controls(u64 request, struct zpci_fib *fib)
{
	int cc;

	asm volatile("	.insn	rxy,0xe300000000d4,%[request],%[fib]\n"
		     "	ipm	%[cc]\n"
		     "	srl	%[cc],28\n"
		     : [cc] "=d" (cc), [request] "+d" (request), [fib] "+Q" (*fib)
		     :
		     : "cc");
	return cc;
}

static void show_seen(struct seq_file *file, struct pci_dev *pdev,
		      const struct zpci_fib *fib)
{
	struct iommu_domain *domain = iommu_get_domain_for_dev(&pdev->dev);

	for (u64 iova = fib->pba; domain && iova < fib->pal; iova += PAGE_SIZE) {
		phys_addr_t phys = iommu_iova_to_phys(domain, iova);

		if (phys)
			seq_printf(file, "seen %s %llx %llx\n", pci_name(pdev),
				   iova, (u64)phys);
		if (!(iova % (1ull << 30)))
			cond_resched();
	}
}

static void show_mapped(struct seq_file *file, const struct image_record *record)
{
	for (unsigned int i = 0; i < record->count; i++) {
		const struct image_page *page = &record->page[i];

		if (page->mapped)
			seq_printf(file, "mapped %s %llx %llx %s\n",
				   dev_name(record->dev), (u64)page->iova,
				   (u64)page->phys, page->writable ? "rw" : "r");
		else
			seq_printf(file, "unmapped %s %llx\n",
				   dev_name(record->dev), (u64)page->iova);
	}
}

static int image_show(struct seq_file *file, void *data)
{
	struct pci_dev *pdev = NULL;

	for_each_pci_dev(pdev) {
		u64 request = ZPCI_CREATE_REQ(to_zpci(pdev)->fh, 0, 0);
		struct zpci_fib fib = { };
		u8 cc = store_function_controls(request, &fib);

		if (cc) {
			pci_dev_put(pdev);
			return -EIO;
		}
		seq_printf(file, "function %s %s %llx %llx %llx\n", pci_name(pdev),
			   dev_driver_string(&pdev->dev), fib.iota, fib.pba, fib.pal);
		if (&pdev->dev == image_record.dev)
			show_mapped(file, &image_record);
		show_seen(file, pdev, &fib);
	}
	seq_puts(file, "end\n");
	return 0;
}

/* Large from the start: looking at each IOVA again for more room takes long. */
static int image_open(struct inode *inode, struct file *file)
{
	return single_open_size(file, image_show, NULL, MOST_BYTES);
}

static const struct file_operations image_fops = {
	.owner = THIS_MODULE,
	.open = image_open,
	.read = seq_read,
	.llseek = seq_lseek,
	.release = single_release,
};

void image_report_init(void)
{
	debugfs_create_file("kiommu_image", 0400, NULL, NULL, &image_fops);
}
