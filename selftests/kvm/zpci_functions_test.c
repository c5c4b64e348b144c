// SPDX-License-Identifier: GPL-2.0-only
/*
 * Several zPCI functions of one guest: in one container and in one each, disks
 * and an entropy device, and one that is disabled and comes back.
 *
 * KIOMMU_DEVICES lists the disks, KIOMMU_RNG_DEVICES the entropy devices.
 */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "kvm_test_harness.h"
#include "kvm_util.h"

#include "kiommu_util.h"
#include "zpci_disk.h"

#define ZPCI KVM_IOMMU_FORMAT_ZPCI
#define PAGE KIOMMU_PAGE
#define SECTOR VIRTIO_BLK_SECTOR
#define MEMORY_PAGES 512ull
#define DISKS 2
/* Data and queues have the same IOVAs in all tables. */
#define IOVA(_i) (KIOMMU_IOVA_BASE + 0x12300000ull + (_i) * PAGE)
#define QUEUE(_i) (KIOMMU_IOVA_BASE + 0x77700000ull + (_i) * PAGE)

/* A container and the tables that it is given. */
struct own {
	struct kiommu_container c;
	struct ioat *t;
};

FIXTURE(functions) {
	struct kiommu_vm vm;
	int vfio;	/* by which groups are given to the guest */
	struct own own[DISKS];
	struct zpci_disk disk[DISKS];
	struct virtio_rng rng;
	char *mem;	/* MEMORY_PAGES */
	uint64_t gpa;
	uint64_t locked_vm;
};

FIXTURE_SETUP(functions)
{
	self->locked_vm = kiommu_locked_vm();
	for (unsigned int i = 0; i < DISKS; i++)
		self->own[i].c.fd = -1;
	kiommu_vm_create(&self->vm, KIOMMU_AREA_SIZE, VM_MEM_SRC_ANONYMOUS);
	self->vfio = kiommu_vm_open_vfio(&self->vm);
	self->mem = kiommu_alloc(self->vm.area, MEMORY_PAGES * PAGE, KIOMMU_2M);
	self->gpa = kiommu_gpa(self->vm.area, self->mem);
}

FIXTURE_TEARDOWN(functions)
{
	for (unsigned int i = 0; i < DISKS; i++)
		zpci_disk_close(&self->disk[i]);
	for (unsigned int i = 0; i < DISKS; i++)
		if (self->own[i].c.fd >= 0)
			kiommu_container_close(&self->own[i].c);
	close(self->vfio);
	kiommu_vm_free(&self->vm);
	EXPECT_EQ(self->locked_vm, kiommu_locked_vm());
}

#define GUEST(...) kiommu_guest_call(&self->vm, __VA_ARGS__)
#define MEM(_i) (self->mem + (_i) * PAGE)
#define MAP(_own, _i, _page, _pages)					\
	GUEST(ioat_map_pages, (_own)->t, IOVA(_i), self->gpa + (_page) * PAGE, \
	      _pages, IOAT_RW)
#define REFRESH(_own, _i, _pages)					\
	kiommu_refresh((_own)->c.fd, IOVA(_i), (_pages) * PAGE, NULL)
#define FILL(_page, _pages, _seed)					\
	GUEST(kiommu_fill, MEM(_page), (_pages) * PAGE, _seed)
#define HOLDS(_page, _pages, _seed)					\
	(kiommu_count_equal(MEM(_page), (_pages) * PAGE, _seed) == (_pages) * PAGE)

/* The disk cannot write a page, and can be used again. */
#define EXPECT_REFUSED(_disk, _iova)					\
	EXPECT_EQ(0, zpci_disk_refused(_disk, zpci_disk_read(_disk, _iova, 0, PAGE)))

