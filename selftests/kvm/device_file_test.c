// SPDX-License-Identifier: GPL-2.0-only
/*
 * Device files of VFIO in domains: what KVM_IOMMU_ATTACH accepts and refuses of them,
 * whose a device is, files that are closed and devices that are removed meanwhile.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sys/eventfd.h>
#include <sys/wait.h>
#include <linux/vfio.h>

#include "kvm_test_harness.h"
#include "kvm_util.h"

#include "cdev.h"
#include "device_file.h"
#include "domain.h"

#define PAGE KIOMMU_PAGE
#define IOVA KIOMMU_FILE_IOVA

FIXTURE(device_file) {
	struct kiommu_device_files f;
	struct kiommu *k;
	uint64_t pins;
	long kvm_refs;
};

FIXTURE_SETUP(device_file)
{
	if (!kiommu_cdev_possible())
		SKIP(return, "the kernel has no device files");
	self->pins = kiommu_pins();
	self->kvm_refs = kiommu_kvm_refs();
	ASSERT_EQ(0, kiommu_await_refs(0));
	self->k = &self->f.k;
	kiommu_device_files_setup(&self->f);
}

FIXTURE_TEARDOWN(device_file)
{
	kiommu_device_files_teardown(&self->f);
	EXPECT_EQ(self->k->locked_vm, kiommu_locked_vm());
	EXPECT_EQ(0, kiommu_await_refs(0));
	KIOMMU_EXPECT_NOTHING_LEFT();
}

static int fd_of(FIXTURE_DATA(device_file) *self, unsigned int dev)
{
	return self->k->vfio.dev[dev].fd;
}

#define EXPECT_ATTACH(_ret, _status, _fd) do {				\
	struct kvm_iommu_attach _r;					\
									\
	EXPECT_EQ(_ret, kiommu_domain_attach(self->f.fd, _fd, &_r));	\
	EXPECT_EQ(_status, (int)_r.status);				\
	EXPECT_EQ(0, (int)_r.device);					\
} while (0)

TEST_F_TIMEOUT(device_file, bound_and_attached_to_nothing, 120)
{
	struct kvm_iommu_info info;
	int other, device;

	ASSERT_EQ(0, kiommu_get_info(self->f.fd, &info));
	EXPECT_TRUE(info.features & KVM_IOMMU_FEATURE_DEVICE_FILE);
	kiommu_device_file_open(&self->f, 0);
	EXPECT_ATTACH(-ENOTCONN, KVM_IOMMU_STATUS_NOT_BOUND, fd_of(self, 0));
	kiommu_device_file_bind(&self->f, 0);
	/* Another file of the same device does not have it, and never will. */
	other = kiommu_cdev_open(self->k->vfio.dev[0].group_id);
	ASSERT_LE(0, other);
	EXPECT_ATTACH(-ENOTCONN, KVM_IOMMU_STATUS_NOT_BOUND, other);
	EXPECT_EQ(-EINVAL, kiommu_cdev_bind(other));

	ASSERT_EQ(0, kiommu_cdev_attach_ioas(fd_of(self, 0)));
	EXPECT_ATTACH(-EBUSY, KVM_IOMMU_STATUS_BUSY, fd_of(self, 0));
	EXPECT_TRUE(kiommu_device_file_blocked(&self->f, 0, 3, 1));
	ASSERT_EQ(0, kiommu_cdev_detach_ioas(fd_of(self, 0)));
	EXPECT_TRUE(kiommu_device_file_blocked(&self->f, 0, 3, 2));

	device = kiommu_domain_attach(self->f.fd, fd_of(self, 0), NULL);
	ASSERT_LT(0, device);
	EXPECT_TRUE(kiommu_device_file_reaches(&self->f, 0, 3, 3));
	EXPECT_ATTACH(-EEXIST, KVM_IOMMU_STATUS_EXISTS, fd_of(self, 0));
	EXPECT_ATTACH(-ENOTCONN, KVM_IOMMU_STATUS_NOT_BOUND, other);
	EXPECT_EQ(-EBUSY, kiommu_cdev_attach_ioas(fd_of(self, 0)));
	EXPECT_EQ(0, kiommu_cdev_detach_ioas(fd_of(self, 0)));
	EXPECT_TRUE(kiommu_device_file_reaches(&self->f, 0, 3, 4));

	/* It has no other domain to go back to. */
	EXPECT_EQ(-ENOENT, kiommu_domain_detach(self->f.fd, device + 1, NULL));
	EXPECT_EQ(0, kiommu_domain_detach(self->f.fd, device, NULL));
	EXPECT_TRUE(kiommu_device_file_blocked(&self->f, 0, 3, 5));
	EXPECT_EQ(-ENOENT, kiommu_domain_detach(self->f.fd, device, NULL));
	EXPECT_EQ(0, kiommu_cdev_attach_ioas(fd_of(self, 0)));
	EXPECT_ATTACH(-EBUSY, KVM_IOMMU_STATUS_BUSY, fd_of(self, 0));
	EXPECT_EQ(0, kiommu_cdev_detach_ioas(fd_of(self, 0)));
	ASSERT_LT(0, kiommu_domain_attach(self->f.fd, fd_of(self, 0), NULL));
	EXPECT_TRUE(kiommu_device_file_reaches(&self->f, 0, 3, 6));
	close(other);
}

