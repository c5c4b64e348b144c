// SPDX-License-Identifier: GPL-2.0-only
/* Domains with a file of their own. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

#include "test_util.h"

#include "domain.h"
#include "ioctls.h"
#include "vfio.h"

/* Where containers are attached; device 0: the entry is free. */
static struct attached {
	int domain;
	int container;
	uint32_t device;
} attached[KIOMMU_MAX_DEVICES];
static pthread_mutex_t attached_lock = PTHREAD_MUTEX_INITIALIZER;

int kiommu_domain_of(int container)
{
	int fd = container;

	pthread_mutex_lock(&attached_lock);
	for (unsigned int i = 0; i < KIOMMU_MAX_DEVICES; i++)
		if (attached[i].device && attached[i].container == container)
			fd = attached[i].domain;
	pthread_mutex_unlock(&attached_lock);
	return fd;
}

/* Forgets what matches; @device 0 and @container -1 match any. */
static void forget(int domain, int container, uint32_t device)
{
	for (unsigned int i = 0; i < KIOMMU_MAX_DEVICES; i++)
		if ((domain < 0 || attached[i].domain == domain) &&
		    (container < 0 || attached[i].container == container) &&
		    (!device || attached[i].device == device))
			attached[i].device = 0;
}

static void note(int domain, int container, uint32_t device)
{
	unsigned int i = 0;

	pthread_mutex_lock(&attached_lock);
	forget(-1, container, 0);
	while (i < KIOMMU_MAX_DEVICES && attached[i].device)
		i++;
	if (i < KIOMMU_MAX_DEVICES)
		attached[i] = (struct attached){ domain, container, device };
	pthread_mutex_unlock(&attached_lock);
}

int kiommu_domain_create_with(struct kvm_iommu_domain_create *cmd)
{
	int control = open("/dev/kvm_iommu", O_RDWR | O_CLOEXEC);
	int ret;

	if (control < 0)
		return -errno;
	ret = kiommu_ioctl(control, KVM_IOMMU_DOMAIN_CREATE, cmd);
	close(control);
	return ret;
}

int kiommu_domain_create(int kvm_fd)
{
	struct kvm_iommu_domain_create cmd = {
		.size = sizeof(cmd),
		.kvm_fd = kvm_fd,
	};

	return kiommu_domain_create_with(&cmd) ?: cmd.fd;
}

int kiommu_domain_attach(int fd, int container, struct kvm_iommu_attach *result)
{
	struct kvm_iommu_attach cmd = {
		.size = sizeof(cmd),
		.device_fd = container,
	};
	int ret = kiommu_ioctl(fd, KVM_IOMMU_ATTACH, &cmd);

	if (result)
		*result = cmd;
	if (!ret)
		note(fd, container, cmd.device);
	return ret ?: (int)cmd.device;
}

int kiommu_domain_detach(int fd, uint32_t device, uint32_t *status)
{
	struct kvm_iommu_detach cmd = {
		.size = sizeof(cmd),
		.device = device,
	};
	int ret = kiommu_ioctl(fd, KVM_IOMMU_DETACH, &cmd);

	if (status)
		*status = cmd.status;
	if (!ret) {
		pthread_mutex_lock(&attached_lock);
		forget(fd, -1, device);
		pthread_mutex_unlock(&attached_lock);
	}
	return ret;
}

void kiommu_domain_close(int fd)
{
	pthread_mutex_lock(&attached_lock);
	forget(fd, -1, 0);
	pthread_mutex_unlock(&attached_lock);
	close(fd);
}

struct mover {
	pthread_t thread;
	int fd;
	int device_fd;
	int wrong;
};

static void *move_about(void *arg)
{
	struct mover *m = arg;

	for (unsigned int i = 0; i < 200 && !m->wrong; i++) {
		int device = kiommu_domain_attach(m->fd, m->device_fd, NULL);

		int ret = 0;

		/* It stayed here since the last round. */
		if (device == -EEXIST)
			continue;
		TEST_ASSERT(device, "a device has number 0");
		if (device > 0 && i % 2)
			ret = kiommu_domain_detach(m->fd, device, NULL);
		/* Another thread may have taken it away. */
		m->wrong = device < 0 ? device : ret == -ENOENT ? 0 : ret;
	}
	return NULL;
}

int kiommu_domains_compete(const int *fds, unsigned int count, int device_fd)
{
	struct mover movers[8] = {};
	int wrong = 0;

	TEST_ASSERT(count <= ARRAY_SIZE(movers), "many threads: %u", count);
	for (unsigned int i = 0; i < count; i++) {
		movers[i].fd = fds[i];
		movers[i].device_fd = device_fd;
		TEST_ASSERT(!pthread_create(&movers[i].thread, NULL, move_about,
					    &movers[i]), "pthread_create");
	}
	for (unsigned int i = 0; i < count; i++) {
		pthread_join(movers[i].thread, NULL);
		wrong = wrong ?: movers[i].wrong;
	}
	return wrong;
}
