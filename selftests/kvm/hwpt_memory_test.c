// SPDX-License-Identifier: GPL-2.0-only
/*
 * Domains that are HWPTs of an iommufd, over an IOAS of every shape: areas that are
 * odd, copied, of files, of one page, write-only; callers that ask for too much, and are
 * killed; processes that leave what others go on using.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <linux/iommufd.h>
#include <linux/vfio.h>

#include "kvm_util.h"

#include "cdev.h"
#include "counters.h"
#include "dma.h"
#include "faults.h"
#include "hwpt.h"
#include "hwpt_fixture.h"

#define PAGE KIOMMU_PAGE
#define IOVA KIOMMU_HWPT_IOVA
#define PAGES KIOMMU_HWPT_PAGES
#define DATA_GPA (KIOMMU_HWPT_GPA + KIOMMU_HWPT_DATA * KIOMMU_HWPT_AREA)
/* Far from the areas of the library. */
#define FREE_GPA (KIOMMU_HWPT_GPA + KIOMMU_1G)
#define RW (IOMMU_IOAS_MAP_READABLE | IOMMU_IOAS_MAP_WRITEABLE)

static int copy(struct kiommu_hwpt *h, uint64_t to, uint64_t from, uint64_t length,
		uint32_t flags)
{
	struct iommu_ioas_copy cmd = {
		.size = sizeof(cmd),
		.flags = flags | IOMMU_IOAS_MAP_FIXED_IOVA,
		.dst_ioas_id = h->ioas,
		.src_ioas_id = h->ioas,
		.length = length,
		.dst_iova = to,
		.src_iova = from,
	};

	return ioctl(h->iommufd, IOMMU_IOAS_COPY, &cmd) ? -errno : 0;
}

/* Whether device 0 stores to @iova, and @memory is there. */
static bool stores(struct kiommu_hwpt *h, uint64_t iova, void *memory, uint8_t seed)
{
	void *dma = h->devices.dev[0].bar;

	kiommu_fill(h->data, 128, seed);
	kiommu_fill(memory, 128, (uint8_t)~seed);
	TEST_ASSERT(!kiommu_dma_load(dma, IOVA, 0, 128), "load");
	TEST_ASSERT(!kiommu_dma_store(dma, iova, 0, 128), "store");
	return kiommu_count_equal(memory, 128, seed) == 128;
}

/* Maps pages of the data at another place of the IOAS. */
static int map_data(struct kiommu_hwpt *h, uint64_t first, uint64_t gpa, uint64_t pages,
		    uint32_t flags)
{
	return kiommu_ioas_map_at(h, h->data + first * PAGE, gpa, pages * PAGE, flags);
}

/* A field of /proc/vmstat. */
static long counted(const char *name)
{
	FILE *file = fopen("/proc/vmstat", "r");
	long value = -1, v;
	char line[128], n[128];

	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, "%127s %ld", n, &v) == 2 && !strcmp(n, name))
			value = v;
	if (file)
		fclose(file);
	return value;
}

