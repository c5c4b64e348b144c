// SPDX-License-Identifier: GPL-2.0-only
/*
 * The VFIO front end: turns the calls of VFIO containers into calls on ours.
 *
 * VFIO calls attach_group, detach_group and release under the container's
 * group_lock, register_device and unregister_device under the lock of the
 * device set, and ioctl under no lock: the container may be released while an
 * ioctl is under way. So VFIO is given a number rather than a pointer, and each
 * call takes a reference.
 */
#include <linux/kvm_iommu.h>

#include "front/ioctls.h"
#include "front/vfio_driver.h"
#include "front/vfio_iommu_driver.h"
#include "guest/guest.h"
#include "object/object.h"
#include "object/groups.h"
#include "object/lock.h"

static bool allow_unsafe_interrupts;
module_param(allow_unsafe_interrupts, bool, 0644);
MODULE_PARM_DESC(allow_unsafe_interrupts,
		 "Accept groups whose interrupts the host does not isolate");

static bool domain_per_group;
module_param(domain_per_group, bool, 0644);
MODULE_PARM_DESC(domain_per_group,
		 "Give each group a host domain of its own, as if behind different IOMMUs");

static unsigned long shadow_limit_mb = 256;
module_param(shadow_limit_mb, ulong, 0644);
MODULE_PARM_DESC(shadow_limit_mb,
		 "Kernel memory that the shadow of one container may use, in MiB");

static void *kiommu_vfio_open(unsigned long arg)
{
	unsigned long limit = min(READ_ONCE(shadow_limit_mb), ULONG_MAX >> 20);
	struct kiommu_container *container;

	if (arg != VFIO_KVM_IOMMU)
		return ERR_PTR(-EINVAL);
	container = kiommu_container_create((u64)limit << 20);
	if (IS_ERR(container))
		return ERR_CAST(container);
	return (void *)container->id;
}

static void kiommu_vfio_release(void *iommu_data)
{
	struct kiommu_container *container = kiommu_container_get(iommu_data);

	kiommu_container_release(container);
	kiommu_container_put(container);
}

static struct kiommu_mmio *mmio_of(struct kiommu_container *container)
{
	return container->guest ? &container->guest->mmio : NULL;
}

static int kiommu_vfio_attach_group(void *iommu_data,
				    struct iommu_group *group,
				    enum vfio_group_type type)
{
	struct kiommu_container *container;
	int ret;

	/* Without an IOMMU there are no tables to hold a shadow. */
	if (type != VFIO_IOMMU)
		return -EOPNOTSUPP;
	container = kiommu_container_get(iommu_data);
	kiommu_lock_exclusive(container);
	ret = kiommu_group_attach(&container->hosts, container->domain,
				  mmio_of(container), group,
				  READ_ONCE(allow_unsafe_interrupts),
				  READ_ONCE(domain_per_group));
	if (!ret) {
		ret = kiommu_container_add_group(container, group);
		if (ret)
			kiommu_group_detach(&container->hosts,
					    container->domain,
					    mmio_of(container), group);
	}
	kiommu_unlock_exclusive(container);
	kiommu_container_put(container);
	return ret;
}

static void kiommu_vfio_detach_group(void *iommu_data,
				     struct iommu_group *group)
{
	struct kiommu_container *container = kiommu_container_get(iommu_data);

	kiommu_container_del_group(group);
	kiommu_lock_exclusive(container);
	kiommu_group_detach(&container->hosts, container->domain,
			    mmio_of(container), group);
	kiommu_unlock_exclusive(container);
	kiommu_container_put(container);
}

static void kiommu_vfio_register_device(void *iommu_data,
					struct vfio_device *vdev)
{
	struct kiommu_container *container = kiommu_container_get(iommu_data);

	kiommu_container_open_device(container, vdev->kvm);
	kiommu_container_put(container);
}

static void kiommu_vfio_unregister_device(void *iommu_data,
					  struct vfio_device *vdev)
{
	struct kiommu_container *container = kiommu_container_get(iommu_data);

	kiommu_container_close_device(container, vdev->kvm);
	kiommu_container_put(container);
}

static long check_extension(struct kiommu_container *container,
			    unsigned long extension)
{
	long ret;

	switch (extension) {
	case VFIO_KVM_IOMMU:
		return 1;
	case VFIO_UNMAP_ALL:
		return container ? 1 : 0;
	case VFIO_DMA_CC_IOMMU:
		if (!container)
			return 0;
		ret = kiommu_lock_shared(container);
		if (ret)
			return ret;
		ret = kiommu_hosts_coherent(&container->hosts);
		kiommu_unlock_shared(container);
		return ret;
	default:
		return 0;
	}
}

static long container_ioctl(struct kiommu_container *container,
			    unsigned int cmd, unsigned long arg)
{
	if (cmd == VFIO_CHECK_EXTENSION)
		return check_extension(container, arg);
	if (_IOC_TYPE(cmd) == KVM_IOMMU_TYPE)
		return kiommu_ioctl(container, cmd, arg);
	return kiommu_type1_ioctl(container, cmd, arg);
}

static long kiommu_vfio_ioctl(void *iommu_data, unsigned int cmd,
			      unsigned long arg)
{
	struct kiommu_container *container;
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
	container = kiommu_container_get(iommu_data);
	ret = container_ioctl(container, cmd, arg);
	if (container)
		kiommu_container_put(container);
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
