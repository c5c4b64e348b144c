// SPDX-License-Identifier: GPL-2.0-only
//
// Mode TRACKED: walks that come to another table than the one that is known,
// below a page that is out of sync. What such a walk has gone over in whole is
// known anew; nothing else is. And walks that end early.
#include <set>
#include <thread>

#include "tracked_world.hpp"

namespace kiommu::test {
namespace {

// A guest that links other tables in its place, and nobody is told.
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
  // A store of the whole page of the old table that its last entry is in: what
  // it spans is walked, from above.
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

// A walk over a part of what an entry spans says nothing of the rest: that is
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

// The first IOVA of the i-th lowest table.
template <class F>
u64 place(u64 i) {
  return World<F>::kIova + (i << Spec<F>::shift(1));
}

// Three tables with one page each, of which the first two share one.
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
  // The pages of tables on the way to page(i) are out of sync.
  void untrack_path(u64 i) {
    for (unsigned level = 0; level <= this->tables.top(); ++level) {
      const u64 gpa = this->tables.entry_gpa(page(i), level);
      kiommu_u64 count = 0;
      EXPECT_EQ(this->untrack(gpa & ~(kPage - 1), kPage, &count), 0);
    }
  }
  // All that is in sync is as the tables say.
  void expect_no_lie(u64 first, u64 last) {
    if (this->info().unsynced_pages > 0) return;
    EXPECT_EQ(this->sees(page(0)), this->frame(this->leaf(first)));
    EXPECT_EQ(this->sees(page(1)), this->frame(this->leaf(first)));
    EXPECT_EQ(this->sees(page(2)), this->frame(this->leaf(last)));
  }
};

// A refresh that meets pages that are out of sync follows them afterwards. What
// that does not come to is out of sync still, wherever it ends.
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

// A page that is used in two places, and out of sync: it is in sync again when
// it is as its tables say in both.
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

// A walk for a store comes to one of its places alone: it stays out of sync.
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
    // A refresh of it comes to all.
    world.refresh(world.page(0), world.kLeaf);
    EXPECT_EQ(world.info().unsynced_pages, 0u);
    world.expect_no_lie(1 + unlinks, 0);
  }
}

// A refresh of a place that is not known yet, below another table, of a page
// that is out of sync in an old one.
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

// What is not walked to its end is out of sync, and nothing above it.
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

// A store to a table above, of two entries, whose table is used in two places.
// It is killed in the first place: nothing is brought up to date in the second
// one.
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

// All that the store was about: other places of the page, too.
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

// A store links a table that lies in a slot which was not met yet, and memory
// for that runs out at any place: the table is followed, or it is told that it
// is not.
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

// Each one that goes out of sync is told of, or counted.
TEST(Follow, EachPageThatGoesOutOfSyncIsToldOf) {
  TrackedWorld<VtdSsFormat> world;
  for (u64 i = 0; i < 40; ++i) {
    world.tables.map(kGiB + i * 2 * kMiB, world.data(i));
  }
  ASSERT_EQ(world.open_faults(), 0);
  ASSERT_EQ(world.follow(), 0);
  const auto before = world.guest.tracked();
  // A store above all of them, whose process is killed.
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

// The way to all places of X goes over one of the two places of Y.
TYPED_TEST(Follow, PageMetOnTheWayHasOtherPlaces) {
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
TYPED_TEST(Follow, PageOutOfSyncIsLinkedByAStore) {
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

// UNTRACK takes the page between two of its places, which a refresh goes over.
TYPED_TEST(Follow, UntrackBetweenTwoPlaces) {
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
  // As after UNTRACK: what the record names is refreshed.
  world.refresh(page(2), u64{1} << S::shift(1));
  EXPECT_EQ(world.info().unsynced_pages, 0u);
  EXPECT_EQ(world.sees(page(2)), world.frame(world.leaf(7)));
  EXPECT_EQ(world.sees(page(0)), world.frame(world.leaf(7)));
}

// The first of many tables is used behind the last one, too.
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

// Tables between the places of a page that cannot be brought were in sync.
TEST(Follow, TablesBetweenTwoPlacesStayInSync) {
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

// A page that is out of sync is met in a new place while it has an old one, and
// in another new one, by the same walk, when the old one has gone.
TEST(Follow, PlaceGoesBetweenTwoOthers) {
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
      // Nobody is told: it is not tracked.
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

// A table that is followed elsewhere gets a place below one that is not, at its
// end; a refresh follows that, and pins run short in the new place.
TEST(Follow, NewPlaceOfATrackedTableIsNotBrought) {
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
  // Not told: the page is out of sync.
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
    // Begin anew.
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

// More uses than are followed, and then only the one that found no room.
TEST(Follow, PlaceThatFoundNoRoomIsLeft) {
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
// many are left: nobody knows where it was, so that all pages are out of sync.
TEST(Follow, PageWithTooManyPlacesGoesWithItsSlot) {
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
    // In steps: what names the page that is gone stops a refresh.
    world.expect_refresh(0, page(0));
    for (u64 i = 0; i < 17; ++i) world.refresh(page(i), kPage);
    EXPECT_EQ(world.sees(page(16)), kBlocked);
    EXPECT_EQ(world.sees(kGiB - kPage), world.frame(world.leaf(0)));
  }
}

// The slot that goes has the page that was in too many places, and other tables
// behind it; tables of other slots lie below and above. Each has its record.
TEST(Follow, SlotOfPagesWithTooManyPlacesAndOthers) {
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
TEST(Follow, PageThatMovesHasNoMorePlaces) {
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

// A table that is in sync gets other rights by an entry of one that is not; a
// refresh of that ends within the first.
TEST(Follow, RefreshEndsBelowATableThatWasInSync) {
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

// Between two calls of a walk another one comes to a place of a page, and
// cannot bring it back in sync: the first one still can.
TEST(Follow, WalkGoesOnAfterAnother) {
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

// Only the process of one that refreshes is killed: what he has tracked goes,
// nothing else.
TEST(Follow, KilledRefreshLeavesWhatWasInSync) {
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

// So much lies between two places of a page that a call does not come to the
// second one; the next call fails before it does.
TEST(Follow, SecondCallOfAWalkFails) {
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
// page leaves what is there in sync.
TEST(Follow, RefreshIsKilledWhileItWaits) {
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

}  // namespace
}  // namespace kiommu::test
