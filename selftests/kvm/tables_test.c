// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tables that others wrote: those of the host's IOMMU, by the machine's own
 * Linux. type1 maps memory of this process in many ways. The test finds the
 * tables as the IOMMU does, by its registers, and walks them with the core's
 * formats and walker. Each page must be the one that the kernel says is behind
 * the memory, with the rights that it was mapped with, and there must be no
 * other pages. Formats: VT-d second stage, AMD-Vi v1.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <fcntl.h>
#include <unistd.h>

#include <sys/mman.h>
#include <linux/kvm_iommu.h>

#include "kvm_test_harness.h"
#include "kvm_util.h"

#include "kiommu_util.h"
#include "physical.h"
#include "walk/walk.h"

#define PAGE KIOMMU_PAGE
#define R VFIO_DMA_MAP_FLAG_READ
#define W VFIO_DMA_MAP_FLAG_WRITE
#define HUGE (2ull << 20)
#define GIB (1ull << 30)
#define HUGE_PAGES 8
#define SMALL_PAGES 512
#define MOST_MAPPINGS 512
#define MOST_PAGES 16384

struct mapping {
	uint64_t iova;
	char *memory;
	uint64_t size;
	uint32_t rights;
};

/* A page that a device reaches, according to the kernel or the tables. */
struct reached {
	uint64_t iova;
	uint64_t frame;
	uint32_t rights;
};

struct pages {
	struct reached page[MOST_PAGES];
	unsigned int count;
	uint64_t sizes;	/* bitmap of page sizes, from the tables */
};

FIXTURE(tables) {
	struct kiommu_container vfio;
	struct walk_tables head;
	char *small;	/* pages in no order */
	char *huge;	/* NULL: the machine has none */
	struct mapping mapping[MOST_MAPPINGS];
	unsigned int count;
	struct pages expected;
	struct pages found;
};

/*
 * VT-d, legacy mode (VT-d specification, 9.1, 9.3, 11.4.5): the root table
 * address register, a root entry for each bus, a context entry for each
 * device and function.
 */
static int find_vtd(unsigned int bus, unsigned int devfn, struct walk_tables *head)
{
	uint64_t table, root[2], context[2];
	int ret;

	ret = physical_register("dmar0", 0x20, &table);
	if (ret)
		return ret;
	TEST_ASSERT(!(table & 0xc00), "not in legacy mode: RTADDR %lx", table);
	ret = physical_read((table & ~0xfffull) + 16 * bus, root, sizeof(root));
	TEST_ASSERT(!ret && (root[0] & 1), "root entry: %d, %lx", ret, root[0]);
	ret = physical_read((root[0] & ~0xfffull) + 16 * devfn, context,
			    sizeof(context));
	TEST_ASSERT(!ret && (context[0] & 1), "context entry: %d, %lx", ret,
		    context[0]);
	TEST_ASSERT(!(context[0] & 0xc), "translation type %lx", context[0]);
	/* Address width 1 means 39 bits, 3 levels. */
	head->format = KVM_IOMMU_FORMAT_VTD_SS;
	head->levels = (context[1] & 7) + 2;
	head->iota = context[0] & ~0xfffull;
	return 0;
}

/*
 * AMD-Vi (AMD IOMMU specification, 3.4.1, 2.2.2.1): the device table base
 * address register, an entry of 32 bytes for each device and function.
 */
static int find_amd(unsigned int bus, unsigned int devfn, struct walk_tables *head)
{
	const uint64_t address = 0x000ffffffffff000;
	const uint64_t rights = 3ull << 61;
	uint64_t table, entry[4];
	int ret;

	ret = physical_register("amd_iommu", 0, &table);
	if (ret)
		return ret;
	ret = physical_read((table & address) + 32 * (bus << 8 | devfn), entry,
			    sizeof(entry));
	TEST_ASSERT(!ret && (entry[0] & 3) == 3, "device table entry: %d, %lx",
		    ret, entry[0]);
	TEST_ASSERT((entry[0] & rights) == rights, "rights of %lx", entry[0]);
	head->format = KVM_IOMMU_FORMAT_AMD_V1;
	head->levels = entry[0] >> 9 & 7;
	head->iota = entry[0] & address;
	return 0;
}

static int find_tables(const char *bdf, struct walk_tables *head)
{
	unsigned int bus, dev, fn;
	int ret;

	TEST_ASSERT(sscanf(bdf, "%*x:%x:%x.%x", &bus, &dev, &fn) == 3, "%s", bdf);
	head->read = physical_read;
	ret = find_vtd(bus, dev << 3 | fn, head);
	if (ret == -ENOENT)
		ret = find_amd(bus, dev << 3 | fn, head);
	return ret;
}

