// SPDX-License-Identifier: GPL-2.0-only
/*
 * The lowest cost that a map and an unmap can have: the IOMMU driver's own
 * calls, on pages that are pinned already, in a domain of its own that a device
 * is attached to.
 *
 *   insmod kiommu_floor.ko device=0000:00:04.0
 */
#include <linux/iommu.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/slab.h>

#include <asm/tsc.h>

#include "runs.h"

static char *device;
module_param(device, charp, 0444);
MODULE_PARM_DESC(device, "PCI address; no driver may be bound to it");

static struct device *dev;
static struct iommu_domain *domain;
/* Serialises jobs. */
static DEFINE_MUTEX(lock);

static const int prot = IOMMU_READ | IOMMU_WRITE | IOMMU_CACHE;
static const gfp_t gfp = GFP_KERNEL_ACCOUNT;

static int map_calls(const struct host_runs *h)
{
	int ret = 0;
	u32 i;

	for (i = 0; i < h->run_count && !ret; i++)
		ret = iommu_map(domain, h->runs[i].iova, h->runs[i].phys,
				h->runs[i].bytes, prot, gfp);
	return ret;
}

static int map_sg(const struct host_runs *h)
{
	u32 i;

	for (i = 0; i < h->list_count; i++) {
		const struct host_list *list = &h->lists[i];

		if (iommu_map_sg(domain, list->iova, &h->sg[list->first],
				 list->count, prot, gfp) != list->bytes)
			return -EIO;
	}
	return 0;
}

/*
 * Each of these unmaps all that a map mapped. Return: -EIO, from unmap_over()
 * -ERANGE, if the driver says that it unmapped anything else.
 */
static int unmap_runs(const struct host_runs *h,
		      struct iommu_iotlb_gather *gather)
{
	int ret = 0;
	u32 i;

	for (i = 0; i < h->run_count; i++)
		if (iommu_unmap_fast(domain, h->runs[i].iova, h->runs[i].bytes,
				     gather) != h->runs[i].bytes)
			ret = -EIO;
	iommu_iotlb_sync(domain, gather);
	return ret;
}

static int unmap_calls(const struct host_runs *h)
{
	struct iommu_iotlb_gather gather;

	iommu_iotlb_gather_init(&gather);
	return unmap_runs(h, &gather);
}

static size_t span(const struct host_runs *h)
{
	const struct host_list *last = &h->lists[h->list_count - 1];

	return last->iova + last->bytes - h->lists[0].iova;
}

static int unmap_span(const struct host_runs *h)
{
	struct iommu_iotlb_gather gather;

	iommu_iotlb_gather_init(&gather);
	iommu_iotlb_gather_add_range(&gather, h->lists[0].iova, span(h));
	return unmap_runs(h, &gather);
}

static int unmap_over(const struct host_runs *h)
{
	struct iommu_iotlb_gather gather;
	size_t done;

	iommu_iotlb_gather_init(&gather);
	done = iommu_unmap_fast(domain, h->lists[0].iova, span(h), &gather);
	iommu_iotlb_sync(domain, &gather);
	return done == span(h) ? 0 : -ERANGE;
}

static int unmap_range(const struct host_runs *h)
{
	struct iommu_iotlb_gather gather;
	int ret = 0;
	u32 i;

	iommu_iotlb_gather_init(&gather);
	for (i = 0; i < h->list_count; i++)
		if (iommu_unmap_fast(domain, h->lists[i].iova, h->lists[i].bytes,
				     &gather) != h->lists[i].bytes)
			ret = -EIO;
	iommu_iotlb_sync(domain, &gather);
	return ret;
}

static int unmap_sync(const struct host_runs *h)
{
	int ret = 0;
	u32 i;

	for (i = 0; i < h->run_count; i++)
		if (iommu_unmap(domain, h->runs[i].iova, h->runs[i].bytes) !=
		    h->runs[i].bytes)
			ret = -EIO;
	return ret;
}

typedef int (*way_fn)(const struct host_runs *h);

static const way_fn map_ways[] = { map_calls, map_sg };
static const way_fn unmap_ways[] = {
	unmap_calls, unmap_range, unmap_span, unmap_over, unmap_sync,
};

