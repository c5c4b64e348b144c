// SPDX-License-Identifier: GPL-2.0-only
//
// Mode TRACKED: invalidations of ranges, which read tables again that are in
// sync, because not all stores are reported.
#include <thread>

#include "lib/tracked_world.hpp"

namespace kiommu::test {
namespace {

// Four places of one page each in tables of their own.
template <class F>
class Places : public TrackedWorld<F> {
 public:
  using S = Spec<F>;
  static constexpr u64 kCount = 4;

  Places() {
    map(0);
    EXPECT_EQ(this->open_faults(), 0);
    EXPECT_EQ(this->follow(), 0);
  }

  static u64 page(u64 i) { return place<F>(i); }
  // All places come to be mapped to other memory, and nobody tells.
  void map(u64 turn) {
    for (u64 i = 0; i < kCount; ++i) {
      this->tables.map(page(i), this->leaf(turn * kCount + i));
    }
  }
  auto seen(u64 turn, u64 i) {
    return this->frame(this->leaf(turn * kCount + i));
  }
  void put_out_of_sync(u64 i, unsigned level) {
    const u64 gpa = this->tables.entry_gpa(page(i), level);
    kiommu_u64 count = 0;
    EXPECT_EQ(this->untrack(gpa & ~(kPage - 1), kPage, &count), 0);
    EXPECT_EQ(count, 1u);
  }
};

template <class F>
class Invalidate : public FormatTest<F> {};
TYPED_TEST_SUITE(Invalidate, AllFormats);

TYPED_TEST(Invalidate, ReadsTablesThatAreInSync) {
  Places<TypeParam> world;
  world.map(1);
  EXPECT_EQ(world.sees(world.page(1)), world.seen(0, 1));
  EXPECT_EQ(world.invalidate(world.page(1), world.kLeaf), 0);
  EXPECT_EQ(world.sees(world.page(0)), world.seen(0, 0));
  EXPECT_EQ(world.sees(world.page(1)), world.seen(1, 1));
  EXPECT_EQ(world.sees(world.page(2)), world.seen(0, 2));
  EXPECT_EQ(world.invalidate(0, 0), 0);  // all there is
  for (u64 i = 0; i < world.kCount; ++i) {
    EXPECT_EQ(world.sees(world.page(i)), world.seen(1, i));
  }
  EXPECT_TRUE(world.read_faults(128).empty());
}

// Of what cannot be mapped nothing is, and there is nothing to do: no error.
TYPED_TEST(Invalidate, RangesWithoutTablesAreNoError) {
  Places<TypeParam> world;
  EXPECT_EQ(world.invalidate(~u64{0} - (kPage - 1), kPage), 0);
  EXPECT_EQ(world.invalidate(0, kPage), 0);
  EXPECT_EQ(world.unanchor(), 0);
  EXPECT_EQ(world.invalidate(world.page(0), world.kLeaf), 0);
  EXPECT_EQ(world.sees(world.page(0)), kBlocked);
}

// What is bad is blocked and reported, what comes after it is mapped.
TYPED_TEST(Invalidate, BadEntriesDoNotEndIt) {
  using S = Spec<TypeParam>;
  Places<TypeParam> world;
  world.map(1);
  const u64 nowhere = kDataGpa + 64 * kGiB;  // in no slot
  world.tables.set(world.page(1), 1, S::table(1, nowhere, kRW));
  EXPECT_EQ(world.invalidate(world.page(0), world.page(3) - world.page(0)), 0);
  EXPECT_EQ(world.sees(world.page(0)), world.seen(1, 0));
  EXPECT_EQ(world.sees(world.page(1)), kBlocked);
  EXPECT_EQ(world.sees(world.page(2)), world.seen(1, 2));
  EXPECT_EQ(world.sees(world.page(3)), world.seen(0, 3));
  const auto told = world.read_faults(128);
  ASSERT_FALSE(told.empty());
  EXPECT_EQ(told[0].iova, world.page(1) & ~((u64{1} << S::shift(1)) - 1));
}

// A page of tables out of sync of which the range is a part is followed again,
// and so are the places that the range does not reach.
TYPED_TEST(Invalidate, WhatIsOutOfSyncIsFollowedAgain) {
  using S = Spec<TypeParam>;
  Places<TypeParam> world;
  const unsigned top = world.tables.top();
  for (const unsigned level : {0u, 1u, top}) {
    world.map(2);
    world.invalidate(0, 0);
    world.put_out_of_sync(1, level);
    world.map(3);
    // A bad entry beside it.
    world.tables.set(world.page(0), 1, S::table(1, kDataGpa + 64 * kGiB, kRW));
    EXPECT_EQ(
        world.invalidate(world.page(0), world.page(1) - world.page(0) + kPage),
        0);
    EXPECT_EQ(world.info().unsynced_pages, 0u) << level;
    EXPECT_EQ(world.sees(world.page(1)), world.seen(3, 1));
    world.store(world.page(1), 0, S::leaf(0, world.leaf(40), kRW));
    EXPECT_EQ(world.sees(world.page(1)), world.frame(world.leaf(40)));
    world.tables.set(world.page(0), 1, S::absent(1));
    world.invalidate(0, 0);
    world.read_faults(128);
  }
  world.expect_tracked();
}

// A table in two places is followed again by the invalidation of one, although
// all of that one is read for the invalidation itself.
TYPED_TEST(Invalidate, AllOfOnePlaceOfTwo) {
  using S = Spec<TypeParam>;
  Places<TypeParam> world;
  const u64 span = u64{1} << S::shift(1);
  const u64 shared = world.tables.table(world.page(0), 0);
  world.tables.set(world.page(6), 1, S::table(1, shared, kRW));
  world.invalidate(0, 0);
  ASSERT_EQ(world.info().unsynced_pages, 0u);
  const u64 leaf = world.tables.entry_gpa(world.page(0), 0);
  u64 turn = 8;
  for (const u64 place : {0, 6}) {
    const u64 base = world.page(place) & ~(span - 1);
    world.put_out_of_sync(0, 0);
    world.tables.map(world.page(0), world.leaf(++turn));
    EXPECT_EQ(world.invalidate(base, span), 0);
    EXPECT_EQ(world.info().unsynced_pages, 0u) << place;
    world.store_entry(leaf, S::leaf(0, world.leaf(++turn), kRW));
    for (const u64 other : {0, 6}) {
      EXPECT_EQ(world.sees(world.page(other)), world.frame(world.leaf(turn)));
    }
  }
  world.expect_tracked();
}

// So is one that UNTRACK takes while it is read, but not by that invalidation.
TYPED_TEST(Invalidate, UntrackWhileAllOfOnePlaceIsRead) {
  using S = Spec<TypeParam>;
  Places<TypeParam> world;
  const u64 span = u64{1} << S::shift(1);
  const u64 base = world.page(1) & ~(span - 1);
  world.map(1);
  bool hit = false;
  world.guest.before_pin = [&] {
    if (hit) return;
    hit = true;
    std::thread([&] { world.put_out_of_sync(1, 0); }).join();
  };
  EXPECT_EQ(world.invalidate(base, span), 0);
  world.guest.before_pin = {};
  EXPECT_TRUE(hit);
  EXPECT_EQ(world.info().unsynced_pages, 1u);
  EXPECT_EQ(world.invalidate(base, span), 0);
  EXPECT_EQ(world.info().unsynced_pages, 0u);
}

// Whatever fails: once it has returned, nothing of the range is as it was
// before. What is beyond it is, or as the tables say.
template <class F>
void expect_nothing_old(port::Fault port::Faults::*kind, const char* name) {
  Places<F> world;
  bool fired = true;
  for (u64 nth = 1; fired; ++nth) {
    SCOPED_TRACE(testing::Message() << name << " " << nth);
    const u64 before = 2 * nth % 8;
    world.map(before);
    world.expect_refresh(world.page(0), world.page(4) - world.page(0));
    ASSERT_EQ(world.info().unsynced_pages, 0u);
    world.put_out_of_sync(2, 0);
    world.map(before + 1);
    (faults().*kind).arm(nth);
    const int error = world.invalidate(
        world.page(1), world.page(2) - world.page(1) + world.kLeaf);
    fired = (faults().*kind).fired() > 0;
    faults() = {};
    EXPECT_TRUE(error == 0 || error == -EINTR) << error;
    for (u64 i = 0; i < world.kCount; ++i) {
      const auto sees = world.sees(world.page(i));
      const bool asked = i == 1 || i == 2;
      const bool now = sees == world.seen(before + 1, i);
      if (!fired) {
        EXPECT_EQ(now, asked) << i;
      } else if (asked && error == 0) {
        EXPECT_TRUE(now || sees == kBlocked) << i;
      } else {
        EXPECT_TRUE(now || sees == world.seen(before, i) || sees == kBlocked)
            << i;
        EXPECT_TRUE(asked || sees != kBlocked) << i;
      }
    }
    expect_consistent(world);
    ASSERT_LT(nth, 1000u);
  }
}

TYPED_TEST(Invalidate, LeavesNothingOldWhateverFails) {
  expect_nothing_old<TypeParam>(&port::Faults::interrupt, "interrupt");
  expect_nothing_old<TypeParam>(&port::Faults::track, "track");
  expect_nothing_old<TypeParam>(&port::Faults::node, "node");
}

}  // namespace
}  // namespace kiommu::test
