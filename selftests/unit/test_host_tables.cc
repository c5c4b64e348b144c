// SPDX-License-Identifier: GPL-2.0-only
//
// Tables that hosts keep when nothing is mapped by them any more: they are
// bounded, counted, and given back with the anchor. expect_consistent()
// compares the tables of the hosts with the reservations of the core.
#include "lib/world.hpp"

namespace kiommu::test {
namespace {

using W = World<VtdSsFormat>;

constexpr u64 kLimit = u64{1} << 20;
constexpr u64 kTables = kLimit / KIOMMU_NODE_BYTES;

class HostTables : public testing::TestWithParam<port::HostKind> {
 protected:
  bool keeps() const {
    return GetParam().frees != port::FreesTables::kNoTables;
  }
  // Maps the first page of a 2 MiB range and unmaps it. Returns the error.
  int touch(u64 range) {
    const u64 iova = range * 2 * kMiB;
    world_.tables.map(iova, world_.data(range % 16));
    const RefreshOutcome outcome = world_.refresh(iova, kPage);
    if (outcome.error != 0) {
      EXPECT_EQ(outcome.result.status, unsigned{KVM_IOMMU_STATUS_SHADOW_LIMIT});
      return outcome.error;
    }
    EXPECT_EQ(world_.unmap(iova, kPage), 0);
    return 0;
  }
  // Touches as many ranges as there is room for, up to `most`; returns how
  // many.
  u64 touch_all(u64 most) {
    for (u64 range = 0; range < most; ++range) {
      const int error = touch(range);
      if (error == 0) continue;
      EXPECT_EQ(error, -ENOSPC);
      return range;
    }
    return most;
  }
  port::HostIommu& host() { return world_.iommus[0]; }

  W world_{{.machine = {.hosts = {GetParam()}, .shadow_limit = kLimit}}};
};

TEST_P(HostTables, AreBoundedByTheLimitAndGoWithTheAnchor) {
  const u64 touched = touch_all(4 * kTables);
  EXPECT_EQ(world_.info().mapped_pages, 0u);
  EXPECT_LE(host().tables(), kTables + 3);
  expect_consistent(world_);
  if (!keeps()) {
    EXPECT_EQ(touched, 4 * kTables);
    EXPECT_EQ(world_.iommus.renewals, 0u);
    return;
  }
  EXPECT_LT(touched, kTables);
  EXPECT_GE(touched, kTables - 8);
  EXPECT_EQ(world_.info().shadow_bytes, kLimit);
  // Ranges that there was room for can be mapped again and again.
  for (u64 range = 0; range < touched; range += 7) EXPECT_EQ(touch(range), 0);
  expect_consistent(world_);

  EXPECT_EQ(world_.unanchor(), 0);
  EXPECT_EQ(host().tables(), 0u);
  EXPECT_EQ(world_.info().shadow_bytes, 0u);
  EXPECT_EQ(world_.iommus.renewals, 1u);
  EXPECT_EQ(world_.anchor(world_.tables.anchor()), 0);
  EXPECT_EQ(touch(4 * kTables), 0);
}

TEST_P(HostTables, GoWhenTheGuestLeaves) {
  touch_all(32);
  EXPECT_EQ(world_.stop(), 0);
  EXPECT_EQ(host().tables(), 0u);
  EXPECT_EQ(world_.info().shadow_bytes, 0u);
}

TEST_P(HostTables, StayCountedWhenTheyCannotBeGivenBack) {
  const u64 touched = touch_all(4 * kTables);
  const u64 bytes = world_.info().shadow_bytes;
  world_.iommus.renew_error = -ENOMEM;
  EXPECT_EQ(world_.unanchor(), 0);
  EXPECT_EQ(world_.info().shadow_bytes, bytes);
  expect_consistent(world_);
  EXPECT_EQ(world_.anchor(world_.tables.anchor()), 0);
  for (u64 range = 0; range < touched; range += 7) EXPECT_EQ(touch(range), 0);
  EXPECT_EQ(world_.info().shadow_bytes, bytes);
  world_.iommus.renew_error = 0;
  EXPECT_EQ(world_.unanchor(), 0);
  EXPECT_EQ(world_.info().shadow_bytes, 0u);
  expect_consistent(world_);
}

TEST_P(HostTables, NothingIsExchangedWhereNothingIsLeft) {
  EXPECT_EQ(world_.unanchor(), 0);
  EXPECT_EQ(world_.iommus.renewals, 0u);
}

// A host that makes no large pages has lowest tables where the shadow has runs.
TEST_P(HostTables, OfRunsAreCounted) {
  W world{{.machine = {.hosts = {GetParam()}},
           .data_pages = 16384,
           .data_order = port::kContiguous2M}};
  for (u64 i = 0; i < 32; ++i) {
    world.tables.map(i * 2 * kMiB, world.data(i * 512), kRW, 1);
  }
  world.expect_refresh(0, 64 * kMiB);
  for (u64 i = 0; i < 32; i += 2) {
    EXPECT_EQ(world.unmap(i * 2 * kMiB, 2 * kMiB), 0);
    expect_consistent(world);
  }
  // A part of a run, then the rest of it.
  EXPECT_EQ(world.unmap(2 * kMiB, kPage), 0);
  expect_consistent(world);
  EXPECT_EQ(world.unmap(0, 64 * kMiB), 0);
  expect_consistent(world);
  world.expect_refresh(0, 64 * kMiB);
  EXPECT_EQ(world.unanchor(), 0);
  expect_consistent(world);
}

INSTANTIATE_TEST_SUITE_P(Kinds, HostTables,
                         testing::Values(port::kVtd, port::kVtd4K, port::kAmd,
                                         port::kVirtio),
                         [](const auto& kind) {
                           std::string name = kind.param.name;
                           std::erase(name, '-');
                           return name;
                         });

}  // namespace
}  // namespace kiommu::test
