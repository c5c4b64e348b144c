// SPDX-License-Identifier: GPL-2.0-only
/*
 * Pins that outlive mappings: idle ones, within their limit and until memory
 * is short; pins of slots that are pinned beforehand; pins that containers of
 * one KVM share.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <sys/mman.h>
#include <sys/wait.h>

#include "kvm_test_harness.h"
#include "kvm_util.h"

#include "kiommu_util.h"
#include "memlock.h"
#include "ring.h"

#define PAGE KIOMMU_PAGE
#define GPA KIOMMU_FREE_GPA
#define SLOT KIOMMU_FREE_SLOT
#define IOVA (KIOMMU_IOVA_BASE + 0x10000000ull)
#define BUFFER (KIOMMU_IOVA_BASE + 0x8000000ull) /* IOVA of self->buffer */
#define PAGES 64ull
#define SIZE (PAGES * PAGE)
#define BYTES 64ull
#define TIMEOUT_MS 10000

FIXTURE(pins) {
	struct kiommu k;
	int fd;
	struct ioat *t;
	char *buffer;
	char *mem; /* SIZE bytes in SLOT at GPA */
	uint64_t pins;
};

FIXTURE_SETUP(pins)
{
	kiommu_setup(&self->k, VFIO_KVM_IOMMU);
	self->fd = self->k.vfio.fd;
	self->pins = kiommu_pins();
	self->buffer = kiommu_alloc_page(self->k.vm.area);
	self->t = ioat_new(self->k.vm.area, KVM_IOMMU_FORMAT_VTD_SS, 3);
	ASSERT_EQ(0, kiommu_register_tables(self->fd, self->t));
	self->mem = mmap(NULL, SIZE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, (void *)self->mem);
	ASSERT_EQ(0, kiommu_vm_set_slot(&self->k.vm, SLOT, 0, GPA, SIZE, self->mem));
	ioat_map_pages(self->t, IOVA, GPA, PAGES, IOAT_RW);
}

FIXTURE_TEARDOWN(pins)
{
	kiommu_teardown(&self->k);
	EXPECT_EQ(self->pins, kiommu_pins());
	EXPECT_EQ(self->k.locked_vm, kiommu_locked_vm());
}

static int map_all(FIXTURE_DATA(pins) *self)
{
	return kiommu_refresh(self->fd, IOVA, SIZE, NULL);
}

static int unmap(FIXTURE_DATA(pins) *self, uint64_t first, uint64_t count)
{
	uint64_t size = count * PAGE;

	return kiommu_unmap_dma(self->fd, IOVA + first * PAGE, &size, 0);
}

/*
 * @_pinned pages are pinned, charged, reported, and counted by the kernel;
 * @_idle of them are idle.
 */
#define EXPECT_PINNED(_pinned, _idle) do {				\
	struct kvm_iommu_info info;					\
	ASSERT_EQ(0, kiommu_get_info(self->fd, &info));			\
	EXPECT_EQ(_pinned, info.pinned_pages);				\
	EXPECT_EQ(_idle, info.idle_pages);				\
	EXPECT_EQ(self->pins + (_pinned), kiommu_pins());		\
	EXPECT_EQ(self->k.locked_vm + (_pinned) * PAGE, kiommu_locked_vm()); \
} while (0)

/* The device writes BYTES of @seed to page @page. */
static void store(struct __test_metadata *_metadata, FIXTURE_DATA(pins) *self,
		  uint64_t page, uint64_t seed)
{
	ioat_map(self->t, BUFFER, kiommu_gpa(self->k.vm.area, self->buffer), 0,
		 IOAT_RW);
	ASSERT_EQ(0, kiommu_refresh(self->fd, BUFFER, PAGE, NULL));
	kiommu_fill(self->buffer, BYTES, seed);
	ASSERT_EQ(0, kiommu_guest_call(&self->k.vm, kiommu_dma_copy, self->k.dma[0],
				       IOVA + page * PAGE, BUFFER, BYTES));
}

#define HOLDS(_page, _seed)						\
	(kiommu_count_equal(self->mem + (_page) * PAGE, BYTES, _seed) == BYTES)

