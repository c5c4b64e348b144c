// SPDX-License-Identifier: GPL-2.0-only
//
// The walk of the guest's tables, seen through refresh and translate: each kind
// of entry at each level, rights, large pages, tables in memory that is unfit
// for them, loops, the budget. Applies to each format.
#include "lib/world.hpp"
#include "tables/walker.hpp"

namespace kiommu::test {
namespace {

template <class F>
class Walk : public FormatTest<F> {};
TYPED_TEST_SUITE(Walk, AllFormats);

TYPED_TEST(Walk, PageThroughEachTopLevel) {
  for (unsigned top : Spec<TypeParam>::kTops) {
    World<TypeParam> world({.top = static_cast<int>(top)});
    world.tables.map(world.kIova, world.leaf(7));
    world.expect_refresh(world.kIova, world.kLeaf);
    EXPECT_EQ(world.sees(world.kIova), world.frame(world.leaf(7)));
    EXPECT_EQ(world.info().mapped_pages, world.kLeafPages);
  }
}

TYPED_TEST(Walk, RightsAccumulateOverTheLevels) {
  using S = Spec<TypeParam>;
  World<TypeParam> world;
  for (unsigned at = 0; at <= world.tables.top(); ++at) {
    for (unsigned upper : S::kTableRights) {
      for (unsigned leaf : S::kRights) {
        world.tables.map(world.kIova, world.leaf(1), leaf);
        if (at > 0) world.tables.link(world.kIova, at, upper);
        const unsigned left = at > 0 ? upper & leaf : leaf;
        world.expect_refresh(world.kIova, world.kLeaf);
        EXPECT_EQ(world.sees(world.kIova),
                  left != 0 ? world.frame(world.leaf(1), left) : kBlocked)
            << "upper " << upper << " at level " << at << ", leaf " << leaf;
        const kiommu_translation answer = world.translate(world.kIova);
        EXPECT_EQ(answer.rights, left);
        EXPECT_EQ(answer.shadow_rights, left);
        if (at > 0) world.tables.link(world.kIova, at, kRW);
      }
    }
  }
}

TYPED_TEST(Walk, AbsentEntryAtEachLevel) {
  World<TypeParam> world;
  for (unsigned level = 0; level <= world.tables.top(); ++level) {
    world.tables.map(world.kIova, world.leaf(1));
    world.expect_refresh(world.kIova, world.kLeaf);
    ASSERT_EQ(world.sees(world.kIova), world.frame(world.leaf(1)));
    world.tables.clear(world.kIova, level);
    world.expect_refresh(world.kIova, world.kLeaf);
    EXPECT_EQ(world.sees(world.kIova), kBlocked) << level;
    EXPECT_EQ(world.translate(world.kIova).status,
              unsigned{KVM_IOMMU_STATUS_NOT_MAPPED});
    if (level > 0) world.tables.link(world.kIova, level);
  }
}

TYPED_TEST(Walk, MalformedEntryStopsAndUnmapsWhatItHeld) {
  using S = Spec<TypeParam>;
  World<TypeParam> world;
  for (unsigned level = 0; level <= world.tables.top(); ++level) {
    for (const BadEntry& bad : S::malformed(level)) {
      world.tables.map(world.kIova, world.leaf(1));
      world.expect_refresh(world.kIova, world.kLeaf);
      world.tables.set(world.kIova, level, bad.entry);
      world.expect_stops(world.kIova, world.kLeaf, world.kIova, -EIO,
                         bad.status);
      EXPECT_EQ(world.sees(world.kIova), kBlocked)
          << bad.what << " at level " << level;
      EXPECT_EQ(world.translate(world.kIova).status, bad.status);
      EXPECT_EQ(world.translate(world.kIova).gpa, 0u);
      if (level > 0) world.tables.link(world.kIova, level);
    }
  }
  // Everything below a bad entry is done.
  const std::vector<BadEntry> bad = S::malformed(world.tables.top());
  const u64 edge = u64{1} << S::shift(world.tables.top());
  world.tables.map(edge - world.kLeaf, world.leaf(2));
  world.tables.set(edge, world.tables.top(), bad[0].entry);
  world.expect_stops(edge - world.kLeaf, 3 * world.kLeaf, edge, -EIO,
                     bad[0].status);
  EXPECT_EQ(world.sees(edge - world.kLeaf), world.frame(world.leaf(2)));
}

TYPED_TEST(Walk, LargePagesInWholeAndInPart) {
  using S = Spec<TypeParam>;
  // 2 GiB of memory hold a large page of each level that has them.
  World<TypeParam> world({.data_pages = 2 * kGiB / kPage});
  for (unsigned level = 1; S::has_leaf(level); ++level) {
    const u64 size = u64{1} << S::shift(level);
    const u64 iova = 4 * size;
    world.tables.map(iova, world.data(0), kRW, level);
    // A part in the middle.
    world.expect_refresh(iova + 3 * kPage, 2 * kPage);
    EXPECT_EQ(world.info().mapped_pages, 2u);
    EXPECT_EQ(world.sees(iova + 2 * kPage), kBlocked);
    EXPECT_EQ(world.sees(iova + 3 * kPage), world.frame(world.data(3)));
    EXPECT_EQ(world.sees(iova + 5 * kPage), kBlocked);
    const kiommu_translation answer = world.translate(iova + 5 * kPage + 123);
    EXPECT_EQ(answer.gpa, world.data(5) + 123);
    EXPECT_EQ(answer.page_size, size);
    EXPECT_EQ(answer.shadow_rights, 0u);
    // All of it.
    world.expect_refresh(iova, size);
    EXPECT_EQ(world.info().mapped_pages, size / kPage);
    EXPECT_EQ(world.sees(iova), world.frame(world.data(0)));
    EXPECT_EQ(world.sees(iova + size - kPage),
              world.frame(world.data(size / kPage - 1)));
    EXPECT_EQ(world.sees(iova + size), kBlocked);
    EXPECT_EQ(world.unmap(0, u64{1} << 40), 0);
    EXPECT_EQ(world.info().mapped_pages, 0u);
  }
}

TYPED_TEST(Walk, LargePageReadOnlyByItsOwnEntry) {
  World<TypeParam> world;
  const u64 iova = 4 * kGiB;
  world.tables.map(iova, world.data(0), kR, 1);
  world.expect_refresh(iova, 8 * kPage);
  EXPECT_EQ(world.sees(iova), world.frame(world.data(0), kR));
}

TYPED_TEST(Walk, SelfPointingTableEnds) {
  using S = Spec<TypeParam>;
  for (unsigned top : S::kTops) {
    World<TypeParam> world({.top = static_cast<int>(top)});
    // Each entry of the root names the root.
    for (unsigned i = 0; i < S::entries(top); ++i) {
      world.tables.write_entry(world.tables.root() + 8 * i,
                               S::table(top, world.tables.root(), kRW));
    }
    const u64 length = u64{1} << S::shift(1);
    const RefreshOutcome outcome = world.refresh(0, length);
    // Whatever the levels make of it, the walk ends, the state is consistent,
    // and nothing is mapped twice.
    EXPECT_LE(world.guest.read_calls, u64{WalkScratch::kBudget});
    EXPECT_TRUE(outcome.error == 0 || outcome.error == -EIO ||
                outcome.error == -EAGAIN)
        << outcome.error;
    expect_consistent(world);
  }
}

// Links the lowest table for kIova at `gpa`.
template <class F>
void move_low_table(World<F>& world, u64 gpa) {
  world.tables.set(world.kIova, 1, Spec<F>::table(1, gpa, kRW));
}

TYPED_TEST(Walk, TableInMemoryUnfitForTables) {
  using S = Spec<TypeParam>;
  World<TypeParam> world;
  world.tables.map(world.kIova, world.leaf(1));
  world.expect_refresh(world.kIova, world.kLeaf);
  const u64 low = kTablesGpa + 64 * kMiB;
  world.guest.add_ram(low, 4, port::kShuffled, KIOMMU_SLOT_READ_ONLY);
  world.guest.add_ram(low + kMiB, 4, port::kShuffled, KIOMMU_SLOT_PRIVATE);
  const u64 mmio = world.guest.add_ram(low + 2 * kMiB, 4, port::kShuffled);
  world.guest.set_backing(mmio, 4, Backing::kMmio);
  const u64 gone = world.guest.add_ram(low + 3 * kMiB, 4, port::kShuffled);
  world.guest.set_backing(gone, 4, Backing::kUnbacked);
  const struct {
    u64 gpa;
    unsigned status;
  } cases[] = {
      {low, KVM_IOMMU_STATUS_READ_ONLY},
      {low + kMiB, KVM_IOMMU_STATUS_PRIVATE},
      {low + 2 * kMiB, KVM_IOMMU_STATUS_MMIO},
      {low + 3 * kMiB, KVM_IOMMU_STATUS_UNBACKED},
      {low + 4 * kMiB, KVM_IOMMU_STATUS_NO_SLOT},
      {S::kFarGpa, KVM_IOMMU_STATUS_NO_SLOT},
  };
  for (const auto& one : cases) {
    move_low_table(world, one.gpa);
    world.expect_stops(world.kIova, world.kLeaf, world.kIova, -EIO, one.status);
    EXPECT_EQ(world.sees(world.kIova), kBlocked);
    EXPECT_EQ(world.translate(world.kIova).status, one.status);
    world.tables.link(world.kIova, 1);
    world.expect_refresh(world.kIova, world.kLeaf);
    EXPECT_EQ(world.sees(world.kIova), world.frame(world.leaf(1)));
  }
}

TYPED_TEST(Walk, PageInMemoryUnfitForDma) {
  World<TypeParam> world;
  const u64 area = kDataGpa + 64 * kGiB;
  const u64 mmio = world.guest.add_ram(area, 4, port::kShuffled);
  world.guest.set_backing(mmio, 4, Backing::kMmio);
  const u64 gone = world.guest.add_ram(area + kMiB, 4, port::kShuffled);
  world.guest.set_backing(gone, 4, Backing::kUnbacked);
  const u64 file = world.guest.add_ram(area + 2 * kMiB, 4, port::kShuffled);
  world.guest.set_backing(file, 4, Backing::kRefused);
  world.guest.add_ram(area + 3 * kMiB, 4, port::kShuffled, KIOMMU_SLOT_PRIVATE);
  const struct {
    u64 gpa;
    unsigned status;
  } cases[] = {
      {area, KVM_IOMMU_STATUS_MMIO},
      {area + kMiB, KVM_IOMMU_STATUS_UNBACKED},
      {area + 2 * kMiB, KVM_IOMMU_STATUS_PIN_REFUSED},
      {area + 3 * kMiB, KVM_IOMMU_STATUS_PRIVATE},
      {area + 4 * kMiB, KVM_IOMMU_STATUS_NO_SLOT},
  };
  world.tables.map_pages(world.kIova, world.leaf(0), 3);
  for (const auto& one : cases) {
    world.tables.map(world.kIova + world.kLeaf, world.leaf(1));
    world.expect_refresh(world.kIova, 3 * world.kLeaf);
    world.tables.map(world.kIova + world.kLeaf, one.gpa);
    world.expect_stops(world.kIova, 3 * world.kLeaf, world.kIova + world.kLeaf,
                       -EIO, one.status);
    EXPECT_EQ(world.sees(world.kIova), world.frame(world.leaf(0)));
    EXPECT_EQ(world.sees(world.kIova + world.kLeaf), kBlocked);
  }
}

TYPED_TEST(Walk, TableThatCrossesSlotsIsReadAcrossThem) {
  using S = Spec<TypeParam>;
  const unsigned level = S::table_bytes(1) > kPage ? 1 : 0;
  World<TypeParam> world;
  const u64 bytes = S::table_bytes(level);
  const u64 table = kTablesGpa + 64 * kMiB;
  // Two slots that are neighbours as GPAs, but not as HVAs. The first ends
  // within the table, or at its end for tables of one page.
  world.guest.add_ram(table, 1, port::kShuffled);
  world.guest.add_ram(table + kPage, 31, port::kShuffled);
  const u64 base = u64{1} << S::shift(level + 1);
  for (unsigned i = 0; i < S::entries(level); ++i) {
    world.tables.write_entry(table + 8 * i, S::absent(level));
  }
  world.tables.set(base, level + 1, S::table(level + 1, table, kRW));
  const unsigned across = bytes > kPage ? 512 : S::entries(level) - 1;
  const u64 span = u64{1} << S::shift(level);
  const u64 low = world.tables.new_table(0);
  for (unsigned i : {across - 1, across}) {
    world.tables.write_entry(table + 8 * i, level == 0
                                                ? S::leaf(0, world.leaf(i), kRW)
                                                : S::table(level, low, kRW));
  }
  world.tables.write_entry(low, S::leaf(0, world.leaf(9), kRW));
  world.expect_refresh(base + (across - 2) * span, 3 * span);
  EXPECT_EQ(world.info().mapped_pages, 2 * world.kLeafPages);
}

// The entries before a hole are good, and must be done; the walk stops at the
// first IOVA whose entry is missing.
TYPED_TEST(Walk, TableThatEndsInAHoleIsUsedUpToThere) {
  using S = Spec<TypeParam>;
  if (S::table_bytes(1) <= kPage) GTEST_SKIP() << "no table crosses a page";
  World<TypeParam> world;
  const u64 table = kTablesGpa + 64 * kMiB;
  world.guest.add_ram(table, 1, port::kShuffled);
  for (unsigned i = 0; i < 512; ++i) {
    world.tables.write_entry(table + 8 * i, S::absent(1));
  }
  const u64 base = u64{1} << S::shift(2);
  const u64 span = u64{1} << S::shift(1);
  world.tables.set(base, 2, S::table(2, table, kRW));
  const u64 low = world.tables.new_table(0);
  world.tables.write_entry(low, S::leaf(0, world.leaf(0), kRW));
  world.tables.write_entry(table + 8 * 500, S::table(1, low, kRW));
  world.expect_stops(base + 500 * span, 20 * span, base + 512 * span, -EIO,
                     KVM_IOMMU_STATUS_NO_SLOT);
  EXPECT_EQ(world.info().mapped_pages, world.kLeafPages);
}

TYPED_TEST(Walk, NothingIsReadBelowAbsentEntries) {
  using S = Spec<TypeParam>;
  World<TypeParam> world;
  const unsigned top = world.tables.top();
  // All that the top table reaches, with one page mapped.
  world.tables.map(world.kIova, world.leaf(1));
  const u64 length = u64{1} << S::reach_bits(top);
  const u64 in_top = length >> S::shift(top);
  world.guest.entries_read = world.guest.read_calls = 0;
  world.expect_refresh(0, length);
  u64 most = in_top;
  for (unsigned level = 0; level < top; ++level) most += S::entries(level);
  EXPECT_EQ(world.guest.entries_read, most);
  world.tables.clear(world.kIova, top);
  world.guest.entries_read = 0;
  world.expect_refresh(0, length);
  EXPECT_EQ(world.guest.entries_read, in_top);
  EXPECT_EQ(world.info().mapped_pages, 0u);
}

TYPED_TEST(Walk, EachEntryInRangeIsReadOnce) {
  World<TypeParam> world;
  world.tables.map_pages(world.kIova, world.leaf(0), 10);
  world.guest.entries_read = 0;
  world.expect_refresh(world.kIova, 10 * world.kLeaf);
  EXPECT_EQ(world.guest.entries_read, 10 + world.tables.top());
}

// A table that is its own child at every level below would take 2^40 reads.
TYPED_TEST(Walk, BudgetBoundsTheWorkAndProgressGoesOn) {
  using S = Spec<TypeParam>;
  World<TypeParam> world;
  // All entries of each level name one table; the lowest is empty.
  u64 below = world.tables.new_table(0);
  for (unsigned level = 1; level <= world.tables.top(); ++level) {
    const u64 table = level == world.tables.top()
                          ? world.tables.root()
                          : world.tables.new_table(level);
    for (unsigned i = 0; i < S::entries(level); ++i) {
      world.tables.write_entry(table + 8 * i, S::table(level, below, kRW));
    }
    below = table;
  }
  const u64 length = world.tables.reach();
  world.guest.read_calls = 0;
  RefreshOutcome outcome = world.refresh(0, length);
  EXPECT_EQ(outcome.error, -EAGAIN);
  EXPECT_EQ(outcome.result.status, unsigned{KVM_IOMMU_STATUS_BUDGET});
  EXPECT_LE(world.guest.read_calls, u64{WalkScratch::kBudget});
  const u64 first_stop = outcome.result.stopped_iova;
  EXPECT_GT(first_stop, 0u);
  outcome = world.refresh(first_stop, length - first_stop);
  EXPECT_EQ(outcome.error, -EAGAIN);
  EXPECT_GT(outcome.result.stopped_iova, first_stop);
}

TYPED_TEST(Walk, InterruptionAnywhereIsResumable) {
  u64 stops = 0;
  for (u64 nth = 1;; ++nth) {
    World<TypeParam> world;
    world.tables.map_pages(world.kIova, world.leaf(0), 600);
    world.tables.map(world.kIova + 16 * kGiB, world.leaf(1));
    const u64 end = world.kIova + 16 * kGiB + world.kLeaf;
    faults().interrupt.arm(nth);
    const RefreshOutcome outcome =
        world.refresh(world.kIova, end - world.kIova);
    expect_consistent(world);
    if (outcome.error == 0) break;
    ++stops;
    EXPECT_EQ(outcome.error, -EINTR);
    EXPECT_EQ(outcome.result.status, unsigned{KVM_IOMMU_STATUS_INTERRUPTED});
    const u64 at = outcome.result.stopped_iova;
    for (u64 i = 0; i < 600; ++i) {
      const u64 iova = world.kIova + i * world.kLeaf;
      EXPECT_EQ(world.sees(iova),
                iova < at ? world.frame(world.leaf(i)) : kBlocked);
    }
    world.expect_refresh(at, end - at);
    EXPECT_EQ(world.info().mapped_pages, 601 * world.kLeafPages);
  }
  EXPECT_GT(stops, 3u);
}

// The guest changes its tables while they are read: each page is as the
// tables said before or after, never a mix.
TYPED_TEST(Walk, TablesThatChangeDuringTheWalk) {
  World<TypeParam> world;
  world.tables.map_pages(world.kIova, world.leaf(0), 4);
  const u64 low = world.tables.entry_gpa(world.kIova, 0);
  world.guest.before_read = [&](u64 gpa) {
    if (gpa != low) return;
    world.tables.map_pages(world.kIova, world.leaf(100), 4, kR);
  };
  world.expect_refresh(world.kIova, 4 * world.kLeaf);
  for (u64 i = 0; i < 4; ++i) {
    EXPECT_EQ(world.sees(world.kIova + i * world.kLeaf),
              world.frame(world.leaf(100 + i), kR));
  }
  // The upper entry is cleared after it was read.
  world.guest.before_read = [&](u64 gpa) {
    if (gpa == low) world.tables.clear(world.kIova, 1);
  };
  world.expect_refresh(world.kIova, 4 * world.kLeaf);
  EXPECT_EQ(world.info().mapped_pages, 4 * world.kLeafPages);
  world.guest.before_read = nullptr;
  world.expect_refresh(world.kIova, 4 * world.kLeaf);
  EXPECT_EQ(world.info().mapped_pages, 0u);
}

TYPED_TEST(Walk, ReadingAsAnotherProcessChangesNothing) {
  World<TypeParam> world;
  world.tables.map_pages(world.kIova, world.leaf(0), 4);
  world.expect_refresh(world.kIova, 4 * world.kLeaf);
  world.guest.foreign_process = true;
  const RefreshOutcome outcome = world.refresh(world.kIova, 4 * world.kLeaf);
  EXPECT_EQ(outcome.error, -EPERM);
  EXPECT_EQ(outcome.result.status, unsigned{KVM_IOMMU_STATUS_PROCESS});
  EXPECT_EQ(outcome.result.unmapped, 0u);
  EXPECT_EQ(world.info().mapped_pages, 4 * world.kLeafPages);
  kiommu_translation answer;
  EXPECT_EQ(world.Machine::translate(world.kIova, &answer), -EPERM);
}

}  // namespace
}  // namespace kiommu::test
