// SPDX-License-Identifier: GPL-2.0-only
/*
 * The life of a domain: created, started, anchored. What each ioctl returns in
 * each state, how a KVM registers, which KVM, and what undoes it.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <sys/wait.h>

#include "kvm_test_harness.h"
#include "kvm_util.h"

#include "stress.h"
#include "kiommu_util.h"

#define CREATED KVM_IOMMU_STATE_CREATED
#define STARTED KVM_IOMMU_STATE_STARTED
#define ANCHORED KVM_IOMMU_STATE_ANCHORED
#define GPA KIOMMU_AREA_GPA
#define RW (VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE)

/* The devices are open, but no KVM is registered: state created. */
FIXTURE(state) {
	struct kiommu k;
	int fd;
	int vm;
};

FIXTURE_SETUP(state)
{
	kiommu_attach(&self->k, VFIO_KVM_IOMMU);
	self->fd = self->k.vfio.fd;
	self->vm = self->k.vm.fd;
	kiommu_open_devices(&self->k);
	ASSERT_EQ(CREATED, kiommu_get_state(self->fd));
}

FIXTURE_TEARDOWN(state)
{
	kiommu_teardown(&self->k);
	EXPECT_EQ(self->k.locked_vm, kiommu_locked_vm());
}

static int unmap(int fd, uint64_t size, uint32_t flags)
{
	return kiommu_unmap_dma(fd, size ? GPA : 0, &size, flags);
}

/*
 * Everything that needs an anchor returns @ret, and does not change the state.
 */
static void expect_refused(struct __test_metadata *_metadata, int fd, int ret)
{
	struct kvm_iommu_refresh refresh = {
		.size = sizeof(refresh), .iova = GPA, .length = KIOMMU_PAGE,
		.stopped_iova = 1, .mapped = 2, .unmapped = 3, .status = 4,
	};
	struct kvm_iommu_translate answer;
	int state = kiommu_get_state(fd);

	EXPECT_EQ(ret, kiommu_ioctl(fd, KVM_IOMMU_REFRESH, &refresh));
	/* Only the status of a refused call means something. */
	EXPECT_EQ(0, refresh.stopped_iova);
	EXPECT_EQ(0, refresh.mapped);
	EXPECT_EQ(0, refresh.unmapped);
	EXPECT_EQ(ret == -ENODEV ? KVM_IOMMU_STATUS_NO_KVM :
				   KVM_IOMMU_STATUS_NO_ANCHOR,
		  refresh.status);
	EXPECT_EQ(ret, kiommu_translate(fd, GPA, &answer));
	EXPECT_EQ(ret, kiommu_map_dma(fd, NULL, GPA, KIOMMU_PAGE, RW));
	EXPECT_EQ(ret, unmap(fd, KIOMMU_PAGE, 0));
	EXPECT_EQ(ret, unmap(fd, 0, VFIO_DMA_UNMAP_FLAG_ALL));
	EXPECT_EQ(ret, kiommu_unregister(fd));
	EXPECT_EQ(state, kiommu_get_state(fd));
	EXPECT_EQ(0, kiommu_mapped_pages(fd));
}