/* The same memory twice in the IOAS, mapped by both: one goes, the other stays. */
TEST_F_TIMEOUT(hwpt, copied_areas, 120)
{
	struct kiommu_hwpt *h = &self->h;
	uint64_t pins = kiommu_pins();
	uint32_t id = kiommu_hwpt_attached(h), status;
	const uint64_t second = IOVA + KIOMMU_1G;

	/* Not as aligned as the original: no huge page can be pinned as one. */
	ASSERT_EQ(0, copy(h, FREE_GPA + 5 * PAGE, DATA_GPA, KIOMMU_HWPT_AREA, RW));
	ioat_map_pages(h->t, second, FREE_GPA + 5 * PAGE, 600, IOAT_RW);
	for (int i = 0; i < 2; i++)
		ASSERT_EQ(0, kiommu_hwpt_refresh(h, id, second, 600 * PAGE, NULL));
	EXPECT_EQ(pins, kiommu_pins());
	EXPECT_TRUE(stores(h, second + 599 * PAGE, h->data + 599 * PAGE, 1));
	EXPECT_TRUE(stores(h, IOVA + 3 * PAGE, h->data + 3 * PAGE, 2));
	ASSERT_EQ(0, kiommu_ioas_unmap_at(h, FREE_GPA + 5 * PAGE, KIOMMU_HWPT_AREA));
	EXPECT_FALSE(stores(h, second + 3 * PAGE, h->data + 3 * PAGE, 3));
	EXPECT_TRUE(stores(h, IOVA + 3 * PAGE, h->data + 3 * PAGE, 4));
	EXPECT_EQ(-EIO, kiommu_hwpt_refresh(h, id, second, PAGE, &status));

	/* The other way round, for reading only. */
	ASSERT_EQ(0, copy(h, FREE_GPA, DATA_GPA, KIOMMU_HWPT_AREA,
			  IOMMU_IOAS_MAP_READABLE));
	ioat_map_pages(h->t, second, FREE_GPA, 16, IOAT_RW);
	ASSERT_EQ(0, kiommu_hwpt_refresh(h, id, second, 16 * PAGE, NULL));
	EXPECT_FALSE(stores(h, second + 3 * PAGE, h->data + 3 * PAGE, 5));
	ASSERT_EQ(0, kiommu_ioas_unmap(h, KIOMMU_HWPT_DATA));
	EXPECT_EQ(pins, kiommu_pins());
	kiommu_fill(h->data, 128, 6);
	EXPECT_EQ(0, kiommu_dma_load(h->devices.dev[0].bar, second, 0, 128));
	ASSERT_EQ(0, kiommu_ioas_unmap_at(h, FREE_GPA, KIOMMU_HWPT_AREA));
	EXPECT_EQ(pins - KIOMMU_HWPT_AREA / PAGE, kiommu_pins());
}

/*
 * One leaf of 2M over areas of 3 pages, of 512 and of the rest, each elsewhere in the
 * process's memory than the last one ends.
 */
TEST_F_TIMEOUT(hwpt, odd_areas, 120)
{
	const uint64_t sizes[] = { 3, 512, 1, 508 };
	/* Pages of the data: in no order. */
	const uint64_t from[] = { 1021, 7, 1, 519 - 3 };
	struct kiommu_hwpt *h = &self->h;
	const uint64_t large = IOVA + KIOMMU_1G;
	uint32_t id = kiommu_hwpt_attached(h);
	uint64_t gpas[4], at = 0, pins = kiommu_pins();

	for (int i = 0; i < 4; i++) {
		gpas[i] = FREE_GPA + at;
		ASSERT_EQ(0, map_data(h, from[i], gpas[i], sizes[i], RW));
		at += sizes[i] * PAGE;
	}
	ASSERT_EQ(2 * KIOMMU_2M, at);
	ioat_map(h->t, large, FREE_GPA, 1, IOAT_RW);
	ioat_map(h->t, large + KIOMMU_2M, FREE_GPA + KIOMMU_2M, 1, IOAT_RW);
	ASSERT_EQ(0, kiommu_hwpt_refresh(h, id, large, 2 * KIOMMU_2M, NULL));
	for (int gone = -1; gone < 4; gone++) {
		if (gone >= 0)
			ASSERT_EQ(0, kiommu_ioas_unmap_at(h, gpas[gone], sizes[gone] * PAGE));
		for (int i = 0; i < 4; i++) {
			uint64_t off = gpas[i] - FREE_GPA;

			EXPECT_EQ(i > gone, stores(h, large + off, h->data + from[i] * PAGE,
						   i + 1));
			off += (sizes[i] - 1) * PAGE;
			EXPECT_EQ(i > gone,
				  stores(h, large + off,
					 h->data + (from[i] + sizes[i] - 1) * PAGE, i + 10));
		}
	}
	EXPECT_EQ(pins, kiommu_pins());
}

