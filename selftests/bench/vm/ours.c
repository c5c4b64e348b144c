// SPDX-License-Identifier: GPL-2.0-only
/* kvm-iommu: the guest's tables change, and a refresh follows. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"

#define IDLE_PINS "idle_pins_mb"

/* Tables with and without the leaves of a case: two contents of one place. */
struct tables {
	struct ioat *t;
	char *place;
	uint64_t size;
	char *mapped;
	char *unmapped;
};

static void *copy_of(const void *from, uint64_t size)
{
	void *copy = malloc(size);

	TEST_ASSERT(copy, "no memory");
	return memcpy(copy, from, size);
}

static void tables_make(struct tables *tables, struct kiommu_area *area,
			const struct bench_case *c)
{
	tables->place = area->mem + area->used;
	tables->t = ioat_new(area, c->format, 3);
	for (uint64_t i = 0; i < c->count; i++)
		ioat_map(tables->t, bench_iova(c, i), bench_gpa(c, i), c->level,
			 IOAT_RW);
	tables->size = area->mem + area->used - tables->place;
	tables->mapped = copy_of(tables->place, tables->size);
	for (uint64_t i = 0; i < c->count; i++)
		ioat_unmap(tables->t, bench_iova(c, i), c->level);
	tables->unmapped = copy_of(tables->place, tables->size);
}

static void tables_free(struct tables *tables, struct kiommu_area *area)
{
	area->used = tables->place - area->mem;
	free(tables->mapped);
	free(tables->unmapped);
}

static void set_mapped(struct tables *tables)
{
	memcpy(tables->place, tables->mapped, tables->size);
}

static void set_unmapped(struct tables *tables)
{
	memcpy(tables->place, tables->unmapped, tables->size);
}

/* Maps the leaves that change to other pages, or to their own again. */
static void set_changed(struct tables *tables, const struct bench_case *c,
			bool other)
{
	struct bench_case changed = bench_changed(c);

	for (uint64_t i = 0; i < changed.count; i++) {
		uint64_t page = i * BENCH_CHANGED_STEP;

		if (other)
			page = (page + BENCH_CHANGED_STEP / 2) % c->count;
		ioat_map(tables->t, bench_iova(&changed, i), bench_gpa(c, page),
			 c->level, IOAT_RW);
	}
}

static void refresh(int fd, uint64_t iova, uint64_t length)
{
	struct kvm_iommu_refresh r = {
		.size = sizeof(r),
		.iova = iova,
		.length = length,
	};
	int ret = ioctl(fd, KVM_IOMMU_REFRESH, &r);

	while (ret && errno == EAGAIN) {
		r.length = r.iova + r.length - r.stopped_iova;
		r.iova = r.stopped_iova;
		ret = ioctl(fd, KVM_IOMMU_REFRESH, &r);
	}
	TEST_ASSERT(!ret, "REFRESH: errno %d, status %u", errno, r.status);
}

static uint64_t refresh_case(int fd, const struct bench_case *c)
{
	uint64_t start = bench_now();

	if (c->each)
		for (uint64_t i = 0; i < c->count; i++)
			refresh(fd, bench_iova(c, i), bench_leaf_bytes(c));
	else
		refresh(fd, bench_first_iova(c), bench_range(c));
	return bench_now() - start;
}

static void expect_mapped(int fd, uint64_t leaves, const struct bench_case *c)
{
	uint64_t pages = leaves * bench_leaf_bytes(c) / KIOMMU_PAGE;
	uint64_t mapped = kiommu_mapped_pages(fd);

	TEST_ASSERT(mapped == pages, "%s: %lu pages are mapped, not %lu",
		    c->name, mapped, pages);
}

static void report_shadow(int fd, const struct bench_case *c)
{
	struct kvm_iommu_info info;

	TEST_ASSERT(!kiommu_get_info(fd, &info), "GET_INFO");
	bench_report_memory(c->name, "ours",
			    (double)info.shadow_bytes / info.mapped_pages);
}

static void unregister(int fd)
{
	TEST_ASSERT(!kiommu_unregister(fd), "UNREGISTER_IOAT");
}

static void register_tables(int fd, struct tables *tables)
{
	TEST_ASSERT(!kiommu_register_tables(fd, tables->t), "REGISTER_IOAT");
}

static void round_pair(int fd, const struct bench_case *c, struct tables *tables,
		       struct bench_samples *s, unsigned int round)
{
	set_mapped(tables);
	bench_sample(s->map, round, refresh_case(fd, c));
	expect_mapped(fd, c->count, c);
	set_unmapped(tables);
	bench_sample(s->unmap, round, refresh_case(fd, c));
	expect_mapped(fd, 0, c);
}

static void round_teardown(int fd, const struct bench_case *c,
			   struct bench_samples *s, unsigned int round,
			   struct tables *tables)
{
	uint64_t start;

	set_mapped(tables);
	refresh_case(fd, c);
	expect_mapped(fd, c->count, c);
	start = bench_now();
	unregister(fd);
	bench_sample(s->unmap, round, bench_now() - start);
	register_tables(fd, tables);
}

static void run_case(int fd, const struct bench_case *c, struct kiommu_area *area,
		     const char *who)
{
	struct bench_samples s = {};
	struct tables tables;

	tables_make(&tables, area, c);
	register_tables(fd, &tables);
	if (c->op == BENCH_UNCHANGED || c->op == BENCH_CHANGED) {
		set_mapped(&tables);
		refresh_case(fd, c);
	}
	for (unsigned int i = 0; i < BENCH_WARMUP + BENCH_ROUNDS; i++) {
		switch (c->op) {
		case BENCH_PAIR:
			round_pair(fd, c, &tables, &s, i);
			break;
		case BENCH_TEARDOWN:
			round_teardown(fd, c, &s, i, &tables);
			break;
		case BENCH_CHANGED:
			set_changed(&tables, c, !(i & 1));
			bench_sample(s.unmap, i, refresh_case(fd, c));
			break;
		case BENCH_UNCHANGED:
			bench_sample(s.unmap, i, refresh_case(fd, c));
			break;
		}
	}
	bench_report(c, who, "by REFRESH", &s);
	if (c->shadow && !strcmp(who, "ours")) {
		set_mapped(&tables);
		refresh_case(fd, c);
		report_shadow(fd, c);
	}
	unregister(fd);
	tables_free(&tables, area);
}

void bench_ours(bool cold)
{
	struct kiommu k;

	/* Whether pins are kept for a while after their last use. */
	if (!access("/sys/module/kvm_iommu/parameters/" IDLE_PINS, F_OK))
		kiommu_set_param(IDLE_PINS, cold ? "0" : "2048");
	kiommu_setup(&k, VFIO_KVM_IOMMU);
	bench_memory_add(&k.vm);
	for (unsigned int i = 0; i < bench_case_count; i++)
		if (bench_wanted(&bench_cases[i]) &&
		    (!cold || bench_cases[i].cold))
			run_case(k.vfio.fd, &bench_cases[i], k.vm.area,
				 cold ? "cold" : "ours");
	kiommu_teardown(&k);
}