static char *huge_memory(void)
{
	int fd = open_path_or_exit("/proc/sys/vm/nr_hugepages", O_WRONLY);
	void *memory;

	TEST_ASSERT(dprintf(fd, "%d", HUGE_PAGES) > 0, "nr_hugepages");
	close(fd);
	memory = mmap(NULL, HUGE_PAGES * HUGE, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_POPULATE,
		      -1, 0);
	return memory == MAP_FAILED ? NULL : memory;
}

FIXTURE_SETUP(tables)
{
	struct kiommu_container *c = &self->vfio;

	self->small = mmap(NULL, SMALL_PAGES * PAGE, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, (void *)self->small);
	ASSERT_EQ(0, madvise(self->small, SMALL_PAGES * PAGE, MADV_NOHUGEPAGE));
	/* Frames are allocated in the order of use, which is mixed here. */
	for (unsigned int i = 0; i < SMALL_PAGES; i++)
		self->small[i * 167 % SMALL_PAGES * PAGE] = 1;
	self->huge = huge_memory();

	kiommu_container_open(c);
	ASSERT_EQ(0, kiommu_group_open(c, &c->dev[0]));
	ASSERT_EQ(0, kiommu_group_attach(c, &c->dev[0]));
	ASSERT_EQ(0, kiommu_set_iommu(c->fd, VFIO_TYPE1v2_IOMMU));
}

FIXTURE_TEARDOWN(tables)
{
	kiommu_container_close(&self->vfio);
	munmap(self->small, SMALL_PAGES * PAGE);
	if (self->huge)
		munmap(self->huge, HUGE_PAGES * HUGE);
}

static void map(struct __test_metadata *_metadata, FIXTURE_DATA(tables) *self,
		uint64_t iova, char *memory, uint64_t size, uint32_t rights)
{
	ASSERT_LT(self->count, MOST_MAPPINGS);
	ASSERT_EQ(0, kiommu_map_dma(self->vfio.fd, memory, iova, size, rights));
	self->mapping[self->count++] = (struct mapping){
		.iova = iova, .memory = memory, .size = size, .rights = rights,
	};
}

/* Small pages near each other and far apart, below and above 4G. */
static void map_small(struct __test_metadata *_metadata,
		      FIXTURE_DATA(tables) *self)
{
	const uint32_t rights[] = { R, W, R | W };

	for (unsigned int i = 0; i < 128; i++) {
		char *memory = self->small + i * 2 * PAGE;

		map(_metadata, self, 0x100000 + i * 2 * PAGE, memory, PAGE,
		    rights[i % 3]);
		map(_metadata, self, 4 * GIB + i * 0x12345000ull, memory + PAGE,
		    PAGE, rights[i / 3 % 3]);
	}
	/* Runs over frames that are not adjacent. */
	for (unsigned int i = 0; i < 16; i++)
		map(_metadata, self, 0x1000000 + i * 17 * PAGE,
		    self->small + (256 + i * 16) * PAGE, 16 * PAGE,
		    rights[i % 3]);
}

/* Contiguous memory: whole, unaligned, and in parts of each size. */
static void map_huge(struct __test_metadata *_metadata,
		     FIXTURE_DATA(tables) *self)
{
	char *huge = self->huge;

	map(_metadata, self, 0x40000000, huge, HUGE, R | W);
	map(_metadata, self, 0x40200000, huge + HUGE, HUGE, R);
	map(_metadata, self, 0x40400000, huge + 2 * HUGE, HUGE, W);
	map(_metadata, self, 0x50000000, huge, HUGE_PAGES * HUGE / 2, R | W);
	map(_metadata, self, 0x60001000, huge + 3 * HUGE, HUGE, R | W);
	for (uint64_t size = PAGE; size < HUGE; size *= 2) {
		/* At the middle of twice its size, and not aligned to it. */
		map(_metadata, self, 5 * GIB + 3 * size, huge + 4 * HUGE + size,
		    size, R | W);
		map(_metadata, self, 0x70000000 + 5 * size + PAGE,
		    huge + 5 * HUGE + size, size, R);
	}
}

static int by_iova(const void *a, const void *b)
{
	const struct reached *x = a, *y = b;

	return x->iova < y->iova ? -1 : x->iova > y->iova;
}

static void add(struct pages *pages, uint64_t iova, uint64_t frame,
		uint32_t rights)
{
	TEST_ASSERT(pages->count < MOST_PAGES, "more than %u pages are mapped",
		    MOST_PAGES);
	pages->page[pages->count++] = (struct reached){ iova, frame, rights };
}

