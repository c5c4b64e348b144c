// SPDX-License-Identifier: GPL-2.0-only
//
// What an operation costs beyond what was asked is reported, whatever fails and
// wherever: no host maps a page that is not pinned, nothing is reported as done
// that is not mapped, and what is lost is in the result or in the faults, and
// out of sync where stores are tracked. Each refusal is tried at each place in
// turn.
#include "lib/tracked_world.hpp"

namespace kiommu::test {
namespace {

constexpr u64 kHuge = 512;  // pages

struct HostSet {
  const char* name;
  std::vector<port::HostKind> kinds;
};

void PrintTo(const HostSet& set, std::ostream* out) { *out << set.name; }

// The IOVAs that faults report as lost.
std::vector<u64> lost_of(port::DmaDomain& domain) {
  std::vector<u64> lost;
  for (const kiommu_fault& fault : domain.read_faults(128)) {
    if (fault.reason != KVM_IOMMU_FAULT_LOST) continue;
    EXPECT_TRUE(fault.flags & KVM_IOMMU_FAULT_HAS_IOVA);
    EXPECT_EQ(fault.status, unsigned{KVM_IOMMU_STATUS_NO_MEMORY});
    lost.push_back(fault.iova);
  }
  return lost;
}

class EachRefusal : public testing::TestWithParam<HostSet> {
 protected:
  using W = TrackedWorld<VtdSsFormat>;

  // Starts over, with [0, pages) mapped to contiguous host memory.
  void begin(u64 pages) {
    world_.reset();
    world_ = std::make_unique<W>(WorldOptions{
        .machine = {.hosts = GetParam().kinds}, .data_pages = u64{2} << 18});
    ASSERT_EQ(world_->open_faults(), 0);
    if (pages == 0) return;
    const bool gib = pages % (kGiB / kPage) == 0;
    const u64 step = gib ? kGiB / kPage : kHuge;
    for (u64 page = 0; page < pages; page += step) {
      world_->tables.map(page * kPage, world_->data(page), kRW, gib ? 2 : 1);
    }
    world_->expect_refresh(0, pages * kPage);
    ASSERT_EQ(world_->info().mapped_pages, pages);
  }
  u64 mapped() { return world_->info().mapped_pages; }

  // Refuses the n-th map of `act` and those after it, so that no retry helps,
  // for each n until none is refused. `check` is told whether one was.
  template <class Prepare, class Act, class Check>
  void each(u64 pages, Prepare prepare, Act act, Check check) {
    for (u64 nth = 1; nth < 100; ++nth) {
      SCOPED_TRACE(nth);
      ASSERT_NO_FATAL_FAILURE(begin(pages));
      prepare();
      faults().map.arm(nth, 1000);
      act();
      const bool refused = faults().map.fired() != 0;
      faults() = {};
      expect_consistent(*world_);
      check(refused);
      if (HasFailure() || !refused) return;
      ++refusals_;
    }
    ADD_FAILURE() << "there is no end of it";
  }

