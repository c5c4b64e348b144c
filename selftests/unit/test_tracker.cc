// SPDX-License-Identifier: GPL-2.0-only
//
// Mode TRACKED: what the guest stores to its tables is in the shadow when the
// store is done; pages of tables are tracked, and no others.
#include "lib/tracked_world.hpp"

namespace kiommu::test {
namespace {

// Pages of a table of the lowest level.
template <class F>
constexpr u64 kTablePages = (Spec<F>::table_bytes(0) + kPage - 1) / kPage;

// Reads the queued faults, and counts those with this reason.
u64 count_faults(port::DmaDomain& domain, u32 reason) {
  u64 count = 0;
  for (const kiommu_fault& fault : domain.read_faults(128)) {
    count += fault.reason == reason;
  }
  return count;
}

template <class F>
class Tracker : public FormatTest<F> {};
TYPED_TEST_SUITE(Tracker, AllFormats);

TYPED_TEST(Tracker, BeginsWithWhatTheTablesSay) {
  TrackedWorld<TypeParam> world;
  world.tables.map(world.kIova, world.data(0));
  ASSERT_EQ(world.follow(), 0);
  EXPECT_EQ(world.sees(world.kIova), world.frame(world.data(0)));
  world.expect_tracked();
}

TYPED_TEST(Tracker, StoresAreFollowed) {
  using S = Spec<TypeParam>;
  TrackedWorld<TypeParam> world;
  ASSERT_EQ(world.follow(), 0);
  // Tables are created and linked on the way: these are stores, too.
  world.store(world.kIova, 0, S::leaf(0, world.leaf(1), kRW));
  EXPECT_EQ(world.sees(world.kIova), world.frame(world.leaf(1)));
  world.store(world.kIova, 0, S::leaf(0, world.leaf(2), kRW));
  EXPECT_EQ(world.sees(world.kIova), world.frame(world.leaf(2)));
  world.store(world.kIova, 0, S::absent(0));
  EXPECT_EQ(world.sees(world.kIova), kBlocked);
  world.expect_tracked();
}

// What the tables say of the first page.
template <class F>
std::optional<HostPage> wanted(TrackedWorld<F>& world) {
  const auto read = [&](u64 gpa, u8* bytes) -> unsigned {
    world.guest.read(gpa, bytes, 8);
    return KVM_IOMMU_STATUS_OK;
  };
  const Answer answer =
      Spec<F>::translate(read, world.tables.anchor(), world.kIova);
  if (answer.status != KVM_IOMMU_STATUS_OK) return kBlocked;
  return world.frame(answer.gpa, answer.rights);
}

// A walk that begins at a lowest table applies the rights of the tables above.
TYPED_TEST(Tracker, StoreBelowAnEntryThatLostRights) {
  using S = Spec<TypeParam>;
  TrackedWorld<TypeParam> world;
  world.tables.map(world.kIova, world.leaf(1));
  ASSERT_EQ(world.follow(), 0);
  const u64 table = world.tables.table(world.kIova, 0);
  for (const unsigned rights : {kR, kRW}) {
    world.store(world.kIova, 1, S::table(1, table, rights));
    EXPECT_EQ(world.sees(world.kIova), wanted(world));
    world.store(world.kIova, 0, S::leaf(0, world.leaf(2 + rights), kRW));
    EXPECT_EQ(world.sees(world.kIova), wanted(world));
  }
  EXPECT_EQ(world.sees(world.kIova), world.frame(world.leaf(2 + kRW)));
  world.expect_tracked();
}

// No walk begins below a page that is not followed: nobody knows whether it
// still names the table.
TYPED_TEST(Tracker, StoreBelowATableThatIsNotFollowed) {
  using S = Spec<TypeParam>;
  TrackedWorld<TypeParam> world;
  world.tables.map(world.kIova, world.leaf(1));
  const u64 other = world.tables.new_table(0);
  const u64 in_table = world.tables.entry_gpa(world.kIova, 0) -
                       world.tables.table(world.kIova, 0);
  world.tables.write_entry(other + in_table, S::leaf(0, world.leaf(9), kRW));
  ASSERT_EQ(world.follow(), 0);
  const u64 above = world.tables.entry_gpa(world.kIova, 1);
  kiommu_u64 count = 0;
  ASSERT_EQ(world.untrack(above & ~(kPage - 1), kPage, &count), 0);
  ASSERT_EQ(count, 1u);
  // This store is not reported.
  world.store_entry(above, S::table(1, other, kRW));
  EXPECT_EQ(world.sees(world.kIova), world.frame(world.leaf(1)));
  // The old table is still followed.
  ASSERT_TRUE(
      world.guest.is_tracked(world.tables.entry_gpa(world.kIova, 0) / kPage));
  world.store(world.kIova, 0, S::leaf(0, world.leaf(3), kRW));
  EXPECT_EQ(world.sees(world.kIova), world.frame(world.leaf(9)));
  world.expect_refresh(world.kIova, world.kLeaf);
  EXPECT_EQ(world.sees(world.kIova), wanted(world));
}

TYPED_TEST(Tracker, TableThatIsUnlinkedIsOrdinaryMemory) {
  using S = Spec<TypeParam>;
  TrackedWorld<TypeParam> world;
  world.tables.map_pages(world.kIova, world.data(0), 5);
  ASSERT_EQ(world.follow(), 0);
  const u64 before = world.info().tracked_pages;
  const u64 table = world.tables.table(world.kIova, 0);
  const u64 link = S::table(1, table, kRW);
  world.store(world.kIova, 1, S::absent(1));
  EXPECT_FALSE(world.guest.is_tracked(table / kPage));
  EXPECT_EQ(world.info().tracked_pages, before - kTablePages<TypeParam>);
  EXPECT_EQ(world.info().mapped_pages, 0u);
  world.tables.map(world.kIova, world.leaf(9));
  world.store(world.kIova, 1, link);
  EXPECT_EQ(world.sees(world.kIova), world.frame(world.leaf(9)));
  EXPECT_EQ(world.info().tracked_pages, before);
  world.expect_tracked();
}

TYPED_TEST(Tracker, OneTableInManyPlaces) {
  using S = Spec<TypeParam>;
  TrackedWorld<TypeParam> world;
  world.tables.map(world.kIova, world.leaf(1));
  const u64 table = world.tables.table(world.kIova, 0);
  const u64 span = u64{1} << S::shift(1);
  ASSERT_EQ(world.follow(), 0);
  for (u64 i = 1; i < 10; ++i) {
    world.store(world.kIova + i * span, 1, S::table(1, table, kRW));
  }
  world.store(world.kIova + World<TypeParam>::kLeaf, 0,
              S::leaf(0, world.leaf(2), kRW));
  for (u64 i = 0; i < 10; ++i) {
    EXPECT_EQ(world.sees(world.kIova + i * span), world.frame(world.leaf(1)));
    EXPECT_EQ(world.sees(world.kIova + i * span + world.kLeaf),
              world.frame(world.leaf(2)));
  }
  // It stays tracked until the last of them is gone.
  for (u64 i = 0; i < 9; ++i) {
    world.store(world.kIova + i * span, 1, S::absent(1));
    EXPECT_TRUE(world.guest.is_tracked(table / kPage));
  }
  world.store(world.kIova + world.kLeaf, 0, S::absent(0));
  EXPECT_EQ(world.sees(world.kIova + 9 * span + world.kLeaf), kBlocked);
  world.store(world.kIova + 9 * span, 1, S::absent(1));
  EXPECT_EQ(world.info().mapped_pages, 0u);
  world.expect_tracked();
}

TYPED_TEST(Tracker, TooManyPlacesAreOutOfSync) {
  using S = Spec<TypeParam>;
  TrackedWorld<TypeParam> world;
  ASSERT_EQ(world.open_faults(), 0);
  const u64 table = world.tables.table(world.kIova, 0);
  const u64 span = u64{1} << S::shift(1);
  ASSERT_EQ(world.follow(), 0);
  for (u64 i = 1; i < 40; ++i) {
    world.store(world.kIova + i * span, 1, S::table(1, table, kRW));
  }
  EXPECT_FALSE(world.guest.is_tracked(table / kPage));
  EXPECT_EQ(world.info().unsynced_pages, kTablePages<TypeParam>);
  EXPECT_EQ(count_faults(world, KVM_IOMMU_FAULT_SYNC), kTablePages<TypeParam>);
  world.store(world.kIova, 0, S::leaf(0, world.leaf(1), kRW));
  world.expect_refresh(world.kIova, 40 * span);
  for (u64 i = 0; i < 40; ++i) {
    EXPECT_EQ(world.sees(world.kIova + i * span), world.frame(world.leaf(1)));
  }
}

// A store to such a table takes a refresh for each place, and there is room for
// no more.
TYPED_TEST(Tracker, SixteenPlacesAreFollowed) {
  using S = Spec<TypeParam>;
  TrackedWorld<TypeParam> world;
  const u64 table = world.tables.table(world.kIova, 0);
  const u64 span = u64{1} << S::shift(1);
  ASSERT_EQ(world.follow(), 0);
  for (u64 i = 1; i < KIOMMU_TRACKING_RANGES; ++i) {
    world.store(world.kIova + i * span, 1, S::table(1, table, kRW));
  }
  EXPECT_TRUE(world.guest.is_tracked(table / kPage));
  world.store(world.kIova, 0, S::leaf(0, world.leaf(1), kRW));
  EXPECT_EQ(world.sees(world.kIova + 15 * span), world.frame(world.leaf(1)));
  world.store(world.kIova + 16 * span, 1, S::table(1, table, kRW));
  EXPECT_FALSE(world.guest.is_tracked(table / kPage));
  EXPECT_EQ(world.info().unsynced_pages, kTablePages<TypeParam>);
}

// The tables above it stay in sync.
TYPED_TEST(Tracker, TableOfAStoreThatFailedIsOutOfSync) {
  using S = Spec<TypeParam>;
  TrackedWorld<TypeParam> world;
  ASSERT_EQ(world.open_faults(), 0);
  world.tables.map(world.kIova, world.leaf(1));
  ASSERT_EQ(world.follow(), 0);
  const u64 tracked = world.info().tracked_pages;
  faults().pin.arm_always();
  world.store(world.kIova, 0, S::leaf(0, world.leaf(2), kRW));
  faults() = {};
  EXPECT_EQ(world.sees(world.kIova), kBlocked);
  EXPECT_EQ(world.info().unsynced_pages, 1u);
  EXPECT_EQ(world.info().tracked_pages, tracked - 1);
  EXPECT_EQ(count_faults(world, KVM_IOMMU_FAULT_SYNC), 1u);
  world.expect_refresh(world.kIova, world.kLeaf);
  EXPECT_EQ(world.sees(world.kIova), world.frame(world.leaf(2)));
  world.expect_tracked();
}

TYPED_TEST(Tracker, BadEntriesAreReportedAndPassed) {
  using S = Spec<TypeParam>;
  TrackedWorld<TypeParam> world;
  ASSERT_EQ(world.open_faults(), 0);
  world.tables.map(world.kIova, world.leaf(1));
  world.tables.map(world.kIova + world.kLeaf, u64{1} << 46);
  world.tables.map(world.kIova + 2 * world.kLeaf, world.leaf(3));
  ASSERT_EQ(world.follow(), 0);
  EXPECT_EQ(world.sees(world.kIova), world.frame(world.leaf(1)));
  EXPECT_EQ(world.sees(world.kIova + world.kLeaf), kBlocked);
  EXPECT_EQ(world.sees(world.kIova + 2 * world.kLeaf),
            world.frame(world.leaf(3)));
  auto faults = world.read_faults(10);
  ASSERT_EQ(faults.size(), 1u);
  EXPECT_EQ(faults[0].reason, unsigned{KVM_IOMMU_FAULT_ENTRY});
  EXPECT_EQ(faults[0].status, unsigned{KVM_IOMMU_STATUS_NO_SLOT});
  EXPECT_EQ(faults[0].iova, world.kIova + world.kLeaf);
  EXPECT_EQ(faults[0].level, 1u);
  EXPECT_TRUE(faults[0].flags & KVM_IOMMU_FAULT_HAS_GPA);
  EXPECT_EQ(faults[0].gpa, u64{1} << 46);
  // What was mapped there no longer is.
  world.store(world.kIova, 0, S::leaf(0, u64{1} << 46, kRW));
  EXPECT_EQ(world.sees(world.kIova), kBlocked);
  EXPECT_EQ(world.read_faults(10).size(), 1u);
}

TYPED_TEST(Tracker, TablesThatCannotBeReadAreReported) {
  using S = Spec<TypeParam>;
  TrackedWorld<TypeParam> world;
  ASSERT_EQ(world.open_faults(), 0);
  world.tables.map(world.kIova, world.leaf(1));
  ASSERT_EQ(world.follow(), 0);
  world.store(world.kIova, 1, S::table(1, u64{1} << 46, kRW));
  EXPECT_EQ(world.sees(world.kIova), kBlocked);
  const auto faults = world.read_faults(10);
  ASSERT_FALSE(faults.empty());
  EXPECT_EQ(faults[0].reason, unsigned{KVM_IOMMU_FAULT_ENTRY});
  EXPECT_EQ(faults[0].status, unsigned{KVM_IOMMU_STATUS_NO_SLOT});
  EXPECT_EQ(faults[0].level, 2u);
  EXPECT_TRUE(faults[0].flags & KVM_IOMMU_FAULT_HAS_GPA);
  EXPECT_EQ(faults[0].gpa, u64{1} << 46);
}

TYPED_TEST(Tracker, BurstsGoOutOfSyncAndComeBack) {
  using S = Spec<TypeParam>;
  TrackedWorld<TypeParam> world;
  world.tables.map(world.kIova, world.leaf(0));
  ASSERT_EQ(world.follow(4), 0);
  const u64 gfn = world.tables.table(world.kIova, 0) / kPage;
  const auto burst = [&] {
    unsigned followed = 0;
    while (world.guest.is_tracked(gfn) && followed < 100) {
      ++followed;
      world.store(world.kIova, 0, S::leaf(0, world.leaf(followed), kRW));
      EXPECT_EQ(world.sees(world.kIova), world.frame(world.leaf(followed)));
    }
    return followed;
  };
  EXPECT_EQ(burst(), 4u);
  EXPECT_EQ(world.info().unsynced_pages, 1u);
  world.store(world.kIova, 0, S::leaf(0, world.leaf(50), kRW));
  EXPECT_EQ(world.sees(world.kIova), world.frame(world.leaf(4)));
  // A refresh brings back all that the page maps, not just what was asked for.
  world.tables.map(world.kIova + world.kLeaf, world.leaf(51));
  world.expect_refresh(world.kIova, world.kLeaf);
  EXPECT_EQ(world.sees(world.kIova + world.kLeaf), world.frame(world.leaf(51)));
  EXPECT_EQ(world.info().unsynced_pages, 0u);
  EXPECT_EQ(burst(), 2u);
  world.expect_refresh(world.kIova, world.kLeaf);
  EXPECT_EQ(burst(), 1u);
  world.expect_refresh(world.kIova, world.kLeaf);
  EXPECT_EQ(world.info().unsynced_pages, 0u);
  // A refresh that meets it in sync shows that it has become calm.
  world.expect_refresh(world.kIova, world.kLeaf);
  EXPECT_EQ(burst(), 4u);
}

TYPED_TEST(Tracker, UntrackAndRefresh) {
  using S = Spec<TypeParam>;
  TrackedWorld<TypeParam> world;
  world.tables.map(world.kIova, world.leaf(0));
  ASSERT_EQ(world.open_faults(), 0);
  ASSERT_EQ(world.follow(), 0);
  const u64 page = world.tables.table(world.kIova, 0) & ~u64{0xfff};
  kiommu_u64 count = 7;
  EXPECT_EQ(world.untrack(page + 8, kPage, &count), -EINVAL);
  EXPECT_EQ(world.untrack(page, 0, &count), -EINVAL);
  EXPECT_EQ(world.untrack(0 - kPage, 2 * kPage, &count), -EOVERFLOW);
  EXPECT_EQ(world.untrack(kDataGpa, kPage, &count), 0);
  EXPECT_EQ(count, 0u);
  EXPECT_EQ(world.untrack(page, kPage, &count), 0);
  EXPECT_EQ(count, 1u);
  EXPECT_FALSE(world.guest.is_tracked(page / kPage));
  EXPECT_EQ(world.read_faults(9).size(), 1u);
  world.store(world.kIova, 0, S::leaf(0, world.leaf(1), kRW));
  EXPECT_EQ(world.sees(world.kIova), world.frame(world.leaf(0)));
  world.expect_refresh(world.kIova, world.kLeaf);
  EXPECT_EQ(world.sees(world.kIova), world.frame(world.leaf(1)));
  EXPECT_TRUE(world.guest.is_tracked(page / kPage));
  EXPECT_EQ(world.untrack(0, u64{1} << 40, &count), 0);
  EXPECT_EQ(world.info().tracked_pages, 0u);
  EXPECT_GE(count, 2u);
}

// The work depends on the pages that are known, not on the length of the range:
// a loop over its GFNs would not end.
TYPED_TEST(Tracker, UntrackOfTheWholeAddressSpaceEnds) {
  TrackedWorld<TypeParam> world;
  world.tables.map(world.kIova, world.leaf(0));
  ASSERT_EQ(world.follow(), 0);
  const u64 tracked = world.info().tracked_pages;
  const u64 page = world.tables.table(world.kIova, 0) & ~u64{0xfff};
  kiommu_u64 count = 7;
  // Ranges without the page: far above it, and on both sides.
  EXPECT_EQ(world.untrack(u64{1} << 50, u64{1} << 62, &count), 0);
  EXPECT_EQ(count, 0u);
  EXPECT_EQ(world.untrack(page + kPage, 0 - (page + 2 * kPage), &count), 0);
  EXPECT_LT(count, tracked);
  EXPECT_TRUE(world.guest.is_tracked(page / kPage));
  world.expect_refresh(world.kIova, world.kLeaf);
  const u64 again = world.info().tracked_pages;
  EXPECT_GT(again, 0u);
  EXPECT_EQ(world.untrack(0, 0 - kPage, &count), 0);
  EXPECT_EQ(count, again);
  EXPECT_EQ(world.info().tracked_pages, 0u);
}

// Pages whose distance is a multiple of the number of buckets share one.
TYPED_TEST(Tracker, UntrackTakesWhatIsInTheRangeAlone) {
  TrackedWorld<TypeParam> world;
  world.tables.map(world.kIova, world.leaf(0));
  ASSERT_EQ(world.follow(), 0);
  const u64 page = world.tables.table(world.kIova, 0) & ~u64{0xfff};
  const u64 apart = kPage << 18;
  kiommu_u64 count = 7;
  EXPECT_EQ(world.untrack(page + apart, kPage, &count), 0);
  EXPECT_EQ(count, 0u);
  EXPECT_EQ(world.untrack(page - 3 * kPage, 3 * kPage, &count), 0);
  EXPECT_TRUE(world.guest.is_tracked(page / kPage));
  EXPECT_EQ(world.untrack(page - 3 * kPage, 4 * kPage, &count), 0);
  EXPECT_EQ(count, 1u);
  EXPECT_FALSE(world.guest.is_tracked(page / kPage));
}

TYPED_TEST(Tracker, UntrackIsKilled) {
  TrackedWorld<TypeParam> world;
  world.tables.map(world.kIova, world.leaf(0));
  ASSERT_EQ(world.follow(), 0);
  const u64 tracked = world.info().tracked_pages;
  kiommu_u64 count = 7;
  port::faults().interrupt.arm(1);
  EXPECT_EQ(world.untrack(0, 0 - kPage, &count), -EINTR);
  port::faults().interrupt.disarm();
  // One page was taken before the signal, and the state is consistent.
  EXPECT_EQ(world.info().tracked_pages, tracked - 1);
  EXPECT_EQ(world.guest.tracked().size(), tracked - 1);
  EXPECT_EQ(world.untrack(0, 0 - kPage, &count), 0);
  EXPECT_EQ(count, tracked - 1);
}

TYPED_TEST(Tracker, SlotOfATableGoes) {
  using S = Spec<TypeParam>;
  TrackedWorld<TypeParam> world;
  ASSERT_EQ(world.open_faults(), 0);
  const u64 far = kDataGpa + 64 * kGiB;
  const u64 hva = world.guest.add_ram(far, 64, port::kShuffled);
  world.tables.table(world.kIova, 0);
  ASSERT_EQ(world.follow(), 0);
  const u64 before = world.info().tracked_pages;
  for (int round = 0; round < 2; ++round) {
    for (u64 i = 0; i < S::entries(0); ++i) {
      world.tables.write_entry(
          far + 8 * i, i ? S::absent(0) : S::leaf(0, world.leaf(3), kRW));
    }
    world.store(world.kIova, 1, S::table(1, far, kRW));
    const u64 first = world.kIova & ~((u64{1} << S::shift(1)) - 1);
    EXPECT_EQ(world.sees(first), world.frame(world.leaf(3)));
    world.guest.remove_slot(far);
    world.pins.slots_changed();
    EXPECT_EQ(world.sees(first), kBlocked);
    EXPECT_EQ(world.info().tracked_pages, before - kTablePages<TypeParam>);
    EXPECT_EQ(count_faults(world, KVM_IOMMU_FAULT_SYNC),
              kTablePages<TypeParam>);
    // The slot comes back: the table is followed after a refresh of any part of
    // it.
    world.guest.add_slot(far, 64, hva);
    world.expect_refresh(first + 5 * world.kLeaf, world.kLeaf);
    EXPECT_EQ(world.sees(first), world.frame(world.leaf(3)));
    EXPECT_TRUE(world.guest.is_tracked(far / kPage));
  }
}

// Each page is reported once, wherever it was used.
TYPED_TEST(Tracker, SlotOfATableInManyPlacesGoes) {
  using S = Spec<TypeParam>;
  TrackedWorld<TypeParam> world;
  ASSERT_EQ(world.open_faults(), 0);
  const u64 far = kDataGpa + 64 * kGiB;
  world.guest.add_ram(far, 64, port::kShuffled);
  world.tables.table(world.kIova, 0);
  ASSERT_EQ(world.follow(), 0);
  const u64 before = world.info().tracked_pages;
  const u64 span = u64{1} << S::shift(1);
  const u64 first = world.kIova & ~(span - 1);
  for (u64 i = 0; i < S::entries(0); ++i) {
    world.tables.write_entry(far + 8 * i,
                             i ? S::absent(0) : S::leaf(0, world.leaf(3), kRW));
  }
  for (u64 i = 0; i < 3; ++i) {
    world.store(first + i * span, 1, S::table(1, far, kRW));
    EXPECT_EQ(world.sees(first + i * span), world.frame(world.leaf(3)));
  }
  world.guest.remove_slot(far);
  world.pins.slots_changed();
  EXPECT_EQ(world.info().mapped_pages, 0u);
  EXPECT_EQ(world.info().tracked_pages, before - kTablePages<TypeParam>);
  EXPECT_EQ(count_faults(world, KVM_IOMMU_FAULT_SYNC), kTablePages<TypeParam>);
}

TYPED_TEST(Tracker, TableInReadOnlyMemoryIsNotTracked) {
  using S = Spec<TypeParam>;
  TrackedWorld<TypeParam> world;
  const u64 far = kDataGpa + 64 * kGiB;
  world.guest.add_ram(far, 64, port::kShuffled, KIOMMU_SLOT_READ_ONLY);
  world.tables.table(world.kIova, 0);
  ASSERT_EQ(world.follow(), 0);
  world.store(world.kIova, 1, S::table(1, far, kRW));
  EXPECT_FALSE(world.guest.is_tracked(far / kPage));
  EXPECT_EQ(world.info().mapped_pages, 0u);
}

// A refresh follows all pages that it met out of sync.
TYPED_TEST(Tracker, RefreshOfSeveralTablesThatAreOutOfSync) {
  using S = Spec<TypeParam>;
  TrackedWorld<TypeParam> world;
  const u64 span = u64{1} << S::shift(1);
  for (u64 i = 0; i < 3; ++i) {
    world.tables.map(world.kIova + i * span, world.leaf(i));
  }
  ASSERT_EQ(world.follow(), 0);
  for (const u64 i : {0, 2}) {
    const u64 gpa = world.tables.entry_gpa(world.kIova + i * span, 0);
    kiommu_u64 count = 0;
    ASSERT_EQ(world.untrack(gpa & ~(kPage - 1), kPage, &count), 0);
    ASSERT_EQ(count, 1u);
  }
  world.expect_refresh(world.kIova, 3 * span);
  EXPECT_EQ(world.info().unsynced_pages, 0u);
  world.expect_tracked();
}

TYPED_TEST(Tracker, RootGoes) {
  TrackedWorld<TypeParam> world;
  world.tables.map(world.kIova, world.leaf(0));
  ASSERT_EQ(world.follow(), 0);
  world.guest.remove_slot(kTablesGpa);
  world.pins.slots_changed();
  EXPECT_EQ(world.info().tracked_pages, 0u);
  EXPECT_EQ(world.info().mapped_pages, 0u);
  world.guest.add_slot(kTablesGpa, kTablesPages, world.tables_hva);
  EXPECT_EQ(world.refresh(world.kIova, world.kLeaf).error, 0);
  EXPECT_EQ(world.sees(world.kIova), world.frame(world.leaf(0)));
  // Each page of a table of several pages comes back when it is met.
  world.expect_refresh(world.kIova, kPage);
  EXPECT_TRUE(world.guest.is_tracked(world.tables.root() / kPage));
}

TYPED_TEST(Tracker, WithoutMemoryItIsBlockedUntilARefresh) {
  using S = Spec<TypeParam>;
  // Enough for the tracker and some of the tables.
  TrackedWorld<TypeParam> world({.machine = {.shadow_limit = 40 * kPage}});
  ASSERT_EQ(world.open_faults(), 0);
  ASSERT_EQ(world.follow(), 0);
  const u64 span = u64{1} << S::shift(1);
  for (u64 i = 0; i < 60; ++i) {
    world.store(world.kIova + i * span, 0, S::leaf(0, world.leaf(1), kRW));
    EXPECT_LE(world.info().shadow_bytes, world.info().shadow_limit);
  }
  EXPECT_GE(world.info().unsynced_pages, 1u);
  EXPECT_EQ(world.sees(world.kIova + 59 * span), kBlocked);
  bool resources = false;
  bool sync = false;
  for (const kiommu_fault& fault : world.read_faults(128)) {
    resources |= fault.reason == KVM_IOMMU_FAULT_RESOURCES;
    sync |= fault.reason == KVM_IOMMU_FAULT_SYNC;
  }
  EXPECT_TRUE(resources && sync);
  // Room is made; what is out of sync comes back.
  for (u64 i = 0; i < 59; ++i) {
    world.store(world.kIova + i * span, 1, S::absent(1));
  }
  world.refresh(world.kIova, 60 * span);
  world.expect_refresh(world.kIova, 60 * span);
  EXPECT_EQ(world.sees(world.kIova + 59 * span), world.frame(world.leaf(1)));
  EXPECT_EQ(world.info().unsynced_pages, 0u);
}

TYPED_TEST(Tracker, PageThatCannotBeTracked) {
  using S = Spec<TypeParam>;
  TrackedWorld<TypeParam> world;
  ASSERT_EQ(world.follow(), 0);
  faults().track.arm(1);
  world.store(world.kIova, 0, S::leaf(0, world.leaf(1), kRW));
  EXPECT_EQ(world.sees(world.kIova), kBlocked);
  EXPECT_GE(world.info().unsynced_pages, 1u);
  world.expect_refresh(world.kIova, world.kLeaf);
  EXPECT_EQ(world.sees(world.kIova), world.frame(world.leaf(1)));
  world.expect_tracked();
}

// Nothing else goes out of sync by that: one record reports it all.
TYPED_TEST(Tracker, TopTableThatCannotBeTracked) {
  TrackedWorld<TypeParam> world;
  world.expect_refresh(world.kIova, world.kLeaf);
  ASSERT_EQ(world.open_faults(), 0);
  faults().track.arm(1);
  ASSERT_EQ(world.follow(), 0);
  EXPECT_EQ(world.info().tracked_pages, 0u);
  EXPECT_EQ(world.info().unsynced_pages, 1u);
  const auto told = world.read_faults(128);
  ASSERT_EQ(told.size(), 1u);
  EXPECT_EQ(told[0].reason, unsigned{KVM_IOMMU_FAULT_RESOURCES});
  const u64 reach = world.tables.reach();
  EXPECT_EQ(world.refresh(0, reach != 0 ? reach : u64{1} << 63).error, 0);
  EXPECT_EQ(world.info().unsynced_pages, 0u);
  world.expect_tracked();
}

TYPED_TEST(Tracker, EndsWithTheModeAndTheAnchor) {
  TrackedWorld<TypeParam> world;
  world.tables.map(world.kIova, world.leaf(0));
  ASSERT_EQ(world.follow(), 0);
  EXPECT_EQ(world.unanchor(), 0);
  EXPECT_TRUE(world.guest.tracked().empty());
  EXPECT_EQ(world.info().shadow_bytes, 0u);
  EXPECT_EQ(world.anchor(world.tables.anchor()), 0);
  world.unfollow();
  ASSERT_EQ(world.follow(), 0);
  EXPECT_FALSE(world.guest.tracked().empty());
  world.unfollow();
  EXPECT_TRUE(world.guest.tracked().empty());
  EXPECT_EQ(world.sees(world.kIova), world.frame(world.leaf(0)));
}

TYPED_TEST(Tracker, TwoDomainsFollowTheSamePage) {
  using S = Spec<TypeParam>;
  TrackedWorld<TypeParam> world;
  port::DmaDomain second(world.host, world.pins, world.ledger);
  EXPECT_EQ(second.start(), 0);
  EXPECT_EQ(second.anchor(world.tables.anchor()), 0);
  world.tables.map(world.kIova, world.leaf(0));
  ASSERT_EQ(world.follow(), 0);
  ASSERT_EQ(second.follow(), 0);
  world.others = {&second};
  world.store(world.kIova, 0, S::leaf(0, world.leaf(1), kRW));
  EXPECT_EQ(world.sees(world.kIova), world.frame(world.leaf(1)));
  EXPECT_EQ(second.iommus.device_sees(0, world.kIova / kPage),
            world.frame(world.leaf(1)));
  world.unfollow();
  world.store(world.kIova, 0, S::absent(0));
  EXPECT_EQ(second.iommus.device_sees(0, world.kIova / kPage), kBlocked);
  EXPECT_EQ(world.sees(world.kIova), world.frame(world.leaf(1)));
  EXPECT_EQ(second.stop(), 0);
}

}  // namespace
}  // namespace kiommu::test
