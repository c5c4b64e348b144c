// SPDX-License-Identifier: GPL-2.0-only
/*
 * The file from which the faults of a domain are read, see faults.h.
 *
 * The file refers to the domain, not the other way round. VFIO may release a
 * domain whose file is open: no new faults come then, but queued ones can
 * still be read.
 */
#include <linux/anon_inodes.h>
#include <linux/err.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/poll.h>
#include <linux/uaccess.h>

#include <linux/kvm_iommu.h>

#include "object/object.h"

/* Records copied at a time; they are on the stack. */
#define RECORDS_AT_ONCE 8

/* The core's records have the layout of user space's. */
#define SAME(_core, _user)						\
	static_assert(offsetof(struct kiommu_fault, _core) ==		\
		      offsetof(struct kvm_iommu_fault, _user) &&	\
		      sizeof_field(struct kiommu_fault, _core) ==	\
		      sizeof_field(struct kvm_iommu_fault, _user))
SAME(sequence, sequence);
SAME(iova, iova);
SAME(gpa, gpa);
SAME(count, count);
SAME(lost, lost);
SAME(reason, reason);
SAME(flags, flags);
SAME(code, code);
SAME(status, status);
SAME(format, format);
SAME(access, access);
SAME(level, level);
SAME(device, device);
SAME(pasid, pasid);
SAME(group, group);
SAME(cookie, cookie);
SAME(length, length);
static_assert(sizeof(struct kiommu_fault) == sizeof(struct kvm_iommu_fault));

void kiommu_port_faults_lock(struct kiommu_fault_reader *reader)
	__acquires(&reader->lock)
{
	unsigned long flags;

	spin_lock_irqsave(&reader->lock, flags);
	reader->flags = flags;
}

void kiommu_port_faults_unlock(struct kiommu_fault_reader *reader)
	__releases(&reader->lock)
{
	spin_unlock_irqrestore(&reader->lock, reader->flags);
}

void kiommu_port_faults_ready(struct kiommu_fault_reader *reader)
{
	wake_up_poll(&reader->queue, EPOLLIN | EPOLLRDNORM);
}

void kiommu_fault_reader_init(struct kiommu_fault_reader *reader)
{
	spin_lock_init(&reader->lock);
	init_waitqueue_head(&reader->queue);
	mutex_init(&reader->reading);
}

void kiommu_fault_reader_hang_up(struct kiommu_fault_reader *reader)
{
	/* Pairs with is_gone(): orders this after all that was queued. */
	smp_store_release(&reader->gone, true);
	wake_up_poll(&reader->queue, EPOLLHUP);
}

static bool is_gone(struct kiommu_fault_reader *reader)
{
	/*
	 * Pairs with kiommu_fault_reader_hang_up(): a reader that sees the flag
	 * also sees everything queued before.
	 */
	return smp_load_acquire(&reader->gone);
}

/*
 * Takes kiommu_fault_reader.reading. Another reader may hold it for as long as
 * the page that it copies to takes to be faulted in. Return: 0; -EAGAIN;
 * -ERESTARTSYS.
 */
static int lock_reading(struct kiommu_fault_reader *reader, bool nonblock)
{
	if (nonblock)
		return mutex_trylock(&reader->reading) ? 0 : -EAGAIN;
	return mutex_lock_interruptible(&reader->reading) ? -ERESTARTSYS : 0;
}

/*
 * Return: number of records read, 0 if there are none; -EFAULT; -EAGAIN;
 * -ERESTARTSYS.
 */
static ssize_t read_records(struct kiommu_object *object,
			    struct kvm_iommu_fault __user *to, ssize_t max,
			    bool nonblock)
{
	struct kiommu_fault_reader *reader = &object->fault_reader;
	struct kiommu_fault records[RECORDS_AT_ONCE];
	ssize_t done = 0;
	int ret;

	ret = lock_reading(reader, nonblock);
	if (ret)
		return ret;
	while (done < max) {
		u32 count;

		count = kiommu_core_faults_peek(object->faults, records,
						min_t(u32, max - done,
						      RECORDS_AT_ONCE));
		if (!count)
			break;
		if (copy_to_user(to + done, records, count * sizeof(*to))) {
			kiommu_core_faults_drop(object->faults, 0);
			done = done ?: -EFAULT;
			break;
		}
		kiommu_core_faults_drop(object->faults, count);
		done += count;
	}
	mutex_unlock(&reader->reading);
	/* Readers that got -EAGAIN meanwhile wait for more, or for the end. */
	if (kiommu_core_faults_readable(object->faults) ||
	    is_gone(reader))
		kiommu_port_faults_ready(reader);
	return done;
}

static ssize_t fault_read(struct file *file, char __user *to, size_t size,
			  loff_t *pos)
{
	struct kiommu_object *object = file->private_data;
	struct kiommu_fault_reader *reader = &object->fault_reader;
	const bool nonblock = file->f_flags & O_NONBLOCK;
	/*
	 * Read at most one full queue; records that come meanwhile are for
	 * later.
	 */
	size_t max = min_t(size_t, size / sizeof(struct kvm_iommu_fault),
			   KVM_IOMMU_FAULT_RECORDS);

	if (!max)
		return -EINVAL;
	for (;;) {
		const bool gone = is_gone(reader);
		ssize_t ret;

		ret = read_records(object, (void __user *)to, max,
				   nonblock);
		if (ret)
			return ret < 0 ? ret :
			       ret * sizeof(struct kvm_iommu_fault);
		if (gone)
			return 0;
		if (nonblock)
			return -EAGAIN;
		ret = wait_event_interruptible(reader->queue,
					       kiommu_core_faults_readable(object->faults) ||
					       is_gone(reader));
		if (ret)
			return ret;
	}
}

static __poll_t fault_poll(struct file *file, poll_table *wait)
{
	struct kiommu_object *object = file->private_data;
	__poll_t events = 0;

	poll_wait(file, &object->fault_reader.queue, wait);
	if (is_gone(&object->fault_reader))
		events |= EPOLLHUP;
	if (kiommu_core_faults_readable(object->faults))
		events |= EPOLLIN | EPOLLRDNORM;
	return events;
}

static int fault_release(struct inode *inode, struct file *file)
{
	struct kiommu_object *object = file->private_data;

	kiommu_core_faults_close(object->faults);
	kiommu_object_put(object);
	return 0;
}

static const struct file_operations fault_fops = {
	.owner = THIS_MODULE,
	.read = fault_read,
	.poll = fault_poll,
	.release = fault_release,
};

int kiommu_fault_fd(struct kiommu_object *object, u32 flags, int *fd,
		    struct file **file)
{
	int file_flags = O_RDONLY;
	int ret;

	if (flags & KVM_IOMMU_FAULT_FD_NONBLOCK)
		file_flags |= O_NONBLOCK;
	ret = get_unused_fd_flags(O_CLOEXEC);
	if (ret < 0)
		return ret;
	*fd = ret;
	ret = kiommu_core_faults_open(object->faults);
	if (ret)
		goto err_fd;
	/* The reference of the file; the caller has its own. */
	refcount_inc(&object->refs);
	*file = anon_inode_getfile("[kvm-iommu-faults]", &fault_fops, object,
				   file_flags);
	if (!IS_ERR(*file))
		return 0;
	ret = PTR_ERR(*file);
	kiommu_core_faults_close(object->faults);
	kiommu_object_put(object);
err_fd:
	put_unused_fd(*fd);
	return ret;
}
