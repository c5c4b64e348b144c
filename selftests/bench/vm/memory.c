// SPDX-License-Identifier: GPL-2.0-only
/* Guest memory whose location in host memory is known. */
#include <stdio.h>
#include <string.h>

#include <sys/mman.h>

#include "bench.h"

#define SMALL_GPA 0x200000000ull
#define HUGE_GPA 0x100000000ull
#define SMALL_SIZE (32ull << 20)
#define HUGE_SIZE KIOMMU_1G

struct memory {
	uint64_t gpa;
	uint64_t size;
	char *hva;
};

static struct memory memories[BENCH_MEMORIES] = {
	[BENCH_SMALL] = { .gpa = SMALL_GPA, .size = SMALL_SIZE },
	[BENCH_HUGE] = { .gpa = HUGE_GPA, .size = HUGE_SIZE },
};

static char *map_memory(uint64_t size, int flags)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);

	TEST_ASSERT(p != MAP_FAILED, "no memory of %lu bytes", size);
	return p;
}

static void reserve_huge_pages(void)
{
	FILE *file = fopen("/proc/sys/vm/nr_hugepages", "r+");
	unsigned long count = 0;

	TEST_ASSERT(file, "no huge pages");
	fprintf(file, "%llu\n", HUGE_SIZE / KIOMMU_2M);
	fflush(file);
	rewind(file);
	TEST_ASSERT(fscanf(file, "%lu", &count) == 1 &&
		    count == HUGE_SIZE / KIOMMU_2M,
		    "%lu huge pages, not enough", count);
	fclose(file);
}

void bench_memory_init(void)
{
	struct memory *small = &memories[BENCH_SMALL];
	uint64_t pages = small->size / KIOMMU_PAGE;

	reserve_huge_pages();
	memories[BENCH_HUGE].hva = map_memory(HUGE_SIZE, MAP_HUGETLB);
	memset(memories[BENCH_HUGE].hva, 1, HUGE_SIZE);

	/* Free pages tend to be contiguous: touch them out of order. */
	small->hva = map_memory(small->size, 0);
	madvise(small->hva, small->size, MADV_NOHUGEPAGE);
	for (uint64_t i = 0; i < pages; i++)
		small->hva[i * 2731 % pages * KIOMMU_PAGE] = 1;
}

void bench_memory_add(struct kiommu_vm *vm)
{
	for (unsigned int i = 0; i < BENCH_MEMORIES; i++)
		vm_set_user_memory_region(vm->vm, KIOMMU_FREE_SLOT + i, 0,
					  memories[i].gpa, memories[i].size,
					  memories[i].hva);
}

uint64_t bench_memory_gpa(enum bench_memory m)
{
	return memories[m].gpa;
}

uint64_t bench_memory_pages(enum bench_memory m)
{
	return memories[m].size / KIOMMU_PAGE;
}

void *bench_memory_hva(uint64_t gpa)
{
	for (unsigned int i = 0; i < BENCH_MEMORIES; i++)
		if (gpa - memories[i].gpa < memories[i].size)
			return memories[i].hva + (gpa - memories[i].gpa);
	TEST_FAIL("no memory at %lx", gpa);
	return NULL;
}
