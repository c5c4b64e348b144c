// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a client of type1 may rely on, of the kernel's driver and of ours in its
 * place (module parameter type1): the same calls with the same results.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <sys/mman.h>
#include <sys/wait.h>

#include "kvm_test_harness.h"
#include "kvm_util.h"

#include "counters.h"
#include "kiommu_util.h"
#include "memlock.h"
#include "type1.h"

#define PAGE KIOMMU_PAGE
#define IOVA (KIOMMU_IOVA_BASE + 0x10000000ull)
#define PAGES 16ull
#define SIZE (PAGES * PAGE)
#define READ VFIO_DMA_MAP_FLAG_READ
#define WRITE VFIO_DMA_MAP_FLAG_WRITE
#define RW (READ | WRITE)
#define ALL VFIO_DMA_UNMAP_FLAG_ALL

FIXTURE(maps) {
	struct kiommu k;
	int fd;
	char *mem; /* SIZE bytes, not the guest's */
	uint64_t locked;
	uint64_t pins;
	long kvm_refs;
};

FIXTURE_VARIANT(maps) {
	bool ours;
};

FIXTURE_VARIANT_ADD(maps, kernel) { .ours = false };
FIXTURE_VARIANT_ADD(maps, kvm_iommu) { .ours = true };

static char *new_memory(uint64_t size)
{
	char *mem = mmap(NULL, size, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	TEST_ASSERT(mem != MAP_FAILED, "mmap: %d", errno);
	return mem;
}

static void replace_memory(char *mem, uint64_t size)
{
	TEST_ASSERT(mmap(mem, size, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == mem,
		    "mmap: %d", errno);
}

FIXTURE_SETUP(maps)
{
	self->kvm_refs = kiommu_kvm_refs();
	self->pins = kiommu_pins();
	kiommu_serve_type1(variant->ours);
	kiommu_setup(&self->k, VFIO_TYPE1v2_IOMMU);
	kiommu_serve_type1(false);
	self->fd = self->k.vfio.fd;
	ASSERT_EQ(variant->ours,
		  kiommu_check_extension(self->fd, VFIO_KVM_IOMMU));
	self->mem = new_memory(SIZE);
	kiommu_fill(self->mem, SIZE, 1);
	self->locked = kiommu_locked_vm();
}

FIXTURE_TEARDOWN(maps)
{
	/* Mappings that are left go with the container. */
	kiommu_teardown(&self->k);
	KIOMMU_EXPECT_NOTHING_LEFT();
	EXPECT_EQ(self->k.locked_vm, kiommu_locked_vm());
	munmap(self->mem, SIZE);
}

/* Pages are counted from IOVA and mem. */
static int map(FIXTURE_DATA(maps) *self, uint64_t first, uint64_t count)
{
	return kiommu_map_dma(self->fd, self->mem + first * PAGE,
			      IOVA + first * PAGE, count * PAGE, RW);
}

/* Return: pages that were unmapped, or -errno. */
static int64_t unmap(FIXTURE_DATA(maps) *self, uint64_t first, uint64_t count)
{
	uint64_t size = count * PAGE;
	int ret = kiommu_unmap_dma(self->fd, IOVA + first * PAGE, &size, 0);

	return ret ? ret : (int64_t)(size / PAGE);
}

static int64_t unmap_all(FIXTURE_DATA(maps) *self)
{
	uint64_t size = 0;
	int ret = kiommu_unmap_dma(self->fd, 0, &size, ALL);

	return ret ? ret : (int64_t)(size / PAGE);
}

static uint64_t locked_pages(FIXTURE_DATA(maps) *self)
{
	return (kiommu_locked_vm() - self->locked) / PAGE;
}

/* Copies the first bytes of a page by DMA. */
static void copy(FIXTURE_DATA(maps) *self, uint64_t to, uint64_t from)
{
	TEST_ASSERT(!kiommu_dma_copy(self->k.dma[0], to, from,
				     KIOMMU_DMA_BUFFER),
		    "DMA to %lx", (long)to);
}

static bool holds(const char *mem, uint64_t seed)
{
	return kiommu_count_equal(mem, KIOMMU_DMA_BUFFER, seed) ==
	       KIOMMU_DMA_BUFFER;
}

TEST_F_TIMEOUT(maps, refused, 120)
{
	uint64_t size, v = (uintptr_t)self->mem;
	struct vfio_iommu_type1_dma_map arg = {
		.argsz = sizeof(arg) - 1, .flags = RW, .vaddr = v, .iova = IOVA,
		.size = PAGE,
	};
	struct vfio_iommu_type1_dma_unmap unmap_arg = {
		.argsz = sizeof(unmap_arg) - 1, .iova = IOVA, .size = PAGE,
	};
	const struct {
		uint64_t v, iova, size;
		uint32_t flags;
		int want;
	} cases[] = {
		{ v, IOVA, 0, RW, -EINVAL },
		{ v + 1, IOVA, PAGE, RW, -EINVAL },
		{ v, IOVA + 1, PAGE, RW, -EINVAL },
		{ v, IOVA, PAGE + 1, RW, -EINVAL },
		{ v, IOVA, PAGE, 0, -EINVAL },
		{ v, IOVA, PAGE, RW | 8, -EINVAL },
		{ v, -PAGE, 2 * PAGE, RW, -EINVAL },
		{ -PAGE, IOVA, 2 * PAGE, RW, -EINVAL },
		{ 0, IOVA, PAGE, RW, -EFAULT },
	};

	EXPECT_EQ(-EINVAL, kiommu_ioctl(self->fd, VFIO_IOMMU_MAP_DMA, &arg));
	EXPECT_EQ(-EINVAL,
		  kiommu_ioctl(self->fd, VFIO_IOMMU_UNMAP_DMA, &unmap_arg));
	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		EXPECT_EQ(cases[i].want,
			  kiommu_map_dma(self->fd, (void *)cases[i].v,
					 cases[i].iova, cases[i].size,
					 cases[i].flags)) {
			TH_LOG("case %u", i);
		}
	}
	/* Some host IOMMUs translate these, but ours does not take them. */
	if (variant->ours) {
		EXPECT_EQ(-EINVAL, kiommu_map_dma(self->fd, self->mem,
						  1ull << 62, PAGE, RW));
		EXPECT_EQ(-EINVAL, kiommu_map_dma(self->fd, self->mem, IOVA,
						  1ull << 62, RW));
	}
	EXPECT_EQ(-EFAULT, kiommu_ioctl(self->fd, VFIO_IOMMU_MAP_DMA, NULL));
	EXPECT_EQ(-EFAULT, kiommu_ioctl(self->fd, VFIO_IOMMU_UNMAP_DMA, NULL));
	size = PAGE;
	EXPECT_EQ(-EINVAL, kiommu_unmap_dma(self->fd, IOVA, &size, ALL));
	EXPECT_EQ(-EINVAL, kiommu_unmap_dma(self->fd, IOVA, &size, 8));
	EXPECT_EQ(-EINVAL, kiommu_unmap_dma(self->fd, IOVA + 1, &size, 0));
	size = 2 * PAGE;
	EXPECT_EQ(-EINVAL, kiommu_unmap_dma(self->fd, -PAGE, &size, 0));
	size = 0;
	EXPECT_EQ(-EINVAL, kiommu_unmap_dma(self->fd, IOVA, &size, 0));
	EXPECT_EQ(0, unmap(self, 0, 1));
	EXPECT_EQ(0, unmap_all(self));
	EXPECT_EQ(0, locked_pages(self));
}

TEST_F_TIMEOUT(maps, as_they_were_made, 120)
{
	uint64_t size = 1ull << 63;

	ASSERT_EQ(0, map(self, 2, 4));
	ASSERT_EQ(0, map(self, 8, 2));
	EXPECT_EQ(-EEXIST, map(self, 2, 4));
	EXPECT_EQ(-EEXIST, map(self, 0, 3));
	EXPECT_EQ(-EEXIST, map(self, 5, 1));
	EXPECT_EQ(-EEXIST, map(self, 0, 16));
	EXPECT_EQ(-EINVAL, unmap(self, 2, 3));
	EXPECT_EQ(-EINVAL, unmap(self, 3, 3));
	EXPECT_EQ(-EINVAL, unmap(self, 3, 1));
	EXPECT_EQ(-EINVAL, unmap(self, 4, 8));
	EXPECT_EQ(-EINVAL, unmap(self, 0, 9));
	EXPECT_EQ(0, unmap(self, 6, 2));
	EXPECT_EQ(6, locked_pages(self));
	EXPECT_EQ(6, unmap(self, 0, 16));
	EXPECT_EQ(0, locked_pages(self));
	ASSERT_EQ(0, map(self, 3, 3));
	ASSERT_EQ(0, map(self, 0, 3));
	EXPECT_EQ(6, unmap_all(self));
	ASSERT_EQ(0, map(self, 0, 1));
	EXPECT_EQ(0, kiommu_unmap_dma(self->fd, 0, &size, 0));
	EXPECT_EQ(PAGE, size);
	EXPECT_EQ(0, locked_pages(self));
}

TEST_F_TIMEOUT(maps, whole_or_not_at_all, 120)
{
	ASSERT_EQ(0, munmap(self->mem + 10 * PAGE, PAGE));
	EXPECT_EQ(-EFAULT, map(self, 0, 16));
	EXPECT_EQ(0, locked_pages(self));
	EXPECT_EQ(0, unmap_all(self));
	/* None of it is reached. */
	ASSERT_EQ(0, map(self, 12, 1));
	copy(self, IOVA + 12 * PAGE, IOVA);
	EXPECT_FALSE(holds(self->mem + 12 * PAGE, 1));
	ASSERT_EQ(0, map(self, 0, 10));
	copy(self, IOVA + 12 * PAGE, IOVA);
	EXPECT_TRUE(holds(self->mem + 12 * PAGE, 1));
	EXPECT_EQ(11, locked_pages(self));
}

TEST_F_TIMEOUT(maps, rights, 120)
{
	char *ro = self->mem + 4 * PAGE;

	kiommu_fill(self->mem + PAGE, PAGE, 2);
	ASSERT_EQ(0, map(self, 0, 1));
	ASSERT_EQ(0, kiommu_map_dma(self->fd, self->mem + PAGE, IOVA + PAGE,
				    PAGE, READ));
	copy(self, IOVA, IOVA + PAGE);
	EXPECT_TRUE(holds(self->mem, 2));
	kiommu_fill(self->mem, PAGE, 3);
	copy(self, IOVA + PAGE, IOVA);
	EXPECT_TRUE(holds(self->mem + PAGE, 2));
	ASSERT_EQ(0, mprotect(ro, PAGE, PROT_READ));
	EXPECT_EQ(-EFAULT, map(self, 4, 1));
	EXPECT_EQ(-EFAULT, map(self, 3, 2));
	EXPECT_EQ(0, kiommu_map_dma(self->fd, ro, IOVA + 4 * PAGE, PAGE, READ));
	EXPECT_EQ(3, locked_pages(self));
	/* The rights of the next mapping there are its own. */
	EXPECT_EQ(1, unmap(self, 1, 1));
	ASSERT_EQ(0, map(self, 1, 1));
	copy(self, IOVA + PAGE, IOVA);
	EXPECT_TRUE(holds(self->mem + PAGE, 3));
	if (kiommu_host_lacks(KIOMMU_WRITE_ONLY))
		return;
	EXPECT_EQ(0, kiommu_map_dma(self->fd, self->mem + 5 * PAGE,
				    IOVA + 5 * PAGE, PAGE, WRITE));
	copy(self, IOVA + 5 * PAGE, IOVA);
	EXPECT_TRUE(holds(self->mem + 5 * PAGE, 3));
}

/* A mapping keeps the pages that it was made of. */
TEST_F_TIMEOUT(maps, of_memory_that_changes, 120)
{
	ASSERT_EQ(0, map(self, 0, 1));
	ASSERT_EQ(0, map(self, 1, 1));
	replace_memory(self->mem, PAGE);
	kiommu_fill(self->mem, PAGE, 5);
	/* The device sees the old page at its IOVA, */
	copy(self, IOVA + PAGE, IOVA);
	EXPECT_TRUE(holds(self->mem + PAGE, 1));
	/* and the new one at another, */
	ASSERT_EQ(0, kiommu_map_dma(self->fd, self->mem, IOVA + 2 * PAGE, PAGE,
				    RW));
	copy(self, IOVA + PAGE, IOVA + 2 * PAGE);
	EXPECT_TRUE(holds(self->mem + PAGE, 5));
	copy(self, IOVA + PAGE, IOVA);
	EXPECT_TRUE(holds(self->mem + PAGE, 1));
	/* or at the same, once that is mapped anew. */
	EXPECT_EQ(1, unmap(self, 0, 1));
	ASSERT_EQ(0, map(self, 0, 1));
	copy(self, IOVA + PAGE, IOVA);
	EXPECT_TRUE(holds(self->mem + PAGE, 5));
	EXPECT_EQ(3, locked_pages(self));
	EXPECT_EQ(3, unmap(self, 0, 16));
	EXPECT_EQ(0, locked_pages(self));
}

/* Each mapping is charged, also of a page that is mapped already. */
TEST_F_TIMEOUT(maps, memlock, 120)
{
	kiommu_limit_memlock(self->locked + 8 * PAGE);
	ASSERT_EQ(0, map(self, 0, 8));
	EXPECT_EQ(-ENOMEM, kiommu_map_dma(self->fd, self->mem, IOVA + SIZE,
					  PAGE, RW));
	EXPECT_EQ(8, unmap(self, 0, 8));
	EXPECT_EQ(-ENOMEM, map(self, 0, 9));
	EXPECT_EQ(0, locked_pages(self));
	ASSERT_EQ(0, map(self, 0, 4));
	ASSERT_EQ(0, kiommu_map_dma(self->fd, self->mem, IOVA + SIZE, 4 * PAGE,
				    RW));
	EXPECT_EQ(8, locked_pages(self));
	EXPECT_EQ(8, unmap_all(self));
}

static void set_limit(bool ours, const char *value)
{
	const char *path =
		ours ? "/sys/module/kvm_iommu/parameters/dma_entry_limit" :
		       "/sys/module/vfio_iommu_type1/parameters/dma_entry_limit";
	int fd = open_path_or_exit(path, O_WRONLY);

	TEST_ASSERT(write(fd, value, strlen(value)) == (ssize_t)strlen(value),
		    "dma_entry_limit: %d", errno);
	close(fd);
}

TEST_F_TIMEOUT(maps, limit_of_mappings, 240)
{
	/* The kernel's driver reads it when a container gets its type. */
	kiommu_teardown(&self->k);
	set_limit(variant->ours, "3");
	kiommu_serve_type1(variant->ours);
	kiommu_setup(&self->k, VFIO_TYPE1v2_IOMMU);
	kiommu_serve_type1(false);
	self->fd = self->k.vfio.fd;
	ASSERT_EQ(0, map(self, 0, 1));
	ASSERT_EQ(0, map(self, 1, 1));
	ASSERT_EQ(0, map(self, 2, 1));
	EXPECT_EQ(-EEXIST, map(self, 2, 1));
	EXPECT_EQ(-ENOSPC, map(self, 3, 1));
	EXPECT_EQ(1, unmap(self, 1, 1));
	EXPECT_EQ(0, map(self, 3, 1));
	EXPECT_EQ(-ENOSPC, map(self, 1, 1));
	set_limit(variant->ours, "65535");
}

/* Pages and runs of 2 MiB side by side, at IOVAs and addresses of any alignment. */
TEST_F_TIMEOUT(maps, large_and_small, 240)
{
	const uint64_t size = 4 * KIOMMU_2M;
	char *mem = mmap(NULL, size + KIOMMU_2M, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint64_t from, out = size;

	ASSERT_NE(MAP_FAILED, (void *)mem);
	ASSERT_EQ(0, madvise(mem, size + KIOMMU_2M, MADV_HUGEPAGE));
	for (uint64_t at = 0; at < size + KIOMMU_2M; at += PAGE)
		kiommu_fill(mem + at, KIOMMU_DMA_BUFFER, at / PAGE % 251);
	ASSERT_EQ(0, map(self, 0, 1));
	for (uint64_t shift = 0; shift < 4; shift++) {
		from = IOVA + 0x40000000 + (shift & 1) * PAGE;
		char *at = mem + (shift >> 1) * PAGE;

		ASSERT_EQ(0, kiommu_map_dma(self->fd, at, from, size, RW));
		EXPECT_EQ(size / PAGE + 1, locked_pages(self));
		for (uint64_t page = 0; page < size / PAGE; page += 173) {
			copy(self, IOVA, from + page * PAGE);
			EXPECT_TRUE(holds(self->mem,
					  (page + (shift >> 1)) % 251));
		}
		out = size;
		ASSERT_EQ(0, kiommu_unmap_dma(self->fd, from, &out, 0));
		EXPECT_EQ(size, out);
	}
	EXPECT_EQ(1, locked_pages(self));
	munmap(mem, size + KIOMMU_2M);
}

static uint64_t pin_bytes(int fd)
{
	struct kvm_iommu_info info = { .size = sizeof(info) };

	TEST_ASSERT(!kiommu_ioctl(fd, KVM_IOMMU_GET_INFO, &info), "GET_INFO");
	return info.pin_bytes;
}

/* Lone pages all over the address space, again and again elsewhere. */
TEST_F_TIMEOUT(maps, scattered, 240)
{
	const uint64_t step = 1ull << 27, count = 200;
	uint64_t most = 0;

	for (unsigned int round = 0; round < 8; round++) {
		uint64_t base = KIOMMU_IOVA_BASE + (1ull << 32) + round * PAGE +
				(round & 1) * count * step;

		for (uint64_t i = 0; i < count; i++)
			ASSERT_EQ(0, kiommu_map_dma(self->fd, self->mem,
						    base + i * step, PAGE, RW));
		EXPECT_EQ(count, locked_pages(self));
		if (variant->ours && !round)
			most = pin_bytes(self->fd);
		EXPECT_EQ(count, unmap_all(self));
		EXPECT_EQ(0, locked_pages(self));
		if (variant->ours)
			EXPECT_GE(most, pin_bytes(self->fd));
	}
	if (variant->ours)
		EXPECT_GE(most / 16, pin_bytes(self->fd));
}

/* Maps that fail leave nothing behind, however many there are, and wherever. */
TEST_F_TIMEOUT(maps, failures_are_forgotten, 240)
{
	char *end;

	if (!variant->ours)
		SKIP(return, "counts what kvm_iommu.ko keeps");
	kiommu_teardown(&self->k);
	/* 256 tables. */
	kiommu_set_param("shadow_limit_mb", "1");
	kiommu_serve_type1(true);
	kiommu_setup(&self->k, VFIO_TYPE1v2_IOMMU);
	kiommu_serve_type1(false);
	kiommu_set_param("shadow_limit_mb", "256");
	self->fd = self->k.vfio.fd;
	end = self->mem + SIZE - PAGE;
	ASSERT_EQ(0, munmap(end, PAGE));
	for (uint64_t i = 0; i < 700; i++) {
		/* Without memory, */
		ASSERT_EQ(-EFAULT, kiommu_map_dma(self->fd, end,
						  IOVA + i * (1ull << 27), PAGE,
						  RW));
		/* and with some of it. */
		ASSERT_EQ(-EFAULT, kiommu_map_dma(self->fd, end - PAGE,
						  IOVA + i * KIOMMU_2M,
						  2 * PAGE, RW));
	}
	EXPECT_GE(256 << 10, pin_bytes(self->fd));
	EXPECT_EQ(0, locked_pages(self));
	EXPECT_EQ(0, map(self, 0, 1));
	EXPECT_EQ(1, unmap_all(self));
}

TEST_F_TIMEOUT(maps, device_memory, 120)
{
	struct kiommu_device *dev = &self->k.vfio.dev[0];

	if (kiommu_host_lacks(KIOMMU_BARS))
		SKIP(return, "%s", kiommu_host_lacks(KIOMMU_BARS));
	ASSERT_EQ(0, kiommu_map_dma(self->fd, dev->bar, IOVA, PAGE, RW));
	/* It is not charged. */
	EXPECT_EQ(0, locked_pages(self));
	EXPECT_EQ(-EEXIST, map(self, 0, 1));
	EXPECT_EQ(1, unmap(self, 0, 1));
	ASSERT_EQ(0, kiommu_map_dma(self->fd, dev->bar, IOVA, PAGE, READ));
	kiommu_device_enable(dev, 0);
	kiommu_device_enable(dev, 1);
	EXPECT_EQ(1, unmap(self, 0, 1));
}

/* Device memory is not charged, so it can be mapped where nothing can be locked. */
TEST_F_TIMEOUT(maps, device_memory_beyond_memlock, 120)
{
	if (kiommu_host_lacks(KIOMMU_BARS))
		SKIP(return, "%s", kiommu_host_lacks(KIOMMU_BARS));
	ASSERT_EQ(0, map(self, 0, 1));
	kiommu_limit_memlock(kiommu_locked_vm());
	EXPECT_EQ(-ENOMEM, map(self, 1, 1));
	EXPECT_EQ(0, kiommu_map_dma(self->fd, self->k.vfio.dev[0].bar,
				    IOVA + SIZE, PAGE, RW));
	EXPECT_EQ(1, locked_pages(self));
}

struct racer {
	FIXTURE_DATA(maps) *self;
	unsigned int seed;
	unsigned int made;
};

/* All of them at the same few IOVAs: each mapping is made or is in the way. */
static void *race(void *data)
{
	struct racer *r = data;

	for (unsigned int i = 0; i < 3000; i++) {
		uint64_t first = (i * 7 + r->seed * 5) % 12;
		int ret = map(r->self, first, 1 + i % 4);

		TEST_ASSERT(!ret || ret == -EEXIST, "map: %d", ret);
		r->made += !ret;
		ret = i & 1 ? unmap(r->self, first, 1 + i % 4) :
			      unmap(r->self, 0, 16);
		TEST_ASSERT(ret >= 0 || ret == -EINVAL, "unmap: %d", ret);
	}
	return NULL;
}

TEST_F_TIMEOUT(maps, threads, 240)
{
	struct racer racers[4] = {};
	pthread_t threads[4];

	for (unsigned int i = 0; i < 4; i++) {
		racers[i] = (struct racer){ .self = self, .seed = i };
		ASSERT_EQ(0, pthread_create(&threads[i], NULL, race, &racers[i]));
	}
	for (unsigned int i = 0; i < 4; i++) {
		pthread_join(threads[i], NULL);
		EXPECT_LT(0, racers[i].made);
	}
	EXPECT_LE(0, unmap_all(self));
	EXPECT_EQ(0, locked_pages(self));
}

/* A child that was forked, with mappings left behind by its parent. */
TEST_F_TIMEOUT(maps, two_processes, 120)
{
	int status;
	pid_t pid;

	ASSERT_EQ(0, map(self, 0, 1));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		/* Ours takes the memory of one process at a time. */
		int ret = map(self, 1, 1);

		if (ret != (variant->ours ? -EPERM : 0))
			_exit(1);
		if (unmap(self, 0, 1) != 1)
			_exit(2);
		_exit(map(self, 0, 1) ? 3 : 0);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_EQ(variant->ours ? 1 : 2, unmap_all(self));
	EXPECT_EQ(0, map(self, 0, 1));
}

TEST_HARNESS_MAIN