TEST_F_TIMEOUT(pins, idle_pages_are_used_again, 120)
{
	uint64_t made;

	ASSERT_EQ(0, kiommu_set_idle_limit(self->fd, PAGES));
	ASSERT_EQ(0, map_all(self));
	EXPECT_PINNED(PAGES, 0);
	ASSERT_EQ(0, unmap(self, 0, PAGES));
	EXPECT_EQ(0, kiommu_mapped_pages(self->fd));
	EXPECT_PINNED(PAGES, PAGES);
	made = kiommu_pins_made();
	for (int i = 0; i < 3; i++) {
		ASSERT_EQ(0, map_all(self));
		EXPECT_PINNED(PAGES, 0);
		ASSERT_EQ(0, unmap(self, 0, PAGES));
		EXPECT_PINNED(PAGES, PAGES);
	}
	EXPECT_EQ(made, kiommu_pins_made());
	/* Idle pages are not mapped: the device does not reach them. */
	store(_metadata, self, 3, 5);
	EXPECT_FALSE(HOLDS(3, 5));
	ASSERT_EQ(0, map_all(self));
	store(_metadata, self, 3, 5);
	EXPECT_TRUE(HOLDS(3, 5));
	EXPECT_EQ(made + 1, kiommu_pins_made());
}

TEST_F_TIMEOUT(pins, idle_limit, 120)
{
	struct kvm_iommu_info info;
	uint64_t idle;

	ASSERT_EQ(0, kiommu_get_info(self->fd, &info));
	/* The module parameter, as selftests/vm/run sets it. */
	EXPECT_EQ(0, info.idle_limit);
	ASSERT_EQ(0, kiommu_set_idle_limit(self->fd, 10));
	ASSERT_EQ(0, kiommu_get_info(self->fd, &info));
	EXPECT_EQ(10, info.idle_limit);
	ASSERT_EQ(0, map_all(self));
	ASSERT_EQ(0, unmap(self, 0, 10));
	EXPECT_PINNED(PAGES, 10);
	/* Above the limit: down to the limit, or a little below. */
	ASSERT_EQ(0, unmap(self, 10, 1));
	idle = kiommu_idle_pages(self->fd);
	EXPECT_LE(5, idle);
	EXPECT_GE(10, idle);
	EXPECT_PINNED(PAGES - 11 + idle, idle);
	ASSERT_EQ(0, unmap(self, 11, PAGES - 11));
	idle = kiommu_idle_pages(self->fd);
	EXPECT_LE(5, idle);
	EXPECT_GE(10, idle);
	EXPECT_PINNED(idle, idle);
	/* The idle pages that are left are used again. */
	ASSERT_EQ(0, map_all(self));
	EXPECT_PINNED(PAGES, 0);
	ASSERT_EQ(0, unmap(self, 0, 10));
	ASSERT_EQ(0, kiommu_set_idle_limit(self->fd, 3));
	EXPECT_PINNED(PAGES - 7, 3);
	ASSERT_EQ(0, kiommu_set_idle_limit(self->fd, 0));
	EXPECT_PINNED(PAGES - 10, 0);
	/* Without an anchor no idle page is kept, whatever the limit. */
	ASSERT_EQ(0, kiommu_set_idle_limit(self->fd, UINT64_MAX));
	ASSERT_EQ(0, unmap(self, 0, PAGES));
	EXPECT_PINNED(PAGES - 10, PAGES - 10);
	ASSERT_EQ(0, kiommu_unregister(self->fd));
	EXPECT_PINNED(0, 0);
	ASSERT_EQ(0, kiommu_stop(self->fd));
	EXPECT_EQ(self->pins, kiommu_pins());
	EXPECT_EQ(-ENODEV, kiommu_set_idle_limit(self->fd, 0));
}

TEST_F_TIMEOUT(pins, idle_limit_of_the_module, 120)
{
	struct kvm_iommu_info info;

	ASSERT_EQ(0, kiommu_stop(self->fd));
	kiommu_set_param("idle_pins_mb", "1");
	ASSERT_EQ(0, kiommu_start(self->fd, self->k.vm.fd));
	kiommu_set_param("idle_pins_mb", "0");
	ASSERT_EQ(0, kiommu_get_info(self->fd, &info));
	EXPECT_EQ(256, info.idle_limit);
	ASSERT_EQ(0, kiommu_register_tables(self->fd, self->t));
	ASSERT_EQ(0, map_all(self));
	ASSERT_EQ(0, unmap(self, 0, PAGES));
	EXPECT_PINNED(PAGES, PAGES);
}

