// SPDX-License-Identifier: GPL-2.0-only
/*
 * A container of type1 that our driver serves (module parameter type1): it begins
 * with mappings of the client's memory, as firmware needs them, and is anchored
 * in the tables of a KVM later, and back. What else is its own: devices that leave for
 * a domain with a file, device memory that goes away.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include <sys/mman.h>

#include "kvm_test_harness.h"
#include "kvm_util.h"

#include "counters.h"
#include "domain.h"
#include "kiommu_util.h"
#include "type1.h"

#define PAGE KIOMMU_PAGE
#define IOVA (KIOMMU_IOVA_BASE + 0x10000000ull)
#define RW (VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE)

FIXTURE(both) {
	struct kiommu k;
	int fd;
	char *mem; /* 16 pages of the guest */
	char *own; /* 16 pages that are not the guest's */
	struct ioat *t; /* maps IOVA to mem */
	uint64_t pins;
	long kvm_refs;
};

FIXTURE_SETUP(both)
{
	struct kiommu_area *area;

	self->kvm_refs = kiommu_kvm_refs();
	self->pins = kiommu_pins();
	kiommu_serve_type1(true);
	kiommu_setup(&self->k, VFIO_TYPE1v2_IOMMU);
	kiommu_serve_type1(false);
	self->fd = self->k.vfio.fd;
	area = self->k.vm.area;
	self->mem = kiommu_alloc(area, 16 * PAGE, PAGE);
	self->own = mmap(NULL, 16 * PAGE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, (void *)self->own);
	self->t = ioat_new(area, KVM_IOMMU_FORMAT_VTD_SS, 3);
	ioat_map_pages(self->t, IOVA, kiommu_gpa(area, self->mem), 16, IOAT_RW);
}

FIXTURE_TEARDOWN(both)
{
	kiommu_teardown(&self->k);
	KIOMMU_EXPECT_NOTHING_LEFT();
	EXPECT_EQ(self->k.locked_vm, kiommu_locked_vm());
	munmap(self->own, 16 * PAGE);
}

static int map_own(FIXTURE_DATA(both) *self)
{
	return kiommu_map_dma(self->fd, self->own, IOVA, 16 * PAGE, RW);
}

static int64_t unmap_all(FIXTURE_DATA(both) *self)
{
	uint64_t size = 0;
	int ret = kiommu_unmap_dma(self->fd, 0, &size, VFIO_DMA_UNMAP_FLAG_ALL);

	return ret ? ret : (int64_t)(size / PAGE);
}

/* Whether the device reaches @mem by IOVA. */
static bool reaches(FIXTURE_DATA(both) *self, char *mem, uint8_t seed)
{
	return kiommu_reaches(&self->k, 0, mem, IOVA, 3, seed);
}

static uint32_t info_flags(int fd)
{
	struct kvm_iommu_info info = {};

	TEST_ASSERT(!kiommu_get_info(fd, &info), "GET_INFO");
	TEST_ASSERT(info.state == KVM_IOMMU_STATE_CREATED ||
		    !(info.flags & KVM_IOMMU_INFO_USER_MAPS),
		    "state %u", info.state);
	return info.flags & KVM_IOMMU_INFO_USER_MAPS;
}

TEST_F_TIMEOUT(both, firmware_then_tables_and_back, 240)
{
	for (unsigned int round = 0; round < 3; round++) {
		/* Devices are open in a VM, but the KVM was not registered. */
		EXPECT_EQ(KVM_IOMMU_STATE_CREATED, kiommu_get_state(self->fd));
		ASSERT_EQ(0, map_own(self));
		EXPECT_EQ(KVM_IOMMU_INFO_USER_MAPS, info_flags(self->fd));
		EXPECT_TRUE(reaches(self, self->own, round));
		EXPECT_EQ(-EBUSY, kiommu_start(self->fd, self->k.vm.fd));
		EXPECT_TRUE(reaches(self, self->own, round + 10));
		EXPECT_EQ(16, unmap_all(self));
		EXPECT_FALSE(reaches(self, self->own, round));

		ASSERT_EQ(0, kiommu_start(self->fd, self->k.vm.fd));
		EXPECT_EQ(0, info_flags(self->fd));
		/* MAP_DMA is a refresh now. */
		EXPECT_EQ(-ENXIO, map_own(self));
		ASSERT_EQ(0, kiommu_register_tables(self->fd, self->t));
		EXPECT_FALSE(reaches(self, self->mem, round));
		ASSERT_EQ(0, kiommu_refresh(self->fd, IOVA, 16 * PAGE, NULL));
		EXPECT_TRUE(reaches(self, self->mem, round + 20));
		EXPECT_FALSE(reaches(self, self->own, round));
		if (round == 1) {
			/* The KVM leaves with the last device. */
			kiommu_close_devices(&self->k);
			kiommu_open_devices(&self->k);
		} else {
			ASSERT_EQ(0, kiommu_stop(self->fd));
		}
		EXPECT_FALSE(reaches(self, self->mem, round));
	}
}