/* One area in the place of two, with no pins in between. */
TEST_F_TIMEOUT(hwpt, areas_join_and_part, 120)
{
	struct kiommu_hwpt *h = &self->h;
	const uint64_t second = IOVA + KIOMMU_1G;
	uint32_t id = kiommu_hwpt_attached(h);

	ioat_map_pages(h->t, second, FREE_GPA, 16, IOAT_RW);
	for (unsigned int i = 0; i < 6; i++) {
		if (i % 2) {
			ASSERT_EQ(0, map_data(h, 32, FREE_GPA, 8, RW));
			ASSERT_EQ(0, map_data(h, 40, FREE_GPA + 8 * PAGE, 8,
					      i == 3 ? RW : IOMMU_IOAS_MAP_READABLE));
		} else {
			ASSERT_EQ(0, map_data(h, 32, FREE_GPA, 16, RW));
		}
		ASSERT_EQ(0, kiommu_hwpt_refresh(h, id, second, 16 * PAGE, NULL));
		EXPECT_TRUE(stores(h, second, h->data + 32 * PAGE, i));
		EXPECT_EQ(i % 2 == 0 || i == 3,
			  stores(h, second + 9 * PAGE, h->data + 41 * PAGE, i + 20));
		if (i == 3) {
			ASSERT_EQ(0, kiommu_ioas_unmap_at(h, FREE_GPA + 8 * PAGE, 8 * PAGE));
			EXPECT_TRUE(stores(h, second, h->data + 32 * PAGE, i + 40));
			EXPECT_FALSE(stores(h, second + 9 * PAGE, h->data + 41 * PAGE, 77));
		}
		ASSERT_EQ(0, kiommu_ioas_unmap_at(h, FREE_GPA, 16 * PAGE));
		EXPECT_FALSE(stores(h, second, h->data + 32 * PAGE, i + 60));
	}
}

/* A file is cut off: what the IOAS has stays as it was pinned. */
TEST_F_TIMEOUT(hwpt, file, 120)
{
	struct kiommu_hwpt *h = &self->h;
	const uint64_t second = IOVA + KIOMMU_1G, size = 64 * PAGE;
	uint32_t id = kiommu_hwpt_attached(h);
	int fd = memfd_create("hwpt", 0);
	uint64_t pins = kiommu_pins();
	char *mem;

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, ftruncate(fd, size));
	mem = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, mem);
	ASSERT_EQ(0, kiommu_ioas_map_at(h, mem, FREE_GPA, size, RW));
	ioat_map_pages(h->t, second, FREE_GPA, 64, IOAT_RW);
	ASSERT_EQ(0, kiommu_hwpt_refresh(h, id, second, 32 * PAGE, NULL));
	EXPECT_TRUE(stores(h, second + 20 * PAGE, mem + 20 * PAGE, 1));
	ASSERT_EQ(0, ftruncate(fd, 0));
	ASSERT_EQ(0, ftruncate(fd, size));
	ASSERT_EQ(0, kiommu_hwpt_refresh(h, id, second, size, NULL));
	EXPECT_FALSE(stores(h, second + 20 * PAGE, mem + 20 * PAGE, 2));
	munmap(mem, size);
	close(fd);
	ASSERT_EQ(0, kiommu_hwpt_refresh(h, id, second, size, NULL));
	ASSERT_EQ(0, kiommu_ioas_unmap_at(h, FREE_GPA, size));
	EXPECT_EQ(pins, kiommu_pins());
}

/* Areas that devices may only write, between others; and one page each. */
TEST_F_TIMEOUT(hwpt, many_areas, 240)
{
	struct kiommu_hwpt *h = &self->h;
	const uint64_t second = IOVA + KIOMMU_1G;
	const unsigned int many = 900;
	uint32_t id = kiommu_hwpt_attached(h), status;

	for (unsigned int i = 0; i < many; i++) {
		ASSERT_EQ(0, map_data(h, i, FREE_GPA + i * PAGE, 1,
				      i % 3 == 1 ? IOMMU_IOAS_MAP_WRITEABLE : RW));
		ioat_map(h->t, second + i * PAGE, FREE_GPA + (many - 1 - i) * PAGE, 0, IOAT_RW);
	}
	for (unsigned int i = 0; i < many; i++) {
		const bool hole = (many - 1 - i) % 3 == 1;

		ASSERT_EQ(hole ? -EIO : 0,
			  kiommu_hwpt_refresh(h, id, second + i * PAGE, PAGE, &status));
		if (hole)
			ASSERT_EQ(KVM_IOMMU_STATUS_NO_SLOT, (int)status);
	}
	EXPECT_TRUE(stores(h, second, h->data + (many - 1) * PAGE, 1));
	EXPECT_FALSE(stores(h, second + PAGE, h->data + (many - 2) * PAGE, 2));
	ASSERT_EQ(0, kiommu_ioas_unmap_at(h, FREE_GPA, many * PAGE));
	for (unsigned int i = 0; i < many; i += 111)
		EXPECT_FALSE(stores(h, second + i * PAGE, h->data + (many - 1 - i) * PAGE, 3));
}

