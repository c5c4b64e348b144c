// SPDX-License-Identifier: GPL-2.0-only
/* A VMM that was written for a VT-d that nests, see hwpt_vtd.h. */
#include <stdlib.h>
#include <string.h>

#include "kvm_util.h"

#include "hwpt_vtd.h"

const char *kiommu_vtd_lacks(void)
{
	const char *host = getenv("KIOMMU_HOST") ?: "";

	return kiommu_hwpt_lacks() ?:
	       strncmp(host, "intel-iommu", 11) ? "the host has no VT-d" : NULL;
}

struct iommu_hw_info_vtd kiommu_vtd_info(const struct kiommu_hwpt *h,
					 uint64_t *capabilities)
{
	struct iommu_hw_info_vtd vtd = {};
	struct iommu_hw_info cmd = {
		.data_len = sizeof(vtd),
		.data_uptr = (uintptr_t)&vtd,
	};
	int ret = kiommu_hw_info(h, 0, &cmd);

	TEST_ASSERT(!ret && cmd.out_data_type == IOMMU_HW_INFO_TYPE_INTEL_VTD,
		    "GET_HW_INFO: %d", ret);
	*capabilities = cmd.out_capabilities;
	return vtd;
}

struct iommu_hwpt_vtd_s1 kiommu_vtd_s1(const struct ioat *t)
{
	return (struct iommu_hwpt_vtd_s1){
		.pgtbl_addr = ioat_iota(t),
		.addr_width = t->levels == 4 ? 48 : 57,
	};
}

int kiommu_vtd_alloc_with(const struct kiommu_hwpt *h, unsigned int device,
			  const void *data, uint32_t length, uint32_t *id)
{
	struct iommu_hwpt_alloc cmd = {
		.pt_id = h->parent,
		.data_type = IOMMU_HWPT_DATA_VTD_S1,
		.data_len = length,
		.data_uptr = (uintptr_t)data,
	};

	return kiommu_hwpt_alloc_any(h, device, &cmd, id);
}

int kiommu_vtd_alloc(const struct kiommu_hwpt *h, unsigned int device,
		     struct iommu_hwpt_vtd_s1 data, uint32_t *id)
{
	return kiommu_vtd_alloc_with(h, device, &data, sizeof(data), id);
}

int kiommu_vtd_alloc_parent(const struct kiommu_hwpt *h, uint32_t flags, uint32_t *id)
{
	struct iommu_hwpt_alloc cmd = { .flags = flags, .pt_id = h->ioas };

	return kiommu_hwpt_alloc_any(h, 0, &cmd, id);
}

int kiommu_vtd_invalidate_with(const struct kiommu_hwpt *h, uint32_t id,
			       const void *entries, uint32_t entry_len, uint32_t *count)
{
	struct iommu_hwpt_invalidate cmd = {
		.hwpt_id = id,
		.data_uptr = (uintptr_t)entries,
		.data_type = IOMMU_HWPT_INVALIDATE_DATA_VTD_S1,
		.entry_len = entry_len,
		.entry_num = *count,
	};
	int ret = kiommu_hwpt_invalidate_any(h, &cmd);

	*count = cmd.entry_num;
	return ret;
}

int kiommu_vtd_invalidate(const struct kiommu_hwpt *h, uint32_t id, uint64_t addr,
			  uint64_t npages)
{
	struct iommu_hwpt_vtd_s1_invalidate entry = { .addr = addr, .npages = npages };
	uint32_t count = 1;
	int ret = kiommu_vtd_invalidate_with(h, id, &entry, sizeof(entry), &count);

	TEST_ASSERT(count == !ret, "HWPT_INVALIDATE: %d, %u entries done", ret, count);
	return ret;
}
