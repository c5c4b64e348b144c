// SPDX-License-Identifier: GPL-2.0-only
/* Device files in the place of groups, see cdev.h. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sys/ioctl.h>
#include <linux/iommufd.h>
#include <linux/vfio.h>

#include "kvm_util.h"

#include "cdev.h"
#include "domain.h"
#include "front.h"
#include "ioctls.h"
#include "vfio.h"

/* Groups in containers. */
static struct member {
	int fd; /* of the group, or of its device; -1: closed; 0: free */
	int container;
	int id;			/* of the group */
	bool is_device;		/* fd is of the device */
	int opened;		/* what opened the device, or 0 */
	uint32_t device;	/* its number in the container's domain */
} members[KIOMMU_MAX_DEVICES * 4];
static pthread_mutex_t members_lock = PTHREAD_MUTEX_INITIALIZER;

static int iommufd_fd = -1;

static int iommufd(void)
{
	if (iommufd_fd < 0)
		iommufd_fd = open_path_or_exit("/dev/iommu", O_RDWR | O_CLOEXEC);
	return iommufd_fd;
}

void kiommu_cdev_close_iommufd(void)
{
	if (iommufd_fd >= 0)
		__real_close(iommufd_fd);
	iommufd_fd = -1;
}

bool kiommu_cdev_possible(void)
{
	return !access("/dev/iommu", F_OK);
}

/* An entry of a directory, of those that do not begin with a dot. */
static void one_entry(const char *directory, char name[256])
{
	struct dirent *entry;
	DIR *dir = opendir(directory);

	TEST_ASSERT(dir, "%s: %d", directory, errno);
	name[0] = 0;
	while ((entry = readdir(dir)))
		if (entry->d_name[0] != '.')
			snprintf(name, 256, "%s", entry->d_name);
	closedir(dir);
	TEST_ASSERT(name[0], "%s is empty", directory);
}

int kiommu_cdev_open(int group_id)
{
	char path[300], name[256];
	int fd;

	snprintf(path, sizeof(path), "/sys/kernel/iommu_groups/%d/devices", group_id);
	one_entry(path, name);
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/vfio-dev", name);
	one_entry(path, name);
	snprintf(path, sizeof(path), "/dev/vfio/devices/%s", name);
	fd = open(path, O_RDWR | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int kiommu_cdev_bind(int fd)
{
	struct vfio_device_bind_iommufd cmd = {
		.argsz = sizeof(cmd),
		.iommufd = iommufd(),
	};

	return ioctl(fd, VFIO_DEVICE_BIND_IOMMUFD, &cmd) ? -errno : 0;
}

int kiommu_cdev_attach_ioas(int fd)
{
	struct iommu_ioas_alloc alloc = { .size = sizeof(alloc) };
	struct vfio_device_attach_iommufd_pt cmd = { .argsz = sizeof(cmd) };
	struct iommu_destroy destroy = { .size = sizeof(destroy) };
	int ret;

	ret = ioctl(iommufd(), IOMMU_IOAS_ALLOC, &alloc);
	TEST_ASSERT(!ret, "IOMMU_IOAS_ALLOC: %d", errno);
	cmd.pt_id = alloc.out_ioas_id;
	if (!ioctl(fd, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &cmd))
		return 0;
	ret = -errno;
	destroy.id = alloc.out_ioas_id;
	ioctl(iommufd(), IOMMU_DESTROY, &destroy);
	return ret;
}

int kiommu_cdev_detach_ioas(int fd)
{
	struct vfio_device_detach_iommufd_pt cmd = { .argsz = sizeof(cmd) };

	return ioctl(fd, VFIO_DEVICE_DETACH_IOMMUFD_PT, &cmd) ? -errno : 0;
}

static struct member *find_member(int fd)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(members); i++)
		if (fd >= 0 && members[i].fd == fd)
			return &members[i];
	return NULL;
}

/* The id of a group that was opened as /dev/vfio/ID. */
static int id_of(int group)
{
	char link[64], path[64];
	ssize_t length;
	int id = -1;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", group);
	length = readlink(link, path, sizeof(path) - 1);
	TEST_ASSERT(length > 0, "%s: %d", link, errno);
	path[length] = 0;
	TEST_ASSERT(sscanf(path, "/dev/vfio/%d", &id) == 1, "%s is no group", path);
	return id;
}

/* Makes the descriptor @fd refer to what @file does, which is closed. */
static void put_in_place(int fd, int file)
{
	TEST_ASSERT(file >= 0, "open: %d", file);
	TEST_ASSERT(dup3(file, fd, O_CLOEXEC) == fd, "dup3: %d", errno);
	__real_close(file);
}

/* Only one of both can be open, so there is neither in between. */
static void close_in_place(int fd)
{
	put_in_place(fd, open("/dev/null", O_RDWR | O_CLOEXEC));
}

