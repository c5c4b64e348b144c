// SPDX-License-Identifier: GPL-2.0-only
/* Mode TRACKED, see tracked.h. */
#include <linux/compiler.h>

#include "test_util.h"

#include "ioctls.h"
#include "counters.h"
#include "ring.h"
#include "tracked.h"

int kiommu_set_tracked(int fd, uint32_t burst)
{
	const struct kvm_iommu_set_sync cmd = {
		.size = sizeof(cmd),
		.mode = KVM_IOMMU_SYNC_TRACKED,
		.burst = burst,
	};

	return kiommu_set_sync(fd, &cmd);
}

int kiommu_untrack(int fd, uint64_t gpa, uint64_t length)
{
	struct kvm_iommu_untrack cmd = {
		.size = sizeof(cmd),
		.gpa = gpa,
		.length = length,
	};

	int ret = kiommu_ioctl(fd, KVM_IOMMU_UNTRACK, &cmd);

	return ret ? ret : (int)cmd.count;
}

uint64_t kiommu_tracked_pages(int fd)
{
	struct kvm_iommu_info info;

	TEST_ASSERT(!kiommu_get_info(fd, &info), "GET_INFO");
	return info.tracked_pages;
}

uint64_t kiommu_unsynced_pages(int fd)
{
	struct kvm_iommu_info info;

	TEST_ASSERT(!kiommu_get_info(fd, &info), "GET_INFO");
	return info.unsynced_pages;
}

bool kiommu_maps(int fd, uint64_t iova, uint64_t gpa)
{
	struct kvm_iommu_translate result;

	return !kiommu_translate(fd, iova, &result) && result.gpa == gpa &&
	       result.shadow_rights == IOAT_RW;
}

bool kiommu_blocks(int fd, uint64_t iova)
{
	return !kiommu_shadow_rights(fd, iova);
}

uint64_t kiommu_store(uint64_t *entry, uint64_t value)
{
	WRITE_ONCE(*entry, value);
	return 0;
}
