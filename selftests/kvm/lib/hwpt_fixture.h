/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The fixture "hwpt" of the tests that have no KVM: everything of hwpt.h, and nothing
 * is left of it in the end. Included once, by the test program.
 */
#ifndef KIOMMU_SELFTEST_HWPT_FIXTURE_H
#define KIOMMU_SELFTEST_HWPT_FIXTURE_H

#include "kvm_test_harness.h"

#include "counters.h"
#include "hwpt.h"

FIXTURE(hwpt) {
	struct kiommu_hwpt h;
	uint64_t pins;
	long kvm_refs;
};

FIXTURE_SETUP(hwpt)
{
	if (kiommu_hwpt_lacks())
		SKIP(return, "%s", kiommu_hwpt_lacks());
	self->pins = kiommu_pins();
	self->kvm_refs = kiommu_kvm_refs();
	ASSERT_EQ(0, kiommu_await_refs(0));
	kiommu_hwpt_setup(&self->h);
}

FIXTURE_TEARDOWN(hwpt)
{
	kiommu_hwpt_teardown(&self->h);
	EXPECT_EQ(0, kiommu_await_refs(0));
	KIOMMU_EXPECT_NOTHING_LEFT();
}

#endif
