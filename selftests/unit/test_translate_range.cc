// SPDX-License-Identifier: GPL-2.0-only
//
// Translations of a range: page by page what translate() returns, in as few
// records as possible. For each format; the model test compares both on random
// tables, see model_check.hpp.
#include "lib/range_check.hpp"
#include "tables/walker.hpp"

namespace kiommu::test {
namespace {

template <class F>
class Range : public FormatTest<F> {};
TYPED_TEST_SUITE(Range, AllFormats);

TYPED_TEST(Range, NeighboursAreOneRecord) {
  World<TypeParam> world;
  const u64 n = 6;
  world.tables.map_pages(world.kIova, world.leaf(3), n);
  auto told = world.translate_range(0, 2 * world.kIova);
  ASSERT_EQ(told.error, 0);
  EXPECT_EQ(told.status, 0u);
  EXPECT_EQ(told.next, 2 * world.kIova);
  ASSERT_EQ(told.records.size(), 1u);
  const kiommu_range_record& record = told.records[0];
  EXPECT_EQ(record.iova, world.kIova);
  EXPECT_EQ(record.gpa, world.leaf(3));
  EXPECT_EQ(record.length, n * world.kLeaf);
  EXPECT_EQ(record.page_size, world.kLeaf);
  EXPECT_EQ(record.rights, kRW);
  EXPECT_EQ(record.shadow_rights, 0u);
  // Half of it is refreshed: what devices can do differs.
  world.expect_refresh(world.kIova, 2 * world.kLeaf);
  told = world.translate_range(0, 2 * world.kIova);
  ASSERT_EQ(told.records.size(), 2u);
  EXPECT_EQ(told.records[0].length, 2 * world.kLeaf);
  EXPECT_EQ(told.records[0].shadow_rights, kRW);
  EXPECT_EQ(told.records[1].gpa, world.leaf(5));
  EXPECT_EQ(told.records[1].shadow_rights, 0u);
  // The guest no longer maps it, but devices still reach it.
  for (u64 i = 0; i < n; ++i) world.tables.clear(world.kIova + i * world.kLeaf);
  told = world.translate_range(0, 2 * world.kIova);
  ASSERT_EQ(told.records.size(), 1u);
  EXPECT_EQ(told.records[0].status, unsigned{KVM_IOMMU_STATUS_NOT_MAPPED});
  EXPECT_EQ(told.records[0].gpa, 0u);
  EXPECT_EQ(told.records[0].length, 2 * world.kLeaf);
  EXPECT_EQ(told.records[0].shadow_rights, kRW);
  expect_range(world, world.kIova, 2 * n * world.kLeaf);
}

TYPED_TEST(Range, OnePageTwiceIsTwoRecords) {
  World<TypeParam> world;
  world.tables.map(world.kIova, world.leaf(3));
  world.tables.map(world.kIova + world.kLeaf, world.leaf(3));
  const auto told = world.translate_range(0, 2 * world.kIova);
  ASSERT_EQ(told.records.size(), 2u);
  for (const kiommu_range_record& record : told.records) {
    EXPECT_EQ(record.gpa, world.leaf(3));
    EXPECT_EQ(record.length, world.kLeaf);
  }
}

TYPED_TEST(Range, GoesOnBehindWhatIsBad) {
  using S = Spec<TypeParam>;
  World<TypeParam> world;
  for (unsigned level = 0; level < world.tables.top(); ++level) {
    const u64 span = u64{1} << S::shift(level);
    const u64 first = world.kIova & ~(span - 1);
    for (const BadEntry& bad : S::malformed(level)) {
      world.tables.map(world.kIova, world.leaf(1));
      world.tables.map(first + span, world.leaf(9));
      world.tables.set(world.kIova, level, bad.entry);
      const auto told = world.translate_range(first, 2 * span);
      EXPECT_EQ(told.error, 0);
      EXPECT_EQ(told.status, 0u);
      ASSERT_EQ(told.records.size(), 2u) << bad.what << " at " << level;
      EXPECT_EQ(told.records[0].status, bad.status);
      EXPECT_EQ(told.records[0].iova, first);
      EXPECT_EQ(told.records[0].length, span);
      EXPECT_EQ(told.records[1].gpa, world.leaf(9));
      world.tables.clear(first + span);
      if (level > 0) world.tables.link(world.kIova, level);
    }
    world.tables.clear(world.kIova);
  }
}

TYPED_TEST(Range, TableThatCannotBeRead) {
  using S = Spec<TypeParam>;
  World<TypeParam> world;
  const u64 span = u64{1} << S::shift(1);
  const u64 first = world.kIova & ~(span - 1);
  world.tables.map(world.kIova, world.leaf(1));
  world.tables.map(first + span, world.leaf(9));
  // The first page of the table is gone; its other pages, if any, are not.
  const u64 table = world.tables.table(world.kIova, 0);
  world.guest.set_backing(world.tables_hva + (table - kTablesGpa), 1,
                          Backing::kUnbacked);
  const auto told = world.translate_range(first, 2 * span);
  EXPECT_EQ(told.status, 0u);
  const u64 bad = std::min<u64>(span, 512 * world.kLeaf);
  ASSERT_GE(told.records.size(), 2u);
  EXPECT_EQ(told.records[0].status, unsigned{KVM_IOMMU_STATUS_UNBACKED});
  EXPECT_EQ(told.records[0].iova, first);
  EXPECT_EQ(told.records[0].length, bad);
  EXPECT_EQ(told.records.back().gpa, world.leaf(9));
  expect_range(world, first, 600 * kPage);
  expect_range(world, first + bad - 40 * kPage, 80 * kPage);
}

TYPED_TEST(Range, SlotsCutAPage) {
  using S = Spec<TypeParam>;
  if (!S::has_leaf(1)) GTEST_SKIP() << "has no large pages";
  World<TypeParam> world;
  const u64 size = u64{1} << S::shift(1);
  const u64 gpa = (kDataGpa + 64 * kGiB) & ~(size - 1);
  // RAM, a hole, a ROM, private memory, and a hole to the end.
  world.guest.add_ram(gpa, 5, port::kShuffled);
  world.guest.add_ram(gpa + 9 * kPage, 3, port::kShuffled,
                      KIOMMU_SLOT_READ_ONLY);
  world.guest.add_ram(gpa + 12 * kPage, 2, port::kShuffled,
                      KIOMMU_SLOT_PRIVATE);
  const u64 iova = world.kIova & ~(size - 1);
  world.tables.map(iova, gpa, kRW, 1);
  const auto told = world.translate_range(iova, size);
  ASSERT_EQ(told.records.size(), 5u);
  const unsigned statuses[] = {KVM_IOMMU_STATUS_OK, KVM_IOMMU_STATUS_NO_SLOT,
                               KVM_IOMMU_STATUS_OK, KVM_IOMMU_STATUS_PRIVATE,
                               KVM_IOMMU_STATUS_NO_SLOT};
  const u64 lengths[] = {5, 4, 3, 2, size / kPage - 14};
  for (unsigned i = 0; i < 5; ++i) {
    EXPECT_EQ(told.records[i].status, statuses[i]) << i;
    EXPECT_EQ(told.records[i].length, lengths[i] * kPage) << i;
  }
  EXPECT_EQ(told.records[2].rights, kR);
  EXPECT_EQ(told.records[2].page_size, size);
  expect_range(world, iova, 20 * kPage);
}

using W = World<VtdSsFormat>;

TEST(TranslateRange, RefusedCalls) {
  W world;
  const u64 reach = world.tables.reach();
  EXPECT_EQ(world.translate_range(kPage, 0).error, -EINVAL);
  EXPECT_EQ(world.translate_range(1, kPage).error, -EINVAL);
  EXPECT_EQ(world.translate_range(0, 1).error, -EINVAL);
  EXPECT_EQ(world.translate_range(~u64{0xfff}, 2 * kPage).error, -EOVERFLOW);
  EXPECT_EQ(world.translate_range(reach, kPage).error, -EINVAL);
  EXPECT_EQ(world.translate_range(reach - kPage, 2 * kPage).error, -EINVAL);
  EXPECT_EQ(world.translate_range(0, reach).error, 0);
  world.guest.foreign_process = true;
  EXPECT_EQ(world.translate_range(0, kPage).error, -EPERM);
  world.guest.foreign_process = false;
  ASSERT_EQ(world.unanchor(), 0);
  EXPECT_EQ(world.translate_range(0, kPage).error, -ENXIO);
  ASSERT_EQ(world.stop(), 0);
  EXPECT_EQ(world.translate_range(0, kPage).error, -ENODEV);
}

// The room for records ends at each place in turn.
TEST(TranslateRange, RoomIsNoLimit) {
  W world;
  for (u64 i = 0; i < 1200; ++i) {
    if (i % 7 != 0) {
      world.tables.map(W::kIova + i * kPage, world.data(i * 5 % 4099),
                       i % 3 == 0 ? kR : kRW);
    }
  }
  world.expect_refresh(W::kIova + 100 * kPage, 500 * kPage);
  const auto all = world.translate_range(W::kIova, 1200 * kPage, 5000);
  ASSERT_EQ(all.status, 0u);
  ASSERT_GT(all.records.size(), 900u);
  for (u32 part : {1, 2, 85}) {
    const auto told = world.translate_range(W::kIova, 1200 * kPage, part);
    EXPECT_EQ(told.status, 0u);
    EXPECT_EQ(told.next, W::kIova + 1200 * kPage);
    EXPECT_TRUE(same(told.records, all.records)) << part;
  }
  expect_range(world, W::kIova, 1200 * kPage);
}

TEST(TranslateRange, BudgetEndsACall) {
  W world({.top = 3});
  // At each of two levels, many entries name one table; the lowest table has
  // one page.
  const u64 table = world.tables.table(0, 0);
  world.tables.map(0, world.data(0));
  using S = Spec<VtdSsFormat>;
  constexpr u64 kUpper = 80;
  for (u64 i = 0; i < 512; ++i) {
    world.tables.set(i << S::shift(1), 1, S::table(1, table, kRW));
  }
  for (u64 i = 0; i < kUpper; ++i) {
    world.tables.set(i << S::shift(2), 2,
                     S::table(2, world.tables.table(0, 1), kRW));
  }
  const u64 length = kUpper << S::shift(2);
  kiommu_u32 status = 0;
  u64 at = 0;
  u64 records = 0;
  unsigned calls = 0;
  do {
    const auto told = world.translate_range(at, length - at, 1u << 16);
    ASSERT_EQ(told.error, 0);
    ASSERT_GT(told.next, at);
    at = told.next;
    status = told.status;
    records += told.records.size();
    ++calls;
  } while (status == KVM_IOMMU_STATUS_BUDGET);
  EXPECT_EQ(at, length);
  EXPECT_EQ(records, kUpper * 512u);
  EXPECT_EQ(calls, 2u);
}

TEST(TranslateRange, Identity) {
  W world;
  ASSERT_EQ(world.unanchor(), 0);
  kiommu_anchor anchor{};
  anchor.rights = kRW;
  anchor.offset = kGiB;
  ASSERT_EQ(world.anchor(anchor), 0);
  world.expect_refresh(kGiB + kDataGpa, 10 * kPage);
  const auto told = world.translate_range(kGiB, -kGiB);
  ASSERT_EQ(told.error, 0);
  EXPECT_EQ(told.next, 0u);
  ASSERT_EQ(told.records.size(), 3u);
  EXPECT_EQ(told.records[0].gpa, kTablesGpa);
  EXPECT_EQ(told.records[0].length, kTablesPages * kPage);
  EXPECT_EQ(told.records[1].gpa, kDataGpa);
  EXPECT_EQ(told.records[1].iova, kGiB + kDataGpa);
  EXPECT_EQ(told.records[1].length, 10 * kPage);
  EXPECT_EQ(told.records[1].shadow_rights, kRW);
  EXPECT_EQ(told.records[2].shadow_rights, 0u);
  EXPECT_EQ(told.records[2].page_size, kPage);
  expect_range(world, kGiB + kDataGpa - 20 * kPage, 40 * kPage, true);
}

// There is no memory to look up the slot of a table: nothing is reported of
// what the table says.
TEST(TranslateRange, WithoutMemoryForTheSlotOfATable) {
  using S = Spec<VtdSsFormat>;
  constexpr u64 kFar = 128 * kGiB;
  World<VtdSsFormat> world;
  world.guest.add_ram(kFar, 16, port::kShuffled);
  for (u64 i = 0; i < 512; ++i) {
    world.tables.write_entry(kFar + 8 * i, S::absent(0));
  }
  world.tables.write_entry(kFar, S::leaf(0, world.leaf(1), kRW));
  world.tables.set(kGiB, 1, S::table(1, kFar, kRW));
  const u64 last = kGiB + (u64{1} << S::shift(1));
  faults().node.arm_always();
  auto told = world.translate_range(0, last);
  EXPECT_EQ(told.error, 0);
  EXPECT_EQ(told.status, unsigned{KVM_IOMMU_STATUS_NO_MEMORY});
  EXPECT_EQ(told.next, kGiB);
  EXPECT_TRUE(told.records.empty());
  faults() = {};
  told = world.translate_range(0, last);
  EXPECT_EQ(told.error, 0);
  ASSERT_EQ(told.records.size(), 1u);
  EXPECT_EQ(told.records[0].gpa, world.leaf(1));
}

TEST(TranslateRange, WithoutMemoryForASlot) {
  W world;
  const u64 gpa = kDataGpa + 64 * kGiB;
  world.guest.add_ram(gpa, 5, port::kShuffled);
  world.tables.map_pages(W::kIova, world.data(0), 2);
  world.tables.map_pages(W::kIova + 2 * kPage, gpa, 2);
  world.expect_refresh(W::kIova, 2 * kPage);
  faults().node.arm_always();
  auto told = world.translate_range(W::kIova, 4 * kPage);
  EXPECT_EQ(told.error, 0);
  EXPECT_EQ(told.status, unsigned{KVM_IOMMU_STATUS_NO_MEMORY});
  EXPECT_EQ(told.next, W::kIova + 2 * kPage);
  EXPECT_EQ(told.records.size(), 1u);
  faults() = {};
  told = world.translate_range(told.next, 2 * kPage);
  EXPECT_EQ(told.status, 0u);
  ASSERT_EQ(told.records.size(), 1u);
  EXPECT_EQ(told.records[0].gpa, gpa);
}

}  // namespace
}  // namespace kiommu::test
