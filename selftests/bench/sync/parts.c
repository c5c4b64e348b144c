// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the cost consists of: a change of one page, as the guest sees it, and
 * the VMM's share of that; the exits by themselves.
 */
#include <sys/ioctl.h>

#include "kvm_util.h"

#include "sync.h"

#define REPEAT 64

static const char *const part_names[SYNC_PARTS] = {
	[SYNC_PART_NOTHING] = "nothing has changed",
	[SYNC_PART_MAP] = "a page is mapped",
	[SYNC_PART_UNMAP] = "a page is unmapped",
};

static const char *const floor_names[SYNC_FLOORS] = {
	[SYNC_FLOOR_BELL] = "doorbell that nobody listens to",
	[SYNC_FLOOR_USER] = "exit to user space, nothing done there",
};

/* The VMM changes the guest's tables, which nothing tracks. */
static void follow(struct sync *s, enum sync_part part, uint64_t value,
		   uint64_t *least)
{
	struct ioat *t = s->guest->tables;
	uint64_t start;

	ioat_write(t, ioat_entry(t, SYNC_IOVA, 0, false), value);
	start = __rdtsc();
	s->way->follow(s, SYNC_IOVA, 1);
	start = __rdtsc() - start;
	if (!least[part] || start < least[part])
		least[part] = start;
}

static void run_follow(struct sync *s)
{
	struct ioat *t = s->guest->tables;
	uint64_t leaf = ioat_leaf_value(t, 0, SYNC_POOL_GPA, IOAT_RW);
	uint64_t least[SYNC_PARTS] = {};
	char name[64];

	ioat_map(t, SYNC_IOVA + KIOMMU_PAGE, SYNC_POOL_GPA + KIOMMU_PAGE, 0, IOAT_RW);
	s->way->follow(s, SYNC_IOVA + KIOMMU_PAGE, 1);
	for (unsigned int i = 0; i < REPEAT; i++) {
		follow(s, SYNC_PART_MAP, leaf, least);
		follow(s, SYNC_PART_UNMAP, 0, least);
		follow(s, SYNC_PART_NOTHING, 0, least);
	}
	ioat_unmap(t, SYNC_IOVA + KIOMMU_PAGE, 0);
	s->way->follow(s, SYNC_IOVA + KIOMMU_PAGE, 1);
	for (unsigned int i = 0; i < SYNC_PARTS; i++) {
		snprintf(name, sizeof(name), "%s: the VMM's share", part_names[i]);
		sync_report_part(s->way->name, name, least[i]);
	}
}

static void run_floors(struct sync *s)
{
	uint64_t least = UINT64_MAX;

	sync_run(s, sync_guest_floors);
	for (unsigned int i = 0; i < SYNC_FLOORS; i++)
		sync_report_part("none", floor_names[i], s->guest->floors[i]);
	for (unsigned int i = 0; i < REPEAT; i++) {
		uint64_t start = __rdtsc();

		ioctl(s->k.vfio.fd, VFIO_GET_API_VERSION);
		start = __rdtsc() - start;
		least = start < least ? start : least;
	}
	sync_report_part("none", "ioctl that does nothing", least);
}

void sync_run_parts(struct sync *s)
{
	if (s->way->alone) {
		run_floors(s);
		return;
	}
	sync_run(s, sync_guest_parts);
	for (unsigned int i = 0; i < SYNC_PARTS; i++)
		sync_report_part(s->way->name, part_names[i], s->guest->parts[i]);
	if (s->way->follow)
		run_follow(s);
	sync_expect_mapped(s, 0);
}
