// SPDX-License-Identifier: GPL-2.0-only
/*
 * Resources: RLIMIT_MEMLOCK, shadow_limit_mb, the memory cgroup. A call that
 * reaches a limit says how far it got, and goes on from there when there is
 * room. Bugs related to v4: unlimited mappings (CVE-2019-3882), pins beyond the
 * limit, success reported for what was skipped.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <sys/stat.h>

#include "kvm_test_harness.h"
#include "kvm_util.h"

#include "kiommu_util.h"
#include "memlock.h"

#define PAGE KIOMMU_PAGE
#define IOVA (KIOMMU_IOVA_BASE + 0x10000000ull)
/* Each page that is mapped needs a node of the shadow of its own. */
#define STRIDE KIOMMU_2M
#define SCATTERED 400ull

FIXTURE(limits) {
	struct kiommu k;
	int fd;
	struct ioat *t;
	uint64_t gpa; /* that of SCATTERED pages */
};

static void set_up(struct __test_metadata *_metadata,
		   FIXTURE_DATA(limits) *self, const char *shadow_limit_mb)
{
	struct kiommu_area *area;

	kiommu_set_param("shadow_limit_mb", shadow_limit_mb);
	kiommu_setup(&self->k, VFIO_KVM_IOMMU);
	kiommu_set_param("shadow_limit_mb", "256");
	area = self->k.vm.area;
	self->fd = self->k.vfio.fd;
	self->gpa = kiommu_gpa(area, kiommu_alloc(area, SCATTERED * PAGE, PAGE));
	self->t = ioat_new(area, KVM_IOMMU_FORMAT_VTD_SS, 3);
	for (uint64_t i = 0; i < SCATTERED; i++)
		ioat_map(self->t, IOVA + i * STRIDE, self->gpa + i * PAGE, 0, IOAT_RW);
	ASSERT_EQ(0, kiommu_register_tables(self->fd, self->t));
}

FIXTURE_SETUP(limits)
{
	set_up(_metadata, self, "256");
}

FIXTURE_TEARDOWN(limits)
{
	struct kvm_iommu_info info;

	ASSERT_EQ(0, kiommu_unregister(self->fd));
	ASSERT_EQ(0, kiommu_get_info(self->fd, &info));
	EXPECT_EQ(0, info.shadow_bytes);
	EXPECT_EQ(0, info.pinned_pages);
	EXPECT_EQ(self->k.locked_vm, kiommu_locked_vm());
	kiommu_teardown(&self->k);
}

TEST_F_TIMEOUT(limits, shadow_fits, 120)
{
	struct kvm_iommu_refresh r;
	struct kvm_iommu_info info;

	EXPECT_EQ(0, kiommu_refresh(self->fd, IOVA, SCATTERED * STRIDE, &r));
	EXPECT_EQ(SCATTERED, r.mapped);
	ASSERT_EQ(0, kiommu_get_info(self->fd, &info));
	EXPECT_LE(SCATTERED * PAGE, info.shadow_bytes);
	EXPECT_GE(info.shadow_limit, info.shadow_bytes);
}

TEST_F_TIMEOUT(limits, no_shadow, 120)
{
	struct kvm_iommu_refresh r;

	kiommu_teardown(&self->k);
	set_up(_metadata, self, "0");
	EXPECT_EQ(-ENOSPC, kiommu_refresh(self->fd, IOVA - PAGE, 2 * PAGE, &r));
	EXPECT_EQ(KVM_IOMMU_STATUS_SHADOW_LIMIT, r.status);
	EXPECT_EQ(IOVA, r.stopped_iova);
	EXPECT_EQ(0, r.mapped);
	EXPECT_EQ(self->k.locked_vm, kiommu_locked_vm());
	/* Where the guest maps nothing, no shadow is needed. */
	EXPECT_EQ(0, kiommu_refresh(self->fd, IOVA - PAGE, PAGE, &r));
}

