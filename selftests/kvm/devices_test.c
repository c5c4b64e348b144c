// SPDX-License-Identifier: GPL-2.0-only
/*
 * Two devices of one container and one guest: whichever of them is opened or
 * closed last, the guest is registered if a device was opened since it left. It
 * leaves with the last device, but not if the domain has a file.
 */
#include <errno.h>
#include <unistd.h>

#include "kvm_test_harness.h"
#include "kvm_util.h"

#include "kiommu_util.h"

FIXTURE(devices) {
	struct kiommu_container vfio;
	struct kiommu_vm vm;
	int kvm_vfio;
	struct kiommu_device *dev; /* two of them */
};

FIXTURE_SETUP(devices)
{
	if (kiommu_device_count() < 2)
		SKIP(return, "needs two devices");
	kiommu_container_open(&self->vfio);
	self->dev = self->vfio.dev;
	if (self->dev[0].group_id == self->dev[1].group_id)
		SKIP(return, "needs two groups");
	kiommu_vm_create_bare(&self->vm);
	self->kvm_vfio = kiommu_vm_open_vfio(&self->vm);
	for (int i = 0; i < 2; i++) {
		ASSERT_EQ(0, kiommu_group_open(&self->vfio, &self->dev[i]));
		ASSERT_EQ(0, kiommu_group_attach(&self->vfio, &self->dev[i]));
		ASSERT_EQ(0, kiommu_kvm_add_group(self->kvm_vfio, &self->dev[i]));
	}
	ASSERT_EQ(0, kiommu_set_iommu(self->vfio.fd, VFIO_KVM_IOMMU));
}

FIXTURE_TEARDOWN(devices)
{
	if (self->kvm_vfio > 0)
		close(self->kvm_vfio);
	kiommu_vm_free(&self->vm);
	kiommu_container_close(&self->vfio);
	EXPECT_EQ(0, kiommu_await_refs(0));
}

#define EXPECT_STATE(_state) \
	EXPECT_EQ(KVM_IOMMU_STATE_##_state, kiommu_get_state(self->vfio.fd))

/* All devices were closed while the guest was registered. */
#define EXPECT_LEFT() \
	EXPECT_EQ(kiommu_front_is_file() ? KVM_IOMMU_STATE_STARTED : \
		  KVM_IOMMU_STATE_CREATED, kiommu_get_state(self->vfio.fd))

/*
 * Opens the first device, which registers its guest, and has the guest leave.
 */
static int start_and_stop(FIXTURE_DATA(devices) *self)
{
	int ret = kiommu_device_open(&self->dev[0]);

	if (ret)
		return ret;
	if (kiommu_get_state(self->vfio.fd) != KVM_IOMMU_STATE_STARTED)
		return -ENODEV;
	return kiommu_stop(self->vfio.fd);
}

TEST_F_TIMEOUT(devices, opened_after_stop, 120)
{
	ASSERT_EQ(0, start_and_stop(self));
	EXPECT_STATE(CREATED);
	ASSERT_EQ(0, kiommu_device_open(&self->dev[1]));
	EXPECT_STATE(STARTED);
}

/* The guest that the second device brought does not go with the first one. */
TEST_F_TIMEOUT(devices, the_other_is_closed_before_a_call, 120)
{
	ASSERT_EQ(0, start_and_stop(self));
	ASSERT_EQ(0, kiommu_device_open(&self->dev[1]));
	kiommu_device_close(&self->dev[0]);
	EXPECT_STATE(STARTED);
	kiommu_device_close(&self->dev[1]);
	EXPECT_LEFT();
}

/* Both devices bring the guest, and one of them is closed. */
TEST_F_TIMEOUT(devices, one_of_two_is_closed_before_a_call, 120)
{
	for (int i = 0; i < 2; i++) {
		ASSERT_EQ(0, kiommu_device_open(&self->dev[i]));
		ASSERT_EQ(0, kiommu_device_open(&self->dev[!i]));
		kiommu_device_close(&self->dev[i]);
		EXPECT_STATE(STARTED);
		kiommu_device_close(&self->dev[!i]);
	}
}

/* All are closed before any call, and one is opened again. */
TEST_F_TIMEOUT(devices, opened_anew_before_a_call, 120)
{
	for (int i = 0; i < 2; i++) {
		ASSERT_EQ(0, kiommu_device_open(&self->dev[i]));
		ASSERT_EQ(0, kiommu_device_open(&self->dev[!i]));
		kiommu_device_close(&self->dev[!i]);
		kiommu_device_close(&self->dev[i]);
		ASSERT_EQ(0, kiommu_device_open(&self->dev[!i]));
		EXPECT_STATE(STARTED);
		kiommu_device_close(&self->dev[!i]);
		EXPECT_LEFT();
	}
}

/* A guest that left by STOP stays away when devices are closed. */
TEST_F_TIMEOUT(devices, closed_after_stop, 120)
{
	ASSERT_EQ(0, kiommu_device_open(&self->dev[1]));
	ASSERT_EQ(0, start_and_stop(self));
	kiommu_device_close(&self->dev[0]);
	EXPECT_STATE(CREATED);
	ASSERT_EQ(0, kiommu_device_open(&self->dev[0]));
	EXPECT_STATE(STARTED);
}

TEST_HARNESS_MAIN
