// SPDX-License-Identifier: GPL-2.0-only
/* What KVM_IOMMU_DOMAIN_CREATE accepts and refuses; no device is needed. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <sys/eventfd.h>
#include <sys/ioctl.h>

#include "kvm_test_harness.h"
#include "kvm_util.h"

#include "domain.h"
#include "kiommu_util.h"

#define PAGE KIOMMU_PAGE

FIXTURE(domain_create) {
	uint64_t pins;
	long kvm_refs;
};

FIXTURE_SETUP(domain_create)
{
	if (kiommu_front_lacks(KIOMMU_AT_HOME))
		SKIP(return, "%s", kiommu_front_lacks(KIOMMU_AT_HOME));
	self->pins = kiommu_pins();
	self->kvm_refs = kiommu_kvm_refs();
	ASSERT_EQ(0, kiommu_await_refs(0));
}

FIXTURE_TEARDOWN(domain_create)
{
	EXPECT_EQ(0, kiommu_await_refs(0));
	KIOMMU_EXPECT_NOTHING_LEFT();
}

#define EXPECT_CREATE(_ret, _status, ...) do {				\
	struct kvm_iommu_domain_create _cmd = {				\
		.size = sizeof(_cmd), .kvm_fd = -1,			\
	};								\
	int _got;							\
									\
	_cmd.__VA_ARGS__;						\
	_got = kiommu_domain_create_with(&_cmd);			\
	EXPECT_EQ(_ret, _got);						\
	EXPECT_EQ(_status, (int)_cmd.status);				\
	if (!_got)							\
		close(_cmd.fd);						\
} while (0)

TEST_F_TIMEOUT(domain_create, refuses, 120)
{
	int control = open("/dev/kvm_iommu", O_RDWR);
	struct kvm_iommu_domain_create cmd = { .size = 12 };
	int null = open("/dev/null", O_RDWR);
	unsigned char big[64] = { sizeof(big) };

	ASSERT_LE(0, control);
	EXPECT_CREATE(0, 0, status = 77);
	EXPECT_CREATE(-EOPNOTSUPP, KVM_IOMMU_STATUS_FLAGS, flags = 1);
	EXPECT_CREATE(-EOPNOTSUPP, KVM_IOMMU_STATUS_FIELD, __reserved = 1);
	EXPECT_CREATE(-EBADF, KVM_IOMMU_STATUS_NO_FD, kvm_fd = -2);
	EXPECT_CREATE(-EBADF, KVM_IOMMU_STATUS_NO_FD, kvm_fd = 9999);
	EXPECT_CREATE(-EINVAL, KVM_IOMMU_STATUS_FD_TYPE, kvm_fd = null);
	EXPECT_CREATE(-EINVAL, KVM_IOMMU_STATUS_FD_TYPE, kvm_fd = control);
	EXPECT_EQ(-EINVAL, kiommu_ioctl(control, KVM_IOMMU_DOMAIN_CREATE, &cmd));
	EXPECT_EQ(-EFAULT, kiommu_ioctl(control, KVM_IOMMU_DOMAIN_CREATE, NULL));
	memset(big + sizeof(cmd), 0, sizeof(big) - sizeof(cmd));
	((struct kvm_iommu_domain_create *)big)->kvm_fd = -1;
	big[sizeof(big) - 1] = 1;
	EXPECT_EQ(-E2BIG, kiommu_ioctl(control, KVM_IOMMU_DOMAIN_CREATE, big));
	/* Nothing else works there. */
	EXPECT_EQ(-ENOTTY, kiommu_ioctl(control, KVM_IOMMU_ATTACH, &cmd));
	EXPECT_EQ(-ENOTTY, kiommu_ioctl(control, KVM_IOMMU_GET_INFO, &cmd));
	EXPECT_EQ(-ENOTTY, kiommu_ioctl(control, VFIO_CHECK_EXTENSION,
					(void *)VFIO_KVM_IOMMU));
	close(control);
	close(null);
}

/* KVM's other files are not taken for a VM, though most of them name one. */
TEST_F_TIMEOUT(domain_create, refuses_other_files_of_kvm, 120)
{
	struct kvm_create_device device = { .type = KVM_DEV_TYPE_VFIO };
	struct kvm_create_guest_memfd memory = { .size = PAGE };
	int kvm, vm, others[8], count = 0;

	if (kiommu_host_lacks(KIOMMU_KVM))
		SKIP(return, "%s", kiommu_host_lacks(KIOMMU_KVM));
	kvm = open("/dev/kvm", O_RDWR);
	ASSERT_LE(0, kvm);
	vm = ioctl(kvm, KVM_CREATE_VM, 0);
	ASSERT_LE(0, vm);
	others[count++] = kvm;
	others[count++] = ioctl(vm, KVM_CREATE_VCPU, 0);
	ASSERT_EQ(0, ioctl(vm, KVM_CREATE_DEVICE, &device));
	others[count++] = device.fd;
	others[count++] = ioctl(vm, KVM_GET_STATS_FD, NULL);
	others[count++] = ioctl(others[1], KVM_GET_STATS_FD, NULL);
	for (int i = 0; i < count; i++)
		ASSERT_LE(0, others[i]);
	others[count] = ioctl(vm, KVM_CREATE_GUEST_MEMFD, &memory);
	if (others[count] >= 0)
		count++;
	others[count++] = eventfd(0, 0);
	for (int i = 0; i < count; i++) {
		EXPECT_CREATE(-EINVAL, KVM_IOMMU_STATUS_FD_TYPE, kvm_fd = others[i]);
		close(others[i]);
	}
	EXPECT_CREATE(0, 0, kvm_fd = vm);
	close(vm);
}

/* The descriptor limit leaves no domain behind. */
TEST_F_TIMEOUT(domain_create, without_descriptors, 120)
{
	int fds[1024], count = 0, ret;
	int control = open("/dev/kvm_iommu", O_RDWR);
	struct kvm_iommu_domain_create cmd = { .size = sizeof(cmd), .kvm_fd = -1 };
	long refs = kiommu_module_refs();

	while (count < 1024 && (fds[count] = dup(0)) >= 0)
		count++;
	ret = kiommu_ioctl(control, KVM_IOMMU_DOMAIN_CREATE, &cmd);
	while (count)
		close(fds[--count]);
	EXPECT_EQ(-EMFILE, ret);
	EXPECT_EQ(refs, kiommu_module_refs());
	close(control);
}

TEST_HARNESS_MAIN
