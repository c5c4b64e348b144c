// SPDX-License-Identifier: GPL-2.0-only
/*
 * VFIO containers of type VFIO_KVM_IOMMU, or of type1 if that is asked for: each
 * is a member, with a domain of its own, and the front of that.
 *
 * VFIO calls attach_group, detach_group and release under the container's
 * group_lock, register_device and unregister_device under the lock of the
 * device set, and ioctl under no lock: the container may be released while an
 * ioctl is under way. So VFIO is given a number rather than a pointer, and each
 * call takes a reference.
 */
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/spinlock.h>
#include <linux/xarray.h>

#include <linux/kvm_iommu.h>

#include "front/ioctls.h"
#include "front/vfio_driver.h"
#include "front/vfio_private.h"
#include "object/member.h"
#include "object/object.h"

/* Containers by the id of their own domain. Looked up under RCU. */
static DEFINE_XARRAY(containers);

static void *kiommu_vfio_open(unsigned long arg)
{
	struct kiommu_member *container;
	const bool type1 = arg == VFIO_TYPE1_IOMMU || arg == VFIO_TYPE1v2_IOMMU;
	unsigned long id;
	int ret;

	if (arg != VFIO_KVM_IOMMU && !(type1 && kiommu_serves_type1()))
		return ERR_PTR(-EINVAL);
	container = kiommu_member_create();
	if (IS_ERR(container))
		return ERR_CAST(container);
	container->home->type1 = type1;
	container->home->v1 = arg == VFIO_TYPE1_IOMMU;
	id = container->home->id;
	ret = xa_insert(&containers, id, container, GFP_KERNEL_ACCOUNT);
	if (!ret)
		return (void *)id;
	kiommu_member_release(container);
	return ERR_PTR(ret);
}

/* Returns NULL if VFIO takes no lock and has released the container. */
static struct kiommu_member *container_get(void *iommu_data)
{
	struct kiommu_member *container;

	rcu_read_lock();
	container = xa_load(&containers, (unsigned long)iommu_data);
	if (container && !refcount_inc_not_zero(&container->refs))
		container = NULL;
	rcu_read_unlock();
	return container;
}

static void kiommu_vfio_release(void *iommu_data)
{
	struct kiommu_member *container =
		xa_erase(&containers, (unsigned long)iommu_data);

	kiommu_member_release(container);
}

static int kiommu_vfio_attach_group(void *iommu_data,
				    struct iommu_group *group,
				    enum vfio_group_type type)
{
	struct kiommu_member *container;
	int ret;

	/* Without an IOMMU there are no tables to hold a shadow. */
	if (type != VFIO_IOMMU)
		return -EOPNOTSUPP;
	container = container_get(iommu_data);
	ret = kiommu_member_add_group(container, group);
	kiommu_member_put(container);
	return ret;
}

static void kiommu_vfio_detach_group(void *iommu_data,
				     struct iommu_group *group)
{
	struct kiommu_member *container = container_get(iommu_data);

	kiommu_member_del_group(container, group);
	kiommu_member_put(container);
}

/* The KVM that a device came with. A client of type1 does not expect one. */
static struct kvm *kvm_of(const struct kiommu_member *container,
			  const struct vfio_device *vdev)
{
	return container->home->type1 ? NULL : vdev->kvm;
}

static void kiommu_vfio_register_device(void *iommu_data,
					struct vfio_device *vdev)
{
	struct kiommu_member *container = container_get(iommu_data);

	kiommu_devices_open(container->home, kvm_of(container, vdev));
	kiommu_member_put(container);
}

static void kiommu_vfio_unregister_device(void *iommu_data,
					  struct vfio_device *vdev)
{
	struct kiommu_member *container = container_get(iommu_data);

	kiommu_devices_close(container->home, kvm_of(container, vdev));
	kiommu_member_put(container);
}

/**
 * struct question - which container is behind a file of VFIO
 * @list: entry in questions.
 * @asker: the task that asks.
 * @container: the answer, referenced; NULL if it is none of ours.
 *
 * VFIO does not tell. But it hands ioctls that it does not know on to the
 * container's driver, so the asker sends one, with the question as its argument.
 * Nobody else can, because the question must be in the list, and its asker the
 * one that calls.
 */
struct question {
	struct list_head list;
	struct task_struct *asker;
	struct kiommu_member *container;
};

#define WHICH_CONTAINER _IO(KVM_IOMMU_TYPE, 0xff)

static LIST_HEAD(questions);
static DEFINE_SPINLOCK(questions_lock); /* protects questions */

static long answer(struct kiommu_member *container, unsigned long arg)
{
	struct question *question;
	long ret = -ENOTTY;

	spin_lock(&questions_lock);
	list_for_each_entry(question, &questions, list) {
		if ((unsigned long)question != arg ||
		    question->asker != current)
			continue;
		if (container)
			refcount_inc(&container->refs);
		question->container = container;
		ret = 0;
		break;
	}
	spin_unlock(&questions_lock);
	return ret;
}

struct kiommu_member *kiommu_container_of_file(struct file *file)
{
	struct question question = { .asker = current };
	struct inode *inode = file_inode(file);

	/* Whoever has this number knows what to do with unknown ioctls. */
	if (!S_ISCHR(inode->i_mode) ||
	    inode->i_rdev != MKDEV(MISC_MAJOR, VFIO_MINOR) ||
	    !file->f_op->unlocked_ioctl)
		return NULL;
	spin_lock(&questions_lock);
	list_add(&question.list, &questions);
	spin_unlock(&questions_lock);
	file->f_op->unlocked_ioctl(file, WHICH_CONTAINER,
				   (unsigned long)&question);
	spin_lock(&questions_lock);
	list_del(&question.list);
	spin_unlock(&questions_lock);
	return question.container;
}

static long container_ioctl(struct kiommu_member *container,
			    unsigned int cmd, unsigned long arg)
{
	if (cmd == WHICH_CONTAINER)
		return answer(container, arg);
	return kiommu_object_ioctl(container ? container->home : NULL, cmd, arg);
}

static long kiommu_vfio_ioctl(void *iommu_data, unsigned int cmd,
			      unsigned long arg)
{
	struct kiommu_member *container;
	long ret;

	/*
	 * VFIO asks this before VFIO_SET_IOMMU. Other calls see NULL while the
	 * container is being set up or is gone.
	 */
	if (!iommu_data && cmd == VFIO_CHECK_EXTENSION)
		return kiommu_check_extension(NULL, arg);

	/*
	 * The container holds the module only until it is released, which may
	 * happen during this call.
	 */
	if (!try_module_get(THIS_MODULE))
		return -ESTALE;
	container = container_get(iommu_data);
	ret = container_ioctl(container, cmd, arg);
	if (container)
		kiommu_member_put(container);
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
