// SPDX-License-Identifier: GPL-2.0-only
/*
 * bench-fronts OUT: what a refresh costs by each front, and what a move costs
 * by the number of pages that are mapped, in instructions. Runs in a machine
 * whose time stamp counter counts instructions (selftests/vm/run --icount), with
 * three devices: one moves between two domains, each of which the host's IOMMU
 * serves already, for another device.
 *
 * Lines of the result, tab-separated: what, setting, instructions of a call.
 */
#include <stdio.h>
#include <stdlib.h>

#include <sys/resource.h>

#include <x86intrin.h>

#include "domain.h"
#include "kiommu_util.h"

#define IOVA (8ull << 30)
#define WARMUP 2
#define ROUNDS 5

struct domain {
	int fd;
	struct ioat *t;
};

static FILE *out;

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void report(const char *what, const char *setting, uint64_t *samples)
{
	qsort(samples, ROUNDS, sizeof(*samples), compare);
	fprintf(out, "%s\t%s\t%lu\n", what, setting, samples[ROUNDS / 2]);
	printf("%s, %s: %lu\n", what, setting, samples[ROUNDS / 2]);
	fflush(stdout);
}

/* Maps the first page of the domain's tables, or unmaps it. */
static uint64_t refresh_page(const struct domain *d, uint64_t gpa, bool map)
{
	struct kvm_iommu_refresh r = {
		.size = sizeof(r), .iova = IOVA, .length = KIOMMU_PAGE,
	};
	uint64_t start;
	int ret;

	if (map)
		ioat_map(d->t, IOVA, gpa, 0, IOAT_RW);
	else
		ioat_unmap(d->t, IOVA, 0);
	start = __rdtsc();
	ret = ioctl(d->fd, KVM_IOMMU_REFRESH, &r);
	start = __rdtsc() - start;
	TEST_ASSERT(!ret, "REFRESH");
	return start;
}

static void measure_refresh(const struct domain *d, uint64_t gpa,
			    const char *front)
{
	uint64_t map[ROUNDS], unmap[ROUNDS];

	for (int i = -WARMUP; i < ROUNDS; i++) {
		uint64_t mapped = refresh_page(d, gpa, true);
		uint64_t unmapped = refresh_page(d, gpa, false);

		if (i < 0)
			continue;
		map[i] = mapped;
		unmap[i] = unmapped;
	}
	report("refresh of a page that is mapped", front, map);
	report("refresh of a page that is unmapped", front, unmap);
}

static void attach(int fd, int container)
{
	TEST_ASSERT(kiommu_domain_attach(fd, container, NULL) > 0, "ATTACH");
}

static void measure_move(const struct domain *d, int container, uint64_t pages)
{
	uint64_t samples[ROUNDS];
	char setting[64];

	snprintf(setting, sizeof(setting), "%lu pages mapped in each domain", pages);
	for (int i = -WARMUP; i < ROUNDS; i++) {
		uint64_t start;

		attach(d[1].fd, container);
		start = __rdtsc();
		attach(d[0].fd, container);
		if (i >= 0)
			samples[i] = __rdtsc() - start;
	}
	report("move to another domain", setting, samples);
}

static struct domain make_domain(struct kiommu *k, int fd)
{
	struct domain d = {
		.fd = fd >= 0 ? fd : kiommu_domain_create(k->vm.fd),
		.t = ioat_new(k->vm.area, KVM_IOMMU_FORMAT_VTD_SS, 3),
	};

	TEST_ASSERT(d.fd >= 0, "DOMAIN_CREATE: %d", d.fd);
	TEST_ASSERT(!kiommu_register_tables(d.fd, d.t), "REGISTER_IOAT");
	return d;
}

static void map_pages(const struct domain *d, uint64_t gpa, uint64_t pages)
{
	ioat_map_pages(d->t, IOVA + KIOMMU_2M, gpa, pages, IOAT_RW);
	TEST_ASSERT(!kiommu_refresh(d->fd, IOVA + KIOMMU_2M, pages * KIOMMU_PAGE,
				    NULL), "REFRESH");
}

int main(int argc, char **argv)
{
	static const uint64_t counts[] = { 1, 512, 8192 };
	const struct rlimit unlimited = { RLIM_INFINITY, RLIM_INFINITY };
	int containers[3];
	struct domain home, d[2];
	uint64_t gpa;
	struct kiommu k;

	TEST_ASSERT(argc == 2, "usage: %s OUT", argv[0]);
	TEST_ASSERT(!setrlimit(RLIMIT_MEMLOCK, &unlimited), "setrlimit");
	TEST_ASSERT(kiommu_device_count() >= 3, "three devices are needed");
	out = fopen(argv[1], "w");
	TEST_ASSERT(out, "%s cannot be written", argv[1]);
	setlinebuf(out);
	kiommu_setup(&k, VFIO_KVM_IOMMU);
	containers[0] = k.vfio.fd;
	for (unsigned int i = 1; i < 3; i++)
		containers[i] = kiommu_move_device(&k, i);
	gpa = k.vm.area->gpa + 32 * KIOMMU_2M / 2;
	home = make_domain(&k, containers[0]);
	measure_refresh(&home, gpa, "by the container");
	for (unsigned int i = 0; i < 2; i++) {
		d[i] = make_domain(&k, -1);
		attach(d[i].fd, containers[i + 1]);
	}
	attach(d[0].fd, containers[0]);
	measure_refresh(&d[0], gpa, "by the domain's file");
	for (unsigned int i = 0; i < ARRAY_SIZE(counts); i++) {
		map_pages(&d[0], gpa, counts[i]);
		map_pages(&d[1], gpa, counts[i]);
		measure_move(d, containers[0], counts[i]);
	}
	return 0;
}