TEST_F_TIMEOUT(state, each_ioctl_in_each_state, 120)
{
	struct kvm_iommu_translate answer;
	struct kvm_iommu_info info;
	int fd = self->fd;

	expect_refused(_metadata, fd, -ENODEV);
	EXPECT_EQ(-ENODEV, kiommu_register_identity(fd, 0));
	EXPECT_EQ(-ENODEV, kiommu_stop(fd));
	EXPECT_EQ(CREATED, kiommu_get_state(fd));

	ASSERT_EQ(0, kiommu_start(fd, self->vm));
	ASSERT_EQ(STARTED, kiommu_get_state(fd));
	expect_refused(_metadata, fd, -ENXIO);
	EXPECT_EQ(0, kiommu_start(fd, self->vm));
	EXPECT_EQ(STARTED, kiommu_get_state(fd));

	ASSERT_EQ(0, kiommu_register_identity(fd, 0));
	ASSERT_EQ(ANCHORED, kiommu_get_state(fd));
	EXPECT_EQ(0, kiommu_refresh(fd, GPA, KIOMMU_PAGE, NULL));
	EXPECT_EQ(0, kiommu_translate(fd, GPA, &answer));
	EXPECT_EQ(0, kiommu_map_dma(fd, NULL, GPA, KIOMMU_PAGE, RW));
	/* Neither KVM nor anchor can be replaced: they must leave first. */
	EXPECT_EQ(0, kiommu_start(fd, self->vm));
	EXPECT_EQ(-EEXIST, kiommu_register_identity(fd, 0x1000));
	ASSERT_EQ(0, kiommu_get_info(fd, &info));
	EXPECT_EQ(ANCHORED, info.state);
	EXPECT_EQ(KVM_IOMMU_FORMAT_IDENTITY, info.format);
	EXPECT_EQ(1, info.mapped_pages);
	EXPECT_EQ(0, unmap(fd, KIOMMU_PAGE, 0));
	EXPECT_EQ(0, unmap(fd, 0, VFIO_DMA_UNMAP_FLAG_ALL));
	EXPECT_EQ(ANCHORED, kiommu_get_state(fd));

	ASSERT_EQ(0, kiommu_unregister(fd));
	EXPECT_EQ(STARTED, kiommu_get_state(fd));
	expect_refused(_metadata, fd, -ENXIO);
	ASSERT_EQ(0, kiommu_stop(fd));
	EXPECT_EQ(CREATED, kiommu_get_state(fd));
	expect_refused(_metadata, fd, -ENODEV);
}

/* v4, defect 15: after the KVM had left, none could register again. */
TEST_F_TIMEOUT(state, kvm_leaves_and_returns, 120)
{
	int fd = self->fd;

	for (int i = 0; i < 20; i++) {
		ASSERT_EQ(0, kiommu_start(fd, self->vm));
		ASSERT_EQ(0, kiommu_register_identity(fd, 0));
		ASSERT_EQ(0, kiommu_refresh(fd, GPA, 16 * KIOMMU_PAGE, NULL));
		ASSERT_EQ(self->k.locked_vm + 16 * KIOMMU_PAGE, kiommu_locked_vm());
		/* From anchored: everything is undone at once. */
		ASSERT_EQ(0, kiommu_stop(fd));
		ASSERT_EQ(CREATED, kiommu_get_state(fd));
		ASSERT_EQ(0, kiommu_mapped_pages(fd));
		ASSERT_EQ(self->k.locked_vm, kiommu_locked_vm());
	}
}

TEST_F_TIMEOUT(state, start_refuses_what_is_no_kvm, 120)
{
	int zero = open_path_or_exit("/dev/zero", O_RDWR);
	int fd = self->fd;
	int others[4];

	EXPECT_EQ(-EBADF, kiommu_start(fd, -1));
	EXPECT_EQ(-EBADF, kiommu_start(fd, 1 << 20));
	EXPECT_EQ(-EINVAL, kiommu_start(fd, zero));
	for (unsigned int i = kiommu_vm_other_files(&self->k.vm, others, 4); i--;)
		EXPECT_EQ(-EINVAL, kiommu_start(fd, others[i]));
	EXPECT_EQ(-EINVAL, kiommu_start(fd, fd));
	EXPECT_EQ(CREATED, kiommu_get_state(fd));
	/* The same while a KVM is registered, which stays. */
	ASSERT_EQ(0, kiommu_start(fd, self->vm));
	EXPECT_EQ(-EBADF, kiommu_start(fd, -1));
	EXPECT_EQ(-EINVAL, kiommu_start(fd, zero));
	EXPECT_EQ(STARTED, kiommu_get_state(fd));
	close(zero);
}

TEST_F_TIMEOUT(state, start_needs_an_open_device, 120)
{
	const bool file = kiommu_front_is_file();

	kiommu_close_devices(&self->k);
	/* The file of a domain does not. */
	EXPECT_EQ(file ? 0 : -ENODEV, kiommu_start(self->fd, self->vm));
	EXPECT_EQ(file ? STARTED : CREATED, kiommu_get_state(self->fd));
	kiommu_open_devices(&self->k);
	EXPECT_EQ(0, kiommu_start(self->fd, self->vm));
}

