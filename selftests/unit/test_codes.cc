// SPDX-License-Identifier: GPL-2.0-only
//
// Why a call was refused: the errno, and the status that distinguishes causes
// with the same errno.
#include "lib/world.hpp"

namespace kiommu::test {
namespace {

using F = VtdSsFormat;

struct Refused {
  u64 at;
  u64 length;
  int error;
  unsigned status;
};

TEST(Codes, RefusedRefreshesHaveAStatus) {
  World<F> world;
  const u64 reach = world.tables.reach();
  const Refused cases[] = {
      {1, kPage, -EINVAL, KVM_IOMMU_STATUS_MISALIGNED},
      {0, 0, -EINVAL, KVM_IOMMU_STATUS_MISALIGNED},
      {0, kPage + 1, -EINVAL, KVM_IOMMU_STATUS_MISALIGNED},
      {kPage, ~u64{0xfff}, -EINVAL, KVM_IOMMU_STATUS_RANGE},
      {2 * kPage, ~u64{0xfff}, -EOVERFLOW, KVM_IOMMU_STATUS_OVERFLOW},
      {reach, kPage, -EINVAL, KVM_IOMMU_STATUS_RANGE},
  };
  for (const Refused& c : cases) {
    const RefreshOutcome outcome = world.refresh(c.at, c.length);
    EXPECT_EQ(outcome.error, c.error) << c.at << " " << c.length;
    EXPECT_EQ(outcome.result.status, c.status) << c.at << " " << c.length;
    EXPECT_EQ(outcome.result.mapped, 0u);
  }
  ASSERT_EQ(world.unanchor(), 0);
  EXPECT_EQ(world.refresh(0, kPage).error, -ENXIO);
  EXPECT_EQ(world.refresh(0, kPage).result.status,
            unsigned{KVM_IOMMU_STATUS_NO_ANCHOR});
  ASSERT_EQ(world.stop(), 0);
  EXPECT_EQ(world.refresh(0, kPage).error, -ENODEV);
  EXPECT_EQ(world.refresh(0, kPage).result.status,
            unsigned{KVM_IOMMU_STATUS_NO_KVM});
}

TEST(Codes, RefusedTranslationsHaveAStatus) {
  World<F> world;
  kiommu_translation answer{};
  EXPECT_EQ(world.Machine::translate(world.tables.reach(), &answer), -EINVAL);
  EXPECT_EQ(answer.status, unsigned{KVM_IOMMU_STATUS_RANGE});
  EXPECT_EQ(world.translate_range(1, kPage).error, -EINVAL);
  EXPECT_EQ(world.translate_range(1, kPage).status,
            unsigned{KVM_IOMMU_STATUS_MISALIGNED});
  EXPECT_EQ(world.translate_range(world.tables.reach(), kPage).status,
            unsigned{KVM_IOMMU_STATUS_RANGE});
  ASSERT_EQ(world.unanchor(), 0);
  EXPECT_EQ(world.Machine::translate(0, &answer), -ENXIO);
  EXPECT_EQ(answer.status, unsigned{KVM_IOMMU_STATUS_NO_ANCHOR});
}

TEST(Codes, RefusedPinsHaveAStatus) {
  World<F> world;
  const Refused cases[] = {
      {kDataGpa + 1, kPage, -EINVAL, KVM_IOMMU_STATUS_MISALIGNED},
      {kDataGpa, kPage, -EINVAL, KVM_IOMMU_STATUS_RANGE},
      {~u64{0xfff}, 2 * kPage, -EOVERFLOW, KVM_IOMMU_STATUS_OVERFLOW},
  };
  for (const Refused& c : cases) {
    kiommu_u32 status = 0;
    EXPECT_EQ(world.pins.preregister(c.at, c.length, &status), c.error);
    EXPECT_EQ(status, c.status);
    EXPECT_EQ(world.pins.unregister(c.at, c.length, &status), c.error);
    EXPECT_EQ(status, c.status);
  }
  // Two causes with the same errno: kernel memory, and the process's limit.
  kiommu_u32 status = 0;
  faults().account.arm_always();
  EXPECT_EQ(world.pins.preregister(0, 0, &status), -ENOMEM);
  EXPECT_EQ(status, unsigned{KVM_IOMMU_STATUS_MEMLOCK});
  faults() = {};
}

TEST(Codes, RefusedUntracksHaveAStatus) {
  World<F> world;
  ASSERT_EQ(world.follow(), 0);
  kiommu_u64 count = 7;
  kiommu_u32 status = 0;
  EXPECT_EQ(world.untrack(1, kPage, &count, &status), -EINVAL);
  EXPECT_EQ(status, unsigned{KVM_IOMMU_STATUS_MISALIGNED});
  EXPECT_EQ(world.untrack(~u64{0xfff}, 2 * kPage, &count, &status), -EOVERFLOW);
  EXPECT_EQ(status, unsigned{KVM_IOMMU_STATUS_OVERFLOW});
  world.unfollow();
}

}  // namespace
}  // namespace kiommu::test