/*
 * Neighbours with pins, unmapped by one call: iommufd gives up, with a warning, when an
 * area does not lose its pins in 100 tries, and must not count those of other areas.
 */
TEST_F_TIMEOUT(hwpt, many_neighbours_unmapped_at_once, 240)
{
	struct kiommu_hwpt *h = &self->h;
	const uint64_t second = IOVA + KIOMMU_1G;
	const unsigned int many = 120;
	uint32_t id = kiommu_hwpt_attached(h);

	for (unsigned int i = 0; i < many; i++)
		ASSERT_EQ(0, map_data(h, i, FREE_GPA + i * PAGE, 1, RW));
	ioat_map_pages(h->t, second, FREE_GPA, many, IOAT_RW);
	ASSERT_EQ(0, kiommu_hwpt_refresh(h, id, second, many * PAGE, NULL));
	EXPECT_EQ(0, kiommu_ioas_unmap_at(h, FREE_GPA, many * PAGE));
	for (unsigned int i = 0; i < many; i += 17)
		EXPECT_FALSE(stores(h, second + i * PAGE, h->data + i * PAGE, 3));
}

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000ull + now.tv_nsec / 1000000;
}

/* As many entries as iommufd takes, each as long as it can be: can be killed. */
TEST_F_TIMEOUT(hwpt, too_much_is_killed, 240)
{
	const uint32_t most = 1u << 19;
	struct kvm_iommu_hwpt_invalidate *entries = calloc(most, sizeof(*entries));
	/* Above what x86 reserves. */
	const uint64_t large = IOVA + 2 * KIOMMU_1G;
	struct kiommu_hwpt *h = &self->h;
	uint32_t id = kiommu_hwpt_attached(h);

	/* 1G of the same 2M, over and over. */
	for (unsigned int i = 0; i < 512; i++)
		ioat_map(h->t, large + i * KIOMMU_2M, DATA_GPA, 1, IOAT_RW);
	for (unsigned int i = 0; i < 3; i++) {
		uint64_t killed;
		int status;
		pid_t child;

		for (unsigned int k = 0; k < most; k++) {
			entries[k].iova = i == 0 ? IOVA : i == 1 ? 0x100000 : large;
			entries[k].length = i == 0 ? PAGE : i == 1 ? 0xf0000000 - IOVA :
					    KIOMMU_1G;
		}
		child = fork();
		if (!child) {
			uint32_t count = most;

			kiommu_hwpt_invalidate(h, id, entries, sizeof(*entries), &count);
			_exit(count == most ? 3 : 4);
		}
		usleep(700000);
		ASSERT_EQ(0, waitpid(child, &status, WNOHANG)) {
			TH_LOG("case %u: status %x", i, status);
		}
		killed = now_ms();
		ASSERT_EQ(0, kill(child, SIGKILL));
		ASSERT_EQ(child, waitpid(child, &status, 0));
		EXPECT_TRUE(WIFSIGNALED(status));
		EXPECT_GT(5000, now_ms() - killed);
		TH_LOG("case %u: died in %u ms", i, (unsigned int)(now_ms() - killed));
		EXPECT_EQ(0, kiommu_hwpt_refresh(h, id, IOVA, PAGES * PAGE, NULL));
	}
	free(entries);
}

