// SPDX-License-Identifier: GPL-2.0-only
//
// Mode TRACKED: pages of tables that are used in several places. A page is in
// sync when each of its places is as the page says.
#include <set>
#include <thread>
#include <utility>

#include "lib/tracked_world.hpp"

namespace kiommu::test {
namespace {

template <class F>
class FollowPlaces : public FormatTest<F> {};
TYPED_TEST_SUITE(FollowPlaces, AllFormats);

// The walk to all places of X passes one of the two places of Y.
TYPED_TEST(FollowPlaces, PageMetOnTheWayHasOtherPlaces) {
  using S = Spec<TypeParam>;
  TrackedWorld<TypeParam> world;
  const auto page = place<TypeParam>;
  world.tables.map(page(0), world.leaf(0));
  world.tables.map(page(1), world.leaf(1));
  world.tables.set(page(2), 1,
                   S::table(1, world.tables.table(page(0), 0), kRW));
  world.tables.set(page(5), 1,
                   S::table(1, world.tables.table(page(1), 0), kRW));
  ASSERT_EQ(world.follow(), 0);
  ASSERT_EQ(world.info().unsynced_pages, 0u);
  kiommu_u64 count = 0;
  for (u64 i : {0, 1}) {
    const u64 at = world.tables.entry_gpa(page(i), 0);
    ASSERT_EQ(world.untrack(at & ~(kPage - 1), kPage, &count), 0);
  }
  world.tables.map(page(1), world.leaf(7));
  world.refresh(page(0), world.kLeaf);
  EXPECT_EQ(world.sees(page(1)), world.frame(world.leaf(7)));
  if (world.info().unsynced_pages == 0) {
    EXPECT_EQ(world.sees(page(5)), world.frame(world.leaf(7)));
  }
}

// A page that is out of sync gets a new place by a store that is followed.
TYPED_TEST(FollowPlaces, PageOutOfSyncIsLinkedByAStore) {
  using S = Spec<TypeParam>;
  TrackedWorld<TypeParam> world;
  const auto page = place<TypeParam>;
  world.tables.map(page(0), world.leaf(0));
  world.tables.map(page(3), world.leaf(3));
  ASSERT_EQ(world.follow(), 0);
  kiommu_u64 count = 0;
  const u64 at = world.tables.entry_gpa(page(0), 0);
  ASSERT_EQ(world.untrack(at & ~(kPage - 1), kPage, &count), 0);
  world.tables.map(page(0), world.leaf(7));
  world.store(page(2), 1, S::table(1, world.tables.table(page(0), 0), kRW));
  EXPECT_EQ(world.sees(page(2)), world.frame(world.leaf(7)));
  if (world.info().unsynced_pages == 0) {
    EXPECT_EQ(world.sees(page(0)), world.frame(world.leaf(7)));
  }
  world.refresh(page(2), world.kLeaf);
  EXPECT_EQ(world.info().unsynced_pages, 0u);
  EXPECT_EQ(world.sees(page(0)), world.frame(world.leaf(7)));
}

// UNTRACK takes the page while a refresh is between two of its places.
TYPED_TEST(FollowPlaces, UntrackBetweenTwoPlaces) {
  using S = Spec<TypeParam>;
  TrackedWorld<TypeParam> world;
  const auto page = place<TypeParam>;
  const u64 second = page(0) + World<TypeParam>::kLeaf;
  world.tables.map(page(0), world.leaf(0));
  world.tables.set(page(2), 1,
                   S::table(1, world.tables.table(page(0), 0), kRW));
  ASSERT_EQ(world.follow(), 0);
  const u64 at = world.tables.entry_gpa(page(0), 0);
  const u64 table = at & ~(kPage - 1);
  kiommu_u64 count = 0;
  ASSERT_EQ(world.untrack(table, kPage, &count), 0);
  world.tables.map(second, world.leaf(5));  // pinned when all of it is walked
  bool hit = false;
  world.guest.before_pin = [&] {
    if (hit || !world.guest.is_tracked(table / kPage)) return;
    hit = true;
    std::thread([&] {
      ASSERT_EQ(world.untrack(table, kPage, &count), 0);
      world.tables.map(page(0), world.leaf(7));
    }).join();
  };
  world.refresh(page(0), world.kLeaf);
  world.guest.before_pin = {};
  EXPECT_TRUE(hit);
  // As after any UNTRACK, refresh what the record names.
  world.refresh(page(2), u64{1} << S::shift(1));
  EXPECT_EQ(world.info().unsynced_pages, 0u);
  EXPECT_EQ(world.sees(page(2)), world.frame(world.leaf(7)));
  EXPECT_EQ(world.sees(page(0)), world.frame(world.leaf(7)));
}

// The first of many tables is used behind the last one as well.
class FarPlaces : public TrackedWorld<VtdSsFormat> {
 public:
  static u64 page(u64 i) { return kGiB + (i << S::shift(1)); }

