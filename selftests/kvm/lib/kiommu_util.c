// SPDX-License-Identifier: GPL-2.0-only
/* A guest with all devices of KIOMMU_DEVICES, set up at once. */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "kiommu_util.h"

/* Whether a device before the one with index @i is in the same group. */
static bool group_seen(const struct kiommu_container *c, unsigned int i)
{
	for (unsigned int j = 0; j < i; j++)
		if (c->dev[j].group_id == c->dev[i].group_id)
			return true;
	return false;
}

void kiommu_attach(struct kiommu *k, unsigned long type)
{
	struct kiommu_container *c = &k->vfio;
	int ret;

	memset(k, 0, sizeof(*k));
	k->vm.fd = -1;
	k->kvm_vfio = -1;
	k->locked_vm = kiommu_locked_vm();
	kiommu_container_open(c);
	for (unsigned int i = 0; i < c->count; i++) {
		ret = kiommu_group_open(c, &c->dev[i]);
		TEST_ASSERT(!ret, "%s: group: %d", c->dev[i].bdf, ret);
		if (group_seen(c, i))
			continue;
		ret = kiommu_group_attach(c, &c->dev[i]);
		TEST_ASSERT(!ret, "%s: container: %d", c->dev[i].bdf, ret);
	}
	if (type) {
		ret = kiommu_set_iommu(c->fd, type);
		TEST_ASSERT(!ret, "VFIO_SET_IOMMU(%lu): %d", type, ret);
	}
	kiommu_vm_create(&k->vm, KIOMMU_AREA_SIZE, VM_MEM_SRC_ANONYMOUS_THP);
}

void kiommu_add_groups(struct kiommu *k)
{
	k->kvm_vfio = kiommu_vm_open_vfio(&k->vm);
	for (unsigned int i = 0; i < k->vfio.count; i++) {
		int ret;

		if (group_seen(&k->vfio, i))
			continue;
		ret = kiommu_kvm_add_group(k->kvm_vfio, &k->vfio.dev[i]);
		TEST_ASSERT(!ret, "%s: FILE_ADD: %d", k->vfio.dev[i].bdf, ret);
	}
}

void kiommu_open_device(struct kiommu *k, unsigned int i)
{
	struct kiommu_device *dev = &k->vfio.dev[i];
	int ret = kiommu_device_open(dev);

	TEST_ASSERT(!ret, "%s: open: %d", dev->bdf, ret);
	kiommu_device_enable(dev, 1);
	kiommu_device_map(dev);
	kiommu_vm_add_bar(&k->vm, i, dev);
	k->bar[i] = dev->bar;
	k->dma[i] = kiommu_dma_open(dev, &k->vm, i);
}

void kiommu_close_device(struct kiommu *k, unsigned int i)
{
	kiommu_dma_close(k->dma[i]);
	k->dma[i] = NULL;
	if (k->vm.fd >= 0 && k->bar[i])
		kiommu_vm_del_bar(&k->vm, i, &k->vfio.dev[i]);
	k->bar[i] = NULL;
	kiommu_device_close(&k->vfio.dev[i]);
}

void kiommu_open_devices(struct kiommu *k)
{
	for (unsigned int i = 0; i < k->vfio.count; i++)
		kiommu_open_device(k, i);
}

static void close_devices(struct kiommu *k)
{
	for (unsigned int i = 0; i < k->vfio.count; i++)
		kiommu_close_device(k, i);
}

void kiommu_close_devices(struct kiommu *k)
{
	close_devices(k);
	for (unsigned int i = 0; i < k->vfio.count; i++)
		kiommu_front_stop(&k->vfio.dev[i]);
}

int kiommu_move_device(struct kiommu *k, unsigned int i)
{
	struct kiommu_device *dev = &k->vfio.dev[i];
	struct kiommu_container other = {
		.fd = open_path_or_exit("/dev/vfio/vfio", O_RDWR),
	};
	int ret;

	kiommu_close_device(k, i);
	ret = kiommu_group_detach(dev);
	TEST_ASSERT(!ret, "%s: detach: %d", dev->bdf, ret);
	ret = kiommu_group_attach(&other, dev);
	TEST_ASSERT(!ret, "%s: attach: %d", dev->bdf, ret);
	ret = kiommu_set_iommu(other.fd, VFIO_KVM_IOMMU);
	TEST_ASSERT(!ret, "VFIO_SET_IOMMU: %d", ret);
	kiommu_open_device(k, i);
	ret = kiommu_get_state(other.fd);
	TEST_ASSERT(ret == KVM_IOMMU_STATE_STARTED, "state %d", ret);
	return other.fd;
}

bool kiommu_reaches(struct kiommu *k, unsigned int dev, char *mem, uint64_t iova,
		    uint64_t to, uint8_t seed)
{
	char *there = mem + to * KIOMMU_PAGE;
	uint64_t ret;

	kiommu_fill(mem, KIOMMU_PAGE, seed);
	kiommu_fill(there, KIOMMU_PAGE, ~seed);
	ret = kiommu_guest_call(&k->vm, kiommu_dma_copy, k->dma[dev],
				iova + to * KIOMMU_PAGE, iova, KIOMMU_REACH);
	TEST_ASSERT(!ret, "DMA: %ld", (long)ret);
	return kiommu_count_equal(there, KIOMMU_REACH, seed) == KIOMMU_REACH;
}

void kiommu_setup(struct kiommu *k, unsigned long type)
{
	kiommu_attach(k, type);
	kiommu_add_groups(k);
	kiommu_open_devices(k);
}

void kiommu_teardown(struct kiommu *k)
{
	close_devices(k);
	if (k->kvm_vfio >= 0)
		close(k->kvm_vfio);
	k->kvm_vfio = -1;
	kiommu_vm_free(&k->vm);
	kiommu_container_close(&k->vfio);
}