/* Answers that cannot be stored are no entries that were done. */
TEST_F_TIMEOUT(hwpt, no_room_for_answers, 120)
{
	struct kvm_iommu_hwpt_invalidate *entries;
	struct kiommu_hwpt *h = &self->h;
	uint32_t id = kiommu_hwpt_attached(h), count = 3;
	char *mem = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			 -1, 0);

	entries = (void *)(mem + PAGE - sizeof(*entries));
	for (unsigned int i = 0; i < 3; i++)
		entries[i] = (struct kvm_iommu_hwpt_invalidate){ IOVA, PAGE, 0, 0, 0 };
	mprotect(mem + PAGE, PAGE, PROT_READ);
	EXPECT_EQ(-EFAULT, kiommu_hwpt_invalidate(h, id, entries, sizeof(*entries), &count));
	EXPECT_EQ(1, count);
	munmap(mem + PAGE, PAGE);
	count = 3;
	EXPECT_EQ(-EFAULT, kiommu_hwpt_invalidate(h, id, entries, sizeof(*entries), &count));
	EXPECT_EQ(1, count);
	/* Twice as long: the address of an entry is a product. */
	count = 1u << 19;
	EXPECT_EQ(-EFAULT, kiommu_hwpt_invalidate(h, id, (void *)(-(uint64_t)PAGE), PAGE,
						  &count));
	EXPECT_EQ(0, count);
	munmap(mem, PAGE);
}

/* The HWPT takes one type of data, also where no entry comes with it. */
TEST_F_TIMEOUT(hwpt, data_of_another_type, 120)
{
	struct kvm_iommu_hwpt_invalidate entry = { .iova = IOVA, .length = PAGE };
	struct kiommu_hwpt *h = &self->h;
	uint32_t id = kiommu_hwpt_attached(h);

	for (uint32_t count = 0; count < 2; count++) {
		struct iommu_hwpt_invalidate cmd = {
			.size = sizeof(cmd),
			.hwpt_id = id,
			.data_uptr = (uintptr_t)&entry,
			.data_type = IOMMU_HWPT_INVALIDATE_DATA_VTD_S1,
			.entry_len = sizeof(entry),
			.entry_num = count,
		};

		EXPECT_EQ(-1, ioctl(h->iommufd, IOMMU_HWPT_INVALIDATE, &cmd));
		EXPECT_EQ(EINVAL, errno);
		EXPECT_EQ(0, cmd.entry_num);
		EXPECT_EQ(0, entry.stopped_iova);
	}
}

/* A domain that the kernel made by itself cannot be a parent. */
TEST_F_TIMEOUT(hwpt, parent_of_the_kernel, 120)
{
	struct vfio_device_attach_iommufd_pt cmd = { .argsz = sizeof(cmd) };
	struct kiommu_hwpt *h = &self->h;
	struct kvm_iommu_hwpt data = kiommu_hwpt_data(h->t);
	uint32_t id = 0;

	cmd.pt_id = h->ioas;
	ASSERT_EQ(0, ioctl(h->devices.dev[0].fd, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &cmd));
	EXPECT_NE(h->ioas, cmd.pt_id);
	EXPECT_NE(h->parent, cmd.pt_id);
	EXPECT_EQ(-EINVAL, kiommu_hwpt_alloc_with(h, 0, cmd.pt_id, &data, sizeof(data), &id));
	/* Nor can one of ours. */
	ASSERT_EQ(0, kiommu_hwpt_alloc_with(h, 0, h->parent, &data, sizeof(data), &id));
	EXPECT_EQ(-EINVAL, kiommu_hwpt_alloc_with(h, 0, id, &data, sizeof(data), &id));
}

