// SPDX-License-Identifier: GPL-2.0-only
/*
 * vtd_s1=1: what is said of the host's IOMMU, and whom we serve: a VT-d that cannot
 * nest, and no other. kiommu_claims.ko says of the emulated one what others have.
 */
#include <errno.h>
#include <string.h>

#include <linux/iommufd.h>

#include "kvm_util.h"

#include "faults.h"
#include "hwpt_fixture.h"
#include "hwpt_vtd.h"

#define NESTS (VTD_ECAP_NEST | VTD_ECAP_SMTS | VTD_ECAP_FSTS)

static void serve(bool serve)
{
	kiommu_set_param("vtd_s1", serve ? "1" : "0");
}

static int alloc_vtd(struct kiommu_hwpt *h, uint32_t *id)
{
	struct iommu_hwpt_vtd_s1 data = kiommu_vtd_s1(h->t);

	data.addr_width = 48;
	return kiommu_vtd_alloc(h, 0, data, id);
}

/* The flags of parents, and our own type of data, are served as without vtd_s1. */
#define EXPECT_NOT_SERVED() do {						\
	EXPECT_EQ(-EOPNOTSUPP,							\
		  kiommu_vtd_alloc_parent(h, IOMMU_HWPT_ALLOC_NEST_PARENT, &id)); \
	/* The parent is none for nesting; we would miss a KVM. */		\
	EXPECT_EQ(-EINVAL, alloc_vtd(h, &id));					\
	id = kiommu_hwpt_alloc(h, h->t);					\
	EXPECT_EQ(0, kiommu_iommufd_destroy(h, id));				\
} while (0)

TEST_F_TIMEOUT(hwpt, says_that_it_nests, 120)
{
	struct kiommu_hwpt *h = &self->h;
	struct iommu_hw_info_vtd plain, ours;
	uint64_t capabilities;
	uint32_t id = 0;

	if (kiommu_vtd_lacks())
		SKIP(return, "%s", kiommu_vtd_lacks());
	plain = kiommu_vtd_info(h, &capabilities);
	EXPECT_EQ(0, plain.ecap_reg & NESTS);
	EXPECT_NOT_SERVED();
	serve(true);
	ours = kiommu_vtd_info(h, &capabilities);
	EXPECT_EQ(plain.ecap_reg | NESTS, ours.ecap_reg);
	EXPECT_EQ(plain.flags, ours.flags);
	/* The emulated one reaches 39 or 48 bits. */
	EXPECT_EQ(plain.cap_reg | VTD_CAP_FS1GP, ours.cap_reg);
	ASSERT_EQ(0, kiommu_vtd_alloc_parent(h, IOMMU_HWPT_ALLOC_NEST_PARENT, &id));
	EXPECT_EQ(0, kiommu_iommufd_destroy(h, id));
	/* There is no KVM. */
	EXPECT_EQ(-EOPNOTSUPP, alloc_vtd(h, &id));
	serve(false);
	EXPECT_NOT_SERVED();
}

/* Tables of 5 levels, as far as the host's own ones reach so far. */
TEST_F_TIMEOUT(hwpt, says_5_levels_if_there_are, 120)
{
	struct kiommu_hwpt *h = &self->h;
	uint64_t capabilities;
	const struct {
		uint64_t claim, says;
	} cases[] = {
		{ VTD_CAP_SAGAW_5 | VTD_CAP_MGAW, VTD_CAP_FS5LP },
		{ VTD_CAP_MGAW, 0 },
		{ VTD_CAP_SAGAW_5, 0 },
		{ VTD_CAP_FS5LP, 0 },
	};

	if (kiommu_vtd_lacks())
		SKIP(return, "%s", kiommu_vtd_lacks());
	serve(true);
	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		char parameters[64];

		snprintf(parameters, sizeof(parameters), "cap=%llu",
			 (unsigned long long)cases[i].claim);
		if (!kiommu_load_claims(parameters))
			SKIP(break, KIOMMU_NO_CLAIMS);
		EXPECT_EQ(cases[i].says,
			  kiommu_vtd_info(h, &capabilities).cap_reg & VTD_CAP_FS5LP);
		kiommu_unload_claims();
	}
	serve(false);
}