static void open_function(struct __test_metadata *_metadata,
			  FIXTURE_DATA(functions) *self, struct own *own,
			  struct kiommu_device *dev)
{
	ASSERT_EQ(0, kiommu_group_open(&own->c, dev));
	ASSERT_EQ(0, kiommu_group_attach(&own->c, dev));
	/* The first group brings the domain, the first device the guest. */
	if (kiommu_get_state(own->c.fd) < 0)
		ASSERT_EQ(0, kiommu_set_iommu(own->c.fd, VFIO_KVM_IOMMU));
	ASSERT_EQ(0, kiommu_kvm_add_group(self->vfio, dev));
	ASSERT_EQ(0, kiommu_device_open(dev));
	kiommu_device_enable(dev, 1);
}

/* Opens a container with @count of the devices, from @first on, and tables. */
static void open_container(struct __test_metadata *_metadata,
			   FIXTURE_DATA(functions) *self, struct own *own,
			   unsigned int first, unsigned int count)
{
	kiommu_container_open(&own->c);
	ASSERT_LE(first + count, own->c.count);
	for (unsigned int i = 0; i < count; i++)
		open_function(_metadata, self, own, &own->c.dev[first + i]);
	own->t = ioat_new(self->vm.area, ZPCI, 3);
	ASSERT_EQ(0, kiommu_register_tables(own->c.fd, own->t));
}

static void open_disk(struct __test_metadata *_metadata,
		      FIXTURE_DATA(functions) *self, struct own *own,
		      unsigned int i)
{
	ASSERT_EQ(0, zpci_disk_open(&self->disk[i], &self->vm, own->c.fd,
				    &own->c.dev[i], own->t, QUEUE(i)));
}

/* Both reach the same pages; an error of one does not affect the other. */
TEST_F_TIMEOUT(functions, share_a_container, 120)
{
	struct zpci_disk *disk = self->disk;
	struct own *own = &self->own[0];

	open_container(_metadata, self, own, 0, DISKS);
	for (unsigned int i = 0; i < DISKS; i++)
		open_disk(_metadata, self, own, i);
	MAP(own, 0, 0, 32);
	ASSERT_EQ(0, REFRESH(own, 0, 32));
	for (unsigned int round = 0; round < 4; round++) {
		struct zpci_disk *one = &disk[round % DISKS];
		struct zpci_disk *other = &disk[(round + 1) % DISKS];

		FILL(0, 8, round);
		FILL(8, 8, 90);
		ASSERT_EQ(0, zpci_disk_write(one, IOVA(0), 0, 8 * PAGE));
		/* One is refused and stays in error; the other goes on. */
		ASSERT_EQ(-EIO, zpci_disk_write(one, IOVA(31), 0, 2 * PAGE));
		FILL(16, 8, 50 + round);
		ASSERT_EQ(0, zpci_disk_write(other, IOVA(16), 0, 8 * PAGE));
		FILL(16, 8, 91);
		ASSERT_EQ(0, zpci_disk_read(other, IOVA(16), 0, 8 * PAGE));
		EXPECT_TRUE(HOLDS(16, 8, 50 + round));
		ASSERT_EQ(0, zpci_disk_refused(one, -EIO));
		ASSERT_EQ(0, zpci_disk_read(one, IOVA(8), 0, 8 * PAGE));
		EXPECT_TRUE(HOLDS(8, 8, round));
	}
	/* A page that is unmapped is gone for both. */
	GUEST(ioat_unmap, own->t, IOVA(3), 0);
	ASSERT_EQ(0, REFRESH(own, 3, 1));
	for (unsigned int i = 0; i < DISKS; i++) {
		FILL(3, 1, 33);
		EXPECT_REFUSED(&disk[i], IOVA(3));
		EXPECT_TRUE(HOLDS(3, 1, 33));
	}
}