  std::unique_ptr<W> world_;
  u64 refusals_ = 0;
};

// A new page just below a block, gathered when the block must be split.
TEST_P(EachRefusal, NewPageBelowABlockThatIsReplacedInPart) {
  constexpr u64 kPages = 4 * kHuge;
  constexpr u64 kFirst = kHuge * kPage;
  constexpr u64 kEnd = 3 * kHuge * kPage;
  RefreshOutcome outcome;
  each(
      kPages,
      [&] {
        world_->tables.map_pages(kFirst, world_->data(kHuge), kHuge);
        world_->tables.map((2 * kHuge - 1) * kPage, world_->data(9000));
        world_->tables.link(kFirst, 1);
        world_->tables.map(2 * kHuge * kPage, world_->data(20 * kHuge), kRW, 1);
      },
      [&] { outcome = world_->refresh(kFirst, kEnd - kFirst); },
      [&](bool) {
        const auto lost = lost_of(*world_);
        EXPECT_EQ(outcome.error, mapped() == kPages ? 0 : -ENOMEM);
        // Losses outside of the range were reported.
        for (u64 page : {u64{0}, kHuge - 1, 3 * kHuge, 4 * kHuge - 1}) {
          if (!world_->sees(page * kPage)) {
            EXPECT_FALSE(lost.empty()) << page;
          }
        }
        const u64 from = outcome.result.stopped_iova;
        if (outcome.error != 0) world_->expect_refresh(from, kEnd - from);
        EXPECT_EQ(world_->sees((2 * kHuge - 1) * kPage),
                  world_->frame(world_->data(9000)));
        EXPECT_EQ(world_->sees(2 * kHuge * kPage),
                  world_->frame(world_->data(20 * kHuge)));
        world_->expect_refresh(0, kPages * kPage);
        EXPECT_EQ(mapped(), kPages);
      });
  EXPECT_GE(refusals_, 2u);
}

// The guest replaces a whole leaf, which lies in a larger page of the host.
TEST_P(EachRefusal, WholeLeafInALargerBlock) {
  constexpr u64 kPages = kGiB / kPage;
  constexpr u64 kFirst = 5 * kHuge * kPage;
  constexpr u64 kEnd = kFirst + 2 * kMiB;
  RefreshOutcome outcome;
  each(
      kPages,
      [&] {
        // By leaves of 2 MiB, one of which is replaced.
        for (u64 page = 0; page < kPages; page += kHuge) {
          world_->tables.map(page * kPage, world_->data(page), kRW, 1);
        }
        world_->tables.map(kFirst, world_->data(kPages), kRW, 1);
        world_->tables.link(0, 2);
      },
      [&] { outcome = world_->refresh(kFirst, 2 * kMiB); },
      [&](bool refused) {
        const auto lost = lost_of(*world_);
        if (!refused) {
          EXPECT_EQ(outcome.error, 0);
          EXPECT_EQ(mapped(), kPages);
          return;
        }
        EXPECT_EQ(outcome.error, -ENOMEM);
        EXPECT_EQ(outcome.result.status, unsigned{KVM_IOMMU_STATUS_NO_MEMORY});
        EXPECT_EQ(outcome.result.stopped_iova, kFirst);
        // A loss is reported on the side where it happened, below or above.
        const bool below = !world_->sees(kFirst - kPage) || !world_->sees(0);
        const bool above = !world_->sees(kEnd) || !world_->sees(kGiB - kPage);
        u64 told_below = 0;
        u64 told_above = 0;
        for (u64 at : lost) ++(at < kFirst ? told_below : told_above);
        EXPECT_EQ(told_below != 0, below);
        EXPECT_EQ(told_above != 0, above);
        world_->expect_refresh(kFirst, 2 * kMiB);
        world_->expect_refresh(0, kGiB);
        EXPECT_EQ(mapped(), kPages);
      });
  EXPECT_GE(refusals_, 1u);
}

// A page that the process gives up lies in a large page.
TEST_P(EachRefusal, DiscardedPageTellsWhatElseIsLost) {
  constexpr u64 kPages = kGiB / kPage;
  each(
      kPages, [] {},
      [&] {
        world_->guest.discard(world_->data_hva + 700 * kPage, 1);
        world_->pins.memory_changed(world_->data_hva + 700 * kPage, 1);
      },
      [&](bool) {
        EXPECT_EQ(world_->sees(700 * kPage), kBlocked);
        EXPECT_EQ(lost_of(*world_).empty(), mapped() == kPages - 1);
      });
  EXPECT_GE(refusals_, 1u);
}

// There is no memory to split a large pin: all of its pages go.
TEST_P(EachRefusal, LargePinThatCannotBeBrokenTellsWhatElseIsLost) {
  begin(2 * kHuge);
  world_->guest.discard(world_->data_hva + 7 * kPage, 1);
  faults().node.arm_always();
  world_->pins.memory_changed(world_->data_hva + 7 * kPage, 1);
  faults() = {};
  expect_consistent(*world_);
  EXPECT_EQ(mapped(), kHuge);
  EXPECT_EQ(lost_of(*world_), std::vector<u64>{0});
}

// A slot that is removed lies in a large page together with another one.
TEST_P(EachRefusal, SlotThatGoesTellsWhatElseIsLost) {
  u64 refused = 0;
  for (u64 nth = 1; nth < 100; ++nth) {
    SCOPED_TRACE(nth);
    ASSERT_NO_FATAL_FAILURE(begin(0));
    const u64 gpa = 32 * kGiB;
    const u64 pages = kGiB / kPage;
    const u64 hva = world_->guest.add_area(pages, port::kContiguous);
    world_->guest.add_slot(gpa, kHuge, hva);
    world_->guest.add_slot(gpa + kHuge * kPage, pages - kHuge,
                           hva + kHuge * kPage);
    for (u64 page = 0; page < pages; page += kHuge) {
      world_->tables.map(page * kPage, gpa + page * kPage, kRW, 1);
    }
    world_->expect_refresh(0, kGiB);
    world_->guest.remove_slot(gpa);
    faults().map.arm(nth, 1000);
    world_->pins.slots_changed();
    const bool fired = faults().map.fired() != 0;
    faults() = {};
    expect_consistent(*world_);
    EXPECT_EQ(world_->sees(0), kBlocked);
    EXPECT_EQ(lost_of(*world_).empty(), mapped() == pages - kHuge);
    if (!fired) break;
    ++refused;
  }
  RecordProperty("refused", static_cast<int>(refused));
}

TEST_P(EachRefusal, UnmapTellsWhatElseIsLost) {
  constexpr u64 kPages = kGiB / kPage;
  u64 unmapped = 0;
  int error = 0;
  each(
      kPages, [] {},
      [&] { error = world_->unmap(77 * kPage, 3 * kPage, &unmapped); },
      [&](bool) {
        EXPECT_EQ(error, mapped() == kPages - 3 ? 0 : -ENOMEM);
        EXPECT_EQ(unmapped, kPages - mapped());
        EXPECT_EQ(lost_of(*world_).empty(), error == 0);
      });
  EXPECT_GE(refusals_, 1u);
}

class EachTrackedRefusal : public EachRefusal {
 protected:
  static constexpr u64 kPages = 2 * kHuge;

