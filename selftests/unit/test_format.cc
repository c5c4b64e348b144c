// SPDX-License-Identifier: GPL-2.0-only
//
// Formats alone: each kind of entry at each level, geometry, byte order,
// roots. The suite applies to each format of FormatList.
#include <random>

#include "base/page_word.hpp"
#include "lib/world.hpp"

namespace kiommu::test {
namespace {

template <class F>
class Format : public FormatTest<F> {};
TYPED_TEST_SUITE(Format, AllFormats);

TYPED_TEST(Format, GeometryIsThatOfTheSpecification) {
  using S = Spec<TypeParam>;
  EXPECT_EQ(TypeParam::kLevels, S::kTops.back() + 1);
  for (unsigned level = 0; level < TypeParam::kLevels; ++level) {
    const Level geometry = TypeParam::level(level);
    EXPECT_EQ(geometry.shift, S::shift(level));
    EXPECT_EQ(geometry.table_bytes(), S::table_bytes(level));
    EXPECT_EQ(geometry.index({~u64{0}}), S::entries(level) - 1);
    EXPECT_EQ(geometry.index({S::shift(level) < 63 ? geometry.span() : 0}), 1u);
  }
}

TYPED_TEST(Format, AbsentEntryAtEachLevel) {
  using S = Spec<TypeParam>;
  for (unsigned level = 0; level < TypeParam::kLevels; ++level) {
    const Entry entry = TypeParam::decode(level, S::absent(level));
    EXPECT_EQ(entry.kind, Entry::Kind::kAbsent) << level;
  }
}

TYPED_TEST(Format, TableEntryAtEachUpperLevel) {
  using S = Spec<TypeParam>;
  for (unsigned level = 1; level < TypeParam::kLevels; ++level) {
    for (unsigned rights : S::kTableRights) {
      const Entry entry =
          TypeParam::decode(level, S::table(level, S::kFarGpa, rights));
      EXPECT_EQ(entry.kind, Entry::Kind::kTable) << level;
      EXPECT_EQ(entry.address.value, S::kFarGpa);
      EXPECT_EQ(entry.rights.bits, rights);
    }
  }
}

TYPED_TEST(Format, LeafEntryAtEachLevelThatHasThem) {
  using S = Spec<TypeParam>;
  for (unsigned level = 0; level < TypeParam::kLevels; ++level) {
    if (!S::has_leaf(level)) continue;
    const u64 gpa = S::kFarGpa & ~((u64{1} << S::shift(level)) - 1);
    for (unsigned rights : S::kRights) {
      const Entry entry = TypeParam::decode(level, S::leaf(level, gpa, rights));
      EXPECT_EQ(entry.kind, Entry::Kind::kLeaf) << level;
      EXPECT_EQ(entry.address.value, gpa);
      EXPECT_EQ(entry.rights.bits, rights);
    }
  }
}

// Decoding many entries at a time gives the same results.
TYPED_TEST(Format, PageWordAgreesWithDecode) {
  if constexpr (requires(u64 entry) { TypeParam::page_word(entry); }) {
    std::mt19937_64 random(1);
    for (unsigned i = 0; i < 100000; ++i) {
      // Any bits; the shift often leaves few of them.
      const u64 entry = random() >> (i % 64);
      const Entry page = TypeParam::decode(0, entry);
      const u64 word = TypeParam::page_word(entry);
      if (word == PageWord::kOther) continue;
      ASSERT_NE(page.kind, Entry::Kind::kTable);
      ASSERT_NE(page.kind, Entry::Kind::kMalformed);
      const bool leaf = page.kind == Entry::Kind::kLeaf;
      ASSERT_EQ(PageWord::rights(word).any(), leaf) << entry;
      if (!leaf) continue;
      ASSERT_EQ(word, PageWord::of(page.address, page.rights)) << entry;
      ASSERT_EQ(page.shift, kPageShift);
    }
  } else {
    GTEST_SKIP() << "this format is decoded entry by entry only";
  }
}

TYPED_TEST(Format, MalformedEntriesAreRefused) {
  using S = Spec<TypeParam>;
  for (unsigned level = 0; level < TypeParam::kLevels; ++level) {
    for (const BadEntry& bad : S::malformed(level)) {
      const Entry entry = TypeParam::decode(level, bad.entry);
      EXPECT_EQ(entry.kind, Entry::Kind::kMalformed)
          << bad.what << " at level " << level;
    }
  }
}

TYPED_TEST(Format, ByteOrderInGuestMemory) {
  using S = Spec<TypeParam>;
  u8 bytes[8];
  S::store(0x0123456789abcdef, bytes);
  u64 raw;
  __builtin_memcpy(&raw, bytes, sizeof(raw));
  EXPECT_EQ(from_guest<TypeParam>(raw), 0x0123456789abcdefu);
}

TYPED_TEST(Format, RootOfEachTopLevel) {
  using S = Spec<TypeParam>;
  for (unsigned top : S::kTops) {
    const Result<Root> root = TypeParam::root(S::anchor(top, 0x40000));
    ASSERT_TRUE(root.has_value()) << top;
    EXPECT_EQ(root->level, top);
    EXPECT_EQ(root->table.value, 0x40000u);
    EXPECT_EQ(root->rights.bits, kRW);
  }
}

TYPED_TEST(Format, BadAnchorsAreRefusedAndChangeNothing) {
  port::Machine machine;
  machine.guest.add_ram(kTablesGpa, 64, port::kShuffled);
  ASSERT_EQ(machine.start(), 0);
  for (const BadAnchor& bad : Spec<TypeParam>::bad_anchors(kTablesGpa)) {
    kiommu_u32 status = 0;
    EXPECT_EQ(machine.anchor(bad.anchor, &status),
              bad.status == KVM_IOMMU_STATUS_FIELD ? -EOPNOTSUPP : -EINVAL)
        << bad.what;
    EXPECT_EQ(status, bad.status) << bad.what;
    EXPECT_EQ(machine.info().state, unsigned{KVM_IOMMU_STATE_STARTED});
  }
}

TYPED_TEST(Format, RootTableMustLieInWritableMemory) {
  using S = Spec<TypeParam>;
  port::Machine machine;
  machine.guest.add_ram(kTablesGpa, 4, port::kShuffled);
  machine.guest.add_ram(kTablesGpa + kMiB, 4, port::kShuffled,
                        KIOMMU_SLOT_READ_ONLY);
  machine.guest.add_ram(kTablesGpa + 2 * kMiB, 4, port::kShuffled,
                        KIOMMU_SLOT_PRIVATE);
  ASSERT_EQ(machine.start(), 0);
  const u64 last = kTablesGpa + 4 * kPage;
  for (u64 gpa :
       {u64{0}, kTablesGpa + kMiB, kTablesGpa + 2 * kMiB, last, S::kFarGpa}) {
    EXPECT_EQ(machine.anchor(S::anchor(S::kUsualTop, gpa)), -EINVAL);
  }
  EXPECT_EQ(machine.anchor(S::anchor(S::kUsualTop, kTablesGpa)), 0);
}

TYPED_TEST(Format, RootTableMayCrossSlotsButNotAHole) {
  using S = Spec<TypeParam>;
  const u64 bytes = S::table_bytes(S::kUsualTop);
  if (bytes <= kPage) GTEST_SKIP() << "the top table is no larger than a page";
  port::Machine machine;
  machine.guest.add_ram(kTablesGpa, 1, port::kShuffled);
  machine.guest.add_ram(kTablesGpa + kPage, bytes / kPage - 2, port::kShuffled);
  ASSERT_EQ(machine.start(), 0);
  EXPECT_EQ(machine.anchor(S::anchor(S::kUsualTop, kTablesGpa)), -EINVAL);
  machine.guest.add_ram(kTablesGpa + bytes - kPage, 1, port::kShuffled);
  EXPECT_EQ(machine.anchor(S::anchor(S::kUsualTop, kTablesGpa)), 0);
}

TYPED_TEST(Format, WindowIsBoundByTheReachOfTheTables) {
  using S = Spec<TypeParam>;
  for (unsigned top : S::kTops) {
    World<TypeParam> world({.top = static_cast<int>(top)});
    ASSERT_EQ(world.unanchor(), 0);
    const u64 reach = world.tables.reach();
    kiommu_anchor anchor = world.tables.anchor();
    const auto with = [&](u64 first, u64 last) {
      anchor.first = first;
      anchor.last = last;
      return world.anchor(anchor);
    };
    EXPECT_EQ(with(0x2000, 0x1fff), -EINVAL);
    EXPECT_EQ(with(0x1800, 0x2fff), -EINVAL);
    EXPECT_EQ(with(0x1000, 0x2000), -EINVAL);
    if (reach != 0) {
      EXPECT_EQ(with(0, reach + 0xfff), -EINVAL);
    }
    EXPECT_EQ(with(0x1000, 0x2fff), 0);
    EXPECT_EQ(world.refresh(0, kPage).error, -EINVAL);
    EXPECT_EQ(world.refresh(0x3000, kPage).error, -EINVAL);
    world.expect_refresh(0x1000, 2 * kPage);
    ASSERT_EQ(world.unanchor(), 0);
    ASSERT_EQ(with(0, 0), 0);
    // The last page of the reach translates; IOVAs above it do not exist.
    world.tables.map(reach - world.kLeaf, world.leaf(3));
    world.expect_refresh(reach - kPage, kPage);
    EXPECT_EQ(world.sees(reach - kPage), world.frame(world.leaf(4) - kPage));
    if (reach != 0) {
      EXPECT_EQ(world.refresh(reach, kPage).error, -EINVAL);
    }
  }
}

}  // namespace
}  // namespace kiommu::test
