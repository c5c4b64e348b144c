// SPDX-License-Identifier: GPL-2.0-only
//
// The states of a domain: created, started, anchored; each call in each of
// them; what leaving a state gives back.
#include "lib/world.hpp"

namespace kiommu::test {
namespace {

using W = World<ZpciFormat>;

class States : public testing::Test {
 protected:
  States() {
    faults() = {};
    machine_.guest.add_ram(kTablesGpa, 64, port::kShuffled);
  }

  unsigned state() { return machine_.info().state; }
  kiommu_anchor good() { return Spec<ZpciFormat>::anchor(2, kTablesGpa); }
  // Each call that maps or asks for mappings.
  void expect_all(int error) {
    kiommu_u64 pages = 77;
    kiommu_translation answer;
    EXPECT_EQ(machine_.refresh(0, kPage).error, error);
    EXPECT_EQ(machine_.unmap(0, kPage), error);
    EXPECT_EQ(machine_.unmap_all(&pages), error);
    EXPECT_EQ(pages, 0u);
    EXPECT_EQ(machine_.translate(0, &answer), error);
  }

  port::Machine machine_;
};

TEST_F(States, CreatedRefusesAllButStart) {
  EXPECT_EQ(state(), unsigned{KVM_IOMMU_STATE_CREATED});
  expect_all(-ENODEV);
  EXPECT_EQ(machine_.anchor(good()), -ENODEV);
  EXPECT_EQ(machine_.unanchor(), -ENODEV);
  EXPECT_EQ(machine_.stop(), -ENODEV);
  EXPECT_EQ(state(), unsigned{KVM_IOMMU_STATE_CREATED});
  EXPECT_EQ(machine_.start(), 0);
}

TEST_F(States, StartedRefusesAllButAnchorAndStop) {
  ASSERT_EQ(machine_.start(), 0);
  EXPECT_EQ(state(), unsigned{KVM_IOMMU_STATE_STARTED});
  expect_all(-ENXIO);
  EXPECT_EQ(machine_.start(), -EBUSY);
  EXPECT_EQ(machine_.unanchor(), -ENXIO);
  EXPECT_EQ(state(), unsigned{KVM_IOMMU_STATE_STARTED});
  EXPECT_EQ(machine_.stop(), 0);
  EXPECT_EQ(state(), unsigned{KVM_IOMMU_STATE_CREATED});
}

TEST_F(States, AnchoredAllowsMapping) {
  ASSERT_EQ(machine_.start(), 0);
  ASSERT_EQ(machine_.anchor(good()), 0);
  EXPECT_EQ(state(), unsigned{KVM_IOMMU_STATE_ANCHORED});
  EXPECT_EQ(machine_.anchor(good()), -EEXIST);
  EXPECT_EQ(machine_.start(), -EBUSY);
  kiommu_anchor now = machine_.info().anchor;
  EXPECT_EQ(now.iota, good().iota);
  EXPECT_EQ(now.format, unsigned{KVM_IOMMU_FORMAT_ZPCI});
  EXPECT_EQ(machine_.unanchor(), 0);
  EXPECT_EQ(state(), unsigned{KVM_IOMMU_STATE_STARTED});
  now = machine_.info().anchor;
  EXPECT_EQ(now.iota, 0u);
}

TEST_F(States, StopFromAnchoredUnanchors) {
  ASSERT_EQ(machine_.start(), 0);
  ASSERT_EQ(machine_.anchor(good()), 0);
  EXPECT_EQ(machine_.stop(), 0);
  EXPECT_EQ(state(), unsigned{KVM_IOMMU_STATE_CREATED});
  ASSERT_EQ(machine_.start(), 0);
  EXPECT_EQ(state(), unsigned{KVM_IOMMU_STATE_STARTED});
}

TEST_F(States, UnknownFormatIsRefused) {
  ASSERT_EQ(machine_.start(), 0);
  kiommu_anchor anchor{};
  anchor.rights = kRW;
  for (unsigned format : {9u, 63u, 64u, ~0u}) {
    anchor.format = format;
    EXPECT_EQ(machine_.anchor(anchor), -EOPNOTSUPP);
  }
  EXPECT_EQ(machine_.info().formats, 0x1ffu);
}

TEST_F(States, RangeOfTranslate) {
  ASSERT_EQ(machine_.start(), 0);
  ASSERT_EQ(machine_.anchor(good()), 0);
  kiommu_translation answer;
  const u64 reach = u64{1} << 42;
  EXPECT_EQ(machine_.translate(reach, &answer), -EINVAL);
}

TEST(Anchor, CanMoveAnyNumberOfTimes) {
  W world;
  GuestTables<ZpciFormat> other(world.guest, kTablesGpa + 8 * kMiB, 1);
  world.tables.map_pages(0, world.data(0), 10);
  other.map_pages(4 * kPage, world.data(100), 10);
  for (int i = 0; i < 5; ++i) {
    world.expect_refresh(0, kMiB);
    EXPECT_EQ(world.sees(4 * kPage), world.frame(world.data(4)));
    EXPECT_EQ(world.sees(12 * kPage), kBlocked);
    ASSERT_EQ(world.unanchor(), 0);
    EXPECT_EQ(world.info().mapped_pages, 0u);
    EXPECT_EQ(world.guest.accounted(), 0u);
    expect_consistent(world);
    ASSERT_EQ(world.anchor(other.anchor()), 0);
    EXPECT_EQ(world.sees(4 * kPage), kBlocked);  // nothing before a refresh
    world.expect_refresh(0, kMiB);
    EXPECT_EQ(world.sees(4 * kPage), world.frame(world.data(100)));
    EXPECT_EQ(world.sees(0), kBlocked);
    ASSERT_EQ(world.unanchor(), 0);
    ASSERT_EQ(world.anchor(world.tables.anchor()), 0);
  }
}

TEST(Anchor, ProtectBitOfIotaTakesTheRightToWrite) {
  W world;
  ASSERT_EQ(world.unanchor(), 0);
  kiommu_anchor anchor = world.tables.anchor();
  anchor.iota |= 0x200;
  ASSERT_EQ(world.anchor(anchor), 0);
  world.tables.map(0, world.data(0));
  world.expect_refresh(0, kPage);
  EXPECT_EQ(world.sees(0), world.frame(world.data(0), kR));
}

TEST(Teardown, EverythingMappedIsGivenBackInOrder) {
  for (int how = 0; how < 3; ++how) {
    W world({.data_order = port::kShuffled});
    world.tables.map_pages(0, world.data(0), 3000);
    world.expect_refresh(0, 3000 * kPage);
    EXPECT_EQ(world.guest.accounted(), 3000u);
    if (how == 2) {
      world.destroy();
    } else {
      EXPECT_EQ(how == 0 ? world.unanchor() : world.stop(), 0);
    }
    EXPECT_EQ(world.iommus[0].mapped_pages(), 0u);
    EXPECT_EQ(world.host.pinned(), 0u);
    EXPECT_EQ(world.guest.accounted(), 0u);
    EXPECT_EQ(world.iommus.flush_calls, 1u);
  }
}

TEST(Teardown, CostsWhatIsMappedNotTheAperture) {
  W world({.top = 4});
  // Ten pages spread over 64 bits.
  for (u64 i = 0; i < 10; ++i) {
    world.tables.map(i << 60, world.data(i));
    EXPECT_EQ(world.refresh(i << 60, kPage).error, 0);
  }
  const u64 unmaps = world.iommus.unmap_calls;
  ASSERT_EQ(world.unanchor(), 0);
  EXPECT_EQ(world.iommus.unmap_calls, unmaps + 10);
  ASSERT_EQ(world.anchor(world.tables.anchor()), 0);
  ASSERT_EQ(world.unanchor(), 0);
  EXPECT_EQ(world.iommus.unmap_calls, unmaps + 10);
}

TEST(Teardown, OtherGuestMayFollow) {
  W world;
  world.tables.map(0, world.data(0));
  world.expect_refresh(0, kPage);
  ASSERT_EQ(world.stop(), 0);
  EXPECT_EQ(world.info().pinned_pages, 0u);
  port::GuestMemory second(world.host);
  second.add_ram(0, 64, port::kShuffled);
  port::PinTable pins(second, world.ledger, 0);
  ASSERT_EQ(world.start(pins), 0);
  EXPECT_EQ(world.start(), -EBUSY);
  ASSERT_EQ(world.anchor(Spec<ZpciFormat>::anchor(1, 0x4000)), 0);
  // Tables of zeros map each page to GPA 0, charged to the other guest.
  EXPECT_EQ(world.refresh(0, kMiB).error, 0);
  const HostPage first{second.page_at(second.slot_of(0)->hva).pfn, kRW};
  EXPECT_EQ(world.sees(255 * kPage), first);
  EXPECT_EQ(second.accounted(), 1u);
  EXPECT_EQ(world.guest.accounted(), 0u);
  ASSERT_EQ(world.stop(), 0);
  EXPECT_EQ(second.accounted(), 0u);
}

// The core meets the slot of the tables again: a lack of memory for that does
// not mean that the tables are in no slot.
TEST(Anchors, LackOfMemoryIsNoBadTable) {
  World<VtdSsFormat> world;
  ASSERT_EQ(world.stop(), 0);
  const kiommu_slot slot = *world.guest.slot_of(kTablesGpa);
  world.guest.remove_slot(kTablesGpa);
  world.pins.slots_changed();
  world.guest.add_slot(kTablesGpa, slot.pages, slot.hva);
  ASSERT_EQ(world.start(), 0);
  kiommu_u32 status = 0;
  faults().node.arm_always();
  const int error = world.anchor(world.tables.anchor(), &status);
  faults() = {};
  EXPECT_EQ(error, -ENOMEM);
  EXPECT_EQ(status, unsigned{KVM_IOMMU_STATUS_NO_MEMORY});
  EXPECT_EQ(world.anchor(world.tables.anchor()), 0);
}

// Nor does a slot that has changed without a report to the domain.
TEST(Anchors, ChangedSlotIsNoBadTable) {
  constexpr u64 kBelow = kTablesGpa - 16 * kPage;
  World<VtdSsFormat> world;
  world.tables.map(world.kIova, world.data(0));
  world.expect_refresh(world.kIova, kPage);
  ASSERT_EQ(world.unanchor(), 0);
  world.pins.notices_slots = false;
  const kiommu_slot slot = *world.guest.slot_of(kTablesGpa);
  world.guest.remove_slot(kTablesGpa);
  world.guest.add_slot(kBelow, slot.pages, slot.hva);
  kiommu_anchor anchor = world.tables.anchor();
  anchor.iota = kBelow;
  kiommu_u32 status = 0;
  EXPECT_EQ(world.anchor(anchor, &status), -EAGAIN);
  EXPECT_EQ(status, unsigned{KVM_IOMMU_STATUS_BUDGET});
  world.pins.notices_slots = true;
  EXPECT_EQ(world.anchor(anchor), 0);
}

TEST(Door, NumbersAreThoseOfTheInterface) {
  // Tests that name a status check its number, too; these are the ones that no
  // guest can cause at will.
  W world;
  world.tables.map(0, world.data(0));
  world.guest.pin_failure = KIOMMU_PIN_INTERRUPTED;
  faults().pin.arm(1);
  world.expect_stops(0, kPage, 0, -EINTR, KVM_IOMMU_STATUS_INTERRUPTED);
  world.guest.pin_failure = KIOMMU_PIN_NO_MEMORY;
  faults().pin.arm(1);
  world.expect_stops(0, kPage, 0, -ENOMEM, KVM_IOMMU_STATUS_NO_MEMORY);
  faults().map.arm(1);
  world.iommus.map_error = -ENOSPC;
  world.expect_stops(0, kPage, 0, -EIO, KVM_IOMMU_STATUS_HOST);
}

}  // namespace
}  // namespace kiommu::test