/* A device belongs to its group's container or to an iommufd. */
TEST_F_TIMEOUT(device_file, not_by_two_fronts, 120)
{
	struct kiommu_container c;
	struct kiommu_device *dev;
	char path[64];
	int cdev, group;

	/* The device of a container: not its file, only the container. */
	kiommu_container_open(&c);
	dev = &c.dev[0];
	ASSERT_EQ(0, kiommu_group_open(&c, dev));
	cdev = kiommu_cdev_open(dev->group_id);
	ASSERT_LE(0, cdev);
	EXPECT_EQ(-EBUSY, kiommu_cdev_bind(cdev));
	EXPECT_ATTACH(-ENOTCONN, KVM_IOMMU_STATUS_NOT_BOUND, cdev);
	if (!kiommu_front_is_cdev()) {
		ASSERT_EQ(0, kiommu_group_attach(&c, dev));
		ASSERT_EQ(0, kiommu_set_iommu(c.fd, VFIO_KVM_IOMMU));
		dev->fd = kiommu_ioctl(dev->group, VFIO_GROUP_GET_DEVICE_FD, dev->bdf);
		ASSERT_LE(0, dev->fd);
		EXPECT_ATTACH(-EINVAL, KVM_IOMMU_STATUS_FD_TYPE, dev->fd);
		EXPECT_EQ(-EBUSY, kiommu_cdev_bind(cdev));
		EXPECT_ATTACH(-ENOTCONN, KVM_IOMMU_STATUS_NOT_BOUND, cdev);
	}
	close(cdev);
	kiommu_container_close(&c);

	/* And the other way round. */
	kiommu_device_file_open_and_bind(&self->f, 0);
	ASSERT_LT(0, kiommu_domain_attach(self->f.fd, fd_of(self, 0), NULL));
	snprintf(path, sizeof(path), "/dev/vfio/%d", self->k->vfio.dev[0].group_id);
	group = open(path, O_RDWR);
	EXPECT_EQ(-1, group);
	EXPECT_EQ(EBUSY, errno);
	EXPECT_TRUE(kiommu_device_file_reaches(&self->f, 0, 2, 10));
}

/* What it is attached to, all devices of its group would be. */
TEST_F_TIMEOUT(device_file, not_alone_in_its_group, 120)
{
	const char *group = getenv("KIOMMU_SHARED_GROUP");
	int fd;

	if (!group || !*group)
		SKIP(return, "the machine has no group of several devices");
	fd = kiommu_cdev_open(atoi(group));
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, kiommu_cdev_bind(fd));
	EXPECT_ATTACH(-EINVAL, KVM_IOMMU_STATUS_UNSUITABLE, fd);
	/* Nothing is in the way of others. */
	EXPECT_EQ(0, kiommu_cdev_attach_ioas(fd));
	EXPECT_EQ(0, kiommu_cdev_detach_ioas(fd));
	close(fd);
}