/* The process that allocated is gone; who has the iommufd goes on. */
TEST_F_TIMEOUT(hwpt, owner_exits, 120)
{
	struct kiommu_hwpt *h = &self->h;
	uint32_t *id = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
			    -1, 0);
	int status = -1;
	pid_t child = fork();

	if (!child) {
		*id = kiommu_hwpt_attached(h);
		_exit(0);
	}
	ASSERT_EQ(child, waitpid(child, &status, 0));
	ASSERT_EQ(0, status);
	/* A fork has copied what is written now: the device sees what the IOAS has. */
	EXPECT_EQ(0, kiommu_hwpt_refresh(h, *id, IOVA, PAGES * PAGE, NULL));
	sleep(2);
	ASSERT_EQ(0, kiommu_ioas_unmap(h, KIOMMU_HWPT_DATA));
	ASSERT_EQ(0, kiommu_ioas_map(h, KIOMMU_HWPT_DATA, RW));
	EXPECT_EQ(0, kiommu_hwpt_refresh(h, *id, IOVA, PAGES * PAGE, NULL));
	EXPECT_TRUE(kiommu_hwpt_reaches(h, 0, 3, 1));
	EXPECT_EQ(0, kiommu_hwpt_detach(h, 0));
	EXPECT_EQ(0, kiommu_iommufd_destroy(h, *id));
	munmap(id, PAGE);
}

/* Allocated and destroyed often, nothing of it stays: host tables neither. */
TEST_F_TIMEOUT(hwpt, nothing_stays, 240)
{
	struct kiommu_hwpt *h = &self->h;
	const unsigned int rounds = 60;
	long before = 0;

	for (unsigned int i = 0; i < rounds + 5; i++) {
		uint32_t id = kiommu_hwpt_alloc(h, h->t);

		ASSERT_EQ(0, kiommu_hwpt_refresh(h, id, IOVA, PAGES * PAGE, NULL));
		ASSERT_EQ(0, kiommu_iommufd_destroy(h, id));
		if (i == 4)
			before = counted("nr_iommu_pages");
	}
	if (before < 0)
		SKIP(return, "nr_iommu_pages is not counted");
	EXPECT_GT(before + (long)rounds, counted("nr_iommu_pages"));
	TH_LOG("%ld pages of tables, then %ld", before, counted("nr_iommu_pages"));
}

/* A blocked access of a device that is attached is in the file of faults. */
TEST_F_TIMEOUT(hwpt, faults_are_told, 120)
{
	struct kiommu_hwpt *h = &self->h;
	struct kvm_iommu_hwpt data = kiommu_hwpt_data(h->t);
	struct kvm_iommu_fault fault = {};
	uint32_t id;

	data.flags = KVM_IOMMU_HWPT_FAULT_FD;
	ASSERT_EQ(0, kiommu_hwpt_alloc_with(h, 0, h->parent, &data, sizeof(data), &id));
	ASSERT_EQ(0, kiommu_hwpt_attach(h, 0, id));
	if (!kiommu_load_inject(&h->devices.dev[0]))
		SKIP(return, KIOMMU_NO_INJECT);
	kiommu_inject(IOVA + 0x123, 'w', 1, 0, "thread");
	/* Or there would be nothing to read. */
	ASSERT_EQ(0, kiommu_inject_unhandled());
	EXPECT_LT(0, read(data.fault_fd, &fault, sizeof(fault)));
	EXPECT_EQ(IOVA + 0x123, fault.iova);
	kiommu_unload_inject();
	/* What a refresh loses or is refused, too. */
	ioat_map(h->t, IOVA + 9 * PAGE, 0x1000, 0, IOAT_RW);
	EXPECT_EQ(-EIO, kiommu_hwpt_refresh(h, id, IOVA + 9 * PAGE, PAGE, NULL));
	close(data.fault_fd);
}

struct racer {
	struct kiommu_hwpt *h;
	atomic_bool stop;
	unsigned long rounds;
};

/* HWPTs of the same IOAS come and go, each with pins of the same area. */
static void *come_and_go(void *arg)
{
	struct racer *r = arg;

	while (!r->stop) {
		uint32_t id = kiommu_hwpt_alloc(r->h, r->h->t);

		kiommu_hwpt_refresh(r->h, id, IOVA + PAGE, PAGE, NULL);
		TEST_ASSERT(!kiommu_iommufd_destroy(r->h, id), "destroy");
		r->rounds++;
	}
	return NULL;
}