/* Contiguous 2M become idle as a whole, and are unpinned as a whole. */
TEST_F_TIMEOUT(pins, huge_pages, 120)
{
	char *huge = kiommu_alloc(self->k.vm.area, KIOMMU_2M, KIOMMU_2M);

	memset(huge, 1, KIOMMU_2M);
	ASSERT_EQ(0, kiommu_set_idle_limit(self->fd, 512));
	ioat_map(self->t, IOVA, kiommu_gpa(self->k.vm.area, huge), 1, IOAT_RW);
	ASSERT_EQ(0, kiommu_refresh(self->fd, IOVA, KIOMMU_2M, NULL));
	EXPECT_PINNED(512, 0);
	ASSERT_EQ(0, unmap(self, 0, 512));
	EXPECT_PINNED(512, 512);
	ASSERT_EQ(0, kiommu_set_idle_limit(self->fd, 100));
	EXPECT_GE(100, kiommu_idle_pages(self->fd));
	ASSERT_EQ(0, kiommu_set_idle_limit(self->fd, 0));
	EXPECT_PINNED(0, 0);
}

/* Idle pages of a deleted slot are not kept. */
TEST_F_TIMEOUT(pins, idle_slot_deleted, 120)
{
	kiommu_lose_slots_at_once(self->fd);
	ASSERT_EQ(0, kiommu_set_idle_limit(self->fd, PAGES));
	ASSERT_EQ(0, map_all(self));
	ASSERT_EQ(0, unmap(self, 0, PAGES));
	ASSERT_EQ(0, kiommu_vm_set_slot(&self->k.vm, SLOT, 0, GPA, 0, NULL));
	EXPECT_EQ(self->pins, kiommu_pins());
	EXPECT_PINNED(0, 0);
}

/* Nor are idle pages that the process gives up: they would be stale. */
TEST_F_TIMEOUT(pins, idle_memory_discarded, 120)
{
	ASSERT_EQ(0, kiommu_set_idle_limit(self->fd, PAGES));
	ASSERT_EQ(0, map_all(self));
	ASSERT_EQ(0, unmap(self, 0, PAGES));
	ASSERT_EQ(0, madvise(self->mem, 16 * PAGE, MADV_DONTNEED));
	self->mem[3 * PAGE] = 1;
	ASSERT_EQ(0, map_all(self));
	EXPECT_PINNED(PAGES, 0);
	store(_metadata, self, 3, 5);
	EXPECT_TRUE(HOLDS(3, 5));
}

static void squeeze(void)
{
	int fd = open("/proc/sys/vm/drop_caches", O_WRONLY);

	TEST_ASSERT(fd >= 0 && write(fd, "2", 1) == 1,
		    "the caches cannot be dropped");
	close(fd);
}

TEST_F_TIMEOUT(pins, short_of_memory, 120)
{
	ASSERT_EQ(0, kiommu_set_idle_limit(self->fd, PAGES));
	/* Several rounds: pages asked for once do not count as gone. */
	for (int round = 0; round < 3; round++) {
		ASSERT_EQ(0, map_all(self));
		ASSERT_EQ(0, unmap(self, 8, PAGES - 8));
		EXPECT_PINNED(PAGES, PAGES - 8);
		squeeze();
		for (int i = 0; i < TIMEOUT_MS / 10; i++) {
			if (!kiommu_idle_pages(self->fd))
				break;
			usleep(10000);
		}
		/* Mapped pages stay pinned. */
		EXPECT_PINNED(8, 0);
	}
	store(_metadata, self, 7, 5);
	EXPECT_TRUE(HOLDS(7, 5));
	ASSERT_EQ(0, map_all(self));
	store(_metadata, self, 8, 6);
	EXPECT_TRUE(HOLDS(8, 6));
}

TEST_F_TIMEOUT(pins, slot_pinned_beforehand, 120)
{
	uint64_t made;

	ASSERT_EQ(0, kiommu_pin_memory(self->fd, GPA, SIZE));
	EXPECT_PINNED(PAGES, 0);
	made = kiommu_pins_made();
	/* Pinning again and mapping makes no further pin, and drops none. */
	ASSERT_EQ(0, kiommu_pin_memory(self->fd, GPA, SIZE));
	ASSERT_EQ(0, map_all(self));
	ASSERT_EQ(0, unmap(self, 0, PAGES));
	EXPECT_PINNED(PAGES, 0);
	squeeze();
	usleep(100000);
	EXPECT_PINNED(PAGES, 0);
	EXPECT_EQ(made, kiommu_pins_made());
	ASSERT_EQ(0, map_all(self));
	store(_metadata, self, 3, 5);
	EXPECT_TRUE(HOLDS(3, 5));
	ASSERT_EQ(0, kiommu_unregister(self->fd));
	EXPECT_PINNED(PAGES, 0);
	/* After the opposite call they are idle, of which none may be kept. */
	ASSERT_EQ(0, kiommu_unpin_memory(self->fd, GPA, SIZE));
	EXPECT_PINNED(0, 0);
	ASSERT_EQ(0, kiommu_unpin_memory(self->fd, GPA, SIZE));
}