/* The same IOVAs are other pages, and anchors come and go independently. */
TEST_F_TIMEOUT(functions, have_containers_of_their_own, 120)
{
	struct zpci_disk *disk = self->disk;

	for (unsigned int i = 0; i < DISKS; i++) {
		open_container(_metadata, self, &self->own[i], i, 1);
		open_disk(_metadata, self, &self->own[i], i);
		MAP(&self->own[i], 0, i * 8, 8);
		ASSERT_EQ(0, REFRESH(&self->own[i], 0, 8));
		FILL(i * 8, 8, i);
		ASSERT_EQ(0, zpci_disk_write(&disk[i], IOVA(0), 0, 8 * PAGE));
	}
	FILL(0, 16, 90);
	for (unsigned int i = 0; i < DISKS; i++)
		ASSERT_EQ(0, zpci_disk_read(&disk[i], IOVA(0), 0, 8 * PAGE));
	for (unsigned int i = 0; i < DISKS; i++)
		EXPECT_TRUE(HOLDS(i * 8, 8, i));
	/* A page that is mapped for only one of them. */
	MAP(&self->own[0], 20, 20, 1);
	ASSERT_EQ(0, REFRESH(&self->own[0], 20, 1));
	FILL(20, 1, 33);
	EXPECT_REFUSED(&disk[1], IOVA(20));
	EXPECT_TRUE(HOLDS(20, 1, 33));
	ASSERT_EQ(0, zpci_disk_read(&disk[0], IOVA(20), 0, PAGE));
	EXPECT_TRUE(!HOLDS(20, 1, 33));
	/* One loses its anchor. */
	ASSERT_EQ(0, zpci_disk_rest(&disk[0]));
	ASSERT_EQ(0, kiommu_unregister(self->own[0].c.fd));
	FILL(0, 16, 90);
	EXPECT_REFUSED(&disk[0], IOVA(0));
	ASSERT_EQ(0, zpci_disk_read(&disk[1], IOVA(0), 0, 8 * PAGE));
	EXPECT_TRUE(HOLDS(8, 8, 1));
	/* It gets the other's tables, and reaches the other's pages. */
	ASSERT_EQ(0, kiommu_register_tables(self->own[0].c.fd, self->own[1].t));
	ASSERT_EQ(0, REFRESH(&self->own[0], 0, 8));
	GUEST(ioat_map, self->own[1].t, QUEUE(0),
	      kiommu_gpa(self->vm.area, disk[0].ring), 0, IOAT_RW);
	ASSERT_EQ(0, kiommu_refresh(self->own[0].c.fd, QUEUE(0), PAGE, NULL));
	FILL(8, 8, 90);
	ASSERT_EQ(0, zpci_disk_read(&disk[0], IOVA(0), 0, 8 * PAGE));
	EXPECT_TRUE(HOLDS(8, 8, 0));
}

/* Less than 1/16 of a page equals a pattern by chance. */
#define RANDOM(_page, _seed) \
	(kiommu_count_equal(MEM(_page), PAGE, _seed) < PAGE / 16)