TEST_F_TIMEOUT(limits, shadow_limit, 120)
{
	uint64_t end = IOVA + SCATTERED * STRIDE, limit = 1ull << 20;
	struct kvm_iommu_refresh r;
	struct kvm_iommu_info info;
	uint64_t got, at, size;

	kiommu_teardown(&self->k);
	set_up(_metadata, self, "1");
	ASSERT_EQ(0, kiommu_get_info(self->fd, &info));
	ASSERT_EQ(limit, info.shadow_limit);
	EXPECT_EQ(-ENOSPC, kiommu_refresh(self->fd, IOVA, end - IOVA, &r));
	EXPECT_EQ(KVM_IOMMU_STATUS_SHADOW_LIMIT, r.status);
	got = r.mapped;
	at = r.stopped_iova;
	EXPECT_EQ(IOVA + got * STRIDE, at);
	ASSERT_EQ(0, kiommu_get_info(self->fd, &info));
	EXPECT_EQ(got, info.mapped_pages);
	EXPECT_EQ(got, info.pinned_pages);
	EXPECT_EQ(self->k.locked_vm + got * PAGE, kiommu_locked_vm());
	EXPECT_GE(limit, info.shadow_bytes);
	/* Little is held besides the nodes for these pages. */
	EXPECT_LE(limit / PAGE - limit / PAGE / 8, got);
	EXPECT_GE(limit / PAGE, got);
	/* Without room it gets no further. */
	EXPECT_EQ(-ENOSPC, kiommu_refresh(self->fd, at, end - at, &r));
	EXPECT_EQ(at, r.stopped_iova);
	/* What is mapped already needs no room. */
	EXPECT_EQ(0, kiommu_refresh(self->fd, IOVA, at - IOVA, &r));
	EXPECT_EQ(0, r.mapped | r.unmapped);
	/* Hosts may keep tables of what is unmapped, so that makes no room. */
	size = at - IOVA;
	ASSERT_EQ(0, kiommu_unmap_dma(self->fd, IOVA, &size, 0));
	EXPECT_EQ(got * PAGE, size);
	ASSERT_EQ(0, kiommu_get_info(self->fd, &info));
	if (info.shadow_bytes) {
		EXPECT_EQ(-ENOSPC, kiommu_refresh(self->fd, at, end - at, &r));
		ASSERT_EQ(0, kiommu_get_info(self->fd, &info));
		EXPECT_EQ(limit, info.shadow_bytes);
	} else {
		EXPECT_EQ(0, kiommu_refresh(self->fd, at, end - at, &r));
	}
	/* Setting an anchor anew does make room: the call converges. */
	ASSERT_EQ(0, kiommu_unregister(self->fd));
	ASSERT_EQ(0, kiommu_get_info(self->fd, &info));
	EXPECT_EQ(0, info.shadow_bytes);
	ASSERT_EQ(0, kiommu_register_tables(self->fd, self->t));
	EXPECT_EQ(0, kiommu_refresh(self->fd, at, end - at, &r));
	EXPECT_EQ(SCATTERED - got, r.mapped);
	EXPECT_EQ(end, r.stopped_iova);
}

/* Pages of the tables of all the host's IOMMUs. */
static uint64_t iommu_pages(void)
{
	FILE *file = fopen("/proc/vmstat", "r");
	unsigned long long value = 0;
	char name[64];

	while (file && fscanf(file, "%63s %llu", name, &value) == 2)
		if (!strcmp(name, "nr_iommu_pages"))
			break;
	if (file)
		fclose(file);
	return value;
}

/* One page in each 2 MiB is mapped and unmapped again: tables stay behind. */
TEST_F_TIMEOUT(limits, host_tables, 120)
{
	const uint64_t limit = (1ull << 20) / PAGE;
	uint64_t before, left, back;
	struct kvm_iommu_refresh r;
	int ret = 0;

	kiommu_teardown(&self->k);
	set_up(_metadata, self, "1");
	/* The counts of each CPU are added to vmstat once a second. */
	sleep(3);
	before = iommu_pages();
	if (!before)
		SKIP(return, "no tables of host IOMMUs are counted");
	for (uint64_t i = 0; i < SCATTERED && !ret; i++) {
		uint64_t size = PAGE;

		ret = kiommu_refresh(self->fd, IOVA + i * STRIDE, PAGE, &r);
		if (!ret)
			ASSERT_EQ(0, kiommu_unmap_dma(self->fd, IOVA + i * STRIDE,
						      &size, 0));
	}
	EXPECT_EQ(-ENOSPC, ret);
	EXPECT_EQ(KVM_IOMMU_STATUS_SHADOW_LIMIT, r.status);
	sleep(3);
	left = iommu_pages();
	/* Far more than the driver's own pages vary by. */
	EXPECT_LE(before + limit / 2, left);
	EXPECT_GE(before + limit + 16, left);
	ASSERT_EQ(0, kiommu_unregister(self->fd));
	sleep(3);
	back = iommu_pages();
	EXPECT_GE(before + 16, back);
	printf("# pages of host tables: %llu, then %llu, then %llu\n",
	       (unsigned long long)before, (unsigned long long)left,
	       (unsigned long long)back);
	ASSERT_EQ(0, kiommu_register_tables(self->fd, self->t));
	EXPECT_EQ(0, kiommu_refresh(self->fd, IOVA, PAGE, &r));
	EXPECT_EQ(1, r.mapped);
}