/* Mapped pages keep their pins. */
TEST_F_TIMEOUT(pins, unpinned_while_mapped, 120)
{
	ASSERT_EQ(0, kiommu_pin_memory(self->fd, GPA, SIZE));
	ASSERT_EQ(0, kiommu_refresh(self->fd, IOVA, 5 * PAGE, NULL));
	ASSERT_EQ(0, kiommu_unpin_memory(self->fd, GPA, SIZE));
	EXPECT_PINNED(5, 0);
	store(_metadata, self, 4, 5);
	EXPECT_TRUE(HOLDS(4, 5));
}

TEST_F_TIMEOUT(pins, pinned_slot_goes, 120)
{
	ASSERT_EQ(0, kiommu_pin_memory(self->fd, GPA, SIZE));
	ASSERT_EQ(0, kiommu_vm_set_slot(&self->k.vm, SLOT, 0, GPA, 0, NULL));
	EXPECT_PINNED(0, 0);
	/* A slot in its place is a new one, which is not pinned. */
	ASSERT_EQ(0, kiommu_vm_set_slot(&self->k.vm, SLOT, 0, GPA, SIZE, self->mem));
	EXPECT_PINNED(0, 0);
}

TEST_F_TIMEOUT(pins, all_slots_pinned_beforehand, 120)
{
	uint64_t made;

	ASSERT_EQ(0, kiommu_pin_memory(self->fd, 0, 0));
	EXPECT_LE((KIOMMU_AREA_SIZE + SIZE) / PAGE, kiommu_pinned_pages(self->fd));
	EXPECT_EQ(0, kiommu_idle_pages(self->fd));
	made = kiommu_pins_made();
	ASSERT_EQ(0, map_all(self));
	store(_metadata, self, 3, 5);
	EXPECT_TRUE(HOLDS(3, 5));
	EXPECT_EQ(made, kiommu_pins_made());
	ASSERT_EQ(0, kiommu_unregister(self->fd));
	ASSERT_EQ(0, kiommu_unpin_memory(self->fd, 0, 0));
	EXPECT_PINNED(0, 0);
}

TEST_F_TIMEOUT(pins, bad_ranges, 120)
{
	const uint64_t top = 0ull - PAGE;

	EXPECT_EQ(-EINVAL, kiommu_pin_memory(self->fd, GPA + 1, SIZE));
	EXPECT_EQ(-EINVAL, kiommu_pin_memory(self->fd, GPA, SIZE - 1));
	EXPECT_EQ(-EOVERFLOW, kiommu_pin_memory(self->fd, top, 2 * PAGE));
	/* A part of a slot; no slot. */
	EXPECT_EQ(-EINVAL, kiommu_pin_memory(self->fd, GPA, SIZE - PAGE));
	EXPECT_EQ(-EINVAL, kiommu_pin_memory(self->fd, GPA + PAGE, SIZE - PAGE));
	EXPECT_EQ(-EINVAL, kiommu_pin_memory(self->fd, GPA + SIZE, PAGE));
	EXPECT_EQ(-EINVAL, kiommu_unpin_memory(self->fd, GPA + 1, SIZE));
	EXPECT_EQ(-EOVERFLOW, kiommu_unpin_memory(self->fd, top, 2 * PAGE));
	EXPECT_EQ(-EINVAL, kiommu_unpin_memory(self->fd, GPA, SIZE - PAGE));
	EXPECT_PINNED(0, 0);
	/* Holes around the slot do not matter. */
	EXPECT_EQ(0, kiommu_pin_memory(self->fd, GPA - PAGE, SIZE + 2 * PAGE));
	EXPECT_PINNED(PAGES, 0);
	ASSERT_EQ(0, kiommu_stop(self->fd));
	EXPECT_EQ(-ENODEV, kiommu_pin_memory(self->fd, GPA, SIZE));
	EXPECT_EQ(-ENODEV, kiommu_unpin_memory(self->fd, GPA, SIZE));
}