TEST_F_TIMEOUT(state, another_kvm_is_refused, 120)
{
	struct kiommu_vm other;
	int fd = self->fd;

	kiommu_vm_create_bare(&other);
	ASSERT_EQ(0, kiommu_start(fd, self->vm));
	ASSERT_EQ(0, kiommu_register_identity(fd, 0));
	ASSERT_EQ(0, kiommu_refresh(fd, GPA, KIOMMU_PAGE, NULL));
	EXPECT_EQ(-EBUSY, kiommu_start(fd, other.fd));
	EXPECT_EQ(ANCHORED, kiommu_get_state(fd));
	EXPECT_EQ(1, kiommu_mapped_pages(fd));
	/* It can register once the first one has left. */
	ASSERT_EQ(0, kiommu_stop(fd));
	EXPECT_EQ(0, kiommu_start(fd, other.fd));
	EXPECT_EQ(-EBUSY, kiommu_start(fd, self->vm));
	/* The memory of the first KVM is not the second one's. */
	ASSERT_EQ(0, kiommu_register_identity(fd, 0));
	ASSERT_EQ(0, kiommu_refresh(fd, GPA, KIOMMU_PAGE, NULL));
	EXPECT_EQ(0, kiommu_mapped_pages(fd));
	kiommu_vm_free(&other);
}

/* Runs in a child that holds the same files. */
static int foreign_process(struct __test_metadata *_metadata, int fd, int vm)
{
	struct kvm_iommu_translate answer;
	struct kvm_iommu_info info;

	EXPECT_EQ(0, kiommu_get_info(fd, &info));
	EXPECT_EQ(-EPERM, kiommu_start(fd, vm));
	if (info.state == CREATED)
		return 0;
	EXPECT_EQ(-EPERM, kiommu_register_identity(fd, 0));
	EXPECT_EQ(-EPERM, kiommu_refresh(fd, GPA, KIOMMU_PAGE, NULL));
	EXPECT_EQ(-EPERM, kiommu_translate(fd, GPA, &answer));
	EXPECT_EQ(-EPERM, kiommu_map_dma(fd, NULL, GPA, KIOMMU_PAGE, RW));
	EXPECT_EQ((int)info.state, kiommu_get_state(fd));
	EXPECT_EQ(info.mapped_pages, kiommu_mapped_pages(fd));
	return 0;
}

static void in_foreign_process(struct __test_metadata *_metadata, int fd, int vm)
{
	int status = -1;
	pid_t child = fork();

	if (!child)
		_exit(foreign_process(_metadata, fd, vm));
	ASSERT_EQ(child, waitpid(child, &status, 0));
	ASSERT_EQ(0, status);
}

/* Guest memory is read and pinned only for the process that owns it. */
TEST_F_TIMEOUT(state, another_process_is_refused, 120)
{
	int fd = self->fd;

	in_foreign_process(_metadata, fd, self->vm);
	EXPECT_EQ(CREATED, kiommu_get_state(fd));
	ASSERT_EQ(0, kiommu_start(fd, self->vm));
	in_foreign_process(_metadata, fd, self->vm);
	ASSERT_EQ(0, kiommu_register_identity(fd, 0));
	ASSERT_EQ(0, kiommu_refresh(fd, GPA, 2 * KIOMMU_PAGE, NULL));
	in_foreign_process(_metadata, fd, self->vm);
	EXPECT_EQ(2, kiommu_mapped_pages(fd));
}

/*
 * A bug related to v4: pins must be uncharged from the process that was
 * charged, not from the one that happens to call.
 */
TEST_F_TIMEOUT(state, another_process_may_unmap, 120)
{
	uint64_t before = self->k.locked_vm;
	int status = -1;
	pid_t child;

	ASSERT_EQ(0, kiommu_start(self->fd, self->vm));
	ASSERT_EQ(0, kiommu_register_identity(self->fd, 0));
	ASSERT_EQ(0, kiommu_refresh(self->fd, GPA, 64 * KIOMMU_PAGE, NULL));
	EXPECT_EQ(before + 64 * KIOMMU_PAGE, kiommu_locked_vm());
	child = fork();
	if (!child) {
		uint64_t locked = kiommu_locked_vm();

		EXPECT_EQ(0, unmap(self->fd, 32 * KIOMMU_PAGE, 0));
		EXPECT_EQ(0, kiommu_unregister(self->fd));
		EXPECT_EQ(locked, kiommu_locked_vm());
		_exit(0);
	}
	ASSERT_EQ(child, waitpid(child, &status, 0));
	ASSERT_EQ(0, status);
	EXPECT_EQ(STARTED, kiommu_get_state(self->fd));
	EXPECT_EQ(before, kiommu_locked_vm());
}