TEST_F_TIMEOUT(hwpt, unmap_and_destroy, 240)
{
	struct racer r[2] = { { .h = &self->h }, { .h = &self->h } };
	struct kiommu_hwpt *h = &self->h;
	uint32_t id = kiommu_hwpt_attached(h);
	uint64_t pins = kiommu_pins(), end = now_ms() + 15000;
	unsigned int rounds = 0;
	pthread_t threads[2];

	for (unsigned int i = 0; i < 2; i++)
		ASSERT_EQ(0, pthread_create(&threads[i], NULL, come_and_go, &r[i]));
	while (now_ms() < end) {
		ASSERT_EQ(0, kiommu_ioas_unmap(h, KIOMMU_HWPT_DATA));
		ASSERT_EQ(pins - KIOMMU_HWPT_AREA / PAGE, kiommu_pins());
		ASSERT_EQ(0, kiommu_ioas_map(h, KIOMMU_HWPT_DATA, RW));
		kiommu_hwpt_refresh(h, id, IOVA, PAGES * PAGE, NULL);
		rounds++;
	}
	for (unsigned int i = 0; i < 2; i++) {
		r[i].stop = true;
		pthread_join(threads[i], NULL);
	}
	TH_LOG("%u unmaps, %lu and %lu destroyed", rounds, r[0].rounds, r[1].rounds);
}

/* Devices of one group: attached one by one, and replaced together. */
TEST_F_TIMEOUT(hwpt, shared_group, 120)
{
	const char *group = getenv("KIOMMU_SHARED_GROUP");
	struct kiommu_hwpt *h = &self->h;
	struct vfio_device_attach_iommufd_pt pt = { .argsz = sizeof(pt) };
	uint32_t ids[2];
	int fds[2];

	if (!group || !*group)
		SKIP(return, "needs a group of several devices");
	for (unsigned int i = 0; i < 2; i++) {
		struct vfio_device_bind_iommufd bind = {
			.argsz = sizeof(bind),
			.iommufd = h->iommufd,
		};
		char path[128];
		FILE *pipe;

		snprintf(path, sizeof(path),
			 "for d in /sys/kernel/iommu_groups/%s/devices/*; do ls $d/vfio-dev; "
			 "done | sed -n %up", group, i + 1);
		pipe = popen(path, "r");
		ASSERT_EQ(1, fscanf(pipe, "%63s", path));
		pclose(pipe);
		char dev[160];

		snprintf(dev, sizeof(dev), "/dev/vfio/devices/%s", path);
		fds[i] = open(dev, O_RDWR);
		ASSERT_LE(0, fds[i]) {
			TH_LOG("%s", dev);
		}
		ASSERT_EQ(0, ioctl(fds[i], VFIO_DEVICE_BIND_IOMMUFD, &bind));
	}
	ids[0] = kiommu_hwpt_attached(h);
	ids[1] = kiommu_hwpt_alloc(h, h->t);
	for (unsigned int i = 0; i < 2; i++) {
		pt.pt_id = ids[0];
		EXPECT_EQ(0, ioctl(fds[i], VFIO_DEVICE_ATTACH_IOMMUFD_PT, &pt));
	}
	pt.pt_id = ids[1];
	EXPECT_EQ(0, ioctl(fds[0], VFIO_DEVICE_ATTACH_IOMMUFD_PT, &pt));
	/* The other one went with it. */
	EXPECT_EQ(0, kiommu_hwpt_detach(h, 0));
	EXPECT_EQ(0, kiommu_iommufd_destroy(h, ids[0]));
	EXPECT_EQ(-EBUSY, kiommu_iommufd_destroy(h, ids[1]));
	close(fds[0]);
	EXPECT_EQ(-EBUSY, kiommu_iommufd_destroy(h, ids[1]));
	EXPECT_EQ(0, kiommu_hwpt_refresh(h, ids[1], IOVA, PAGES * PAGE, NULL));
	close(fds[1]);
	EXPECT_EQ(0, kiommu_iommufd_destroy(h, ids[1]));
}

TEST_HARNESS_MAIN
