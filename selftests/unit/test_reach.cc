// SPDX-License-Identifier: GPL-2.0-only
//
// The reach of an operation, which it has to itself, includes the whole host
// blocks in which its range begins and ends.
#include "api/handles.hpp"
#include "lib/world.hpp"

namespace kiommu::test {
namespace {

constexpr u64 kLeafPages = 512;

TEST(Reach, BlocksAtBothEnds) {
  World<VtdSsFormat> world({.machine = {.hosts = {port::kAmd}}});
  // Two blocks of 8 MiB, and nothing between them.
  for (const u64 block : {8 * kMiB, 24 * kMiB}) {
    for (u64 at = block; at < block + 8 * kMiB; at += 2 * kMiB) {
      world.tables.map(at, kDataGpa + at, kRW, 1);
    }
    world.expect_refresh(block, 8 * kMiB);
  }
  ASSERT_EQ(world.iommus[0].blocks().size(), 2u);
  const IovaPages first{8 * kMiB / kPage, 16 * kMiB / kPage - 1};
  const IovaPages second{24 * kMiB / kPage, 32 * kMiB / kPage - 1};
  world.shared([&](kiommu_domain* domain) {
    const Shadow& shadow = domain->domain.shadow();
    Workspace* workspace = Workspace::create(world.iommus.handle());
    const auto reach = [&](u64 begin, u64 end) {
      workspace->range = {begin, end};
      workspace->leaf = {};
      return shadow.reach(*workspace);
    };
    // One leaf of each block, and those between, which belong to no block.
    const IovaPages both =
        reach(first.last - kLeafPages + 1, second.first + kLeafPages - 1);
    EXPECT_EQ(both.first, first.first);
    EXPECT_EQ(both.last, second.last);
    const IovaPages end =
        reach(second.first - kLeafPages, second.first + kLeafPages - 1);
    EXPECT_EQ(end.first, second.first - kLeafPages);
    EXPECT_EQ(end.last, second.last);
    const IovaPages begin =
        reach(first.last - kLeafPages + 1, first.last + kLeafPages);
    EXPECT_EQ(begin.first, first.first);
    EXPECT_EQ(begin.last, first.last + kLeafPages);
    const IovaPages neither = reach(first.last + 1, second.first - 1);
    EXPECT_EQ(neither.first, first.last + 1);
    EXPECT_EQ(neither.last, second.first - 1);
    Workspace::destroy(workspace);
    return 0;
  });
}

}  // namespace
}  // namespace kiommu::test