  // All of it is tracked and in sync, except for a page that the process has
  // changed itself.
  void follow() {
    for (u64 at = 0; at < kPages; at += kHuge) {
      world_->tables.map_pages(at * kPage, world_->data(at), kHuge);
      world_->tables.link(at * kPage, 1);
    }
    ASSERT_EQ(world_->follow(), 0);
    ASSERT_EQ(world_->info().unsynced_pages, 0u);
    world_->tables.map(kPage, world_->data(9000));
  }
  // Expects an error, and pages out of sync, exactly if fewer than `pages` are
  // mapped.
  void expect_told(u64 pages, int error) {
    EXPECT_EQ(error, mapped() == pages ? 0 : -ENOMEM);
    EXPECT_EQ(world_->info().unsynced_pages > 0, mapped() < pages);
  }
};

TEST_P(EachTrackedRefusal, RefreshPutsWhatIsLostOutOfSync) {
  RefreshOutcome outcome;
  each(
      kPages, [&] { follow(); },
      [&] { outcome = world_->refresh(kPage, kPage); },
      [&](bool) {
        expect_told(kPages, outcome.error);
        if (outcome.error == 0) return;
        // All of its table comes back, because it was out of sync.
        EXPECT_EQ(outcome.result.stopped_iova, kPage);
        EXPECT_EQ(world_->refresh(kPage, kPage).error, 0);
        EXPECT_EQ(world_->sees(kPage), world_->frame(world_->data(9000)));
        EXPECT_EQ(world_->refresh(0, kPages * kPage).error, 0);
        expect_told(kPages, 0);
      });
  EXPECT_GE(refusals_, 1u);
}

TEST_P(EachTrackedRefusal, UnmapPutsWhatIsLostOutOfSync) {
  int error = 0;
  each(
      kPages, [&] { follow(); }, [&] { error = world_->unmap(kPage, kPage); },
      [&](bool refused) {
        EXPECT_EQ(error, mapped() == kPages - 1 ? 0 : -ENOMEM);
        EXPECT_EQ(error != 0, refused);
        EXPECT_EQ(world_->info().unsynced_pages > 0, refused);
      });
  EXPECT_GE(refusals_, 1u);
}

TEST_P(EachTrackedRefusal, MemoryChangePutsWhatIsLostOutOfSync) {
  each(
      kPages, [&] { follow(); },
      [&] {
        world_->guest.discard(world_->data_hva + 7 * kPage, 1);
        world_->pins.memory_changed(world_->data_hva + 7 * kPage, 1);
      },
      [&](bool refused) {
        EXPECT_EQ(mapped() < kPages - 1, refused);
        EXPECT_EQ(lost_of(*world_).empty(), !refused);
        EXPECT_EQ(world_->info().unsynced_pages > 0, refused);
      });
  EXPECT_GE(refusals_, 1u);
}

INSTANTIATE_TEST_SUITE_P(
    Hosts, EachTrackedRefusal,
    testing::Values(HostSet{"vtd", {port::kVtd}}, HostSet{"amd", {port::kAmd}},
                    HostSet{"virtio", {port::kVirtio}},
                    HostSet{"vtd_and_amd", {port::kVtd, port::kAmd}}),
    [](const auto& info) { return info.param.name; });

INSTANTIATE_TEST_SUITE_P(
    Hosts, EachRefusal,
    testing::Values(HostSet{"vtd", {port::kVtd}}, HostSet{"amd", {port::kAmd}},
                    HostSet{"virtio", {port::kVirtio}},
                    HostSet{"vtd_and_amd", {port::kVtd, port::kAmd}}),
    [](const auto& info) { return info.param.name; });

// Four leaves in an 8 MiB page of an AMD host. The second one is gone from the
// tables; when the page is split, the host refuses to map the first one again.
class BlockWithAHole : public testing::Test {
 protected:
  static constexpr u64 kLeaf = kHuge * kPage;

