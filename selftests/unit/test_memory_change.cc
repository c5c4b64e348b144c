// SPDX-License-Identifier: GPL-2.0-only
//
// Memory slots that go or change, and memory that is exchanged under them: no
// device keeps access to what is no longer the guest's. Two domains of one
// guest, with hosts of different kinds.
#include "lib/world.hpp"

namespace kiommu::test {
namespace {

using W = World<VtdSsFormat>;
constexpr u64 kIova = 0x40200000;
constexpr u64 kSlot = kDataGpa + 64 * kGiB;

class MemoryChange : public testing::Test {
 protected:
  explicit MemoryChange(unsigned order = port::kShuffled)
      : world_({.machine = {.idle_limit = 1000},
                .data_pages = 4096,
                .data_order = order}) {
    EXPECT_EQ(second_.start(), 0);
    EXPECT_EQ(second_.anchor(world_.tables.anchor()), 0);
  }
  // Maps [kIova, + pages) in both.
  void map(u64 gpa, u64 pages) {
    world_.tables.map_pages(kIova, gpa, pages);
    refresh(pages);
    ASSERT_EQ(world_.info().mapped_pages, pages);
  }
  void refresh(u64 pages) {
    EXPECT_EQ(world_.refresh(kIova, pages * kPage).error, 0);
    EXPECT_EQ(second_.refresh(kIova, pages * kPage).error, 0);
    check();
  }
  void check() { expect_consistent(world_, {&world_, &second_}); }
  void expect_blocked(u64 page) {
    EXPECT_EQ(world_.sees(kIova + page * kPage), kBlocked) << page;
    EXPECT_EQ(second_.iommus.device_sees(0, kIova / kPage + page), kBlocked)
        << page;
  }
  void expect_mapped(u64 page, u64 gpa, unsigned rights = kRW) {
    const auto want = world_.frame(gpa, rights);
    EXPECT_EQ(world_.sees(kIova + page * kPage), want) << page;
    EXPECT_EQ(second_.iommus.device_sees(0, kIova / kPage + page), want)
        << page;
  }
  void expect_mapped_in_first(u64 page, u64 gpa) {
    EXPECT_EQ(world_.sees(kIova + page * kPage), world_.frame(gpa)) << page;
  }
  // Counts the calls that change a host or a pin.
  u64 work() const {
    return world_.iommus.map_calls + world_.iommus.unmap_calls +
           world_.iommus.flush_calls + second_.iommus.map_calls +
           second_.iommus.unmap_calls + second_.iommus.flush_calls +
           world_.guest.pin_calls + world_.guest.unpin_calls;
  }