/* One slot of two has a hole in its memory: neither is pinned. */
TEST_F_TIMEOUT(pins, memory_that_cannot_be_pinned, 120)
{
	char *other = mmap(NULL, SIZE, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ASSERT_EQ(0, kiommu_vm_set_slot(&self->k.vm, SLOT + 1, 0, GPA + SIZE, SIZE,
					other));
	ASSERT_EQ(0, munmap(other + SIZE - PAGE, PAGE));
	EXPECT_EQ(-EIO, kiommu_pin_memory(self->fd, GPA, 2 * SIZE));
	EXPECT_PINNED(0, 0);
	ASSERT_EQ(0, kiommu_refresh(self->fd, IOVA, PAGE, NULL));
	ASSERT_EQ(0, unmap(self, 0, 1));
	EXPECT_PINNED(0, 0);
}

TEST_F_TIMEOUT(pins, memlock, 120)
{
	kiommu_limit_memlock(self->k.locked_vm + (PAGES - 1) * PAGE);
	EXPECT_EQ(-ENOMEM, kiommu_pin_memory(self->fd, GPA, SIZE));
	EXPECT_PINNED(0, 0);
	kiommu_limit_memlock(self->k.locked_vm + PAGES * PAGE);
	EXPECT_EQ(0, kiommu_pin_memory(self->fd, GPA, SIZE));
	EXPECT_PINNED(PAGES, 0);
}

/* Another process has the container, but not the guest. */
TEST_F_TIMEOUT(pins, foreign_process, 120)
{
	int status = 0;
	pid_t child = fork();

	if (!child)
		_exit(kiommu_pin_memory(self->fd, GPA, SIZE) != -EPERM ||
		      kiommu_unpin_memory(self->fd, GPA, SIZE) != -EPERM ||
		      kiommu_set_idle_limit(self->fd, 9) != -EPERM);
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_PINNED(0, 0);
}

TEST_F_TIMEOUT(pins, two_containers_pin_once, 120)
{
	struct kvm_iommu_info info;
	uint64_t made;
	int other;

	if (self->k.vfio.count < 2)
		SKIP(return, "there is no second device");
	other = kiommu_move_device(&self->k, 1);
	ASSERT_EQ(0, kiommu_register_tables(other, self->t));
	ASSERT_EQ(0, map_all(self));
	made = kiommu_pins_made();
	ASSERT_EQ(0, kiommu_refresh(other, IOVA, SIZE, NULL));
	EXPECT_EQ(made, kiommu_pins_made());
	EXPECT_PINNED(PAGES, 0);
	EXPECT_EQ(PAGES, kiommu_pinned_pages(other));
	/* One container unmaps the pages: the other one keeps the pins. */
	ASSERT_EQ(0, unmap(self, 0, PAGES));
	EXPECT_EQ(0, kiommu_mapped_pages(self->fd));
	EXPECT_EQ(PAGES, kiommu_mapped_pages(other));
	EXPECT_PINNED(PAGES, 0);
	kiommu_fill(self->mem, BYTES, 5);
	ASSERT_EQ(0, kiommu_guest_call(&self->k.vm, kiommu_dma_copy, self->k.dma[1],
				       IOVA + PAGE, IOVA, BYTES));
	EXPECT_TRUE(HOLDS(1, 5));
	/* The limit belongs to the KVM. */
	ASSERT_EQ(0, kiommu_set_idle_limit(other, 5));
	EXPECT_EQ(0, kiommu_get_info(self->fd, &info));
	EXPECT_EQ(5, info.idle_limit);
	ASSERT_EQ(0, map_all(self));
	ASSERT_EQ(0, kiommu_unregister(other));
	EXPECT_PINNED(PAGES, 0);
	ASSERT_EQ(0, unmap(self, 0, PAGES));
	EXPECT_GE(5, kiommu_idle_pages(self->fd));
	/* A deleted slot is lost in both, whichever of them asked for that. */
	kiommu_lose_slots_at_once(other);
	ASSERT_EQ(0, kiommu_register_tables(other, self->t));
	ASSERT_EQ(0, map_all(self));
	ASSERT_EQ(0, kiommu_refresh(other, IOVA, SIZE, NULL));
	ASSERT_EQ(0, kiommu_vm_set_slot(&self->k.vm, SLOT, 0, GPA, 0, NULL));
	EXPECT_EQ(self->pins, kiommu_pins());
	EXPECT_EQ(0, kiommu_mapped_pages(self->fd));
	EXPECT_EQ(0, kiommu_mapped_pages(other));
	/* When the last container leaves the KVM, everything is unpinned. */
	ASSERT_EQ(0, kiommu_pin_memory(other, KIOMMU_AREA_GPA, KIOMMU_AREA_SIZE));
	ASSERT_EQ(0, kiommu_stop(other));
	EXPECT_PINNED(KIOMMU_AREA_SIZE / PAGE, 0);
	ASSERT_EQ(0, kiommu_stop(self->fd));
	EXPECT_EQ(self->pins, kiommu_pins());
	EXPECT_EQ(self->k.locked_vm, kiommu_locked_vm());
	close(other);
}

TEST_HARNESS_MAIN