static void become_group(struct member *m)
{
	char path[64];
	int fd;

	close_in_place(m->fd);
	snprintf(path, sizeof(path), "/dev/vfio/%d", m->id);
	fd = open(path, O_RDWR | O_CLOEXEC);
	TEST_ASSERT(fd >= 0, "%s: %d", path, errno);
	put_in_place(m->fd, fd);
	m->is_device = false;
}

static int attach(struct member *m, int domain)
{
	struct kvm_iommu_attach cmd = {
		.size = sizeof(cmd),
		.device_fd = m->fd,
	};
	int ret = ioctl(domain, KVM_IOMMU_ATTACH, &cmd) ? -errno : 0;

	if (ret)
		return ret;
	m->device = cmd.device;
	return 0;
}

static int detach(const struct member *m)
{
	struct kvm_iommu_detach cmd = {
		.size = sizeof(cmd),
		.device = m->device,
	};

	return ioctl(kiommu_front_fd(m->container), KVM_IOMMU_DETACH, &cmd) ?
	       -errno : 0;
}

static int become_device(struct member *m, int domain)
{
	int ret;

	ret = ioctl(m->fd, VFIO_GROUP_UNSET_CONTAINER);
	TEST_ASSERT(!ret, "VFIO_GROUP_UNSET_CONTAINER: %d", errno);
	close_in_place(m->fd);
	put_in_place(m->fd, kiommu_cdev_open(m->id));
	m->is_device = true;
	ret = kiommu_cdev_bind(m->fd);
	if (!ret)
		ret = attach(m, domain);
	if (ret)
		become_group(m);
	return ret;
}

static bool has_device(int container)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(members); i++)
		if (members[i].fd && members[i].is_device &&
		    members[i].container == container)
			return true;
	return false;
}

int kiommu_cdev_set_container(int group, int container, int domain)
{
	struct member *m;
	int ret = -EINVAL;

	pthread_mutex_lock(&members_lock);
	m = find_member(group);
	/* It is in a container, as the kernel says of a group. */
	if (m && m->is_device)
		goto out;
	ret = ioctl(group, VFIO_GROUP_SET_CONTAINER, &container) ? -errno : 0;
	if (ret)
		goto out;
	m = find_member(0);
	TEST_ASSERT(m, "many groups");
	*m = (struct member){
		.fd = group,
		.container = container,
		.id = id_of(group),
	};
	/* Without any, a container has no type. */
	if (domain >= 0 && has_device(container))
		ret = become_device(m, domain);
	if (ret)
		m->fd = 0;
out:
	pthread_mutex_unlock(&members_lock);
	return ret;
}

int kiommu_cdev_unset_container(int group)
{
	struct member *m;
	int ret = 0;

	pthread_mutex_lock(&members_lock);
	m = find_member(group);
	if (!m || !m->is_device) {
		ret = ioctl(group, VFIO_GROUP_UNSET_CONTAINER) ? -errno : 0;
	} else {
		/* The domain may have gone before. */
		ret = m->opened ? -EBUSY : detach(m);
		if (ret == -EBADF || ret == -ENOTTY)
			ret = 0;
		if (!ret)
			become_group(m);
	}
	if (m && !ret)
		m->fd = 0;
	pthread_mutex_unlock(&members_lock);
	return ret;
}

int kiommu_cdev_get_device(int group, const char *name)
{
	struct member *m;
	int ret;

	pthread_mutex_lock(&members_lock);
	m = find_member(group);
	if (m && m->is_device) {
		m->opened = fcntl(group, F_DUPFD_CLOEXEC, 0);
		ret = m->opened;
	} else {
		ret = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, name);
	}
	if (ret < 0)
		ret = -errno;
	pthread_mutex_unlock(&members_lock);
	return ret;
}

int kiommu_cdev_enter(int container, int domain)
{
	unsigned int i, count = 0;
	int ret = 0;

	pthread_mutex_lock(&members_lock);
	for (i = 0; i < ARRAY_SIZE(members) && !ret; i++) {
		struct member *m = &members[i];

		if (!m->fd || m->container != container || m->is_device)
			continue;
		count++;
		ret = become_device(m, domain);
	}
	/* As VFIO_SET_IOMMU. */
	if (!ret && !count)
		ret = -EINVAL;
	pthread_mutex_unlock(&members_lock);
	return ret;
}

void kiommu_cdev_forget(int fd)
{
	pthread_mutex_lock(&members_lock);
	for (unsigned int i = 0; i < ARRAY_SIZE(members) && fd > 0; i++) {
		struct member *m = &members[i];

		if (m->opened == fd)
			m->opened = 0;
		if (m->fd == fd)
			m->fd = -1;
		if (m->fd >= 0 || m->opened)
			continue;
		/* As a group leaves its container; the domain may have gone. */
		if (m->is_device)
			detach(m);
		m->fd = 0;
	}
	pthread_mutex_unlock(&members_lock);
}
