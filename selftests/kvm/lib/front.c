// SPDX-License-Identifier: GPL-2.0-only
/* The front that tests use domains through, see front.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sys/ioctl.h>

#include "test_util.h"

#include "cdev.h"
#include "domain.h"
#include "front.h"
#include "ioctls.h"
#include "vfio.h"

/*
 * Files that are kept beside others and closed with them, by file descriptor:
 * a container's domain, the guest behind KVM's device of type VFIO. 0: none.
 * Children inherit it with the files. Threads may call and close at any time.
 */
static int beside[1024];

static int file_beside(int fd)
{
	if (fd < 0 || fd >= (int)ARRAY_SIZE(beside))
		return -1;
	return __atomic_load_n(&beside[fd], __ATOMIC_ACQUIRE) - 1;
}

static void put_beside(int fd, int other)
{
	TEST_ASSERT(fd >= 0 && fd < (int)ARRAY_SIZE(beside), "many files: %d", fd);
	__atomic_store_n(&beside[fd], other + 1, __ATOMIC_RELEASE);
}

static bool front_is(const char *name)
{
	const char *front = getenv("KIOMMU_FRONT");

	return front && !strcmp(front, name);
}

bool kiommu_front_is_cdev(void)
{
	return front_is("cdev") || kiommu_front_has_hwpt();
}

bool kiommu_front_has_hwpt(void)
{
	return front_is("hwpt");
}

bool kiommu_front_is_file(void)
{
	return front_is("file") || kiommu_front_is_cdev();
}

const char *kiommu_front_lacks(enum kiommu_front_property property)
{
	if (!kiommu_front_is_file())
		return NULL;
	switch (property) {
	case KIOMMU_CONTAINER_RULES:
		return "a rule of containers, not of domains with a file";
	case KIOMMU_AT_HOME:
		return "the test attaches containers to domains by itself";
	case KIOMMU_GROUPS:
		return kiommu_front_is_cdev() ?
		       "a rule of groups, not of device files" : NULL;
	default:
		return NULL;
	}
}

long kiommu_front_refs(unsigned int containers)
{
	/* A container, and its domain. */
	return front_is("file") ? 2l * containers : containers;
}

int kiommu_front_fd(int container)
{
	int domain = file_beside(container);

	return domain >= 0 ? domain : container;
}

/* VFIO answers these itself; all others are for the container's driver. */
int kiommu_front_of(int fd, unsigned long request)
{
	if (request == VFIO_GET_API_VERSION || request == VFIO_SET_IOMMU)
		return fd;
	return kiommu_front_fd(fd);
}

/*
 * A container that gets a type for the second time has a fresh domain, too. It
 * takes the file descriptor of the first one, which others may be using.
 */
static int replace(int old, int domain)
{
	int ret;

	if (old < 0)
		return domain;
	ret = dup3(domain, old, O_CLOEXEC);
	TEST_ASSERT(ret == old, "dup3: %d", errno);
	__real_close(domain);
	return old;
}

/* The tests are not told: for them, the container is the domain. */
static int attach(int domain, int container)
{
	struct kvm_iommu_attach cmd = {
		.size = sizeof(cmd),
		.device_fd = container,
	};

	return kiommu_ioctl(domain, KVM_IOMMU_ATTACH, &cmd);
}

static int give_type(int container, int domain)
{
	int ret = ioctl(container, VFIO_SET_IOMMU, VFIO_KVM_IOMMU) ? -errno : 0;

	/* It may have got its type before, when it could not be attached. */
	if (!ret || (ret == -EINVAL && file_beside(container) < 0))
		ret = attach(domain, container);
	return ret;
}

static int set_iommu(int container)
{
	int domain = kiommu_domain_create(-1);
	int ret;

	if (domain < 0)
		return domain;
	if (kiommu_front_is_cdev())
		ret = kiommu_cdev_enter(container, domain);
	else
		ret = give_type(container, domain);
	if (ret < 0) {
		__real_close(domain);
		return ret;
	}
	put_beside(container, replace(file_beside(container), domain));
	return 0;
}

bool kiommu_front_takes(int fd, unsigned long request, void *arg, int *ret)
{
	if (!kiommu_front_is_file())
		return false;
	if (request == VFIO_SET_IOMMU && arg == (void *)VFIO_KVM_IOMMU) {
		*ret = set_iommu(fd);
		return true;
	}
	if (!kiommu_front_is_cdev())
		return false;
	switch (request) {
	case VFIO_GROUP_SET_CONTAINER:
		*ret = kiommu_cdev_set_container(fd, *(int *)arg,
						 file_beside(*(int *)arg));
		return true;
	case VFIO_GROUP_UNSET_CONTAINER:
		*ret = kiommu_cdev_unset_container(fd);
		return true;
	case VFIO_GROUP_GET_DEVICE_FD:
		*ret = kiommu_cdev_get_device(fd, arg);
		return true;
	default:
		return false;
	}
}

void kiommu_front_note_guest(int kvm_vfio, int vm_fd)
{
	int fd;

	if (!kiommu_front_is_file())
		return;
	fd = fcntl(vm_fd, F_DUPFD_CLOEXEC, 0);
	TEST_ASSERT(fd >= 0, "dup: %d", errno);
	put_beside(kvm_vfio, fd);
}

/* As with a container, the first guest stays (EBUSY). */
int kiommu_front_start(const struct kiommu_device *dev)
{
	int guest = file_beside(dev->guest);
	int ret;

	if (file_beside(dev->container) < 0 || guest < 0)
		return 0;
	ret = kiommu_start(dev->container, guest);
	return ret == -EBUSY ? 0 : ret;
}

void kiommu_front_stop(const struct kiommu_device *dev)
{
	if (file_beside(dev->container) >= 0)
		kiommu_stop(dev->container);
}

int __wrap_close(int fd)
{
	int other = file_beside(fd);
	int ret, error;

	/* First, because the number may be another file's at once. */
	if (other >= 0)
		put_beside(fd, -1);
	if (kiommu_front_is_cdev())
		kiommu_cdev_forget(fd);
	ret = __real_close(fd);
	error = errno;
	if (other >= 0)
		__real_close(other);
	errno = error;
	return ret;
}