  BlockWithAHole() {
    EXPECT_EQ(world.open_faults(), 0);
    for (u64 i = 0; i < 4; ++i) {
      world.tables.map(i * kLeaf, world.data(i * kHuge), kRW, 1);
    }
    world.expect_refresh(0, 4 * kLeaf);
    EXPECT_EQ(world.iommus[0].blocks().size(), 1u);
    world.tables.clear(kLeaf, 1);
  }
  void expect_refused(u64 length, u64 stops_at) {
    faults().map.arm(1);
    const RefreshOutcome outcome = world.refresh(kLeaf, length);
    EXPECT_EQ(faults().map.fired(), 1u);
    faults() = {};
    EXPECT_EQ(outcome.error, -ENOMEM);
    EXPECT_EQ(outcome.result.stopped_iova, stops_at);
    EXPECT_EQ(lost_of(world), std::vector<u64>{0});
    EXPECT_EQ(world.sees(0), kBlocked);
    EXPECT_EQ(world.sees(kLeaf), kBlocked);
    expect_consistent(world);
  }

  World<VtdSsFormat> world{{.machine = {.hosts = {port::kAmd}}}};
};

// All that was asked for is done, but a call that loses something else is no
// success.
TEST_F(BlockWithAHole, RefreshThatLosesOthersAloneFails) {
  expect_refused(kLeaf, kLeaf);
  EXPECT_EQ(world.sees(2 * kLeaf), world.frame(world.data(2 * kHuge)));
  world.expect_refresh(0, 4 * kLeaf);
}

// It stops at the page that comes next, in a leaf that is replaced as a whole.
TEST_F(BlockWithAHole, WhatComesAfterALossKeepsWhatItHas) {
  world.tables.map_pages(2 * kLeaf, world.data(9000), kHuge);
  world.tables.link(2 * kLeaf, 1);
  expect_refused(2 * kLeaf, 2 * kLeaf);
  for (u64 page = 1; page < kHuge; ++page) {
    ASSERT_EQ(world.sees(2 * kLeaf + page * kPage),
              world.frame(world.data(2 * kHuge + page)));
  }
  world.expect_refresh(0, 4 * kLeaf);
  EXPECT_EQ(world.sees(2 * kLeaf), world.frame(world.data(9000)));
}

// A leaf is one run in the shadow, and one page of it cannot be mapped:
// unchanged pages keep their mappings, even behind that page.
TEST(Outcome, RunKeepsWhatIsBehindAStop) {
  for (const bool bad : {false, true}) {
    World<VtdSsFormat> world;
    world.tables.map_pages(kGiB, world.data(0), 512);
    world.expect_refresh(kGiB, 2 * kMiB);
    world.tables.map(kGiB + 300 * kPage, bad ? 900 * kGiB : world.data(3000));
    if (!bad) faults().account.arm_always();
    const RefreshOutcome outcome = world.refresh(kGiB, 2 * kMiB);
    faults() = {};
    EXPECT_NE(outcome.error, 0);
    EXPECT_EQ(outcome.result.stopped_iova, kGiB + 300 * kPage);
    EXPECT_EQ(world.sees(kGiB + 299 * kPage), world.frame(world.data(299)));
    EXPECT_EQ(world.sees(kGiB + 400 * kPage), world.frame(world.data(400)));
  }
}

// A refresh runs short, and what it unmaps to make room costs more pages,
// inside of the range and outside: it does not go on, and all of them are out
// of sync.
TEST(Outcome, WhatIsLostWhileRoomIsMadeIsOutOfSync) {
  constexpr u64 kLeaf = kHuge * kPage;
  // The upper table of the block does not hold the page before it.
  constexpr u64 kBlock = kGiB;
  TrackedWorld<VtdSsFormat> world{{.machine = {.hosts = {port::kAmd}}}};
  ASSERT_EQ(world.open_faults(), 0);
  constexpr u64 kMiddle = kBlock + 3 * kLeaf + kLeaf / 2;
  // Four leaves of small pages, in one page of the host.
  world.tables.map_pages(kBlock, world.data(0), 4 * kHuge);
  world.tables.clear(kBlock - kLeaf, 1);
  ASSERT_EQ(world.follow(), 0);
  ASSERT_EQ(world.iommus[0].blocks().size(), 1u);
  ASSERT_EQ(world.info().unsynced_pages, 0u);
  // Without a report, two are given up, and a new one comes before all of them.
  world.tables.clear(kBlock + kLeaf, 1);
  world.tables.clear(kBlock + 2 * kLeaf, 1);
  world.tables.map(kBlock - kLeaf, world.data(9 * kHuge), kRW, 1);
  faults().pin.arm_always();
  faults().map.arm_always();
  const RefreshOutcome outcome =
      world.refresh(kBlock - kLeaf, kMiddle - (kBlock - kLeaf));
  faults() = {};
  EXPECT_EQ(outcome.error, -ENOMEM);
  EXPECT_EQ(outcome.result.stopped_iova, kBlock - kLeaf);
  EXPECT_EQ(lost_of(world), std::vector<u64>{kMiddle});
  EXPECT_EQ(world.sees(kBlock), kBlocked);
  // A refresh of what was reported brings all of it back.
  world.expect_refresh(kMiddle, kPage);
  EXPECT_EQ(world.sees(kBlock), world.frame(world.data(0)));
  world.expect_refresh(kBlock - kLeaf, kPage);
  EXPECT_EQ(world.info().unsynced_pages, 0u);
  world.expect_tracked();
}

// A page that the VMM has unmapped cannot be mapped again: what its table says
// is not what is mapped.
TEST(Outcome, PageThatCouldNotBeBroughtIsOutOfSync) {
  TrackedWorld<VtdSsFormat> world;
  ASSERT_EQ(world.open_faults(), 0);
  world.tables.map_pages(world.kIova, world.data(0), 4);
  ASSERT_EQ(world.follow(), 0);
  ASSERT_EQ(world.unmap(world.kIova, kPage), 0);
  world.pins.trim(0);
  faults().pin.arm(1, 1000);
  EXPECT_EQ(world.refresh(world.kIova, kPage).error, -ENOMEM);
  faults() = {};
  EXPECT_EQ(world.info().unsynced_pages, 1u);
  world.expect_refresh(world.kIova, kPage);
  EXPECT_EQ(world.info().unsynced_pages, 0u);
  world.expect_tracked();
}

// A store's page cannot be charged because the process is killed: that is no
// shortage.
TEST(Outcome, StoreIsKilledWhileItIsCharged) {
  using S = Spec<VtdSsFormat>;
  TrackedWorld<VtdSsFormat> world;
  ASSERT_EQ(world.open_faults(), 0);
  world.tables.map(world.kIova, world.data(0));
  ASSERT_EQ(world.follow(), 0);
  const u64 at = world.tables.entry_gpa(world.kIova, 0);
  world.tables.write_entry(at, S::leaf(0, world.data(1), kRW));
  faults().account.arm_always();
  faults().interrupt.arm(1, 1000);
  EXPECT_EQ(world.stored(at, 8), -EINTR);
  faults() = {};
  for (const kiommu_fault& fault : world.read_faults(128)) {
    EXPECT_NE(fault.reason, unsigned{KVM_IOMMU_FAULT_RESOURCES});
  }
  EXPECT_EQ(world.info().unsynced_pages, 1u);
  world.expect_refresh(world.kIova, kPage);
  EXPECT_EQ(world.sees(world.kIova), world.frame(world.data(1)));
}

// Device memory whose mapping in the process extends beyond its slot.
TEST(Outcome, IdentityFindsTheMemoryBehindADeviceSlot) {
  faults() = {};
  port::Machine machine;
  const u64 device =
      machine.guest.add_area(64, port::kContiguous, Backing::kMmio);
  machine.guest.add_slot(0, 16, device);
  machine.guest.add_ram(16 * kPage, 32, port::kContiguous);
  ASSERT_EQ(machine.start(), 0);
  kiommu_anchor anchor{};
  anchor.format = KVM_IOMMU_FORMAT_IDENTITY;
  anchor.rights = kRW;
  ASSERT_EQ(machine.anchor(anchor), 0);
  const RefreshOutcome outcome = machine.refresh(0, 64 * kPage);
  EXPECT_EQ(outcome.error, 0);
  EXPECT_EQ(outcome.result.mapped, 32u);
  EXPECT_TRUE(machine.iommus[0].device_sees(16));
  EXPECT_TRUE(machine.iommus[0].device_sees(47));
}

// A store links a tree of bad entries: as many as the queue holds are reported,
// the others are counted.
TEST(Outcome, StormsOfBadEntriesAreCounted) {
  using S = Spec<VtdSsFormat>;
  TrackedWorld<VtdSsFormat> world;
  ASSERT_EQ(world.open_faults(), 0);
  const u64 table = world.tables.new_table(0);
  for (u64 i = 0; i < 512; ++i) {
    world.tables.write_entry(table + 8 * i, S::leaf(0, u64{1} << 46, kRW));
  }
  ASSERT_EQ(world.follow(), 0);
  const u64 reports = world.reader_woken();
  const u64 locks = world.reader_locks();
  world.store(world.kIova, 1, S::table(1, table, kRW));
  EXPECT_LE(world.reader_woken() - reports, 128u);
  // The others do not take the lock one by one.
  EXPECT_LE(world.reader_locks() - locks, 140u);
  u64 told = 0, lost = 0;
  for (;;) {
    const auto faults = world.read_faults(128);
    if (faults.empty()) break;
    for (const kiommu_fault& fault : faults) {
      told += fault.count;
      lost += fault.lost;
    }
  }
  EXPECT_EQ(told + lost, 512u);
  EXPECT_LE(told, 128u);
}

}  // namespace
}  // namespace kiommu::test
