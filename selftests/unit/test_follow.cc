// SPDX-License-Identifier: GPL-2.0-only
//
// Mode TRACKED: walks that find another table than the known one, below a page
// that is out of sync. What such a walk covers as a whole is known anew;
// nothing else is. Also walks that end early.
#include <set>
#include <thread>

#include "lib/tracked_world.hpp"

namespace kiommu::test {
namespace {

// A guest that links other tables in place of a known one, without a report of
// the store.
template <class F>
class Relinked : public TrackedWorld<F> {
 public:
  using S = Spec<F>;

  Relinked() {
    this->tables.map(first, this->leaf(1));
    this->tables.map(last, this->leaf(2));
    EXPECT_EQ(this->follow(), 0);
    kiommu_u64 count = 0;
    EXPECT_EQ(this->untrack(above & ~(kPage - 1), kPage, &count), 0);
    EXPECT_EQ(count, 1u);
  }

  void link(u64 to) { this->store_entry(above, S::table(1, to, kRW)); }
  // Stores the page of the old table that holds its last entry: the IOVAs that
  // it spans are walked, from above.
  void store_last_page() {
    std::vector<u8> bytes(std::min<u64>(kPage, S::table_bytes(0)));
    const u64 gpa = table + S::table_bytes(0) - bytes.size();
    this->guest.read(gpa, bytes.data(), bytes.size());
    this->store_bytes(gpa, bytes.data(), static_cast<unsigned>(bytes.size()));
  }
  bool is_tracked(u64 in_table) {
    return this->guest.is_tracked((in_table + S::table_bytes(0) - 8) / kPage);
  }

  // The first and the last page of a lowest table.
  const u64 first = World<F>::kIova & ~((u64{1} << S::shift(1)) - 1);
  const u64 last = first + (u64{1} << S::shift(1)) - World<F>::kLeaf;
  const u64 table = this->tables.table(first, 0);
  const u64 above = this->tables.entry_gpa(first, 1);
};

template <class F>
class Follow : public FormatTest<F> {};
TYPED_TEST_SUITE(Follow, AllFormats);

// A walk over a part of an entry's span says nothing of the rest, which is
// followed until it is walked.
TYPED_TEST(Follow, TableIsKnownUntilAllOfItsEntryIsWalked) {
  using S = Spec<TypeParam>;
  Relinked<TypeParam> world;
  world.link(world.tables.new_table(0));
  world.store(world.first, 0, S::leaf(0, world.leaf(3), kRW));
  EXPECT_EQ(world.sees(world.first), kBlocked);
  EXPECT_EQ(world.sees(world.last), world.frame(world.leaf(2)));
  EXPECT_TRUE(world.is_tracked(world.table));
  world.store(world.last, 0, S::leaf(0, world.leaf(4), kRW));
  EXPECT_EQ(world.sees(world.last), kBlocked);
}

TYPED_TEST(Follow, AnotherTableIsKnownInItsPlace) {
  using S = Spec<TypeParam>;
  Relinked<TypeParam> world;
  const u64 other = world.tables.new_table(0);
  const u64 entry = other + S::table_bytes(0) - 8;
  world.tables.write_entry(entry, S::leaf(0, world.leaf(5), kRW));
  world.link(other);
  world.store_last_page();
  EXPECT_EQ(world.sees(world.last), world.frame(world.leaf(5)));
  EXPECT_FALSE(world.is_tracked(world.table));
  EXPECT_TRUE(world.is_tracked(other));
  world.store_entry(entry, S::leaf(0, world.leaf(6), kRW));
  EXPECT_EQ(world.sees(world.last), world.frame(world.leaf(6)));
}

TYPED_TEST(Follow, TableThatCannotBeReadIsKnownAsNone) {
  Relinked<TypeParam> world;
  world.link(kDataGpa + 64 * kGiB);  // in no slot
  world.store_last_page();
  EXPECT_EQ(world.sees(world.last), kBlocked);
  EXPECT_FALSE(world.is_tracked(world.table));
}

// Three places with one page each, of which the first two share a table.
template <class F>
class Ended : public TrackedWorld<F> {
 public:
  using S = Spec<F>;

