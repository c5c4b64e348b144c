// SPDX-License-Identifier: GPL-2.0-only
//
// What a refresh does to the shadow, the hosts and the pins, and at what cost
// in calls. Independent of the format; the tables are VT-d's.
#include "lib/world.hpp"

namespace kiommu::test {
namespace {

using W = World<VtdSsFormat>;
constexpr u64 kIova = 0x40201000;

struct Calls {
  u64 map, unmap, flush, pin;
};

Calls calls(const W& world) {
  return {world.iommus.map_calls, world.iommus.unmap_calls,
          world.iommus.flush_calls, world.guest.pin_calls};
}

TEST(Refresh, ChangesExactlyItsRange) {
  W world;
  world.tables.map_pages(kIova, world.data(0), 20);
  world.expect_refresh(kIova + 5 * kPage, 10 * kPage);
  EXPECT_EQ(world.info().mapped_pages, 10u);
  EXPECT_EQ(world.sees(kIova + 4 * kPage), kBlocked);
  EXPECT_EQ(world.sees(kIova + 5 * kPage), world.frame(world.data(5)));
  EXPECT_EQ(world.sees(kIova + 14 * kPage), world.frame(world.data(14)));
  EXPECT_EQ(world.sees(kIova + 15 * kPage), kBlocked);
  // The guest unmaps everything, but only the range is refreshed.
  for (u64 i = 0; i < 20; ++i) world.tables.clear(kIova + i * kPage);
  const RefreshOutcome outcome = world.refresh(kIova + 7 * kPage, 2 * kPage);
  EXPECT_EQ(outcome.result.unmapped, 2u);
  EXPECT_EQ(outcome.result.mapped, 0u);
  EXPECT_EQ(world.info().mapped_pages, 8u);
  EXPECT_EQ(world.sees(kIova + 6 * kPage), world.frame(world.data(6)));
  EXPECT_EQ(world.sees(kIova + 7 * kPage), kBlocked);
  EXPECT_EQ(world.sees(kIova + 8 * kPage), kBlocked);
  EXPECT_EQ(world.sees(kIova + 9 * kPage), world.frame(world.data(9)));
}

TEST(Refresh, CountsWhatItDid) {
  W world;
  world.tables.map_pages(kIova, world.data(0), 6);
  RefreshOutcome outcome = world.refresh(kIova, 16 * kPage);
  EXPECT_EQ(outcome.result.mapped, 6u);
  EXPECT_EQ(outcome.result.unmapped, 0u);
  world.tables.map(kIova + kPage, world.data(50));
  world.tables.clear(kIova + 3 * kPage);
  outcome = world.refresh(kIova, 16 * kPage);
  EXPECT_EQ(outcome.result.mapped, 1u);
  EXPECT_EQ(outcome.result.unmapped, 2u);
}

TEST(Refresh, ContiguousRunIsOneHostCall) {
  W world;
  world.tables.map_pages(kIova, world.data(0), 1000);
  world.expect_refresh(kIova, 1000 * kPage);
  EXPECT_EQ(world.iommus.map_calls, 1u);
  EXPECT_EQ(world.iommus.unmap_calls, 0u);
}

TEST(Refresh, RunsEndAtMemoryThatIsNotContiguous) {
  W world({.data_order = port::kContiguous2M});
  world.tables.map_pages(0, world.data(0), 2048);
  world.expect_refresh(0, 2048 * kPage);
  EXPECT_EQ(world.iommus.map_calls, 4u);
  EXPECT_EQ(world.iommus.longest_map, 512u);
  EXPECT_EQ(world.iommus[0].blocks().size(), 4u);  // 2 MiB pages
}

TEST(Refresh, OneGibIsOneLargePageOfTheHost) {
  W world({.data_pages = kGiB / kPage});
  world.tables.map(kGiB, world.data(0), kRW, 2);
  world.expect_refresh(kGiB, kGiB);
  EXPECT_EQ(world.iommus.map_calls, 1u);
  EXPECT_EQ(world.iommus[0].blocks().size(), 1u);
}

TEST(Refresh, UnchangedCostsNoHostCallAndNoPin) {
  W world({.data_order = port::kShuffled});
  world.tables.map_pages(kIova, world.data(0), 700);
  world.expect_refresh(kIova, 700 * kPage);
  const Calls before = calls(world);
  const RefreshOutcome outcome = world.refresh(kIova, 700 * kPage);
  EXPECT_EQ(outcome.error, 0);
  EXPECT_EQ(outcome.result.mapped + outcome.result.unmapped, 0u);
  const Calls after = calls(world);
  EXPECT_EQ(after.map, before.map);
  EXPECT_EQ(after.unmap, before.unmap);
  EXPECT_EQ(after.flush, before.flush);
  EXPECT_EQ(after.pin, before.pin);
}

TEST(Refresh, OneFlushPerCall) {
  W world({.data_order = port::kShuffled});
  world.tables.map_pages(kIova, world.data(0), 100);
  world.expect_refresh(kIova, 100 * kPage);
  for (u64 i = 0; i < 100; i += 2) world.tables.clear(kIova + i * kPage);
  const u64 before = world.iommus.flush_calls;
  world.expect_refresh(kIova, 100 * kPage);
  EXPECT_EQ(world.iommus.flush_calls, before + 1);
}

TEST(Refresh, ReplacedPageIsTheNewOneAndTheOldIsUnpinned) {
  W world;
  world.tables.map(kIova, world.data(1));
  world.expect_refresh(kIova, kPage);
  world.tables.map(kIova, world.data(2));
  world.expect_refresh(kIova, kPage);
  EXPECT_EQ(world.sees(kIova), world.frame(world.data(2)));
  EXPECT_EQ(world.host.pinned(), 1u);
}

TEST(Refresh, RightsFollowTheGuestBothWays) {
  W world;
  for (unsigned rights : {kR, kRW, kW, kR, kW, kRW}) {
    world.tables.map(kIova, world.data(1), rights);
    world.expect_refresh(kIova, kPage);
    EXPECT_EQ(world.sees(kIova), world.frame(world.data(1), rights));
  }
}

TEST(Refresh, OnePageAtManyIovasIsPinnedOnce) {
  W world;
  for (u64 i = 0; i < 100; ++i) {
    world.tables.map(kIova + i * kPage, world.data(1), i % 2 ? kR : kRW);
  }
  world.expect_refresh(kIova, 100 * kPage);
  EXPECT_EQ(world.info().mapped_pages, 100u);
  EXPECT_EQ(world.info().pinned_pages, 1u);
  EXPECT_EQ(world.guest.accounted(), 1u);
  // It stays pinned until the last of them is gone.
  for (u64 i = 0; i < 99; ++i) world.tables.clear(kIova + i * kPage);
  world.expect_refresh(kIova, 100 * kPage);
  EXPECT_EQ(world.info().pinned_pages, 1u);
}

TEST(Refresh, ReadOnlySlotAndReadOnlyBackingTakeTheRightToWrite) {
  W world;
  const u64 rom = kDataGpa + 64 * kGiB;
  world.guest.add_ram(rom, 8, port::kShuffled, KIOMMU_SLOT_READ_ONLY);
  const u64 file = world.guest.add_ram(rom + kMiB, 8, port::kShuffled);
  world.guest.set_backing(file, 8, Backing::kReadOnlyRam);
  for (u64 gpa : {rom, rom + kMiB}) {
    world.tables.map(kIova, gpa, kRW);
    world.expect_refresh(kIova, kPage);
    EXPECT_EQ(world.sees(kIova), world.frame(gpa, kR));
    world.tables.map(kIova, gpa, kW);
    world.expect_stops(kIova, kPage, kIova, -EIO, KVM_IOMMU_STATUS_READ_ONLY);
    EXPECT_EQ(world.sees(kIova), kBlocked);
  }
}

// Firmware memory is a read-only slot until the guest unlocks it.
TEST(Refresh, SlotThatBecomesWritableGivesTheRightToWrite) {
  W world;
  const u64 rom = kDataGpa + 64 * kGiB;
  const u64 hva =
      world.guest.add_ram(rom, 8, port::kShuffled, KIOMMU_SLOT_READ_ONLY);
  world.tables.map(kIova, rom);
  world.tables.map(kIova + kMiB, rom);
  world.expect_refresh(kIova, 2 * kMiB);
  world.guest.remove_slot(rom);
  world.guest.add_slot(rom, 8, hva);
  world.expect_refresh(kIova, kPage);
  EXPECT_EQ(world.sees(kIova), world.frame(rom, kRW));
  // The old slot is gone from everywhere.
  EXPECT_EQ(world.sees(kIova + kMiB), kBlocked);
  world.expect_refresh(kIova + kMiB, kPage);
  EXPECT_EQ(world.sees(kIova + kMiB), world.frame(rom, kRW));
}

// One entry, bad from its third page on: what was mapped there is gone, what
// the next entry maps is not.
TEST(Refresh, BadPartOfALargePageIsUnmapped) {
  W world;
  const u64 iova = 4 * kGiB;
  const u64 rom = kDataGpa + 64 * kGiB;
  world.tables.map_pages(iova, world.data(0), 1024);
  world.expect_refresh(iova, 4 * kMiB);
  world.guest.add_ram(rom, 2, port::kContiguous);
  world.tables.map(iova, rom, kRW, 1);
  const u64 size = u64{1} << Spec<VtdSsFormat>::shift(1);
  world.expect_stops(iova, 4 * kMiB, iova + 2 * kPage, -EIO,
                     KVM_IOMMU_STATUS_NO_SLOT);
  EXPECT_EQ(world.sees(iova + kPage), world.frame(rom + kPage));
  EXPECT_EQ(world.info().mapped_pages, 2 + 1024 - size / kPage);
  EXPECT_EQ(world.sees(iova + size), world.frame(world.data(size / kPage)));
}

TEST(Refresh, UnchangedReadOnlyBackingCostsNoHostCall) {
  W world;
  world.guest.set_backing(world.data_hva, 8, Backing::kReadOnlyRam);
  world.tables.map_pages(kIova, world.data(0), 8);
  world.expect_refresh(kIova, 8 * kPage);
  const Calls before = calls(world);
  world.expect_refresh(kIova, 8 * kPage);
  const Calls after = calls(world);
  EXPECT_EQ(after.map, before.map);
  EXPECT_EQ(after.unmap, before.unmap);
  EXPECT_EQ(after.pin, before.pin);
}

TEST(Refresh, ReservedWindowIsNeverMapped) {
  const u64 msi = 0xfee00000;
  W world({.machine = {.reserved = {{msi, msi + kMiB - 1}}}});
  world.tables.map_pages(msi - 2 * kPage, world.data(0), 260);
  world.expect_stops(msi - 2 * kPage, 260 * kPage, msi, -EIO,
                     KVM_IOMMU_STATUS_RESERVED_IOVA);
  EXPECT_EQ(world.sees(msi - kPage), world.frame(world.data(1)));
  EXPECT_EQ(world.sees(msi), kBlocked);
  world.expect_stops(msi + kMiB - kPage, 2 * kPage, msi + kMiB - kPage, -EIO,
                     KVM_IOMMU_STATUS_RESERVED_IOVA);
  world.expect_refresh(msi + kMiB, 2 * kPage);
  EXPECT_EQ(world.sees(msi + kMiB), world.frame(world.data(258)));
  EXPECT_EQ(world.sees(msi + kMiB - kPage), kBlocked);
}

TEST(Refresh, ReservedWindowThatIsNotWholePagesTakesWholePages) {
  W world({.machine = {.reserved = {{0x5800, 0x67ff}}}});
  world.tables.map_pages(0x4000, world.data(0), 5);
  world.expect_stops(0x4000, 5 * kPage, 0x5000, -EIO,
                     KVM_IOMMU_STATUS_RESERVED_IOVA);
  world.expect_refresh(0x7000, kPage);
  EXPECT_EQ(world.info().mapped_pages, 2u);
}

TEST(Refresh, LargeGuestPageAcrossAReservedWindow) {
  const u64 msi = 0xfee00000;
  W world({.machine = {.reserved = {{msi, msi + kMiB - 1}}}});
  world.tables.map(0xfee00000, world.data(0), kRW, 1);  // 2 MiB
  world.expect_stops(msi, 2 * kMiB, msi, -EIO, KVM_IOMMU_STATUS_RESERVED_IOVA);
  world.expect_refresh(msi + kMiB, kMiB);
  EXPECT_EQ(world.info().mapped_pages, 256u);
}

TEST(Refresh, AperturesBoundTheRange) {
  W world({.machine = {.aperture = {kMiB, kGiB - 1}}});
  EXPECT_EQ(world.refresh(0, kPage).error, -EINVAL);
  EXPECT_EQ(world.refresh(kMiB - kPage, 2 * kPage).error, -EINVAL);
  EXPECT_EQ(world.refresh(kGiB - kPage, 2 * kPage).error, -EINVAL);
  EXPECT_EQ(world.refresh(kGiB, kPage).error, -EINVAL);
  EXPECT_EQ(world.guest.read_calls, 0u);
  world.tables.map(kGiB - kPage, world.data(1));
  world.expect_refresh(kMiB, kGiB - kMiB);
  EXPECT_EQ(world.sees(kGiB - kPage), world.frame(world.data(1)));
}

TEST(Refresh, BadRangesAreRefused) {
  W world({.top = 4});
  const struct {
    u64 iova, length;
    int error;
    unsigned status;
  } cases[] = {
      {0, 0, -EINVAL, KVM_IOMMU_STATUS_MISALIGNED},
      {1, kPage, -EINVAL, KVM_IOMMU_STATUS_MISALIGNED},
      {0, kPage + 1, -EINVAL, KVM_IOMMU_STATUS_MISALIGNED},
      {0x800, 0x800, -EINVAL, KVM_IOMMU_STATUS_MISALIGNED},
      {~u64{0xfff}, 2 * kPage, -EOVERFLOW, KVM_IOMMU_STATUS_OVERFLOW},
      {kPage, ~u64{0xfff}, -EINVAL, KVM_IOMMU_STATUS_RANGE},
      {2 * kPage, ~u64{0xfff}, -EOVERFLOW, KVM_IOMMU_STATUS_OVERFLOW},
      {u64{1} << 57, kPage, -EINVAL, KVM_IOMMU_STATUS_RANGE},
  };
  for (const auto& one : cases) {
    const RefreshOutcome outcome = world.refresh(one.iova, one.length);
    EXPECT_EQ(outcome.error, one.error) << one.iova << " + " << one.length;
    EXPECT_EQ(outcome.result.status, one.status);
    EXPECT_EQ(outcome.result.stopped_iova, 0u);
    EXPECT_EQ(world.unmap(one.iova, one.length), one.error);
  }
}

TEST(Refresh, PinsComeInBatchesAndInPieces) {
  W world({.data_order = port::kContiguous});
  world.guest.pin_batch = 7;
  world.tables.map(0, world.data(0), kRW, 1);
  world.expect_refresh(0, 2 * kMiB);
  EXPECT_EQ(world.iommus.map_calls, 1u);
  EXPECT_EQ(world.info().pinned_pages, 512u);
}

TEST(Refresh, LargeGuestPageOverSeveralSlots) {
  W world({.data_pages = 100});
  world.guest.add_ram(world.data(100), 411, port::kShuffled);
  world.guest.add_ram(world.data(511), 1, port::kShuffled);
  world.tables.map(0, world.data(0), kRW, 1);
  world.expect_refresh(0, 2 * kMiB);
  for (u64 i : {0, 99, 100, 510, 511}) {
    EXPECT_EQ(world.sees(i * kPage), world.frame(world.data(i)));
  }
}

TEST(Refresh, MovedSlotIsTheNewMemory) {
  W world({.data_pages = 16});
  world.tables.map_pages(kIova, world.data(0), 16);
  world.expect_refresh(kIova, 16 * kPage);
  world.guest.remove_slot(kDataGpa);
  world.expect_stops(kIova, 16 * kPage, kIova, -EIO, KVM_IOMMU_STATUS_NO_SLOT);
  world.guest.add_ram(kDataGpa, 16, port::kShuffled);
  world.expect_refresh(kIova, 16 * kPage);
  EXPECT_EQ(world.sees(kIova + 3 * kPage), world.frame(world.data(3)));
  EXPECT_EQ(world.host.pinned(), 16u);
}

TEST(Refresh, UnmapIsExactIdempotentAndCountsPages) {
  W world;
  world.tables.map_pages(kIova, world.data(0), 20);
  world.expect_refresh(kIova, 20 * kPage);
  u64 unmapped = 0;
  EXPECT_EQ(world.unmap(kIova + 3 * kPage, 4 * kPage, &unmapped), 0);
  EXPECT_EQ(unmapped, 4u);
  expect_consistent(world);
  EXPECT_EQ(world.sees(kIova + 2 * kPage), world.frame(world.data(2)));
  EXPECT_EQ(world.sees(kIova + 3 * kPage), kBlocked);
  EXPECT_EQ(world.sees(kIova + 6 * kPage), kBlocked);
  EXPECT_EQ(world.sees(kIova + 7 * kPage), world.frame(world.data(7)));
  EXPECT_EQ(world.unmap(kIova + 3 * kPage, 4 * kPage, &unmapped), 0);
  EXPECT_EQ(unmapped, 0u);
  kiommu_u64 rest = 0;
  EXPECT_EQ(world.unmap_all(&rest), 0);
  EXPECT_EQ(rest, 16u);
  EXPECT_EQ(world.info().state, unsigned{KVM_IOMMU_STATE_ANCHORED});
  expect_consistent(world);
}

// A process that is killed gets no pages any more: that its tables cannot be
// read is no mistake of the guest, and unmaps nothing.
TEST(Refresh, KilledProcessIsNoMistake) {
  W world;
  world.tables.map_pages(kIova, world.data(0), 4);
  world.expect_refresh(kIova, 4 * kPage);
  world.guest.set_backing(world.tables_hva, kTablesPages, Backing::kUnbacked);
  faults().interrupt.arm_always();
  for (const u64 pages : {1, 4}) {
    const RefreshOutcome outcome = world.refresh(kIova, pages * kPage);
    EXPECT_EQ(outcome.error, -EINTR);
    EXPECT_EQ(outcome.result.stopped_iova, kIova);
  }
  faults() = {};
  EXPECT_EQ(world.info().mapped_pages, 4u);
  world.guest.set_backing(world.tables_hva, kTablesPages, Backing::kRam);
}

// Nor does it get memory to look up the slot of a table.
TEST(Refresh, KilledProcessIsNotOutOfMemory) {
  constexpr u64 kFar = 128 * kGiB;
  W world;
  world.guest.add_ram(kFar, 16, port::kShuffled);
  world.tables.map(kIova, world.data(0));
  world.expect_refresh(kIova, kPage);
  world.tables.set(kIova, 1, Spec<VtdSsFormat>::table(1, kFar, kRW));
  faults().interrupt.arm_always();
  faults().node.arm_always();
  const RefreshOutcome outcome = world.refresh(kIova, kPage);
  EXPECT_GT(faults().node.fired(), 0u);
  faults() = {};
  EXPECT_EQ(outcome.error, -EINTR);
  EXPECT_EQ(outcome.result.stopped_iova, kIova);
  EXPECT_EQ(world.info().mapped_pages, 1u);
}

}  // namespace
}  // namespace kiommu::test