TEST_F_TIMEOUT(functions, entropy_fills_what_is_mapped, 120)
{
	const char *bdf = getenv("KIOMMU_RNG_DEVICES");
	char *ring = kiommu_alloc_page(self->vm.area);
	struct own *own = &self->own[0];
	struct kiommu_device *dev;

	if (!bdf || !*bdf)
		SKIP(return, "no device in KIOMMU_RNG_DEVICES");
	/* The first entropy device takes the disks' place. */
	ASSERT_EQ(0, setenv("KIOMMU_DEVICES", bdf, 1));
	open_container(_metadata, self, own, 0, 1);
	dev = &own->c.dev[0];
	GUEST(ioat_map, own->t, QUEUE(0), kiommu_gpa(self->vm.area, ring), 0,
	      IOAT_RW);
	/* Every second page of memory, from the last on. */
	for (uint64_t i = 0; i < 16; i++)
		MAP(own, i, 2 * (16 - i), 1);
	ASSERT_EQ(0, kiommu_refresh(own->c.fd, QUEUE(0), PAGE, NULL));
	ASSERT_EQ(0, REFRESH(own, 0, 16));
	ASSERT_EQ(0, virtio_rng_open(&self->rng, dev->fd, ring, QUEUE(0)));
	for (uint64_t i = 0; i < 40; i++)
		FILL(i, 1, i);
	ASSERT_EQ(0, virtio_rng_fill(&self->rng, IOVA(0), 16 * PAGE));
	for (uint64_t i = 0; i < 40; i++) {
		const bool filled = i && i <= 32 && i % 2 == 0;

		EXPECT_EQ(filled, RANDOM(i, i));
		EXPECT_EQ(!filled, HOLDS(i, 1, i));
	}
	/* A part of a page, across its end. */
	for (uint64_t i = 0; i < 40; i++)
		FILL(i, 1, i);
	ASSERT_EQ(0, virtio_rng_fill(&self->rng, IOVA(4) - 1000, 2000));
	for (uint64_t i = 0; i < 40; i++)
		EXPECT_EQ(i != 24 && i != 26, HOLDS(i, 1, i));
	EXPECT_GT(PAGE - 1000 + 100, kiommu_count_equal(MEM(24), PAGE, 24));
	EXPECT_EQ(PAGE - 1000, kiommu_count_equal(MEM(26), PAGE - 1000, 26));
	EXPECT_GT(100, kiommu_count_equal(MEM(26) + PAGE - 1000, 1000, 26));
	/* Not mapped, and protected. */
	ASSERT_EQ(0, zpci_refused(&self->vm, dev, &self->rng.pci,
				  virtio_rng_fill(&self->rng, IOVA(16), PAGE)));
	GUEST(ioat_protect, own->t, IOVA(2), 0);
	ASSERT_EQ(0, REFRESH(own, 2, 1));
	ASSERT_EQ(0, virtio_rng_open(&self->rng, dev->fd, ring, QUEUE(0)));
	FILL(28, 1, 28);
	ASSERT_EQ(0, zpci_refused(&self->vm, dev, &self->rng.pci,
				  virtio_rng_fill(&self->rng, IOVA(2), PAGE)));
	EXPECT_TRUE(HOLDS(28, 1, 28));
}

/*
 * A function is disabled and enabled, in the error state or not, and comes back
 * into its container, whose other function goes on meanwhile. It reaches what
 * is mapped there at once.
 */
TEST_F_TIMEOUT(functions, come_back, 120)
{
	struct zpci_disk *disk = self->disk;
	struct own *own = &self->own[0];
	int events = zpci_events_open();
	struct kiommu_device *dev;

	open_container(_metadata, self, own, 0, DISKS);
	for (unsigned int i = 0; i < DISKS; i++)
		open_disk(_metadata, self, own, i);
	dev = &own->c.dev[0];
	MAP(own, 0, 0, 32);
	ASSERT_EQ(0, REFRESH(own, 0, 32));
	for (unsigned int round = 0; round < 2; round++) {
		FILL(0, 8, round);
		ASSERT_EQ(0, zpci_disk_write(&disk[0], IOVA(0), 0, 8 * PAGE));
		/* Once in the error state, once in normal operation. */
		if (!round) {
			ASSERT_EQ(-EIO, zpci_disk_read(&disk[0], IOVA(32), 0, PAGE));
			/* Translation protection. */
			ASSERT_EQ(4, zpci_events_await(events, dev));
		}
		ASSERT_EQ(round ? 0 : -EIO, zpci_disk_rest(&disk[0]));
		kiommu_device_close(dev);
		kiommu_group_close(dev);
		ASSERT_EQ(0, zpci_recover(dev));
		FILL(8, 8, 10 + round);
		ASSERT_EQ(0, zpci_disk_write(&disk[1], IOVA(8), 0, 8 * PAGE));

		open_function(_metadata, self, own, dev);
		FILL(0, 16, 90);
		ASSERT_EQ(0, zpci_disk_read(&disk[0], IOVA(0), 0, 8 * PAGE));
		ASSERT_EQ(0, zpci_disk_read(&disk[1], IOVA(8), 0, 8 * PAGE));
		EXPECT_TRUE(HOLDS(0, 8, round));
		EXPECT_TRUE(HOLDS(8, 8, 10 + round));
	}
	close(events);
}

TEST_HARNESS_MAIN
