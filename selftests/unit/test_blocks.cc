// SPDX-License-Identifier: GPL-2.0-only
//
// Changes within large pages of the hosts. Whatever changes, the rest of the
// block stays mapped, in hosts of each kind, and no host gets an unmap of part
// of its page or interval: the port would fail the test.
#include "lib/world.hpp"

namespace kiommu::test {
namespace {

using W = World<VtdSsFormat>;

struct HostSet {
  const char* name;
  std::vector<port::HostKind> kinds;
};

void PrintTo(const HostSet& set, std::ostream* out) { *out << set.name; }

class Blocks : public testing::TestWithParam<HostSet> {
 protected:
  static constexpr u64 kPages = kGiB / kPage;

  Blocks()
      : world_({.machine = {.hosts = GetParam().kinds},
                .data_pages = 2 * kPages}) {}

  // Maps [0, pages) to the data memory by large guest pages.
  void fill(u64 pages) {
    for (u64 page = 0; page < pages; page += 512) {
      world_.tables.map(page * kPage, world_.data(page), kRW, 1);
    }
    world_.expect_refresh(0, pages * kPage);
    expected_ = snapshot(world_.iommus[0]);
    ASSERT_EQ(expected_.size(), pages);
  }
  void expect_as_expected() {
    EXPECT_TRUE(runs_of(world_.iommus[0]) == runs_of(expected_));
    expect_consistent(world_);  // the other hosts are the same
  }
  void unmap(u64 first, u64 pages) {
    EXPECT_EQ(world_.unmap(first * kPage, pages * kPage), 0);
    for (u64 i = 0; i < pages; ++i) expected_.erase(first + i);
  }

  W world_;
  Snapshot expected_;
};

TEST_P(Blocks, UnmapAtTheStartTheEndAndTheMiddle) {
  fill(2048);
  const struct {
    u64 first, pages;
  } holes[] = {{0, 1},      {511, 1},  {700, 3},   {1023, 2},
               {1400, 200}, {2047, 1}, {701, 1000}};
  for (const auto& hole : holes) {
    unmap(hole.first, hole.pages);
    expect_as_expected();
  }
}

TEST_P(Blocks, EachSinglePageOfABlock) {
  fill(512);
  for (u64 i = 0; i < 512; ++i) {
    unmap(i * 37 % 512, 1);
    if (i % 16 == 0) expect_as_expected();
  }
  expect_as_expected();
  EXPECT_TRUE(expected_.empty());
}

TEST_P(Blocks, ReplacedPageInTheMiddle) {
  fill(1024);
  // The guest splits its 2 MiB page, and remaps one page of it.
  world_.tables.map_pages(0, world_.data(0), 512);
  world_.tables.map(100 * kPage, world_.data(3000), kR);
  world_.tables.link(0, 1);
  world_.expect_refresh(100 * kPage, kPage);
  expected_[100] = *world_.frame(world_.data(3000), kR);
  expect_as_expected();
  // Then it makes the page whole again.
  world_.tables.map(0, world_.data(0), kRW, 1);
  world_.expect_refresh(0, 2 * kMiB);
  expected_[100] = *world_.frame(world_.data(100));
  expect_as_expected();
}

TEST_P(Blocks, OverlapsOfSeveralBlocks) {
  fill(4096);
  // From the middle of one block to the middle of another, by refresh.
  for (u64 block = 512; block < 2048; block += 512) {
    world_.tables.clear(block * kPage, 1);
  }
  world_.expect_refresh(700 * kPage, 1000 * kPage);
  for (u64 i = 700; i < 1700; ++i) expected_.erase(i);
  expect_as_expected();
}

TEST_P(Blocks, SplitOfOneGib) {
  world_.tables.map(0, world_.data(0), kRW, 2);
  world_.expect_refresh(0, kGiB);
  expected_ = snapshot(world_.iommus[0]);
  unmap(kPages / 2 + 5, 1);
  expect_as_expected();
  unmap(0, 1);
  expect_as_expected();
  unmap(1, kPages - 2);
  expect_as_expected();
  unmap(kPages - 1, 1);
  expect_as_expected();
}

TEST_P(Blocks, AlignmentOfOneGibIsReplacedAsAWhole) {
  world_.tables.map(0, world_.data(0), kRW, 2);
  world_.expect_refresh(0, kGiB);
  world_.tables.map(0, world_.data(kPages), kRW, 2);
  world_.expect_refresh(0, kGiB);
  EXPECT_EQ(world_.sees(0), world_.frame(world_.data(kPages)));
  EXPECT_EQ(world_.sees(kGiB - kPage),
            world_.frame(world_.data(2 * kPages - 1)));
}

TEST_P(Blocks, UnalignedRunsOfEachLength) {
  // Runs whose IOVA and frames are aligned differently, of growing length.
  u64 iova = 3;
  for (u64 pages = 1; pages < 700; pages = pages * 2 + 1) {
    world_.tables.map_pages(iova * kPage, world_.data(pages + 1), pages);
    world_.expect_refresh(iova * kPage, pages * kPage);
    iova += pages + 1;
  }
  expected_ = snapshot(world_.iommus[0]);
  for (u64 first = 2; first < iova; first += 13) {
    unmap(first, 3);
    expect_as_expected();
  }
}

TEST_P(Blocks, RestoredRestCanBeTakenApartAgain) {
  fill(512);
  u64 seed = 12345;
  for (int i = 0; i < 200; ++i) {
    seed = seed * 6364136223846793005 + 1442695040888963407;
    const u64 first = seed >> 33 & 511;
    const u64 pages = 1 + (seed >> 50 & 15);
    if (i % 3 == 2) {
      const u64 end = first + pages > 512 ? 512 : first + pages;
      world_.expect_refresh(first * kPage, (end - first) * kPage);
      for (u64 page = first; page < end; ++page) {
        expected_[page] = *world_.frame(world_.data(page));
      }
    } else {
      unmap(first, pages);
    }
    expect_as_expected();
  }
}

TEST_P(Blocks, TeardownUnmapsWholeBlocksWithoutMapping) {
  fill(4096);
  const u64 maps = world_.iommus.map_calls;
  EXPECT_EQ(world_.unanchor(), 0);
  EXPECT_EQ(world_.iommus.map_calls, maps);
  EXPECT_EQ(world_.iommus.unmap_calls, 1u);
  EXPECT_EQ(world_.iommus.flush_calls, 1u);
}

INSTANTIATE_TEST_SUITE_P(
    Hosts, Blocks,
    testing::Values(HostSet{"vtd", {port::kVtd}},
                    HostSet{"vtd4K", {port::kVtd4K}},
                    HostSet{"amd", {port::kAmd}},
                    HostSet{"virtio", {port::kVirtio}},
                    HostSet{"vtd_and_amd", {port::kVtd, port::kAmd}},
                    HostSet{"amd_and_virtio", {port::kAmd, port::kVirtio}}),
    [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace kiommu::test