TEST_F_TIMEOUT(device_file, moves, 120)
{
	int second = kiommu_device_files_domain(&self->f), device;

	ioat_unmap(self->f.t, IOVA + 5 * PAGE, 0);
	ASSERT_EQ(0, kiommu_refresh(second, IOVA + 5 * PAGE, PAGE, NULL));
	kiommu_device_file_open_and_bind(&self->f, 0);
	device = kiommu_domain_attach(self->f.fd, fd_of(self, 0), NULL);
	ASSERT_LT(0, device);
	EXPECT_TRUE(kiommu_device_file_reaches(&self->f, 0, 5, 20));
	for (unsigned int i = 0; i < 20; i++) {
		ASSERT_LT(0, kiommu_domain_attach(second, fd_of(self, 0), NULL));
		EXPECT_EQ(-ENOENT, kiommu_domain_detach(self->f.fd, device, NULL));
		EXPECT_FALSE(kiommu_device_file_reaches(&self->f, 0, 5, 21));
		EXPECT_TRUE(kiommu_device_file_reaches(&self->f, 0, 6, 22));
		device = kiommu_domain_attach(self->f.fd, fd_of(self, 0), NULL);
		ASSERT_LT(0, device);
		EXPECT_TRUE(kiommu_device_file_reaches(&self->f, 0, 5, 23));
	}
	/* The domain that it left can go, and the one that it is in. */
	kiommu_domain_close(second);
	EXPECT_TRUE(kiommu_device_file_reaches(&self->f, 0, 5, 24));
	second = kiommu_device_files_domain(&self->f);
	ASSERT_LT(0, kiommu_domain_attach(second, fd_of(self, 0), NULL));
	kiommu_domain_close(second);
	EXPECT_TRUE(kiommu_device_file_blocked(&self->f, 0, 6, 25));
	EXPECT_EQ(0, kiommu_cdev_attach_ioas(fd_of(self, 0)));
	EXPECT_EQ(0, kiommu_cdev_detach_ioas(fd_of(self, 0)));
}

/* Two devices in one domain, then in two domains of the guest. */
TEST_F_TIMEOUT(device_file, two_devices, 120)
{
	struct kvm_iommu_info info;
	int second = kiommu_device_files_domain(&self->f);

	if (self->k->vfio.count < 2) {
		kiommu_domain_close(second);
		SKIP(return, "needs two devices");
	}
	for (unsigned int i = 0; i < 2; i++) {
		kiommu_device_file_open_and_bind(&self->f, i);
		ASSERT_LT(0, kiommu_domain_attach(self->f.fd, fd_of(self, i), NULL));
	}
	for (unsigned int i = 0; i < 2; i++)
		EXPECT_TRUE(kiommu_device_file_reaches(&self->f, i, 3 + i, 30 + i));
	ASSERT_LT(0, kiommu_domain_attach(second, fd_of(self, 1), NULL));
	ASSERT_EQ(0, kiommu_unregister(second));
	EXPECT_TRUE(kiommu_device_file_reaches(&self->f, 0, 3, 32));
	EXPECT_FALSE(kiommu_device_file_reaches(&self->f, 1, 3, 33));
	ASSERT_EQ(0, kiommu_get_info(second, &info));
	EXPECT_TRUE(info.page_sizes & PAGE);
	kiommu_domain_close(second);
	EXPECT_TRUE(kiommu_device_file_reaches(&self->f, 0, 3, 34));
}

/* The domain keeps the device open and bound. */
TEST_F_TIMEOUT(device_file, closed_while_attached, 120)
{
	struct kiommu_device *dev = &self->k->vfio.dev[0];
	int device, other;

	for (unsigned int i = 0; i < 3; i++) {
		kiommu_device_file_open_and_bind(&self->f, 0);
		device = kiommu_domain_attach(self->f.fd, dev->fd, NULL);
		ASSERT_LT(0, device);
		EXPECT_TRUE(kiommu_device_file_reaches(&self->f, 0, 3, 40));
		kiommu_close_device(self->k, 0);
		other = kiommu_cdev_open(dev->group_id);
		ASSERT_LE(0, other);
		EXPECT_EQ(-EINVAL, kiommu_cdev_bind(other));
		EXPECT_ATTACH(-ENOTCONN, KVM_IOMMU_STATUS_NOT_BOUND, other);
		if (i == 2)
			break;
		ASSERT_EQ(0, kiommu_domain_detach(self->f.fd, device, NULL));
		EXPECT_EQ(0, kiommu_cdev_bind(other));
		close(other);
	}
	/* So does the end of the domain give it back. */
	kiommu_domain_close(self->f.fd);
	EXPECT_EQ(0, kiommu_cdev_bind(other));
	close(other);
	self->f.fd = kiommu_device_files_domain(&self->f);
	kiommu_device_file_open_and_bind(&self->f, 0);
	ASSERT_LT(0, kiommu_domain_attach(self->f.fd, dev->fd, NULL));
	EXPECT_TRUE(kiommu_device_file_reaches(&self->f, 0, 3, 41));
}

