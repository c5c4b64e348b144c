// SPDX-License-Identifier: GPL-2.0-only
//
// What only Arm's tables have: the access flag, permissions of privileged
// accesses, hints, short top tables. For each granule.
#include "lib/world.hpp"

namespace kiommu::test {
namespace {

template <class F>
class Arm : public FormatTest<F> {
 public:
  // Bits of leaves.
  static constexpr u64 kUnprivileged = 0x40;
  static constexpr u64 kAccessed = 0x400;
};
using Granules = testing::Types<Arm4KFormat, Arm16KFormat, Arm64KFormat>;
TYPED_TEST_SUITE(Arm, Granules);

// Maps a page and a block, changes their entries, and expects the device to
// see `rights` through them.
template <class F, class Change>
void expect_leaves(unsigned rights, Change change) {
  using S = Spec<F>;
  for (unsigned level : {0, 1}) {
    World<F> world;
    const u64 iova = world.kIova & ~((u64{1} << S::shift(level)) - 1);
    world.tables.map(iova, kDataGpa, kRW, level);
    world.expect_refresh(iova, world.kLeaf);
    ASSERT_EQ(world.sees(iova), world.frame(kDataGpa));
    world.tables.set(iova, level, change(S::leaf(level, kDataGpa, kRW)));
    world.expect_refresh(iova, world.kLeaf);
    EXPECT_EQ(world.sees(iova),
              rights != 0 ? world.frame(kDataGpa, rights) : kBlocked)
        << "level " << level;
    EXPECT_EQ(world.translate(iova).rights, rights);
  }
}

TYPED_TEST(Arm, WithoutTheAccessFlagNothingIsMapped) {
  expect_leaves<TypeParam>(
      0, [](u64 entry) { return entry & ~Arm<TypeParam>::kAccessed; });
}

TYPED_TEST(Arm, WhatOnlyPrivilegedAccessesReachIsNotMapped) {
  expect_leaves<TypeParam>(
      0, [](u64 entry) { return entry & ~Arm<TypeParam>::kUnprivileged; });
  // APTable[0] at each level, alone and with APTable[1].
  using S = Spec<TypeParam>;
  World<TypeParam> world;
  for (unsigned level = 1; level <= world.tables.top(); ++level) {
    for (u64 bits : {u64{1} << 61, u64{3} << 61}) {
      world.tables.map(world.kIova, world.leaf(1));
      world.expect_refresh(world.kIova, world.kLeaf);
      ASSERT_EQ(world.sees(world.kIova), world.frame(world.leaf(1)));
      const u64 below = world.tables.table(world.kIova, level - 1);
      world.tables.set(world.kIova, level, S::table(level, below, kRW) | bits);
      world.expect_refresh(world.kIova, world.kLeaf);
      EXPECT_EQ(world.sees(world.kIova), kBlocked) << level;
      world.tables.link(world.kIova, level);
    }
  }
}

TYPED_TEST(Arm, DirtyBitModifierGivesNoRightToWrite) {
  expect_leaves<TypeParam>(
      kR, [](u64 entry) { return entry | 0x80 | u64{1} << 51; });
}

// Contiguous, DBM, GP, XN, PBHA and the bits for software; NS, AttrIndx, SH,
// nG.
TYPED_TEST(Arm, HintsAndAttributesMeanNothing) {
  const u64 others[] = {u64{1} << 52, u64{1} << 51,    u64{1} << 50,
                        u64{3} << 53, u64{0xff} << 55, 0xb3c};
  for (u64 bits : others) {
    expect_leaves<TypeParam>(kRW, [&](u64 entry) { return entry ^ bits; });
  }
}

TYPED_TEST(Arm, WhatTablesIgnore) {
  using S = Spec<TypeParam>;
  World<TypeParam> world;
  world.tables.map(world.kIova, world.leaf(1));
  for (unsigned level = 1; level <= world.tables.top(); ++level) {
    const u64 below = world.tables.table(world.kIova, level - 1);
    // 58:51, PXNTable, UXNTable, NSTable; 11:2.
    const u64 ignored = u64{0xff} << 51 | u64{3} << 59 | u64{1} << 63 | 0xffc;
    world.tables.set(world.kIova, level, S::table(level, below, kRW) | ignored);
  }
  world.expect_refresh(world.kIova, world.kLeaf);
  EXPECT_EQ(world.sees(world.kIova), world.frame(world.leaf(1)));
}

// Each entry of a contiguous set is read by itself, even if the set is a lie.
TYPED_TEST(Arm, ContiguousEntriesThatAreNot) {
  using S = Spec<TypeParam>;
  constexpr u64 kContiguous = u64{1} << 52;
  World<TypeParam> world;
  for (u64 i = 0; i < 16; ++i) {
    world.tables.set(world.kIova + i * world.kLeaf, 0,
                     S::leaf(0, world.leaf(i * 3 % 16), kRW) | kContiguous);
  }
  world.tables.clear(world.kIova + 5 * world.kLeaf);
  world.expect_refresh(world.kIova, 16 * world.kLeaf);
  for (u64 i = 0; i < 16; ++i) {
    EXPECT_EQ(world.sees(world.kIova + i * world.kLeaf),
              i == 5 ? kBlocked : world.frame(world.leaf(i * 3 % 16)));
  }
}

TYPED_TEST(Arm, BlockMayHaveNoTranslate) {
  using S = Spec<TypeParam>;
  World<TypeParam> world;
  const u64 iova = u64{4} << S::shift(1);
  world.tables.set(iova, 1, S::leaf(1, kDataGpa, kRW) | 1 << 16);
  world.expect_refresh(iova + kPage, kPage);
  EXPECT_EQ(world.sees(iova + kPage), world.frame(kDataGpa + kPage));
}

// A part of a page that is larger than the host's.
TYPED_TEST(Arm, PartOfAPage) {
  using S = Spec<TypeParam>;
  if (S::shift(0) == 12) GTEST_SKIP() << "pages are as small as the host's";
  World<TypeParam> world;
  world.tables.map(world.kIova, world.leaf(1));
  world.expect_refresh(world.kIova + kPage, 2 * kPage);
  EXPECT_EQ(world.info().mapped_pages, 2u);
  EXPECT_EQ(world.sees(world.kIova), kBlocked);
  EXPECT_EQ(world.sees(world.kIova + kPage),
            world.frame(world.leaf(1) + kPage));
  EXPECT_EQ(world.translate(world.kIova + 3 * kPage).page_size, world.kLeaf);
  world.tables.clear(world.kIova);
  world.expect_refresh(world.kIova + kPage, kPage);
  EXPECT_EQ(world.info().mapped_pages, 1u);
}

// T0SZ leaves the top table `used` entries: it is only as large as they need,
// and aligned to its size, at least to 64 bytes.
TYPED_TEST(Arm, ShortTopTable) {
  using S = Spec<TypeParam>;
  for (unsigned top : S::kTops) {
    for (unsigned used : {1u, 2u, 8u, 32u}) {
      if (used > S::entries(top)) continue;
      port::Machine machine;
      machine.guest.add_ram(kTablesGpa, 1, port::kShuffled);
      ASSERT_EQ(machine.start(), 0);
      const u64 size = used * 8 < 64 ? 64 : used * 8;
      const u64 last = (u64{used} << S::shift(top)) - 1;
      // At the end of memory, where a whole table would not fit.
      kiommu_anchor anchor = S::anchor(top, kTablesGpa + kPage - size);
      anchor.last = last;
      EXPECT_EQ(machine.anchor(anchor), 0) << top << ", " << used;
      EXPECT_EQ(machine.refresh(last + 1, kPage).error, -EINVAL);
      ASSERT_EQ(machine.unanchor(), 0);
      anchor.iota -= size / 2;
      EXPECT_EQ(machine.anchor(anchor), -EINVAL);
    }
  }
}

// IOVAs of 30 bits with 4 KiB tables: T0SZ is 34 or more.
TEST(Arm4K, TwoLevels) {
  World<Arm4KFormat> world({.top = 1});
  const u64 iova = 0x12345000;
  EXPECT_EQ(world.tables.root() % kPage, 0u);
  world.tables.map(iova, world.data(7));
  world.tables.map(2 * kMiB, world.data(512), kRW, 1);
  world.expect_refresh(0, kGiB);
  EXPECT_EQ(world.sees(iova), world.frame(world.data(7)));
  EXPECT_EQ(world.sees(2 * kMiB), world.frame(world.data(512)));
  EXPECT_EQ(world.info().mapped_pages, 513u);
  EXPECT_EQ(world.refresh(kGiB, kPage).error, -EINVAL);
}

}  // namespace
}  // namespace kiommu::test