/* The rights that a mapping has in the tables. */
static uint32_t rights_of(uint32_t flags)
{
	uint32_t rights = kiommu_host_has(KIOMMU_WRITE_ONLY) ? 0 : KVM_IOMMU_READ;

	if (flags & R)
		rights |= KVM_IOMMU_READ;
	if (flags & W)
		rights |= KVM_IOMMU_WRITE;
	return rights;
}

/* Collects what the kernel says of the memory that is mapped now. */
static void expect(FIXTURE_DATA(tables) *self)
{
	struct pages *pages = &self->expected;

	pages->count = 0;
	for (unsigned int i = 0; i < self->count; i++) {
		const struct mapping *m = &self->mapping[i];
		uint32_t rights = rights_of(m->rights);

		for (uint64_t at = 0; at < m->size; at += PAGE)
			add(pages, m->iova + at,
			    physical_frame(m->memory + at), rights);
	}
	qsort(pages->page, pages->count, sizeof(*pages->page), by_iova);
}

static void found(const struct walk_leaf *leaf, void *data)
{
	struct pages *pages = data;

	pages->sizes |= 1ull << leaf->shift;
	for (uint64_t i = 0; i < leaf->pages; i++)
		add(pages, leaf->iova + i * PAGE, leaf->address / PAGE + i,
		    leaf->rights);
}

/* The tables map what the kernel says, and nothing else. */
static void compare(struct __test_metadata *_metadata,
		    FIXTURE_DATA(tables) *self)
{
	const struct pages *expected = &self->expected;
	struct pages *found_pages = &self->found;

	expect(self);
	found_pages->count = 0;
	found_pages->sizes = 0;
	ASSERT_EQ(0, walk_range(&self->head, 0, ~0ull, found, found_pages));
	for (unsigned int i = 0; i < expected->count; i++) {
		const struct reached *want = &expected->page[i];
		const struct reached *is = &found_pages->page[i];

		if (i < found_pages->count && !memcmp(want, is, sizeof(*is)))
			continue;
		TH_LOG("page %u of %u: IOVA %lx, frame %lx, rights %x wanted",
		       i, expected->count, want->iova, want->frame,
		       want->rights);
		if (i < found_pages->count)
			TH_LOG("found: IOVA %lx, frame %lx, rights %x", is->iova,
			       is->frame, is->rights);
		ASSERT_TRUE(false);
	}
	ASSERT_EQ(expected->count, found_pages->count);
}

/* Walks for single pages find the same. */
static void compare_single_pages(struct __test_metadata *_metadata,
				 FIXTURE_DATA(tables) *self)
{
	const struct pages *expected = &self->expected;

	for (unsigned int i = 0; i < expected->count; i += 7) {
		const struct reached *want = &expected->page[i];
		struct pages *one = &self->found;

		one->count = 0;
		ASSERT_EQ(0, walk_range(&self->head, want->iova,
					want->iova + PAGE - 1, found, one));
		ASSERT_EQ(1, one->count);
		ASSERT_EQ(0, memcmp(want, &one->page[0], sizeof(*want)));
	}
}

TEST_F_TIMEOUT(tables, are_what_the_kernel_says, 120)
{
	int ret = find_tables(self->vfio.dev[0].bdf, &self->head);
	const uint64_t usual = PAGE | HUGE | GIB;

	if (ret == -ENOENT)
		SKIP(return, "the IOMMU has no tables in memory");
	ASSERT_EQ(0, ret);
	compare(_metadata, self);
	ASSERT_EQ(0, self->expected.count);

	map_small(_metadata, self);
	if (self->huge)
		map_huge(_metadata, self);
	compare(_metadata, self);
	TH_LOG("%u pages by %u levels, page sizes %lx", self->found.count,
	       self->head.levels, self->found.sizes);
	EXPECT_TRUE(self->found.sizes & PAGE);
	if (self->huge) {
		EXPECT_TRUE(self->found.sizes & HUGE);
		/* AMD-Vi has all powers of two, and Linux uses them. */
		EXPECT_EQ(self->head.format == KVM_IOMMU_FORMAT_AMD_V1,
			  !!(self->found.sizes & ~usual));
	}
	compare_single_pages(_metadata, self);

	/* Some mappings go: the others are as they were. */
	for (unsigned int i = 0; i < self->count; i += 2) {
		struct mapping *m = &self->mapping[i];
		uint64_t size = m->size;

		ASSERT_EQ(0, kiommu_unmap_dma(self->vfio.fd, m->iova, &size, 0));
		*m = self->mapping[--self->count];
	}
	compare(_metadata, self);
	ASSERT_LT(0, self->found.count);
}

TEST_HARNESS_MAIN