static int write_to(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);
	int ret = fd < 0 || write(fd, text, strlen(text)) < 0 ? -errno : 0;

	if (fd >= 0)
		close(fd);
	return ret;
}

/* A device whose interrupts can reach others is refused, as with a container. */
TEST_F_TIMEOUT(device_file, interrupts_not_isolated, 120)
{
	const char *allow = "/sys/module/kvm_iommu/parameters/allow_unsafe_interrupts";
	const bool unsafe = !strcmp(getenv("KIOMMU_UNSAFE_INTERRUPTS") ?: "", "1");

	kiommu_device_file_open_and_bind(&self->f, 0);
	ASSERT_EQ(0, write_to(allow, "0"));
	if (unsafe)
		EXPECT_ATTACH(-EPERM, KVM_IOMMU_STATUS_INTERRUPTS, fd_of(self, 0));
	else
		EXPECT_LT(0, kiommu_domain_attach(self->f.fd, fd_of(self, 0), NULL));
	ASSERT_EQ(0, write_to(allow, unsafe ? "1" : "0"));
	if (unsafe)
		EXPECT_LT(0, kiommu_domain_attach(self->f.fd, fd_of(self, 0), NULL));
	EXPECT_TRUE(kiommu_device_file_reaches(&self->f, 0, 3, 45));
}

static void *remove_device(void *path)
{
	return (void *)(long)write_to(path, "1");
}

/* Readable once VFIO asks for the device to be given back. */
static int request_eventfd(int device)
{
	unsigned char space[sizeof(struct vfio_irq_set) + sizeof(int)];
	struct vfio_irq_set *set = (struct vfio_irq_set *)space;
	int fd = eventfd(0, 0);

	*set = (struct vfio_irq_set){
		.argsz = sizeof(space),
		.flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,
		.index = VFIO_PCI_REQ_IRQ_INDEX,
		.count = 1,
	};
	memcpy(set->data, &fd, sizeof(fd));
	TEST_ASSERT(!ioctl(device, VFIO_DEVICE_SET_IRQS, set), "SET_IRQS: %d", errno);
	return fd;
}

/*
 * A device is removed while it is attached: its user is asked, it goes on until it
 * is given back, and then is gone.
 */
TEST_F_TIMEOUT(device_file, removed_while_attached, 240)
{
	struct kiommu_device *dev = &self->k->vfio.dev[0];
	struct pollfd asked = { .events = POLLIN };
	char path[128];
	pthread_t thread;
	void *removed;
	int device;

	if (kiommu_host_lacks(KIOMMU_BARS))
		SKIP(return, "%s", kiommu_host_lacks(KIOMMU_BARS));
	kiommu_device_file_open_and_bind(&self->f, 0);
	device = kiommu_domain_attach(self->f.fd, dev->fd, NULL);
	ASSERT_LT(0, device);
	asked.fd = request_eventfd(dev->fd);
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/remove", dev->bdf);
	ASSERT_EQ(0, pthread_create(&thread, NULL, remove_device, path));
	EXPECT_EQ(1, poll(&asked, 1, 60000));
	EXPECT_TRUE(kiommu_device_file_reaches(&self->f, 0, 3, 50));
	kiommu_close_device(self->k, 0);
	usleep(100000);
	EXPECT_EQ(EBUSY, pthread_tryjoin_np(thread, NULL));
	EXPECT_EQ(0, kiommu_domain_detach(self->f.fd, device, NULL));
	ASSERT_EQ(0, pthread_join(thread, &removed));
	EXPECT_EQ(0, (long)removed);
	EXPECT_NE(0, access(path, F_OK));
	/* Nobody refers to its group any more. */
	snprintf(path, sizeof(path), "/sys/kernel/iommu_groups/%d", dev->group_id);
	EXPECT_NE(0, access(path, F_OK));
	close(asked.fd);

	/* It comes back, for the tests after this. */
	ASSERT_EQ(0, write_to("/sys/bus/pci/rescan", "1"));
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/driver_override",
		 dev->bdf);
	ASSERT_EQ(0, write_to(path, "vfio-pci"));
	ASSERT_EQ(0, write_to("/sys/bus/pci/drivers_probe", dev->bdf));
	kiommu_container_open(&self->k->vfio);
	kiommu_device_file_open_and_bind(&self->f, 0);
	ASSERT_LT(0, kiommu_domain_attach(self->f.fd, dev->fd, NULL));
	EXPECT_TRUE(kiommu_device_file_reaches(&self->f, 0, 3, 51));
}