/* KVM_DEV_VFIO_FILE_ADD, then the device is opened: no ioctl of ours. */
TEST_F_TIMEOUT(state, kvm_registers_with_the_device, 120)
{
	if (kiommu_front_lacks(KIOMMU_CONTAINER_RULES))
		SKIP(return, "%s", kiommu_front_lacks(KIOMMU_CONTAINER_RULES));
	if (kiommu_host_lacks(KIOMMU_KVM))
		SKIP(return, "%s", kiommu_host_lacks(KIOMMU_KVM));
	kiommu_close_devices(&self->k);
	kiommu_add_groups(&self->k);
	EXPECT_EQ(CREATED, kiommu_get_state(self->fd));
	kiommu_open_devices(&self->k);
	EXPECT_EQ(STARTED, kiommu_get_state(self->fd));
	EXPECT_EQ(0, kiommu_start(self->fd, self->vm));
	/* STOP holds until the VMM calls START or opens a device again. */
	ASSERT_EQ(0, kiommu_stop(self->fd));
	EXPECT_EQ(CREATED, kiommu_get_state(self->fd));
	EXPECT_EQ(0, kiommu_start(self->fd, self->vm));
}

/* v4, defect 16: several devices in one domain. */
TEST_F_TIMEOUT(state, last_close_undoes_all, 120)
{
	struct kiommu_container *c = &self->k.vfio;
	uint64_t pins;

	if (c->count < 2)
		SKIP(return, "needs two devices");
	kiommu_close_devices(&self->k);
	kiommu_add_groups(&self->k);
	for (unsigned int i = 0; i < c->count; i++)
		ASSERT_EQ(0, kiommu_device_open(&c->dev[i]));
	pins = kiommu_pins();
	ASSERT_EQ(0, kiommu_register_identity(self->fd, 0));
	ASSERT_EQ(0, kiommu_refresh(self->fd, GPA, 64 * KIOMMU_PAGE, NULL));
	for (unsigned int i = 0; i + 1 < c->count; i++) {
		kiommu_device_close(&c->dev[i]);
		EXPECT_EQ(ANCHORED, kiommu_get_state(self->fd));
		EXPECT_EQ(64, kiommu_mapped_pages(self->fd));
	}
	kiommu_device_close(&c->dev[c->count - 1]);
	/* The file of a domain keeps all until the KVM leaves. */
	if (kiommu_front_is_file()) {
		EXPECT_EQ(64, kiommu_mapped_pages(self->fd));
		EXPECT_EQ(0, kiommu_stop(self->fd));
	}
	EXPECT_EQ(CREATED, kiommu_get_state(self->fd));
	EXPECT_EQ(0, kiommu_mapped_pages(self->fd));
	EXPECT_EQ(0, kiommu_pinned_pages(self->fd));
	EXPECT_EQ(self->k.locked_vm, kiommu_locked_vm());
	EXPECT_EQ(pins, kiommu_pins());
	EXPECT_EQ(-ENODEV, kiommu_stop(self->fd));
	/* The KVM registers again. */
	kiommu_open_devices(&self->k);
	EXPECT_EQ(STARTED, kiommu_get_state(self->fd));
}

static bool has_conflict(int fd)
{
	struct kvm_iommu_info info;

	TEST_ASSERT(!kiommu_get_info(fd, &info), "GET_INFO");
	return info.flags & KVM_IOMMU_INFO_KVM_CONFLICT;
}