  FarPlaces() {
    for (u64 i = 0; i < 41; ++i) tables.map(page(i), leaf(i));
    tables.set(page(41), 1, S::table(1, tables.table(page(0), 0), kRW));
    EXPECT_EQ(open_faults(), 0);
    EXPECT_EQ(follow(), 0);
  }
  void untrack_first() {
    kiommu_u64 count = 0;
    const u64 at = tables.entry_gpa(page(0), 0);
    EXPECT_EQ(untrack(at & ~(kPage - 1), kPage, &count), 0);
    EXPECT_EQ(count, 1u);
  }
};

// Tables between the places of a page that cannot be brought up to date were in
// sync, and stay in sync.
TEST(FollowPlaces, TablesBetweenTwoPlacesStayInSync) {
  FarPlaces world;
  world.untrack_first();
  ASSERT_EQ(world.info().unsynced_pages, 1u);
  world.tables.map(world.page(0) + kPage, world.leaf(50));
  world.read_faults(128);
  faults().pin.arm(1, 1000);  // of the page that was not asked for
  EXPECT_EQ(world.refresh(world.page(0), kPage).error, 0);
  faults() = {};
  EXPECT_EQ(world.info().unsynced_pages, 1u);
  u64 sync = 0, lost = 0;
  for (const kiommu_fault& f : world.read_faults(128)) {
    sync += f.reason == KVM_IOMMU_FAULT_SYNC;
    lost += f.lost;
  }
  EXPECT_LE(sync + lost, 1u) << sync << " " << lost;
}

// One walk meets a page that is out of sync in two new places: at the first,
// the page still has its old place, at the second, it does not.
TEST(FollowPlaces, PlaceGoesBetweenTwoOthers) {
  using S = Spec<VtdSsFormat>;
  TrackedWorld<VtdSsFormat> world;
  const u64 z = place<VtdSsFormat>(0);
  world.tables.map(z, world.leaf(0));
  ASSERT_EQ(world.follow(), 0);
  const u64 entry = world.tables.entry_gpa(z, 0);
  const u64 table = entry & ~(kPage - 1);
  kiommu_u64 count = 0;
  ASSERT_EQ(world.untrack(table, kPage, &count), 0);
  ASSERT_EQ(count, 1u);
  // A table of 1 GiB with the page in two places, not linked yet.
  const u64 at = z + 4 * kGiB;
  const u64 x = at, y = at + (u64{2} << S::shift(1));
  const u64 link = S::table(1, table, kRW);
  const u64 above = world.tables.new_table(1);
  world.tables.write_entry(above + ((x >> S::shift(1)) & 511) * 8, link);
  world.tables.write_entry(above + ((y >> S::shift(1)) & 511) * 8, link);
  world.tables.write_entry(entry + 8, S::leaf(0, world.leaf(5), kRW));
  const u64 unlinked = world.tables.entry_gpa(z, 1);
  bool hit = false;
  world.guest.before_pin = [&] {
    if (hit) return;
    hit = true;
    std::thread([&] {
      world.store_entry(unlinked, 0);
      // The store is not reported: the page is not tracked.
      ASSERT_FALSE(world.guest.is_tracked(table / kPage));
      world.store_entry(entry, S::leaf(0, world.leaf(7), kRW));
    }).join();
  };
  world.store(at, 2, S::table(2, above, kRW));
  world.guest.before_pin = {};
  EXPECT_TRUE(hit);
  EXPECT_EQ(world.sees(z), kBlocked);
  EXPECT_EQ(world.sees(y), world.frame(world.leaf(7)));
  if (world.info().unsynced_pages == 0) {
    EXPECT_EQ(world.sees(x), world.frame(world.leaf(7)));
  }
}

// A table that is followed elsewhere gets a place at the end of a table that is
// not followed. A refresh follows the latter, and memory runs out in the new
// place.
TEST(FollowPlaces, NewPlaceOfATrackedTableIsNotBrought) {
  using S = Spec<VtdSsFormat>;
  TrackedWorld<VtdSsFormat> world;
  const u64 a = 2 * kGiB;
  const u64 size = u64{1} << S::shift(1);
  for (u64 i = 0; i < 8; ++i) world.tables.map(a + i * size, world.leaf(i));
  // The last 1 GiB of the first 512 GiB.
  const u64 b = 511 * kGiB;
  const u64 shared = world.tables.table(a, 1);
  ASSERT_EQ(world.open_faults(), 0);
  ASSERT_EQ(world.follow(), 0);
  ASSERT_EQ(world.info().unsynced_pages, 0u);
  kiommu_u64 count = 0;
  const u64 at = world.tables.entry_gpa(a, 2);
  ASSERT_EQ(world.untrack(at & ~(kPage - 1), kPage, &count), 0);
  ASSERT_EQ(count, 1u);
  // Not reported: the page is out of sync.
  world.tables.write_entry((at & ~(kPage - 1)) + 511 * 8,
                           S::table(2, shared, kRW));
  world.read_faults(128);
  bool fired = true;
  for (u64 nth = 1; fired && nth < 40; ++nth) {
    SCOPED_TRACE(nth);
    faults().node.arm(nth);
    EXPECT_EQ(world.refresh(a, kPage).error, 0);
    fired = faults().node.fired() > 0;
    faults() = {};
    const u64 unsynced = world.info().unsynced_pages;
    unsigned stale = 0;
    for (u64 i = 0; i < 8; ++i) {
      stale += !(world.sees(b + i * size) == world.frame(world.leaf(i)));
    }
    std::string what;
    for (const kiommu_fault& f : world.read_faults(128)) {
      what += " reason " + std::to_string(f.reason) + " iova " +
              std::to_string(f.iova >> 21);
    }
    if (unsynced == 0) {
      EXPECT_EQ(stale, 0u) << what;
    }
    // Start over.
    ASSERT_EQ(world.untrack(at & ~(kPage - 1), kPage, &count), 0);
    world.tables.write_entry((at & ~(kPage - 1)) + 511 * 8, 0);
    world.expect_refresh(a, kPage);
    ASSERT_EQ(world.sees(b), kBlocked);
    ASSERT_EQ(world.info().unsynced_pages, 0u);
    ASSERT_EQ(world.untrack(at & ~(kPage - 1), kPage, &count), 0);
    world.tables.write_entry((at & ~(kPage - 1)) + 511 * 8,
                             S::table(2, shared, kRW));
    world.read_faults(128);
  }
}

// A page has more places than are followed, and then only the one that found no
// room.
TEST(FollowPlaces, PlaceThatFoundNoRoomIsLeft) {
  using S = Spec<VtdSsFormat>;
  TrackedWorld<VtdSsFormat> world;
  const auto page = [](u64 i) { return kGiB + (i << S::shift(1)); };
  world.tables.map(page(0), world.leaf(0));
  const u64 link = S::table(1, world.tables.table(page(0), 0), kRW);
  ASSERT_EQ(world.open_faults(), 0);
  ASSERT_EQ(world.follow(), 0);
  for (u64 i = 1; i < 17; ++i) world.store(page(i), 1, link);
  ASSERT_EQ(world.info().unsynced_pages, 1u);
  for (u64 i = 0; i < 16; ++i) world.store(page(i), 1, S::absent(1));
  const u64 entry = world.tables.entry_gpa(page(16), 0);
  world.store_entry(entry, S::leaf(0, world.leaf(7), kRW));
  if (world.info().unsynced_pages == 0) {
    EXPECT_EQ(world.sees(page(16)), world.frame(world.leaf(7)));
  }
}

// A page that has had more places than are followed goes with its slot, however
// many places are left: nobody knows where it was, so all pages go out of sync.
TEST(FollowPlaces, PageWithTooManyPlacesGoesWithItsSlot) {
  using S = Spec<VtdSsFormat>;
  constexpr u64 kFar = 128 * kGiB;
  const auto page = [](u64 i) { return kGiB + (i << S::shift(1)); };
  for (const u64 left : {0, 3, 17}) {
    SCOPED_TRACE(left);
    TrackedWorld<VtdSsFormat> world;
    world.tables.map(kGiB - kPage, world.leaf(0));
    world.guest.add_ram(kFar, 16, port::kShuffled);
    for (u64 i = 0; i < 512; ++i) {
      world.tables.write_entry(kFar + 8 * i, S::absent(0));
    }
    world.tables.write_entry(kFar, S::leaf(0, world.leaf(1), kRW));
    ASSERT_EQ(world.open_faults(), 0);
    ASSERT_EQ(world.follow(), 0);
    for (u64 i = 0; i < 17; ++i)
      world.store(page(i), 1, S::table(1, kFar, kRW));
    for (u64 i = left; i < 17; ++i) world.store(page(i), 1, S::absent(1));
    EXPECT_EQ(world.info().unsynced_pages, 1u);
    world.read_faults(128);
    world.guest.remove_slot(kFar);
    world.pins.slots_changed();
    EXPECT_EQ(world.info().tracked_pages, 0u);
    bool told = false;
    for (const kiommu_fault& fault : world.read_faults(128)) {
      if (fault.reason != KVM_IOMMU_FAULT_SYNC || fault.gpa != kFar) continue;
      told = true;
      const bool known = (fault.flags & KVM_IOMMU_FAULT_HAS_IOVA) != 0;
      EXPECT_EQ(known, left > 0);
      EXPECT_TRUE(!known || (fault.iova >= page(0) && fault.iova < page(17)));
    }
    EXPECT_TRUE(told);
    // In steps, because an entry that names the removed page stops a refresh.
    world.expect_refresh(0, page(0));
    for (u64 i = 0; i < 17; ++i) world.refresh(page(i), kPage);
    EXPECT_EQ(world.sees(page(16)), kBlocked);
    EXPECT_EQ(world.sees(kGiB - kPage), world.frame(world.leaf(0)));
  }
}

// A table that is in sync gets other rights by an entry of a table that is not;
// a refresh of the latter ends within the former.
TEST(FollowPlaces, RefreshEndsBelowATableThatWasInSync) {
  using S = Spec<VtdSsFormat>;
  TrackedWorld<VtdSsFormat> world;
  const auto page = [](u64 i) { return kGiB + (i << S::shift(1)); };
  world.tables.map(page(0), world.leaf(0));
  world.tables.map(page(511), world.leaf(1));
  ASSERT_EQ(world.follow(), 0);
  const u64 above = world.tables.entry_gpa(page(0), 1) & ~(kPage - 1);
  const u64 below = world.tables.table(page(511), 0);
  kiommu_u64 count = 0;
  bool fired = true;
  for (u64 nth = 1; fired; ++nth) {
    SCOPED_TRACE(nth);
    ASSERT_EQ(world.untrack(above, kPage, &count), 0);
    world.tables.set(page(511), 1, S::table(1, below, kR));
    faults().interrupt.arm(nth);
    world.refresh(page(0), kPage);
    fired = faults().interrupt.fired() > 0;
    faults() = {};
    if (world.info().unsynced_pages == 0) {
      EXPECT_EQ(world.sees(page(511)), world.frame(world.leaf(1), kR));
    }
    ASSERT_EQ(world.untrack(above, kPage, &count), 0);
    world.tables.set(page(511), 1, S::table(1, below, kRW));
    world.expect_refresh(page(0), kPage);
    ASSERT_EQ(world.info().unsynced_pages, 0u);
    ASSERT_EQ(world.sees(page(511)), world.frame(world.leaf(1)));
    ASSERT_LT(nth, 100u);
  }
}

// Between two calls of a walk, another walk reaches a place of a page and
// cannot bring the page back in sync: the first walk still can.
TEST(FollowPlaces, WalkGoesOnAfterAnother) {
  using S = Spec<X86FsFormat>;
  constexpr u64 kGiBs = 66;
  TrackedWorld<X86FsFormat> world;
  const u64 first = kGiBs * kGiB;
  const u64 second = first + (u64{1} << S::shift(1));
  world.tables.map(first, world.leaf(0));
  const u64 table = world.tables.table(first, 0);
  const u64 empty = world.tables.new_table(0);
  const u64 middle = world.tables.new_table(1);
  for (u64 i = 0; i < 512; ++i) {
    world.tables.write_entry(middle + 8 * i, S::table(1, empty, kRW));
  }
  for (u64 i = 0; i < kGiBs; ++i) {
    world.tables.set(i * kGiB, 2, S::table(2, middle, kRW));
  }
  world.tables.set(second, 1, S::table(1, table, kRW));
  ASSERT_EQ(world.follow(), 0);
  kiommu_tracking_work work;
  const auto step = [&](kiommu_domain* domain) {
    return kiommu_core_tracking_step(domain, &work);
  };
  kiommu_u64 count = 0;
  for (const bool before : {true, false}) {
    SCOPED_TRACE(before);
    if (before) {
      ASSERT_EQ(world.untrack(table, kPage, &count), 0);
    }
    EXPECT_EQ(world.shared([&](kiommu_domain* domain) {
      kiommu_core_tracking_store(domain, world.tables.entry_gpa(first, 3), 8,
                                 &work);
      return step(domain);
    }),
              -EAGAIN);
    if (!before) {
      ASSERT_EQ(world.untrack(table, kPage, &count), 0);
    }
    EXPECT_EQ(world.stored(world.tables.entry_gpa(second, 1), 8), 0);
    EXPECT_FALSE(world.guest.is_tracked(table / kPage));
    while (world.shared(step) == -EAGAIN) continue;
    EXPECT_TRUE(world.guest.is_tracked(table / kPage));
  }
}

// A refresh is killed: what it has tracked is given up, nothing else.
TEST(FollowPlaces, KilledRefreshLeavesWhatWasInSync) {
  FarPlaces world;
  u64 most = 0;
  bool fired = true;
  for (u64 nth = 1; fired && nth < 200; ++nth) {
    world.untrack_first();
    faults().interrupt.arm(nth);
    world.refresh(world.page(0), kPage);
    fired = faults().interrupt.fired() > 0;
    faults() = {};
    if (world.info().unsynced_pages > most) most = world.info().unsynced_pages;
    world.refresh(world.page(0), world.page(50) - world.page(0));
    ASSERT_EQ(world.info().unsynced_pages, 0u);
  }
  EXPECT_LE(most, 1u);
}

// So much lies between two places of a page that one call does not reach the
// second place; the next call fails before it does.
TEST(FollowPlaces, SecondCallOfAWalkFails) {
  using S = Spec<VtdSsFormat>;
  constexpr u64 kGiBs = 66;
  TrackedWorld<VtdSsFormat> world;
  const u64 first = place<VtdSsFormat>(0);
  const u64 second = first + (kGiBs + 1) * kGiB;
  world.tables.map(first, world.leaf(0));
  const u64 at = world.tables.entry_gpa(first, 0);
  const u64 table = at & ~(kPage - 1);
  const u64 empty = world.tables.new_table(0);
  const u64 middle = world.tables.new_table(1);
  for (u64 i = 0; i < 512; ++i) {
    world.tables.write_entry(middle + 8 * i, S::table(1, empty, kRW));
  }
  for (u64 i = 1; i <= kGiBs; ++i) {
    world.tables.set(first + i * kGiB, 2, S::table(2, middle, kRW));
  }
  world.tables.set(second, 1, S::table(1, table, kRW));
  ASSERT_EQ(world.follow(), 0);
  kiommu_u64 count = 0;
  ASSERT_EQ(world.untrack(table, kPage, &count), 0);
  world.tables.clear(first);
  world.tables.map(second - kGiB / 2, world.leaf(5));  // to be pinned
  faults().pin.arm(1, 1000);
  EXPECT_EQ(world.refresh(first, kPage).error, 0);
  EXPECT_GT(faults().pin.fired(), 0u);
  faults() = {};
  EXPECT_EQ(world.sees(first), kBlocked);
  EXPECT_TRUE(world.sees(second) == kBlocked ||
              !world.guest.is_tracked(table / kPage));
}

// A refresh that is killed while it waits for a range between the places of a
// page leaves that range in sync.
TEST(FollowPlaces, RefreshIsKilledWhileItWaits) {
  FarPlaces world;
  world.untrack_first();
  world.tables.map(world.page(20) + kPage, world.leaf(50));
  bool hit = false;
  world.guest.before_pin = [&] {
    if (std::exchange(hit, true)) return;
    std::thread([&] {
      faults() = {};
      faults().interrupt.arm_always();
      world.refresh(world.page(0), kPage);
      EXPECT_GT(faults().interrupt.fired(), 0u);
      EXPECT_LE(world.info().unsynced_pages, 1u);
      faults() = {};
    }).join();
  };
  world.refresh(world.page(20) + kPage, kPage);
  world.guest.before_pin = {};
  EXPECT_TRUE(hit);
  world.refresh(world.page(0), kPage);
  EXPECT_EQ(world.info().unsynced_pages, 0u);
}

// A slot is deleted that has the page that was used in too many places, and
// another table behind it; tables of other slots lie below and above. Each has
// its record.
TEST(FollowPlaces, SlotOfPagesWithTooManyPlacesAndOthers) {
  using S = Spec<VtdSsFormat>;
  constexpr u64 kFar = 128 * kGiB;
  const auto page = [](u64 i) { return kGiB + (i << S::shift(1)); };
  TrackedWorld<VtdSsFormat> world;
  world.guest.add_ram(kFar, 16, port::kShuffled);
  world.guest.add_ram(2 * kFar, 16, port::kShuffled);
  for (const u64 table : {kFar, kFar + kPage, 2 * kFar}) {
    for (u64 i = 0; i < 512; ++i) {
      world.tables.write_entry(table + 8 * i, S::absent(0));
    }
    world.tables.write_entry(table, S::leaf(0, world.leaf(1), kRW));
  }
  world.tables.map(page(0), world.leaf(0));
  world.tables.map(page(50), world.leaf(0));
  world.tables.set(page(51), 1, S::table(1, kFar + kPage, kRW));
  world.tables.set(page(52), 1, S::table(1, 2 * kFar, kRW));
  ASSERT_EQ(world.open_faults(), 0);
  ASSERT_EQ(world.follow(), 0);
  for (u64 i = 1; i <= 17; ++i) world.store(page(i), 1, S::table(1, kFar, kRW));
  ASSERT_EQ(world.info().unsynced_pages, 1u);
  const u64 tracked = world.info().tracked_pages;
  world.read_faults(128);
  world.guest.remove_slot(kFar);
  world.pins.slots_changed();
  EXPECT_EQ(world.info().tracked_pages, 0u);
  std::set<u64> told;
  for (const kiommu_fault& fault : world.read_faults(128)) {
    if (fault.reason == KVM_IOMMU_FAULT_SYNC) told.insert(fault.gpa);
  }
  EXPECT_EQ(told.size(), tracked + 1);
  for (const u64 table : {kFar, kFar + kPage, 2 * kFar}) {
    EXPECT_TRUE(told.contains(table)) << table;
  }
  EXPECT_TRUE(told.contains(world.tables.entry_gpa(page(0), 0) & ~(kPage - 1)));
}

// One store links a page in a seventeenth place, and takes it from one of the
// sixteen.
TEST(FollowPlaces, PageThatMovesHasNoMorePlaces) {
  using S = Spec<VtdSsFormat>;
  TrackedWorld<VtdSsFormat> world;
  const auto page = [](u64 i) { return kGiB + (i << S::shift(1)); };
  world.tables.map(page(1), world.leaf(0));
  const u64 link = S::table(1, world.tables.table(page(1), 0), kRW);
  for (u64 i = 2; i <= 16; ++i) world.tables.set(page(i), 1, link);
  ASSERT_EQ(world.open_faults(), 0);
  ASSERT_EQ(world.follow(), 0);
  ASSERT_EQ(world.info().unsynced_pages, 0u);
  u8 bytes[16];
  S::store(link, bytes);
  S::store(S::absent(1), bytes + 8);
  world.store_bytes(world.tables.entry_gpa(page(0), 1), bytes, sizeof(bytes));
  EXPECT_EQ(world.info().unsynced_pages, 0u);
  EXPECT_TRUE(world.read_faults(128).empty());
  EXPECT_EQ(world.sees(page(0)), world.frame(world.leaf(0)));
  EXPECT_EQ(world.sees(page(1)), kBlocked);
}

}  // namespace
}  // namespace kiommu::test