TEST_F_TIMEOUT(limits, memlock, 120)
{
	const uint64_t allowed = 21;
	struct kvm_iommu_refresh r;
	uint64_t iova = KIOMMU_IOVA_BASE + 0x1000, size;

	ioat_map_pages(self->t, iova, self->gpa, 64, IOAT_RW);
	/* Mapping the same page again costs nothing. */
	ioat_map(self->t, iova + 3 * PAGE, self->gpa, 0, IOAT_RW);
	kiommu_limit_memlock(self->k.locked_vm + allowed * PAGE);
	EXPECT_EQ(-ENOMEM, kiommu_refresh(self->fd, iova, 64 * PAGE, &r));
	EXPECT_EQ(KVM_IOMMU_STATUS_MEMLOCK, r.status);
	EXPECT_EQ(allowed + 1, r.mapped);
	EXPECT_EQ(iova + (allowed + 1) * PAGE, r.stopped_iova);
	EXPECT_EQ(allowed, kiommu_pinned_pages(self->fd));
	EXPECT_EQ(self->k.locked_vm + allowed * PAGE, kiommu_locked_vm());
	/* Without room it gets no further; TRANSLATE needs no room. */
	EXPECT_EQ(-ENOMEM, kiommu_refresh(self->fd, r.stopped_iova, PAGE, &r));
	EXPECT_EQ(0, r.mapped);
	EXPECT_EQ(-ENOMEM, kiommu_map_dma(self->fd, NULL, iova, 64 * PAGE,
					  VFIO_DMA_MAP_FLAG_READ |
					  VFIO_DMA_MAP_FLAG_WRITE));
	EXPECT_EQ(0, kiommu_shadow_rights(self->fd, r.stopped_iova));
	/* When a page is given back, another one fits. */
	size = PAGE;
	ASSERT_EQ(0, kiommu_unmap_dma(self->fd, iova + PAGE, &size, 0));
	EXPECT_EQ(0, kiommu_refresh(self->fd, r.stopped_iova, PAGE, &r));
	EXPECT_EQ(-ENOMEM, kiommu_refresh(self->fd, iova + PAGE, PAGE, &r));
	/* When the limit is raised, the call converges. */
	kiommu_limit_memlock(self->k.locked_vm + 63 * PAGE);
	EXPECT_EQ(0, kiommu_refresh(self->fd, iova, 64 * PAGE, &r));
	EXPECT_EQ(64, kiommu_mapped_pages(self->fd));
	EXPECT_EQ(self->k.locked_vm + 63 * PAGE, kiommu_locked_vm());
}

static bool write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);
	bool done = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	if (fd >= 0)
		close(fd);
	return done;
}

static uint64_t cgroup_kernel_bytes(void)
{
	FILE *file = fopen("/sys/fs/cgroup/kiommu/memory.stat", "r");
	unsigned long long bytes = 0;
	char line[128];

	TEST_ASSERT(file, "no memory.stat");
	while (fgets(line, sizeof(line), file))
		if (sscanf(line, "kernel %llu", &bytes) == 1)
			break;
	fclose(file);
	return bytes;
}

TEST_F_TIMEOUT(limits, shadow_is_charged_to_the_cgroup, 120)
{
	struct kvm_iommu_info info;
	uint64_t before, after;

	if (!write_text("/sys/fs/cgroup/cgroup.subtree_control", "+memory"))
		SKIP(return, "no memory cgroups");
	mkdir("/sys/fs/cgroup/kiommu", 0755);
	ASSERT_TRUE(write_text("/sys/fs/cgroup/kiommu/cgroup.procs", "0"));
	before = cgroup_kernel_bytes();
	ASSERT_EQ(0, kiommu_refresh(self->fd, IOVA, SCATTERED * STRIDE, NULL));
	ASSERT_EQ(0, kiommu_get_info(self->fd, &info));
	/* Statistics of cgroups are gathered every two seconds. */
	for (int i = 0; i < 50; i++) {
		after = cgroup_kernel_bytes();
		if (after >= before + info.shadow_bytes)
			break;
		usleep(100000);
	}
	EXPECT_LE(before + info.shadow_bytes, after);
	ASSERT_TRUE(write_text("/sys/fs/cgroup/cgroup.procs", "0"));
}

TEST_HARNESS_MAIN