struct changer {
	int fd, kvm;
	bool stop;
};

/* The KVM comes whenever nothing is mapped, and goes. */
static void *come_and_go(void *data)
{
	struct changer *c = data;
	int ret;

	while (!__atomic_load_n(&c->stop, __ATOMIC_RELAXED)) {
		ret = kiommu_start(c->fd, c->kvm);
		TEST_ASSERT(!ret || ret == -EBUSY, "start: %d", ret);
		if (ret)
			continue;
		ret = kiommu_stop(c->fd);
		TEST_ASSERT(!ret, "stop: %d", ret);
	}
	return NULL;
}

static void *unmap_often(void *data)
{
	struct changer *c = data;

	while (!__atomic_load_n(&c->stop, __ATOMIC_RELAXED)) {
		uint64_t size = 16 * PAGE;
		int ret = kiommu_unmap_dma(c->fd, IOVA, &size, 0);

		TEST_ASSERT(!ret || ret == -EBUSY || ret == -ENODEV ||
			    ret == -ENXIO, "unmap: %d", ret);
	}
	return NULL;
}

/* Whoever is first: a mapping that is there is in force. */
TEST_F_TIMEOUT(both, kvm_and_mappings_race, 240)
{
	struct changer c = { .fd = self->fd, .kvm = self->k.vm.fd };
	struct kvm_iommu_info info = {};
	unsigned int made = 0;
	pthread_t threads[3];
	int ret;

	ASSERT_EQ(0, pthread_create(&threads[0], NULL, come_and_go, &c));
	ASSERT_EQ(0, pthread_create(&threads[1], NULL, unmap_often, &c));
	ASSERT_EQ(0, pthread_create(&threads[2], NULL, unmap_often, &c));
	for (unsigned int i = 0; i < 20000; i++) {
		ret = map_own(self);
		made += !ret;
		ASSERT_TRUE(!ret || ret == -EBUSY || ret == -EEXIST ||
			    ret == -ENODEV || ret == -ENXIO) {
			TH_LOG("map: %d", ret);
		}
	}
	c.stop = true;
	for (unsigned int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	EXPECT_LT(0, made);
	ret = map_own(self);
	EXPECT_TRUE(!ret || ret == -EEXIST);
	ASSERT_EQ(0, kiommu_get_info(self->fd, &info));
	EXPECT_EQ(16, info.mapped_pages);
	EXPECT_TRUE(reaches(self, self->own, 5));
	EXPECT_EQ(16, unmap_all(self));
}

TEST_F_TIMEOUT(both, mappings_outlast_open_devices, 120)
{
	ASSERT_EQ(0, map_own(self));
	kiommu_close_devices(&self->k);
	EXPECT_EQ(self->k.locked_vm + 16 * PAGE, kiommu_locked_vm());
	kiommu_open_devices(&self->k);
	EXPECT_TRUE(reaches(self, self->own, 7));
}

/* Without a KVM, calls that need one say so, and leave the mappings alone. */
TEST_F_TIMEOUT(both, calls_for_a_kvm, 120)
{
	struct kvm_iommu_translation record;
	struct kvm_iommu_translate_range range = {
		.iova = IOVA,
		.length = PAGE,
		.records = (uintptr_t)&record,
		.capacity = 1,
	};
	struct kvm_iommu_untrack untrack = { .size = sizeof(untrack) };
	struct kvm_iommu_translate translation;
	struct kvm_iommu_set_sync sync = {
		.size = sizeof(sync), .mode = KVM_IOMMU_SYNC_TRACKED,
	};

	ASSERT_EQ(0, map_own(self));
	EXPECT_EQ(-ENODEV, kiommu_refresh(self->fd, IOVA, PAGE, NULL));
	EXPECT_EQ(-ENODEV, kiommu_translate(self->fd, IOVA, &translation));
	EXPECT_EQ(-ENODEV, kiommu_translate_range(self->fd, &range));
	EXPECT_EQ(-ENODEV, kiommu_register_tables(self->fd, self->t));
	EXPECT_EQ(-ENODEV, kiommu_register_identity(self->fd, 0));
	EXPECT_EQ(-ENODEV, kiommu_unregister(self->fd));
	EXPECT_EQ(-ENODEV, kiommu_pin_memory(self->fd, 0, 0));
	EXPECT_EQ(-ENODEV, kiommu_unpin_memory(self->fd, 0, 0));
	EXPECT_EQ(-ENODEV, kiommu_set_idle_limit(self->fd, 100));
	EXPECT_EQ(-ENODEV, kiommu_dirty_log(self->fd, KVM_IOMMU_DIRTY_START));
	EXPECT_EQ(-ENODEV, kiommu_ioctl(self->fd, KVM_IOMMU_SET_SYNC, &sync));
	EXPECT_EQ(-ENODEV, kiommu_ioctl(self->fd, KVM_IOMMU_UNTRACK, &untrack));
	EXPECT_EQ(-ENODEV, kiommu_stop(self->fd));
	EXPECT_TRUE(reaches(self, self->own, 8));
	EXPECT_EQ(16, unmap_all(self));
}

/* They stay at home while the device is away. */
TEST_F_TIMEOUT(both, device_that_is_lent_to_a_domain_file, 120)
{
	uint64_t size = 8 * PAGE;
	int domain, device;

	ASSERT_EQ(0, kiommu_map_dma(self->fd, self->own, IOVA, 8 * PAGE, RW));
	domain = kiommu_domain_create(self->k.vm.fd);
	ASSERT_LE(0, domain);
	ASSERT_EQ(0, kiommu_register_tables(domain, self->t));
	ASSERT_EQ(0, kiommu_refresh(domain, IOVA, 16 * PAGE, NULL));
	device = kiommu_domain_attach(domain, self->fd, NULL);
	ASSERT_LE(0, device);
	EXPECT_TRUE(reaches(self, self->mem, 1));
	EXPECT_FALSE(reaches(self, self->own, 2));
	/* What is changed meanwhile counts when it comes back. */
	ASSERT_EQ(0, kiommu_unmap_dma(self->fd, IOVA, &size, 0));
	EXPECT_EQ(8 * PAGE, size);
	ASSERT_EQ(0, map_own(self));
	EXPECT_TRUE(reaches(self, self->mem, 3));
	ASSERT_EQ(0, kiommu_domain_detach(domain, device, NULL));
	EXPECT_TRUE(reaches(self, self->own, 4));
	EXPECT_FALSE(reaches(self, self->mem, 5));
	kiommu_domain_close(domain);
}

/* Unlike with the kernel's driver, no device reaches what is not there any more. */
TEST_F_TIMEOUT(both, device_memory_that_goes_away, 120)
{
	struct kiommu_device *dev = &self->k.vfio.dev[0];
	struct kvm_iommu_info info = {};
	uint64_t size = PAGE;

	if (kiommu_host_lacks(KIOMMU_BARS))
		SKIP(return, "%s", kiommu_host_lacks(KIOMMU_BARS));
	ASSERT_EQ(0, kiommu_map_dma(self->fd, dev->bar, IOVA, PAGE, RW));
	ASSERT_EQ(0, kiommu_map_dma(self->fd, self->own, IOVA + PAGE, PAGE, RW));
	ASSERT_EQ(0, kiommu_get_info(self->fd, &info));
	EXPECT_EQ(2, info.mapped_pages);
	kiommu_device_enable(dev, 0);
	kiommu_device_enable(dev, 1);
	ASSERT_EQ(0, kiommu_get_info(self->fd, &info));
	EXPECT_EQ(1, info.mapped_pages);
	/* The mapping is still the client's to remove, and to make anew. */
	EXPECT_EQ(-EEXIST, kiommu_map_dma(self->fd, dev->bar, IOVA, PAGE, RW));
	ASSERT_EQ(0, kiommu_unmap_dma(self->fd, IOVA, &size, 0));
	EXPECT_EQ(PAGE, size);
	ASSERT_EQ(0, kiommu_map_dma(self->fd, dev->bar, IOVA, PAGE, RW));
}

TEST_HARNESS_MAIN