  W world_;
  port::DmaDomain second_{
      world_.host, world_.pins, world_.ledger, {.hosts = {port::kAmd}}};
};

TEST_F(MemoryChange, DeletedSlotIsGoneFromAllHosts) {
  world_.guest.add_ram(kSlot, 16, port::kShuffled);
  world_.tables.map_pages(kIova + 16 * kPage, world_.data(0), 4);
  map(kSlot, 16);
  refresh(20);
  world_.guest.remove_slot(kSlot);
  world_.pins.slots_changed();
  check();
  for (u64 i = 0; i < 16; ++i) expect_blocked(i);
  for (u64 i = 0; i < 4; ++i) expect_mapped(16 + i, world_.data(i));
  EXPECT_EQ(world_.host.pins(), 4u);
  EXPECT_EQ(world_.info().idle_pages, 0u);
  const RefreshOutcome outcome = world_.refresh(kIova, kPage);
  EXPECT_EQ(outcome.result.status, unsigned{KVM_IOMMU_STATUS_NO_SLOT});
}

TEST_F(MemoryChange, MovedSlotIsGoneFromItsOldPlace) {
  const u64 hva = world_.guest.add_ram(kSlot, 16, port::kShuffled);
  map(kSlot, 16);
  const u64 to = kSlot + kGiB;
  world_.guest.remove_slot(kSlot);
  world_.guest.add_slot(to, 16, hva);
  world_.pins.slots_changed();
  check();
  for (u64 i = 0; i < 16; ++i) expect_blocked(i);
  EXPECT_EQ(world_.host.pins(), 0u);
  map(to, 16);
  expect_mapped(5, to + 5 * kPage);
}

TEST_F(MemoryChange, SlotWithOtherMemoryIsThatMemory) {
  world_.guest.add_ram(kSlot, 16, port::kShuffled);
  map(kSlot, 16);
  world_.guest.remove_slot(kSlot);
  world_.guest.add_ram(kSlot, 16, port::kShuffled);
  world_.pins.slots_changed();
  for (u64 i = 0; i < 16; ++i) expect_blocked(i);
  refresh(16);
  expect_mapped(5, kSlot + 5 * kPage);
}

TEST_F(MemoryChange, SlotThatBecomesReadOnlyIsNotWritten) {
  const u64 hva = world_.guest.add_ram(kSlot, 16, port::kShuffled);
  map(kSlot, 16);
  world_.guest.remove_slot(kSlot);
  world_.guest.add_slot(kSlot, 16, hva, KIOMMU_SLOT_READ_ONLY);
  world_.pins.slots_changed();
  check();
  for (u64 i = 0; i < 16; ++i) expect_blocked(i);
  refresh(16);
  expect_mapped(5, kSlot + 5 * kPage, kR);
}

TEST_F(MemoryChange, SlotsThatAreAsTheyWereCostNothing) {
  map(world_.data(0), 64);
  const u64 before = work();
  world_.pins.slots_changed();
  world_.guest.add_ram(kSlot, 16, port::kShuffled);
  world_.pins.slots_changed();
  EXPECT_EQ(work(), before);
  for (u64 i = 0; i < 64; ++i) expect_mapped(i, world_.data(i));
}

TEST_F(MemoryChange, DeletedSlotTakesIdleAndPreregisteredPinsAlong) {
  for (const bool preregister : {false, true}) {
    world_.guest.add_ram(kSlot, 1000, port::kShuffled);
    map(kSlot, 16);
    if (preregister) {
      ASSERT_EQ(world_.pins.preregister(kSlot, 1000 * kPage), 0);
    }
    EXPECT_EQ(world_.unmap(kIova, 16 * kPage), 0);
    EXPECT_EQ(second_.unmap(kIova, 8 * kPage), 0);
    EXPECT_EQ(world_.host.pins(), preregister ? 1000u : 16u);
    world_.guest.remove_slot(kSlot);
    world_.pins.slots_changed();
    check();
    EXPECT_EQ(world_.host.pins(), 0u);
  }
}

// Two slots over one piece of memory, in one page of the host's table.
TEST_F(MemoryChange, NeighbourInTheSameLargePageStays) {
  const u64 hva = world_.guest.add_area(512, port::kContiguous);
  world_.guest.add_slot(kSlot, 200, hva);
  world_.guest.add_slot(kSlot + 200 * kPage, 312, hva + 200 * kPage);
  map(kSlot, 512);
  world_.guest.remove_slot(kSlot + 200 * kPage);
  world_.pins.slots_changed();
  check();
  for (u64 i = 0; i < 200; ++i) expect_mapped(i, kSlot + i * kPage);
  for (u64 i = 200; i < 512; ++i) expect_blocked(i);
  EXPECT_EQ(world_.host.pins(), 200u);
}

// Only slots with a page in the range that changed are looked at.
TEST_F(MemoryChange, OnlySlotsInTheRangeAreLookedAt) {
  constexpr u64 kOther = kSlot + 16 * kPage;
  world_.guest.add_ram(kSlot, 16, port::kShuffled);
  world_.guest.add_ram(kOther, 16, port::kShuffled);
  map(kSlot, 32);
  world_.pins.notices_slots = false;
  world_.guest.remove_slot(kSlot);
  world_.guest.remove_slot(kOther);
  world_.pins.slots_changed(kOther / kPage + 15, ~u64{0});
  EXPECT_EQ(world_.info().mapped_pages, 16u);
  expect_blocked(16);
  world_.pins.slots_changed(0, kSlot / kPage - 1);
  EXPECT_EQ(world_.info().mapped_pages, 16u);
  world_.pins.slots_changed(kSlot / kPage, kSlot / kPage);
  EXPECT_EQ(world_.info().mapped_pages, 0u);
  world_.pins.notices_slots = true;
  world_.pins.slots_changed();
  check();
}

TEST_F(MemoryChange, TablesOfADeletedSlotAreNotRead) {
  map(world_.data(0), 4);
  world_.guest.remove_slot(kTablesGpa);
  EXPECT_EQ(world_.refresh(kIova, kPage).result.status,
            unsigned{KVM_IOMMU_STATUS_NO_SLOT});
}

// The core has not been told yet, but finds that a slot overlaps a known one.
TEST_F(MemoryChange, SlotThatContradictsIsNotUsedBeforeItIsTold) {
  world_.guest.add_ram(kSlot, 16, port::kShuffled);
  map(kSlot, 16);
  world_.pins.notices_slots = false;
  world_.guest.remove_slot(kSlot);
  world_.guest.add_ram(kSlot - 8 * kPage, 32, port::kShuffled);
  world_.tables.map(kIova + 16 * kPage, kSlot - 8 * kPage);
  const RefreshOutcome outcome = world_.refresh(kIova + 16 * kPage, kPage);
  EXPECT_EQ(outcome.error, -EAGAIN);
  EXPECT_EQ(world_.sees(kIova + 16 * kPage), kBlocked);
  world_.pins.notices_slots = true;
  refresh(17);
  expect_mapped(16, kSlot - 8 * kPage);
  expect_mapped(3, kSlot + 3 * kPage);
}

// They overlap by one page, at either end.
TEST_F(MemoryChange, SlotThatContradictsByOnePageIsNotUsed) {
  for (const u64 first : {kSlot - 7 * kPage, kSlot + 15 * kPage}) {
    world_.guest.add_ram(kSlot, 16, port::kShuffled);
    map(kSlot, 16);
    world_.pins.notices_slots = false;
    world_.guest.remove_slot(kSlot);
    world_.guest.add_ram(first, 8, port::kShuffled);
    // A page of the new slot that is not in the known one.
    const u64 page = first < kSlot ? first : first + kPage;
    world_.tables.map(kIova + 16 * kPage, page);
    EXPECT_EQ(world_.refresh(kIova + 16 * kPage, kPage).error, -EAGAIN);
    EXPECT_EQ(world_.sees(kIova + 16 * kPage), kBlocked);
    world_.pins.notices_slots = true;
    world_.pins.slots_changed();
    EXPECT_EQ(world_.info().mapped_pages, 0u);
    EXPECT_EQ(world_.refresh(kIova + 16 * kPage, kPage).error, 0);
    expect_mapped_in_first(16, page);
    world_.guest.remove_slot(first);
    world_.pins.slots_changed();
  }
}

// What an operation remembers of a slot goes with the slot, whatever takes its
// place.
TEST_F(MemoryChange, SlotIsNotRememberedWhenItIsGone) {
  world_.guest.add_ram(kSlot, 16, port::kShuffled);
  map(kSlot, 16);
  world_.guest.remove_slot(kSlot);
  world_.pins.slots_changed();
  EXPECT_EQ(world_.info().mapped_pages, 0u);
  const RefreshOutcome outcome = world_.refresh(kIova, 16 * kPage);
  EXPECT_EQ(outcome.error, -EIO);
  EXPECT_EQ(outcome.result.status, unsigned{KVM_IOMMU_STATUS_NO_SLOT});
  check();
}

TEST_F(MemoryChange, SpuriousNotificationCostsNothing) {
  map(world_.data(0), 600);
  const u64 before = work();
  world_.pins.memory_changed(world_.data_hva, 4096);
  world_.pins.memory_changed(world_.tables_hva, kTablesPages);
  world_.pins.memory_changed(kPage, 1);
  world_.pins.memory_changed(0, u64{1} << 40);
  check();
  EXPECT_EQ(work(), before);
}

TEST_F(MemoryChange, ExchangedPageGoesAndTheOthersStay) {
  map(world_.data(0), 64);
  const u64 old = world_.frame(world_.data(37))->pfn;
  world_.guest.exchange(world_.data_hva + 37 * kPage, 1);
  // A report of other pages changes nothing.
  world_.pins.memory_changed(world_.data_hva, 37);
  world_.pins.memory_changed(world_.data_hva + 38 * kPage, 100);
  EXPECT_EQ(world_.sees(kIova + 37 * kPage)->pfn, old);
  world_.pins.memory_changed(world_.data_hva + 37 * kPage, 1);
  check();
  for (u64 i = 0; i < 64; ++i) {
    i == 37 ? expect_blocked(i) : expect_mapped(i, world_.data(i));
  }
  EXPECT_FALSE(world_.host.is_pinned(old));
  EXPECT_EQ(world_.host.pins(), 63u);
  refresh(64);
  expect_mapped(37, world_.data(37));
}

// While somebody holds the lock of the inode, nothing is known of some pages.
// They stay mapped and pinned until there is an answer.
TEST_F(MemoryChange, PagesOfWhichNothingIsKnownStayUntilTheyAre) {
  map(world_.data(0), 512);
  const u64 first = world_.frame(world_.data(3))->pfn;
  const u64 second = world_.frame(world_.data(300))->pfn;
  world_.guest.exchange(world_.data_hva + 3 * kPage, 1);
  world_.guest.exchange(world_.data_hva + 300 * kPage, 1);
  port::faults().look_up.arm_always();
  const u64 before = work();
  EXPECT_EQ(world_.pins.memory_changed(world_.data_hva, 512), -EAGAIN);
  EXPECT_EQ(work(), before);
  EXPECT_EQ(world_.sees(kIova + 3 * kPage)->pfn, first);
  EXPECT_TRUE(world_.host.is_pinned(first));
  // The first pages are still unknown, the others are not.
  port::faults().look_up.disarm();
  port::faults().look_up.arm(1);
  EXPECT_EQ(world_.pins.memory_changed(world_.data_hva, 512), -EAGAIN);
  port::faults().look_up.disarm();
  EXPECT_EQ(world_.sees(kIova + 3 * kPage)->pfn, first);
  EXPECT_TRUE(world_.host.is_pinned(first));
  expect_blocked(300);
  EXPECT_FALSE(world_.host.is_pinned(second));
  EXPECT_EQ(world_.pins.memory_changed(world_.data_hva, 512), 0);
  check();
  expect_blocked(3);
  EXPECT_FALSE(world_.host.is_pinned(first));
  EXPECT_EQ(world_.host.pins(), 510u);
}

TEST_F(MemoryChange, DiscardedAndPunchedAndUnmappedPagesGo) {
  map(world_.data(0), 64);
  world_.guest.discard(world_.data_hva + 10 * kPage, 5);
  world_.guest.set_backing(world_.data_hva + 20 * kPage, 5, Backing::kUnbacked);
  world_.guest.set_backing(world_.data_hva + 30 * kPage, 5, Backing::kDevice);
  world_.pins.memory_changed(world_.data_hva, 64);
  check();
  for (u64 i = 0; i < 64; ++i) {
    const bool gone = (i / 5 == 2) || (i / 5 == 4) || (i / 5 == 6);
    gone ? expect_blocked(i) : expect_mapped(i, world_.data(i));
  }
  EXPECT_EQ(world_.host.pins(), 49u);
  world_.guest.set_backing(world_.data_hva + 20 * kPage, 5, Backing::kRam);
  refresh(64);
  for (u64 i = 0; i < 64; ++i) expect_mapped(i, world_.data(i));
}

// Otherwise the old page would be mapped again.
TEST_F(MemoryChange, IdlePinOfAnExchangedPageIsDropped) {
  map(world_.data(0), 64);
  EXPECT_EQ(world_.unmap(kIova, 64 * kPage), 0);
  EXPECT_EQ(second_.unmap(kIova, 64 * kPage), 0);
  EXPECT_EQ(world_.info().idle_pages, 64u);
  world_.guest.discard(world_.data_hva + 5 * kPage, 3);
  world_.pins.memory_changed(world_.data_hva, 64);
  check();
  EXPECT_EQ(world_.info().idle_pages, 61u);
  refresh(64);
  for (u64 i = 0; i < 64; ++i) expect_mapped(i, world_.data(i));
}

TEST_F(MemoryChange, PreregisteredPageThatIsExchangedIsPinnedAnew) {
  ASSERT_EQ(world_.pins.preregister(kDataGpa, 4096 * kPage), 0);
  map(world_.data(0), 64);
  world_.guest.exchange(world_.data_hva + 5 * kPage, 1);
  world_.guest.exchange(world_.data_hva + 2000 * kPage, 1);  // mapped nowhere
  world_.pins.memory_changed(world_.data_hva, 4096);
  check();
  expect_blocked(5);
  EXPECT_EQ(world_.host.pins(), 4094u);
  refresh(64);
  expect_mapped(5, world_.data(5));
  EXPECT_EQ(world_.info().idle_pages, 0u);
  EXPECT_EQ(world_.pins.trim(0), 0u);
}

class HugeMemoryChange : public MemoryChange {
 protected:
  HugeMemoryChange() : MemoryChange(port::kContiguous) {}
};

TEST_F(HugeMemoryChange, OnePageOfALargeOneGoesAlone) {
  map(world_.data(0), 1024);
  const u64 old = world_.frame(world_.data(37))->pfn;
  world_.guest.exchange(world_.data_hva + 37 * kPage, 1);
  world_.pins.memory_changed(world_.data_hva + 30 * kPage, 20);
  check();
  for (u64 i = 0; i < 1024; ++i) {
    i == 37 ? expect_blocked(i) : expect_mapped(i, world_.data(i));
  }
  EXPECT_FALSE(world_.host.is_pinned(old));
  EXPECT_EQ(world_.host.pins(), 1023u);
  refresh(1024);
  expect_mapped(37, world_.data(37));
}

TEST_F(HugeMemoryChange, IdleLargePageIsDroppedInPart) {
  map(world_.data(0), 512);
  EXPECT_EQ(world_.unmap(kIova, 512 * kPage), 0);
  EXPECT_EQ(second_.unmap(kIova, 512 * kPage), 0);
  world_.guest.exchange(world_.data_hva + 37 * kPage, 1);
  world_.pins.memory_changed(world_.data_hva, 512);
  check();
  EXPECT_EQ(world_.host.pins(), 511u);
  refresh(512);
  for (u64 i = 0; i < 512; ++i) expect_mapped(i, world_.data(i));
}

// Whichever allocation fails, the exchanged page goes. Others may go with it,
// but never become anything else.
TEST_F(HugeMemoryChange, ExchangedPageGoesAlsoWithoutMemory) {
  for (u64 nth = 1; nth <= 8; ++nth) {
    SCOPED_TRACE(nth);
    map(world_.data(0), 1024);
    const Snapshot before = snapshot(world_.iommus[0]);
    const u64 old = world_.frame(world_.data(37))->pfn;
    world_.guest.exchange(world_.data_hva + 37 * kPage, 1);
    world_.guest.exchange(world_.data_hva + 137 * kPage, 1);
    nth < 8 ? faults().node.arm(nth) : faults().node.arm_always();
    world_.pins.memory_changed(world_.data_hva, 4096);
    faults() = {};
    check();
    expect_blocked(37);
    expect_blocked(137);
    EXPECT_FALSE(world_.host.is_pinned(old));
    for (const auto& [page, to] : snapshot(world_.iommus[0])) {
      EXPECT_EQ(to, before.at(page));
    }
    for (u64 i = 512; i < 1024; ++i) expect_mapped(i, world_.data(i));
    refresh(1024);
    ASSERT_EQ(world_.unanchor(), 0);
    ASSERT_EQ(second_.unanchor(), 0);
    EXPECT_EQ(world_.host.pins(), 0u);
    ASSERT_EQ(world_.anchor(world_.tables.anchor()), 0);
    ASSERT_EQ(second_.anchor(world_.tables.anchor()), 0);
  }
}

// A mapping of device memory holds no pins, even where RAM has taken its place
// since.
TEST_F(HugeMemoryChange, DeviceEntryHoldsNoPageOfALargeOne) {
  const u64 device = world_.data(5);
  world_.guest.set_backing(world_.data_hva + 5 * kPage, 1, Backing::kDevice);
  world_.tables.map(kIova + kGiB, device);
  EXPECT_EQ(world_.refresh(kIova + kGiB, kPage).error, 0);
  world_.guest.set_backing(world_.data_hva + 5 * kPage, 1, Backing::kRam);
  world_.tables.map_pages(kIova, world_.data(0), 512);
  EXPECT_EQ(world_.refresh(kIova, 512 * kPage).error, 0);
  ASSERT_EQ(world_.iommus[0].blocks().size(), 2u);
  world_.guest.exchange(world_.data_hva + 100 * kPage, 1);
  world_.pins.memory_changed(world_.data_hva + 100 * kPage, 1);
  EXPECT_EQ(world_.info().mapped_pages, 512u);
  EXPECT_EQ(world_.unmap(kIova, 512 * kPage), 0);
  world_.pins.trim(0);
  EXPECT_EQ(world_.host.pins(), 0u);
  EXPECT_EQ(world_.info().pinned_pages, 0u);
  EXPECT_EQ(world_.info().idle_pages, 0u);
  EXPECT_EQ(world_.info().mapped_pages, 1u);
}

}  // namespace
}  // namespace kiommu::test