enum what { DOMAIN, DEVICE, IOMMUFD, KVM, WHATS };

static void close_one(FIXTURE_DATA(device_file) *self, enum what what)
{
	switch (what) {
	case DOMAIN:
		close(self->f.fd);
		break;
	case DEVICE:
		kiommu_device_close(&self->k->vfio.dev[0]);
		break;
	case IOMMUFD:
		kiommu_cdev_close_iommufd();
		break;
	default:
		kiommu_vm_free(&self->k->vm);
		if (self->k->kvm_vfio >= 0)
			close(self->k->kvm_vfio);
	}
}

/* KVM holds the file of a device that it is told of. */
static void tell_kvm(FIXTURE_DATA(device_file) *self)
{
	int fd = fd_of(self, 0);

	if (kiommu_host_lacks(KIOMMU_KVM))
		return;
	self->k->kvm_vfio = kvm_create_device(self->k->vm.vm, KVM_DEV_TYPE_VFIO);
	kvm_device_attr_set(self->k->kvm_vfio, KVM_DEV_VFIO_FILE,
			    KVM_DEV_VFIO_FILE_ADD, &fd);
}

/*
 * Closes everything in the order of the number @order, or exits with a part of it
 * open.
 */
static void live_and_leave(FIXTURE_DATA(device_file) *self, unsigned int order)
{
	enum what left[WHATS] = { DOMAIN, DEVICE, IOMMUFD, KVM };
	unsigned int count;

	kiommu_vm_create(&self->k->vm, KIOMMU_AREA_SIZE, VM_MEM_SRC_ANONYMOUS_THP);
	self->f.fd = kiommu_domain_create(self->k->vm.fd);
	TEST_ASSERT(self->f.fd >= 0, "DOMAIN_CREATE: %d", self->f.fd);
	TEST_ASSERT(!kiommu_register_identity(self->f.fd, 0), "anchor");
	TEST_ASSERT(!kiommu_refresh(self->f.fd, self->k->vm.area->gpa, 64 * PAGE, NULL),
		    "REFRESH");
	kiommu_device_file_open(&self->f, 0);
	tell_kvm(self);
	kiommu_device_file_bind(&self->f, 0);
	TEST_ASSERT(kiommu_domain_attach(self->f.fd, fd_of(self, 0), NULL) > 0,
		    "ATTACH");
	for (count = WHATS; count > order % 2 * 2; count--) {
		unsigned int i = order / 2 % count;

		close_one(self, left[i]);
		left[i] = left[count - 1];
		order = order / 2 / count * 2 + order % 2;
	}
	_exit(0);
}

TEST_F_TIMEOUT(device_file, closed_in_each_order, 240)
{
	kiommu_domain_close(self->f.fd);
	kiommu_vm_free(&self->k->vm);
	for (unsigned int i = 0; i < 2 * 24; i++) {
		int status = -1;
		pid_t child = fork();

		if (!child)
			live_and_leave(self, i);
		ASSERT_EQ(child, waitpid(child, &status, 0));
		EXPECT_EQ(0, status);
		ASSERT_EQ(0, kiommu_await_refs(0));
		KIOMMU_EXPECT_NOTHING_LEFT();
	}
	self->f.fd = -1;
}

TEST_F_TIMEOUT(device_file, threads_attach_one_device, 240)
{
	int fds[3];

	kiommu_device_file_open_and_bind(&self->f, 0);
	for (unsigned int i = 0; i < ARRAY_SIZE(fds); i++)
		fds[i] = kiommu_device_files_domain(&self->f);
	EXPECT_EQ(0, kiommu_domains_compete(fds, ARRAY_SIZE(fds), fd_of(self, 0)));
	for (unsigned int i = 0; i < ARRAY_SIZE(fds); i++)
		kiommu_domain_close(fds[i]);
	EXPECT_TRUE(kiommu_device_file_blocked(&self->f, 0, 3, 80));
	ASSERT_LT(0, kiommu_domain_attach(self->f.fd, fd_of(self, 0), NULL));
	EXPECT_TRUE(kiommu_device_file_reaches(&self->f, 0, 3, 81));
}

TEST_HARNESS_MAIN