/* A VT-d that nests is left alone: what is asked for goes to its driver. */
TEST_F_TIMEOUT(hwpt, leaves_one_that_nests_alone, 120)
{
	struct kiommu_hwpt *h = &self->h;
	struct iommu_hw_info_vtd plain, ours;
	uint64_t capabilities;
	char parameters[64];
	uint32_t id = 0;

	if (kiommu_vtd_lacks())
		SKIP(return, "%s", kiommu_vtd_lacks());
	snprintf(parameters, sizeof(parameters), "ecap=%llu dirty=1", VTD_ECAP_NEST);
	if (!kiommu_load_claims(parameters))
		SKIP(return, KIOMMU_NO_CLAIMS);
	plain = kiommu_vtd_info(h, &capabilities);
	serve(true);
	ours = kiommu_vtd_info(h, &capabilities);
	EXPECT_EQ(0, memcmp(&plain, &ours, sizeof(plain)));
	EXPECT_TRUE(capabilities & IOMMU_HW_CAP_DIRTY_TRACKING);
	/* The driver knows better. */
	EXPECT_NOT_SERVED();
	serve(false);
	kiommu_unload_claims();
}

/* What is written by way of our HWPTs does not show in the parent. */
TEST_F_TIMEOUT(hwpt, tracks_no_dirty_pages, 120)
{
	struct kiommu_hwpt *h = &self->h;
	struct kvm_iommu_hwpt data = kiommu_hwpt_data(h->t);
	/* It would be EINVAL. */
	struct iommu_hwpt_vtd_s1 bad = { .addr_width = 39 };
	const uint32_t plain_parent = h->parent;
	uint64_t capabilities;
	uint32_t id = 0;

	if (kiommu_vtd_lacks())
		SKIP(return, "%s", kiommu_vtd_lacks());
	if (!kiommu_load_claims("dirty=1"))
		SKIP(return, KIOMMU_NO_CLAIMS);
	kiommu_vtd_info(h, &capabilities);
	EXPECT_TRUE(capabilities & IOMMU_HW_CAP_DIRTY_TRACKING);
	serve(true);
	kiommu_vtd_info(h, &capabilities);
	EXPECT_FALSE(capabilities & IOMMU_HW_CAP_DIRTY_TRACKING);
	ASSERT_EQ(0, kiommu_vtd_alloc_parent(h, IOMMU_HWPT_ALLOC_DIRTY_TRACKING, &h->parent));
	EXPECT_EQ(-EOPNOTSUPP, kiommu_vtd_alloc(h, 0, bad, &id));
	EXPECT_EQ(-EOPNOTSUPP,
		  kiommu_hwpt_alloc_with(h, 0, h->parent, &data, sizeof(data), &id));
	EXPECT_EQ(0xdead, (int)data.status);
	EXPECT_EQ(0, kiommu_iommufd_destroy(h, h->parent));
	h->parent = plain_parent;
	serve(false);
	kiommu_unload_claims();
}

/*
 * Another module has the data type of VT-d: ours cannot be loaded, and leaves nothing of
 * what it could have registered.
 */
TEST_F_TIMEOUT(hwpt, another_provider, 120)
{
	struct kiommu_hwpt *h = &self->h;
	uint32_t id;

	ASSERT_EQ(0, kiommu_module_unload());
	if (kiommu_load_claims("provider=1")) {
		for (unsigned int i = 0; i < 2; i++)
			EXPECT_EQ(-EBUSY, kiommu_module_try_load());
		kiommu_unload_claims();
	}
	kiommu_module_load();
	id = kiommu_hwpt_alloc(h, h->t);
	EXPECT_EQ(0, kiommu_iommufd_destroy(h, id));
}

/* A host of another kind: nothing changes. */
TEST_F_TIMEOUT(hwpt, serves_no_other_kind, 120)
{
	struct iommu_hw_info plain = {}, ours = {};
	char what[2][64] = {};
	struct kiommu_hwpt *h = &self->h;
	uint32_t id = 0;

	if (!kiommu_vtd_lacks())
		SKIP(return, "the host has a VT-d");
	plain.data_len = sizeof(what[0]);
	plain.data_uptr = (uintptr_t)what[0];
	ASSERT_EQ(0, kiommu_hw_info(h, 0, &plain));
	serve(true);
	ours.data_len = sizeof(what[1]);
	ours.data_uptr = (uintptr_t)what[1];
	ASSERT_EQ(0, kiommu_hw_info(h, 0, &ours));
	EXPECT_EQ(plain.out_data_type, ours.out_data_type);
	EXPECT_EQ(plain.data_len, ours.data_len);
	EXPECT_EQ(plain.out_capabilities, ours.out_capabilities);
	EXPECT_EQ(0, memcmp(what[0], what[1], sizeof(what[0])));
	EXPECT_NOT_SERVED();
	serve(false);
}

TEST_HARNESS_MAIN
