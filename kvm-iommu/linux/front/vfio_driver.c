// SPDX-License-Identifier: GPL-2.0-only
/*
 * VFIO containers of type VFIO_KVM_IOMMU: each is the front of a domain of its
 * own.
 *
 * VFIO calls attach_group, detach_group and release under the container's
 * group_lock, register_device and unregister_device under the lock of the
 * device set, and ioctl under no lock: the container may be released while an
 * ioctl is under way. So VFIO is given a number rather than a pointer, that of
 * the domain, and each call takes a reference.
 */
#include <linux/kvm_iommu.h>

#include "front/ioctls.h"
#include "front/vfio_driver.h"
#include "front/vfio_iommu_driver.h"
#include "object/groups.h"
#include "object/lock.h"
#include "object/object.h"

static void *kiommu_vfio_open(unsigned long arg)
{
	struct kiommu_object *object;

	if (arg != VFIO_KVM_IOMMU)
		return ERR_PTR(-EINVAL);
	object = kiommu_object_create();
	if (IS_ERR(object))
		return ERR_CAST(object);
	return (void *)object->id;
}

/* Returns NULL if VFIO takes no lock and has released the container. */
static struct kiommu_object *object_of(void *iommu_data)
{
	return kiommu_object_get((unsigned long)iommu_data);
}

static void kiommu_vfio_release(void *iommu_data)
{
	struct kiommu_object *object = object_of(iommu_data);

	kiommu_object_release(object);
	kiommu_object_put(object);
}

static int kiommu_vfio_attach_group(void *iommu_data,
				    struct iommu_group *group,
				    enum vfio_group_type type)
{
	struct kiommu_object *object;
	int ret;

	/* Without an IOMMU there are no tables to hold a shadow. */
	if (type != VFIO_IOMMU)
		return -EOPNOTSUPP;
	object = object_of(iommu_data);
	kiommu_lock_exclusive(object);
	ret = kiommu_group_attach(object, group);
	kiommu_unlock_exclusive(object);
	kiommu_object_put(object);
	return ret;
}

static void kiommu_vfio_detach_group(void *iommu_data,
				     struct iommu_group *group)
{
	struct kiommu_object *object = object_of(iommu_data);

	kiommu_lock_exclusive(object);
	kiommu_group_detach(object, group);
	kiommu_unlock_exclusive(object);
	kiommu_object_put(object);
}

static void kiommu_vfio_register_device(void *iommu_data,
					struct vfio_device *vdev)
{
	struct kiommu_object *object = object_of(iommu_data);

	kiommu_devices_open(object, vdev->kvm);
	kiommu_object_put(object);
}

static void kiommu_vfio_unregister_device(void *iommu_data,
					  struct vfio_device *vdev)
{
	struct kiommu_object *object = object_of(iommu_data);

	kiommu_devices_close(object, vdev->kvm);
	kiommu_object_put(object);
}

static long check_extension(struct kiommu_object *object,
			    unsigned long extension)
{
	long ret;

	switch (extension) {
	case VFIO_KVM_IOMMU:
		return 1;
	case VFIO_UNMAP_ALL:
		return object ? 1 : 0;
	case VFIO_DMA_CC_IOMMU:
		if (!object)
			return 0;
		ret = kiommu_lock_shared(object);
		if (ret)
			return ret;
		ret = kiommu_hosts_coherent(&object->hosts);
		kiommu_unlock_shared(object);
		return ret;
	default:
		return 0;
	}
}

static long object_ioctl(struct kiommu_object *object,
			 unsigned int cmd, unsigned long arg)
{
	if (cmd == VFIO_CHECK_EXTENSION)
		return check_extension(object, arg);
	if (_IOC_TYPE(cmd) == KVM_IOMMU_TYPE)
		return kiommu_ioctl(object, cmd, arg);
	return kiommu_type1_ioctl(object, cmd, arg);
}

static long kiommu_vfio_ioctl(void *iommu_data, unsigned int cmd,
			      unsigned long arg)
{
	struct kiommu_object *object;
	long ret;

	/*
	 * VFIO asks this before VFIO_SET_IOMMU. Other calls see NULL while the
	 * container is being set up or is gone.
	 */
	if (!iommu_data && cmd == VFIO_CHECK_EXTENSION)
		return check_extension(NULL, arg);

	/*
	 * The container holds the module only until it is released, which may
	 * happen during this call.
	 */
	if (!try_module_get(THIS_MODULE))
		return -ESTALE;
	object = object_of(iommu_data);
	ret = object_ioctl(object, cmd, arg);
	if (object)
		kiommu_object_put(object);
	module_put(THIS_MODULE);
	return ret;
}

static const struct vfio_iommu_driver_ops kiommu_vfio_ops = {
	.name = "kvm-iommu",
	.owner = THIS_MODULE,
	.open = kiommu_vfio_open,
	.release = kiommu_vfio_release,
	.ioctl = kiommu_vfio_ioctl,
	.attach_group = kiommu_vfio_attach_group,
	.detach_group = kiommu_vfio_detach_group,
	.register_device = kiommu_vfio_register_device,
	.unregister_device = kiommu_vfio_unregister_device,
};

int kiommu_vfio_register(void)
{
	return vfio_register_iommu_driver(&kiommu_vfio_ops);
}

void kiommu_vfio_unregister(void)
{
	vfio_unregister_iommu_driver(&kiommu_vfio_ops);
}
