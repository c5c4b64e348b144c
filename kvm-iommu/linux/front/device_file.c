// SPDX-License-Identifier: GPL-2.0-only
/*
 * VFIO's device files, see device_file.h.
 *
 * VFIO_DEVICE_BIND_IOMMUFD claims the device's DMA for the iommufd, which blocks it
 * until VFIO_DEVICE_ATTACH_IOMMUFD_PT. Between the two, a domain of ours can be
 * attached like one of iommufd's own. Each of them then refuses the device to the
 * other (EBUSY), because the IOMMU core does, as long as the device is not blocked:
 * see is_in() in host/hosts.c. Only closing the file unbinds the device, so whoever
 * has a domain attached holds the file.
 */
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/iommu.h>
#include <linux/list.h>
#include <linux/slab.h>
#include <linux/spinlock.h>

#include "front/device_file.h"
#include "front/vfio_private.h"
#include "object/member.h"

/**
 * struct device_file - a device file that is a member, or is to become one
 * @list: entry in device_files.
 * @file: referenced.
 */
struct device_file {
	struct kiommu_member member;
	struct list_head list;
	struct file *file;
};

static LIST_HEAD(device_files);
static DEFINE_SPINLOCK(device_files_lock); /* protects device_files */

static void free_device_file(struct kiommu_member *member)
{
	struct device_file *device =
		container_of(member, struct device_file, member);

	spin_lock(&device_files_lock);
	list_del(&device->list);
	spin_unlock(&device_files_lock);
	/*
	 * fput() of an exiting task would leave it to a work item, and the device
	 * would still be busy when the task is gone.
	 */
	__fput_sync(device->file);
	kfree(device);
}

static struct kiommu_member *create(struct file *file,
				    struct iommu_group *group)
{
	struct device_file *device;
	int ret;

	device = kzalloc(sizeof(*device), GFP_KERNEL_ACCOUNT);
	if (!device)
		return ERR_PTR(-ENOMEM);
	ret = kiommu_member_init_device(&device->member, group,
					free_device_file);
	if (ret) {
		kfree(device);
		return ERR_PTR(ret);
	}
	INIT_LIST_HEAD(&device->list);
	device->file = get_file(file);
	return &device->member;
}

/* Adds @added if it is not NULL and @file is not in the list yet. */
static struct kiommu_member *find(struct file *file,
				  struct kiommu_member *added)
{
	struct kiommu_member *found = NULL;
	struct device_file *device;

	spin_lock(&device_files_lock);
	list_for_each_entry(device, &device_files, list) {
		/* One that is just being freed does not count. */
		if (device->file == file &&
		    refcount_inc_not_zero(&device->member.refs)) {
			found = &device->member;
			break;
		}
	}
	if (!found && added) {
		device = container_of(added, struct device_file, member);
		list_add(&device->list, &device_files);
		found = added;
	}
	spin_unlock(&device_files_lock);
	return found;
}

static struct kiommu_member *find_or_create(struct file *file,
					    struct iommu_group *group)
{
	struct kiommu_member *found, *created;

	found = find(file, NULL);
	if (found)
		return found;
	created = create(file, group);
	if (IS_ERR(created))
		return created;
	found = find(file, created);
	if (found != created)
		kiommu_member_put(created);
	return found;
}

static int count_device(struct device *dev, void *data)
{
	++*(unsigned int *)data;
	return 0;
}

/* What is attached to a group is attached to all of its devices. */
static bool is_alone(struct iommu_group *group)
{
	unsigned int count = 0;

	iommu_group_for_each_dev(group, &count, count_device);
	return count == 1;
}

struct kiommu_member *kiommu_device_of_file(struct file *file)
{
	struct kiommu_member *member = ERR_PTR(-EINVAL);
	const struct vfio_device_file *vfio;
	struct iommu_group *group;

	if (!IS_ENABLED(CONFIG_VFIO_DEVICE_CDEV) ||
	    !vfio_file_is_valid(file) || vfio_file_is_group(file))
		return NULL;
	vfio = file->private_data;
	/* It came from a group, whose container is the owner of its DMA. */
	if (vfio->group)
		return NULL;
	/* Pairs with VFIO_DEVICE_BIND_IOMMUFD: the device is bound by then. */
	if (!smp_load_acquire(&vfio->access_granted))
		return ERR_PTR(-ENOTCONN);
	/* Mediated devices do not bind their DMA. */
	if (!vfio_iommufd_device_ictx(vfio->device))
		return ERR_PTR(-EINVAL);
	/*
	 * Since 7.x iommufd binds devices without an IOMMU, which VFIO gives a group of
	 * its own making. It asks this of all others.
	 */
	if (!device_iommu_capable(vfio->device->dev, IOMMU_CAP_CACHE_COHERENCY))
		return ERR_PTR(-EINVAL);
	group = iommu_group_get(vfio->device->dev);
	if (!group)
		return ERR_PTR(-EINVAL);
	if (is_alone(group))
		member = find_or_create(file, group);
	iommu_group_put(group);
	return member;
}
