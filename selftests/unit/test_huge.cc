// SPDX-License-Identifier: GPL-2.0-only
//
// Contiguous and aligned memory of 2 MiB takes one word of shadow and one of
// pins for its 512 pages, and one page of the host's table. Also how such a
// piece is split.
#include "lib/world.hpp"

namespace kiommu::test {
namespace {

using W = World<VtdSsFormat>;
constexpr u64 kHuge = 512;  // pages

class Huge : public testing::Test {
 protected:
  Huge() : world_({.data_pages = 1 << 18}) {}

  // Maps `count` large pages at IOVA 0, by entries of their size.
  void fill(u64 count) {
    for (u64 i = 0; i < count; ++i) {
      world_.tables.map(i * 2 * kMiB, world_.data(i * kHuge), kRW, 1);
    }
    world_.expect_refresh(0, count * 2 * kMiB);
  }
  void expect_pages(u64 first, u64 end) {
    for (u64 i = first; i < end; ++i) {
      ASSERT_EQ(world_.sees(i * kPage), world_.frame(world_.data(i))) << i;
    }
  }
  void expect_blocked(u64 first, u64 end) {
    for (u64 i = first; i < end; ++i) {
      ASSERT_EQ(world_.sees(i * kPage), kBlocked) << i;
    }
  }