static int timed(way_fn way, const struct host_runs *h, u64 *ticks)
{
	u64 start = rdtsc_ordered();
	int ret = way(h);

	*ticks = rdtsc_ordered() - start;
	return ret;
}

static bool mapped(const struct host_runs *h)
{
	u32 i;

	for (i = 0; i < h->run_count; i++)
		if (iommu_iova_to_phys(domain, h->runs[i].iova))
			return true;
	return false;
}

/* Unmaps what is left of what was mapped, which need not be all of it. */
static void clean(const struct host_runs *h)
{
	u32 i;

	for (i = 0; i < h->run_count; i++)
		if (iommu_iova_to_phys(domain, h->runs[i].iova))
			iommu_unmap(domain, h->runs[i].iova, h->runs[i].bytes);
}

static int run_job(struct kiommu_floor_job *job, const struct host_runs *h)
{
	int ret = 0;
	u32 i;

	for (i = 0; i < job->rounds; i++) {
		ret = timed(map_ways[job->map_way], h, &job->map[i]);
		if (ret)
			break;
		ret = timed(unmap_ways[job->unmap_way], h, &job->unmap[i]);
		if (ret)
			break;
		/* A driver that reports success must have unmapped all. */
		ret = mapped(h) ? -EIO : 0;
		if (ret)
			break;
		cond_resched();
	}
	if (ret)
		clean(h);
	job->host_runs = h->run_count;
	return ret;
}

static int do_job(struct kiommu_floor_job *job)
{
	struct kiommu_floor_run *wanted;
	struct host_runs h;
	int ret;

	if (!job->count || !job->rounds || job->rounds > KIOMMU_FLOOR_ROUNDS ||
	    job->map_way >= KIOMMU_FLOOR_MAPS ||
	    job->unmap_way >= KIOMMU_FLOOR_UNMAPS)
		return -EINVAL;
	wanted = vmemdup_array_user(u64_to_user_ptr(job->runs), job->count,
				    sizeof(*wanted));
	if (IS_ERR(wanted))
		return PTR_ERR(wanted);
	ret = host_runs_pin(&h, wanted, job->count);
	if (!ret) {
		mutex_lock(&lock);
		ret = run_job(job, &h);
		mutex_unlock(&lock);
		host_runs_unpin(&h);
	}
	kvfree(wanted);
	return ret;
}

static long floor_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct kiommu_floor_job *job;
	long ret;

	if (cmd != KIOMMU_FLOOR_RUN)
		return -ENOTTY;
	job = memdup_user((void __user *)arg, sizeof(*job));
	if (IS_ERR(job))
		return PTR_ERR(job);
	ret = do_job(job);
	if (!ret && copy_to_user((void __user *)arg, job, sizeof(*job)))
		ret = -EFAULT;
	kfree(job);
	return ret;
}

static const struct file_operations floor_fops = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = floor_ioctl,
};

static struct miscdevice floor_misc = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "kiommu_floor",
	.fops = &floor_fops,
};

static int __init floor_init(void)
{
	int ret;

	dev = device ? bus_find_device_by_name(&pci_bus_type, NULL, device) : NULL;
	if (!dev)
		return -ENODEV;
	domain = iommu_paging_domain_alloc(dev);
	if (IS_ERR(domain)) {
		ret = PTR_ERR(domain);
		goto err_device;
	}
	ret = iommu_attach_device(domain, dev);
	if (ret)
		goto err_domain;
	ret = misc_register(&floor_misc);
	if (ret)
		goto err_detach;
	return 0;

err_detach:
	iommu_detach_device(domain, dev);
err_domain:
	iommu_domain_free(domain);
err_device:
	put_device(dev);
	return ret;
}
module_init(floor_init);

static void __exit floor_exit(void)
{
	misc_deregister(&floor_misc);
	iommu_detach_device(domain, dev);
	iommu_domain_free(domain);
	put_device(dev);
}
module_exit(floor_exit);

MODULE_DESCRIPTION("Costs of the host IOMMU driver's own maps and unmaps");
MODULE_LICENSE("GPL");