/* Devices of two KVMs in one container: the second KVM is only reported. */
TEST_F_TIMEOUT(state, devices_of_two_kvms, 120)
{
	struct kiommu_container *c = &self->k.vfio;
	struct kiommu_vm other;
	int kvm_vfio;

	if (kiommu_front_lacks(KIOMMU_CONTAINER_RULES))
		SKIP(return, "%s", kiommu_front_lacks(KIOMMU_CONTAINER_RULES));
	if (kiommu_host_lacks(KIOMMU_KVM))
		SKIP(return, "%s", kiommu_host_lacks(KIOMMU_KVM));

	if (c->count < 2)
		SKIP(return, "needs two devices");
	kiommu_close_devices(&self->k);
	kiommu_vm_create_bare(&other);
	kvm_vfio = kiommu_vm_open_vfio(&other);
	self->k.kvm_vfio = kiommu_vm_open_vfio(&self->k.vm);
	ASSERT_EQ(0, kiommu_kvm_add_group(self->k.kvm_vfio, &c->dev[0]));
	ASSERT_EQ(0, kiommu_kvm_add_group(kvm_vfio, &c->dev[1]));

	ASSERT_EQ(0, kiommu_device_open(&c->dev[0]));
	EXPECT_EQ(STARTED, kiommu_get_state(self->fd));
	EXPECT_FALSE(has_conflict(self->fd));
	ASSERT_EQ(0, kiommu_device_open(&c->dev[1]));
	EXPECT_EQ(STARTED, kiommu_get_state(self->fd));
	EXPECT_TRUE(has_conflict(self->fd));
	EXPECT_EQ(-EBUSY, kiommu_start(self->fd, other.fd));
	EXPECT_EQ(0, kiommu_start(self->fd, self->vm));

	kiommu_device_close(&c->dev[0]);
	kiommu_device_close(&c->dev[1]);
	EXPECT_FALSE(has_conflict(self->fd));
	EXPECT_EQ(CREATED, kiommu_get_state(self->fd));
	/* Now the other one is first. */
	ASSERT_EQ(0, kiommu_device_open(&c->dev[1]));
	EXPECT_FALSE(has_conflict(self->fd));
	EXPECT_EQ(0, kiommu_start(self->fd, other.fd));
	EXPECT_EQ(-EBUSY, kiommu_start(self->fd, self->vm));
	kiommu_device_close(&c->dev[1]);
	close(kvm_vfio);
	kiommu_vm_free(&other);
}

static int do_info(void *arg, uint64_t random)
{
	struct kvm_iommu_info info;

	(void)random;
	return kiommu_get_info(*(int *)arg, &info);
}

/*
 * A device brings another KVM than START did: that is reported until the last
 * device is closed.
 */
TEST_F_TIMEOUT(state, another_kvm_than_start, 120)
{
	struct kiommu_container *c = &self->k.vfio;
	struct kiommu_stress stress = {};
	struct kiommu_vm other;
	int kvm_vfio;

	if (kiommu_front_lacks(KIOMMU_CONTAINER_RULES))
		SKIP(return, "%s", kiommu_front_lacks(KIOMMU_CONTAINER_RULES));
	if (kiommu_host_lacks(KIOMMU_KVM))
		SKIP(return, "%s", kiommu_host_lacks(KIOMMU_KVM));
	if (c->count < 2)
		SKIP(return, "needs two devices");
	kiommu_close_devices(&self->k);
	kiommu_vm_create_bare(&other);
	kvm_vfio = kiommu_vm_open_vfio(&other);
	ASSERT_EQ(0, kiommu_kvm_add_group(kvm_vfio, &c->dev[1]));
	/* Other threads call, too, and may be the ones that find out. */
	kiommu_stress_add(&stress, do_info, &self->fd);
	kiommu_stress_add(&stress, do_info, &self->fd);
	for (unsigned int i = 0; i < 12; i++) {
		struct kiommu_device *first = &c->dev[i % 2];

		ASSERT_EQ(0, kiommu_device_open(&c->dev[0]));
		EXPECT_FALSE(has_conflict(self->fd));
		ASSERT_EQ(0, kiommu_start(self->fd, self->vm));
		ASSERT_EQ(0, kiommu_device_open(&c->dev[1]));
		/* Sometimes only these threads call before the last close. */
		if (i % 3) {
			EXPECT_TRUE(has_conflict(self->fd));
			EXPECT_EQ(-EBUSY, kiommu_start(self->fd, other.fd));
		}
		kiommu_device_close(first);
		if (i % 3)
			EXPECT_TRUE(has_conflict(self->fd));
		kiommu_device_close(&c->dev[1 - i % 2]);
		EXPECT_FALSE(has_conflict(self->fd));
		EXPECT_EQ(CREATED, kiommu_get_state(self->fd));
	}
	EXPECT_EQ(0, kiommu_stress_join(&stress));
	close(kvm_vfio);
	kiommu_vm_free(&other);
}

TEST_HARNESS_MAIN