  W world_;
};

TEST_F(Huge, LargeLeafIsOneHostPageAndCostsNoStatePerPage) {
  fill(1);
  EXPECT_EQ(world_.iommus[0].blocks().size(), 1u);
  const u64 one = world_.info().shadow_bytes;
  const u64 pins = world_.info().pin_bytes;
  fill(512);  // 1 GiB
  EXPECT_EQ(world_.info().mapped_pages, 512 * kHuge);
  EXPECT_LE(world_.info().shadow_bytes, one + 4096);
  EXPECT_LE(world_.info().shadow_bytes, 8u * 4096);
  EXPECT_LE(world_.info().pin_bytes, pins + 4096);
  EXPECT_EQ(world_.info().pinned_pages, 512 * kHuge);
}

TEST_F(Huge, PagesOfOneLargePieceThatComeTogetherAreOne) {
  world_.tables.map_pages(0, world_.data(0), 2 * kHuge);
  world_.expect_refresh(0, 4 * kMiB);
  EXPECT_EQ(world_.iommus[0].blocks().size(), 2u);
  EXPECT_LE(world_.info().pin_bytes, 10u * 4096);
}

TEST_F(Huge, UnchangedCostsNothing) {
  fill(4);
  const u64 maps = world_.iommus.map_calls;
  const u64 pins = world_.guest.pin_calls;
  world_.expect_refresh(0, 8 * kMiB);
  EXPECT_EQ(world_.iommus.map_calls, maps);
  EXPECT_EQ(world_.iommus.unmap_calls, 0u);
  EXPECT_EQ(world_.guest.pin_calls, pins);
}

TEST_F(Huge, PartialRefreshTakesItApartAndKeepsTheRest) {
  fill(3);
  world_.tables.map_pages(2 * kMiB, world_.data(kHuge), kHuge);
  world_.tables.map(2 * kMiB + 100 * kPage, world_.data(5000), kR);
  world_.tables.clear(2 * kMiB + 101 * kPage);
  world_.tables.link(2 * kMiB, 1);
  world_.expect_refresh(2 * kMiB + 100 * kPage, 2 * kPage);
  const u64 changed = kHuge + 100;
  expect_pages(0, changed);
  EXPECT_EQ(world_.sees(changed * kPage), world_.frame(world_.data(5000), kR));
  EXPECT_EQ(world_.sees((changed + 1) * kPage), kBlocked);
  expect_pages(changed + 2, 3 * kHuge);
}

TEST_F(Huge, PartialUnmapTakesItApartAndKeepsTheRest) {
  fill(3);
  u64 unmapped = 0;
  EXPECT_EQ(world_.unmap(500 * kPage, 600 * kPage, &unmapped), 0);
  EXPECT_EQ(unmapped, 600u);
  expect_consistent(world_);
  expect_pages(0, 500);
  expect_blocked(500, 1100);
  expect_pages(1100, 3 * kHuge);
  // Then whole again.
  world_.expect_refresh(0, 6 * kMiB);
  expect_pages(0, 3 * kHuge);
}

TEST_F(Huge, WholeIsUnmappedWithoutMemory) {
  fill(3);
  faults().node.arm_always();
  u64 unmapped = 0;
  EXPECT_EQ(world_.unmap(2 * kMiB, 2 * kMiB, &unmapped), 0);
  faults() = {};
  EXPECT_EQ(unmapped, kHuge);
  expect_consistent(world_);
  EXPECT_EQ(world_.host.pins(), 2 * kHuge);
  expect_pages(0, kHuge);
  expect_pages(2 * kHuge, 3 * kHuge);
}

// As documented, the rest of the large page is lost, and the call reports it.
TEST_F(Huge, NoMemoryAtASplitLosesTheRestOfThatPageOnly) {
  fill(3);
  faults().node.arm_always();
  u64 unmapped = 0;
  EXPECT_EQ(world_.unmap(600 * kPage, 10 * kPage, &unmapped), -ENOMEM);
  faults() = {};
  EXPECT_EQ(unmapped, kHuge);
  expect_consistent(world_);
  expect_pages(0, kHuge);
  expect_blocked(kHuge, 2 * kHuge);
  expect_pages(2 * kHuge, 3 * kHuge);
}

TEST_F(Huge, NoMemoryAtASplitOfARefreshConverges) {
  fill(3);
  world_.tables.map_pages(2 * kMiB, world_.data(kHuge), kHuge);
  world_.tables.clear(2 * kMiB + 100 * kPage);
  world_.tables.link(2 * kMiB, 1);
  faults().node.arm_always();
  const u64 iova = 2 * kMiB + 100 * kPage;
  const RefreshOutcome outcome = world_.refresh(iova, kPage);
  faults() = {};
  EXPECT_EQ(outcome.error, -ENOMEM);
  EXPECT_EQ(outcome.result.status, unsigned{KVM_IOMMU_STATUS_NO_MEMORY});
  expect_consistent(world_);
  expect_pages(0, kHuge);
  EXPECT_EQ(world_.sees(iova), kBlocked);
  expect_pages(2 * kHuge, 3 * kHuge);
  world_.expect_refresh(2 * kMiB, 2 * kMiB);
  expect_pages(kHuge, kHuge + 100);
  expect_pages(kHuge + 101, 2 * kHuge);
}

TEST_F(Huge, LosesRightsAsAWhole) {
  fill(2);
  world_.tables.map(0, world_.data(0), kR, 1);
  world_.expect_refresh(0, 4 * kMiB);
  EXPECT_EQ(world_.sees(0), world_.frame(world_.data(0), kR));
  EXPECT_EQ(world_.sees(511 * kPage), world_.frame(world_.data(511), kR));
  expect_pages(kHuge, 2 * kHuge);
}

TEST_F(Huge, ReadOnlyMemoryIsOneToo) {
  const u64 rom = kDataGpa + 64 * kGiB;
  world_.guest.add_ram(rom, kHuge, port::kContiguous, KIOMMU_SLOT_READ_ONLY);
  world_.tables.map(0, rom, kRW, 1);
  world_.expect_refresh(0, 2 * kMiB);
  EXPECT_EQ(world_.iommus[0].blocks().size(), 1u);
  EXPECT_EQ(world_.sees(0), world_.frame(rom, kR));
  const u64 maps = world_.iommus.map_calls;
  world_.expect_refresh(0, 2 * kMiB);
  EXPECT_EQ(world_.iommus.map_calls, maps);
}

TEST_F(Huge, MemoryThatTheProcessMayOnlyRead) {
  world_.guest.set_backing(world_.data_hva, kHuge, Backing::kReadOnlyRam);
  fill(2);
  EXPECT_EQ(world_.iommus[0].blocks().size(), 2u);
  EXPECT_EQ(world_.sees(0), world_.frame(world_.data(0), kR));
  expect_pages(kHuge, 2 * kHuge);
  // The same memory by small pages, at other IOVAs.
  world_.tables.map_pages(kGiB, world_.data(3), 5);
  world_.expect_refresh(kGiB, 5 * kPage);
  EXPECT_EQ(world_.sees(kGiB), world_.frame(world_.data(3), kR));
  world_.tables.map(0, world_.data(0), kW, 1);
  world_.expect_stops(0, 2 * kMiB, 0, -EIO, KVM_IOMMU_STATUS_READ_ONLY);
}

TEST_F(Huge, PinsOfALargePieceGoTogether) {
  fill(1);
  // Unmap all but one of its pages: the whole piece stays pinned.
  EXPECT_EQ(world_.unmap(0, 511 * kPage), 0);
  expect_consistent(world_);
  EXPECT_EQ(world_.host.pins(), kHuge);
  EXPECT_EQ(world_.info().idle_pages, 0u);
  EXPECT_EQ(world_.unmap(511 * kPage, kPage), 0);
  EXPECT_EQ(world_.host.pins(), 0u);
}

TEST_F(Huge, PartlyHeldAndPartlyMappedElsewhere) {
  fill(1);
  // The same memory at other IOVAs, by pages.
  world_.tables.map_pages(kGiB, world_.data(100), 50);
  world_.expect_refresh(kGiB, 50 * kPage);
  EXPECT_EQ(world_.info().pinned_pages, kHuge);
  EXPECT_EQ(world_.unmap(0, 2 * kMiB), 0);
  expect_consistent(world_);
  EXPECT_EQ(world_.sees(kGiB), world_.frame(world_.data(100)));
  EXPECT_EQ(world_.unmap(kGiB, 50 * kPage), 0);
  EXPECT_EQ(world_.host.pins(), 0u);
}

// Aligned for the guest, but not for the host: no page of the host's table can
// hold it.
TEST_F(Huge, MisalignedHostMemoryIsTakenByPages) {
  const u64 gpa = kDataGpa + 64 * kGiB;
  const u64 hva = world_.guest.add_area(4 * kHuge, port::kContiguous);
  world_.guest.add_slot(gpa, 2 * kHuge, hva + 3 * kPage);
  for (u64 i = 0; i < 2; ++i) {
    world_.tables.map(i * 2 * kMiB, gpa + i * 2 * kMiB, kRW, 1);
  }
  world_.expect_refresh(0, 4 * kMiB);
  EXPECT_EQ(world_.iommus[0].blocks().size(), 2 * kHuge);
  EXPECT_EQ(world_.unmap(100 * kPage, 700 * kPage), 0);
  expect_consistent(world_);
  EXPECT_EQ(world_.sees(99 * kPage), world_.frame(gpa + 99 * kPage));
  EXPECT_EQ(world_.sees(800 * kPage), world_.frame(gpa + 800 * kPage));
  world_.expect_refresh(0, 4 * kMiB);
}

// The same for the IOVA.
TEST_F(Huge, MisalignedIovaIsTakenByPages) {
  world_.tables.map_pages(7 * kPage, world_.data(0), 2 * kHuge);
  world_.expect_refresh(0, 8 * kMiB);
  EXPECT_EQ(world_.info().mapped_pages, 2 * kHuge);
  EXPECT_EQ(world_.unmap(100 * kPage, 700 * kPage), 0);
  expect_consistent(world_);
}

TEST_F(Huge, PinnedByPagesFirst) {
  world_.tables.map(kGiB, world_.data(100));
  world_.expect_refresh(kGiB, kPage);
  fill(1);
  expect_pages(0, kHuge);
  EXPECT_EQ(world_.iommus[0].blocks().size(), 2u);
  EXPECT_EQ(world_.info().pinned_pages, kHuge);
  EXPECT_EQ(world_.unmap(0, 2 * kMiB), 0);
  expect_consistent(world_);
  EXPECT_EQ(world_.host.pins(), 1u);
}

// Pages that were idle and are held again are still in the queue of those that
// may be idle: trimming looks at them, and leaves them.
TEST(HugeIdle, TrimmingLeavesWhatIsHeldAgain) {
  W world({.machine = {.idle_limit = 4 * kHuge}, .data_pages = 4 * kHuge});
  for (u64 i = 0; i < 2; ++i) {
    world.tables.map(i * 2 * kMiB, world.data(i * kHuge), kRW, 1);
  }
  world.expect_refresh(0, 4 * kMiB);
  ASSERT_EQ(world.unmap(0, 4 * kMiB), 0);
  ASSERT_EQ(world.info().pinned_pages, 2 * kHuge);
  world.expect_refresh(0, 2 * kMiB);
  EXPECT_EQ(world.pins.trim(0), kHuge);
  EXPECT_EQ(world.info().pinned_pages, kHuge);
  EXPECT_EQ(world.sees(0), world.frame(world.data(0)));
  expect_consistent(world);
}

}  // namespace
}  // namespace kiommu::test
