// SPDX-License-Identifier: GPL-2.0-only
/*
 * Files of domains, see domain_file.h. A file owns its domain: when its last
 * descriptor is closed, the devices go home and the domain is released. Nothing
 * refers to the file, neither its devices nor the KVM, so it goes with the
 * processes that have it.
 */
#include <linux/anon_inodes.h>
#include <linux/err.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>

#include <linux/kvm_iommu.h>

#include "front/command.h"
#include "front/domain_file.h"
#include "front/ioctls.h"
#include "object/member.h"
#include "object/object.h"

static long domain_ioctl(struct file *file, unsigned int cmd,
			 unsigned long arg)
{
	return kiommu_object_ioctl(file->private_data, cmd, arg);
}

static int domain_release(struct inode *inode, struct file *file)
{
	struct kiommu_object *object = file->private_data;

	kiommu_members_detach(object);
	kiommu_object_release(object);
	return 0;
}

static const struct file_operations domain_fops = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = domain_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.release = domain_release,
};

static int make_file(struct kiommu_object *object,
		     struct kvm_iommu_domain_create *cmd, struct file **file)
{
	int fd, ret;

	if (cmd->kvm_fd != -1) {
		ret = kiommu_start_fd(object, cmd->kvm_fd, &cmd->status);
		if (ret)
			return ret;
	}
	fd = get_unused_fd_flags(O_CLOEXEC);
	if (fd < 0)
		return fd;
	*file = anon_inode_getfile("[kvm-iommu-domain]", &domain_fops, object,
				   O_RDWR);
	if (IS_ERR(*file)) {
		put_unused_fd(fd);
		return PTR_ERR(*file);
	}
	cmd->fd = fd;
	return 0;
}

static int domain_create(struct kiommu_object *none, union kiommu_ucmd *ucmd)
{
	struct kiommu_object *object;
	int ret;

	object = kiommu_object_create(false);
	if (IS_ERR(object))
		return PTR_ERR(object);
	ret = make_file(object, &ucmd->domain_create.cmd,
			&ucmd->domain_create.file);
	if (ret)
		kiommu_object_release(object);
	return ret;
}

static void finish_domain_create(union kiommu_ucmd *ucmd, bool stored)
{
	kiommu_finish_fd(ucmd->domain_create.cmd.fd, ucmd->domain_create.file,
			 stored);
}

static const struct kiommu_op control_ops[] = {
	KIOMMU_STATUS_OP(KVM_IOMMU_DOMAIN_CREATE, kvm_iommu_domain_create,
			 __reserved, NULL, domain_create,
			 RESERVED(kvm_iommu_domain_create), .bare = true,
			 .finish = finish_domain_create),
};

static long control_ioctl(struct file *file, unsigned int cmd,
			  unsigned long arg)
{
	return kiommu_command(control_ops, ARRAY_SIZE(control_ops), NULL, cmd,
			      arg);
}

/* Nobody may have a file of a module that then fails to load. */
static bool ready;

static int control_open(struct inode *inode, struct file *file)
{
	return READ_ONCE(ready) ? 0 : -ENODEV;
}

static const struct file_operations control_fops = {
	.owner = THIS_MODULE,
	.open = control_open,
	.unlocked_ioctl = control_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.llseek = noop_llseek,
};

static struct miscdevice control = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "kvm_iommu",
	.fops = &control_fops,
	.mode = 0660,
};

int kiommu_domain_files_register(void)
{
	return misc_register(&control);
}

void kiommu_domain_files_ready(void)
{
	WRITE_ONCE(ready, true);
}

void kiommu_domain_files_unregister(void)
{
	misc_deregister(&control);
}