  Ended() {
    this->tables.map(page(0), this->leaf(0));
    this->tables.map(page(2), this->leaf(0));
    const u64 shared = this->tables.table(page(0), 0);
    this->tables.set(page(1), 1, S::table(1, shared, kRW));
    EXPECT_EQ(this->follow(), 0);
    EXPECT_EQ(this->info().unsynced_pages, 0u);
  }

  static u64 page(u64 i) { return place<F>(i); }
  // Puts the pages of tables on the way to page(i) out of sync.
  void untrack_path(u64 i) {
    for (unsigned level = 0; level <= this->tables.top(); ++level) {
      const u64 gpa = this->tables.entry_gpa(page(i), level);
      kiommu_u64 count = 0;
      EXPECT_EQ(this->untrack(gpa & ~(kPage - 1), kPage, &count), 0);
    }
  }
  // Expects the pages as the tables say, if all tables are in sync.
  void expect_no_lie(u64 first, u64 last) {
    if (this->info().unsynced_pages > 0) return;
    EXPECT_EQ(this->sees(page(0)), this->frame(this->leaf(first)));
    EXPECT_EQ(this->sees(page(1)), this->frame(this->leaf(first)));
    EXPECT_EQ(this->sees(page(2)), this->frame(this->leaf(last)));
  }
};

// A refresh that meets pages that are out of sync follows them afterwards. What
// it does not reach stays out of sync, wherever it ends.
template <class F>
void expect_no_lie(port::Fault port::Faults::*kind, const char* name) {
  Ended<F> world;
  bool fired = true;
  for (u64 nth = 1; fired; ++nth) {
    SCOPED_TRACE(testing::Message() << name << " " << nth);
    world.untrack_path(0);
    world.untrack_path(2);
    world.tables.map(world.page(0), world.leaf(nth));
    world.tables.map(world.page(2), world.leaf(nth));
    (faults().*kind).arm(nth);
    world.refresh(world.page(0), world.kLeaf);
    fired = (faults().*kind).fired() > 0;
    faults() = {};
    if (!fired) {
      EXPECT_EQ(world.info().unsynced_pages, 0u);
    }
    world.expect_no_lie(nth, nth);
    expect_consistent(world);
    world.expect_refresh(world.page(0), world.page(3) - world.page(0));
    EXPECT_EQ(world.info().unsynced_pages, 0u);
    world.expect_no_lie(nth, nth);
    ASSERT_LT(nth, 1000u);
  }
}

TYPED_TEST(Follow, RefreshThatEndsEarlyLeavesTheRestOutOfSync) {
  expect_no_lie<TypeParam>(&port::Faults::interrupt, "interrupt");
  expect_no_lie<TypeParam>(&port::Faults::track, "track");
  expect_no_lie<TypeParam>(&port::Faults::node, "node");
}

// A page that is used in two places and out of sync is in sync again when both
// places are as the page says.
TYPED_TEST(Follow, RefreshInOnePlaceIsNotEnoughForAnother) {
  Ended<TypeParam> world;
  const u64 at = world.tables.entry_gpa(world.page(0), 0);
  kiommu_u64 count = 0;
  ASSERT_EQ(world.untrack(at & ~(kPage - 1), kPage, &count), 0);
  world.tables.map(world.page(0), world.leaf(1));
  world.refresh(world.page(0), world.kLeaf);
  EXPECT_EQ(world.sees(world.page(0)), world.frame(world.leaf(1)));
  world.expect_no_lie(1, 0);
}

// A walk for a store reaches only one of the page's places: the page stays out
// of sync.
TYPED_TEST(Follow, StoreAboveOnePlaceIsNotEnoughForAnother) {
  using S = Spec<TypeParam>;
  Ended<TypeParam> world;
  const u64 shared = world.tables.table(world.page(0), 0);
  const u64 at = world.tables.entry_gpa(world.page(0), 0);
  const u64 above = world.tables.entry_gpa(world.page(0), 1);
  for (const bool unlinks : {false, true}) {
    kiommu_u64 count = 0;
    ASSERT_EQ(world.untrack(at & ~(kPage - 1), kPage, &count), 0);
    ASSERT_EQ(count, 1u);
    world.tables.map(world.page(0), world.leaf(1 + unlinks));
    if (unlinks) world.store_entry(above, S::absent(1));
    world.store_entry(above, S::table(1, shared, kRW));
    EXPECT_EQ(world.sees(world.page(0)), world.frame(world.leaf(1 + unlinks)));
    EXPECT_EQ(world.info().unsynced_pages, 1u);
    world.expect_no_lie(1 + unlinks, 0);
    // A refresh of it reaches all places.
    world.refresh(world.page(0), world.kLeaf);
    EXPECT_EQ(world.info().unsynced_pages, 0u);
    world.expect_no_lie(1 + unlinks, 0);
  }
}

// A page is out of sync in an old place; a refresh meets it in a new place,
// below another table.
TEST(Follow, RefreshInANewPlaceComesToTheOldOnes) {
  using S = Spec<VtdSsFormat>;
  constexpr u64 kAbove = u64{1} << S::shift(2);
  TrackedWorld<VtdSsFormat> world;
  const u64 first = 2 * kAbove;
  const u64 second = 5 * kAbove;
  world.tables.map(first, world.data(0));
  world.tables.map(second + kAbove / 2, world.data(9));
  ASSERT_EQ(world.follow(), 0);
  const u64 shared = world.tables.table(first, 0);
  const u64 link = world.tables.entry_gpa(second, 1);
  for (const u64 page : {shared, link & ~(kPage - 1)}) {
    kiommu_u64 count = 0;
    ASSERT_EQ(world.untrack(page, kPage, &count), 0);
    ASSERT_EQ(count, 1u);
  }
  world.tables.map(first, world.data(1));
  world.tables.write_entry(link, S::table(1, shared, kRW));
  world.refresh(second, kPage);
  EXPECT_EQ(world.info().unsynced_pages, 0u);
  for (const u64 place : {first, second}) {
    EXPECT_EQ(world.sees(place), world.frame(world.data(1)));
  }
}

// What is not walked to its end is out of sync, but nothing above it.
TYPED_TEST(Follow, RefreshThatEndsEarlyLeavesWhatIsAboveInSync) {
  Ended<TypeParam> world;
  const u64 at = world.tables.entry_gpa(world.page(2), 0);
  const u64 all = world.info().tracked_pages;
  for (const auto kind : {&port::Faults::interrupt, &port::Faults::track}) {
    bool fired = true;
    for (u64 nth = 1; fired; ++nth) {
      kiommu_u64 count = 0;
      ASSERT_EQ(world.untrack(at & ~(kPage - 1), kPage, &count), 0);
      (faults().*kind).arm(nth);
      world.refresh(world.page(2), world.kLeaf);
      fired = (faults().*kind).fired() > 0;
      faults() = {};
      EXPECT_LE(world.info().unsynced_pages, 1u) << nth;
      EXPECT_EQ(world.info().tracked_pages + world.info().unsynced_pages, all);
      world.expect_refresh(world.page(0), world.page(3) - world.page(0));
      ASSERT_EQ(world.info().unsynced_pages, 0u);
      ASSERT_LT(nth, 1000u);
    }
  }
}

// A store of two entries to an upper table that is used in two places. It is
// killed in the first place: nothing is brought up to date in the second one.
TEST(Follow, KilledStoreLeavesOtherPlacesOutOfSync) {
  using S = Spec<VtdSsFormat>;
  constexpr u64 kSpan = u64{1} << S::shift(1);
  constexpr u64 kAbove = u64{1} << S::shift(2);
  TrackedWorld<VtdSsFormat> world;
  const u64 first = 2 * kAbove;
  const u64 second = 5 * kAbove;
  const u64 shared = world.tables.table(first, 1);
  world.tables.set(second, 2, S::table(2, shared, kRW));
  bool fired = true;
  for (u64 nth = 1; fired; ++nth) {
    SCOPED_TRACE(nth);
    world.guest.write(shared, std::vector<u8>(16).data(), 16);
    world.unfollow();
    ASSERT_EQ(world.follow(), 0);
    // Two tables, linked by one store.
    u8 bytes[16];
    for (u64 i = 0; i < 2; ++i) {
      const u64 table = world.tables.new_table(0);
      world.tables.write_entry(table, S::leaf(0, world.data(i), kRW));
      S::store(S::table(1, table, kRW), bytes + 8 * i);
    }
    world.guest.write(shared, bytes, sizeof(bytes));
    faults().interrupt.arm(nth);
    const int error = world.stored(shared, sizeof(bytes));
    fired = faults().interrupt.fired() > 0;
    EXPECT_EQ(error, fired ? -EINTR : 0);
    faults() = {};
    for (u64 at : {first, second}) {
      world.refresh(at + kSpan, kPage);
      if (world.info().unsynced_pages > 0) continue;
      for (u64 place : {first, second}) {
        EXPECT_EQ(world.sees(place), world.frame(world.data(0)));
        EXPECT_EQ(world.sees(place + kSpan), world.frame(world.data(1)));
      }
    }
    ASSERT_LT(nth, 1000u);
  }
}

// All that the store affects goes out of sync, including other places of the
// page.
TYPED_TEST(Follow, KilledStoreLeavesItsPagesOutOfSync) {
  using S = Spec<TypeParam>;
  Ended<TypeParam> world;
  const u64 at = world.tables.entry_gpa(world.page(0), 0) & ~u64{15};
  bool fired = true;
  for (u64 nth = 1; fired; ++nth) {
    SCOPED_TRACE(testing::Message() << "interrupt " << nth);
    u8 bytes[16];
    S::store(S::leaf(0, world.leaf(nth), kRW), bytes);
    S::store(S::leaf(0, world.leaf(nth), kRW), bytes + 8);
    world.guest.write(at, bytes, sizeof(bytes));
    faults().interrupt.arm(nth);
    const int error = world.stored(at, sizeof(bytes));
    fired = faults().interrupt.fired() > 0;
    faults() = {};
    EXPECT_EQ(error, fired ? -EINTR : 0);
    EXPECT_EQ(world.info().unsynced_pages > 0, fired);
    world.expect_no_lie(nth, 0);
    world.expect_refresh(world.page(0), world.page(3) - world.page(0));
    EXPECT_EQ(world.info().unsynced_pages, 0u);
    world.expect_no_lie(nth, 0);
    ASSERT_LT(nth, 1000u);
  }
}

// A store links a table in a slot that was not met yet, and memory for that
// runs out at each point in turn: either the table is followed, or a fault
// reports that it is not.
TEST(Follow, TableInANewSlotIsFollowedOrToldOf) {
  using S = Spec<VtdSsFormat>;
  bool fired = true;
  for (u64 nth = 1; fired; ++nth) {
    SCOPED_TRACE(nth);
    TrackedWorld<VtdSsFormat> world;
    const u64 iova = world.kIova & ~(2 * kMiB - 1);
    world.tables.map(iova + 2 * kMiB, world.data(9));
    ASSERT_EQ(world.open_faults(), 0);
    ASSERT_EQ(world.follow(), 0);
    const u64 table = 128 * kGiB;
    world.guest.add_ram(table, 16, port::kShuffled);
    for (u64 i = 0; i < 512; ++i) {
      world.tables.write_entry(table + 8 * i, S::absent(0));
    }
    world.tables.write_entry(table, S::leaf(0, world.data(1), kRW));
    world.read_faults(128);
    const u64 at = world.tables.entry_gpa(iova, 1);
    world.tables.write_entry(at, S::table(1, table, kRW));
    faults().node.arm(nth);
    world.stored(at, 8);
    fired = faults().node.fired() > 0;
    faults() = {};
    const bool told = !world.read_faults(128).empty();
    const bool unsynced = world.info().unsynced_pages > 0;
    EXPECT_TRUE(world.guest.is_tracked(table / kPage) || (told && unsynced));
    world.store_entry(table, S::absent(0));
    if (!unsynced) {
      EXPECT_EQ(world.sees(iova), kBlocked);
    }
    world.unfollow();
    ASSERT_LT(nth, 1000u);
  }
}

// Each page that goes out of sync is reported, or counted as lost.
TEST(Follow, EachPageThatGoesOutOfSyncIsToldOf) {
  TrackedWorld<VtdSsFormat> world;
  for (u64 i = 0; i < 40; ++i) {
    world.tables.map(kGiB + i * 2 * kMiB, world.data(i));
  }
  ASSERT_EQ(world.open_faults(), 0);
  ASSERT_EQ(world.follow(), 0);
  const auto before = world.guest.tracked();
  // A store above all of them, by a process that is killed.
  const u64 top = world.tables.entry_gpa(kGiB, world.tables.top());
  faults().interrupt.arm(1);
  EXPECT_EQ(world.stored(top, 8), -EINTR);
  faults() = {};
  std::set<u64> told;
  u64 lost = 0;
  for (const kiommu_fault& fault : world.read_faults(128)) {
    if (fault.reason == KVM_IOMMU_FAULT_SYNC) told.insert(fault.gpa / kPage);
    lost += fault.lost;
  }
  const auto after = world.guest.tracked();
  u64 silent = 0;
  for (const u64 gfn : before) {
    silent += after.count(gfn) == 0 && told.count(gfn) == 0;
  }
  EXPECT_LT(after.size(), before.size());
  EXPECT_EQ(silent, lost);
}

// A store was lost on its way to the core: nobody knows what is in sync. The
// caller that reports it can be killed, which leaves pages to the next call.
TYPED_TEST(Follow, StoreThatWasMissedPutsAllOutOfSync) {
  TrackedWorld<TypeParam> world;
  world.tables.map(world.kIova, world.leaf(0));
  ASSERT_EQ(world.open_faults(), 0);
  ASSERT_EQ(world.follow(), 0);
  port::DmaDomain other(world.host, world.pins, world.ledger);
  ASSERT_EQ(other.start(), 0);
  ASSERT_EQ(other.anchor(world.tables.anchor()), 0);
  ASSERT_EQ(other.follow(), 0);
  const u64 all = world.info().tracked_pages;
  for (const bool killed : {true, false}) {
    faults().interrupt.arm(1);
    if (!killed) faults() = {};
    EXPECT_EQ(world.pins.stores_missed(), killed ? -EINTR : 0);
    faults() = {};
    EXPECT_EQ(world.info().tracked_pages + other.info().tracked_pages,
              killed ? 2 * all - 1 : 0u);
  }
  EXPECT_EQ(world.info().unsynced_pages, all);
  EXPECT_EQ(other.info().unsynced_pages, all);
  EXPECT_EQ(other.stop(), 0);
  EXPECT_EQ(world.read_faults(128).size(), all);
  world.tables.map(world.kIova, world.leaf(1));
  world.expect_refresh(world.kIova, world.kLeaf);
  EXPECT_EQ(world.sees(world.kIova), world.frame(world.leaf(1)));
}

// The memory of the table stays, and is mapped elsewhere: only what the table
// maps is unmapped.
TYPED_TEST(Follow, StoresToATableAreNotReportedAnyMore) {
  using S = Spec<TypeParam>;
  TrackedWorld<TypeParam> world;
  const u64 far = kDataGpa + 64 * kGiB;
  world.guest.add_ram(far, 64, port::kShuffled);
  const u64 bytes = S::entries(0) * 8;
  const u64 pages = (bytes + kPage - 1) / kPage;
  world.tables.map(world.kIova, world.leaf(1));
  ASSERT_EQ(world.follow(), 0);
  const u64 before = world.info().tracked_pages;
  const u64 first =
      (world.kIova & ~((u64{1} << S::shift(1)) - 1)) + (u64{1} << S::shift(1));
  for (u64 i = 0; i < S::entries(0); ++i) {
    world.tables.write_entry(far + 8 * i,
                             i ? S::absent(0) : S::leaf(0, world.leaf(3), kRW));
  }
  world.store(first, 1, S::table(1, far, kRW));
  EXPECT_EQ(world.sees(first), world.frame(world.leaf(3)));
  world.pins.tables_gone(far / kPage + pages, far / kPage + 63);
  EXPECT_EQ(world.sees(first), world.frame(world.leaf(3)));
  world.pins.tables_gone(far / kPage, far / kPage);
  EXPECT_EQ(world.sees(first), kBlocked);
  EXPECT_EQ(world.sees(world.kIova), world.frame(world.leaf(1)));
  EXPECT_FALSE(world.guest.is_tracked(far / kPage));
  world.expect_refresh(first, world.kLeaf);
  EXPECT_EQ(world.sees(first), world.frame(world.leaf(3)));
  EXPECT_TRUE(world.guest.is_tracked(far / kPage));
  EXPECT_EQ(world.info().tracked_pages, before + pages);
}

// The guest's memory has the table, but stores to its page cannot be tracked:
// the others are followed, and it is told once that this one is not.
TYPED_TEST(Follow, TableThatCannotBeTracked) {
  using S = Spec<TypeParam>;
  TrackedWorld<TypeParam> world;
  const u64 iova[] = {place<TypeParam>(0), place<TypeParam>(1),
                      place<TypeParam>(2)};
  for (u64 i = 0; i < 3; ++i) {
    world.tables.map(iova[i], world.leaf(i));
    // Two tables of zPCI are in one page.
    world.tables.new_table(0);
  }
  const u64 page = world.tables.entry_gpa(iova[1], 0) / kPage;
  world.guest.set_untrackable({page});
  ASSERT_EQ(world.open_faults(), 0);
  ASSERT_EQ(world.follow(), 0);
  EXPECT_EQ(world.sees(iova[0]), world.frame(world.leaf(0)));
  EXPECT_EQ(world.sees(iova[2]), world.frame(world.leaf(2)));
  world.expect_refresh(iova[0], iova[2] + world.kLeaf - iova[0]);
  for (u64 i = 0; i < 3; ++i) {
    EXPECT_EQ(world.sees(iova[i]), world.frame(world.leaf(i)));
  }
  const auto told = world.read_faults(128);
  ASSERT_EQ(told.size(), 1u);
  EXPECT_EQ(told[0].reason, KVM_IOMMU_FAULT_SYNC);
  EXPECT_EQ(told[0].gpa, page * kPage);
  EXPECT_EQ(world.info().unsynced_pages, 1u);
  world.store(iova[2], 0, S::leaf(0, world.leaf(5), kRW));
  EXPECT_EQ(world.sees(iova[2]), world.frame(world.leaf(5)));
  world.store(iova[2], 1, S::absent(1));
  EXPECT_EQ(world.sees(iova[2]), kBlocked);
  // It can be tracked now: the next refresh does.
  world.guest.set_untrackable({});
  world.expect_refresh(iova[1], world.kLeaf);
  EXPECT_EQ(world.info().unsynced_pages, 0u);
  world.store(iova[1], 0, S::leaf(0, world.leaf(6), kRW));
  EXPECT_EQ(world.sees(iova[1]), world.frame(world.leaf(6)));
}

}  // namespace
}  // namespace kiommu::test
