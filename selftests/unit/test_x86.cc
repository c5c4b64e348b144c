// SPDX-License-Identifier: GPL-2.0-only
//
// What only the x86 formats have: levels that AMD-Vi skips, its pages of any
// power of two, U/S and PAT of the long-mode tables.
#include "lib/world.hpp"

namespace kiommu::test {
namespace {

using Amd = Spec<AmdV1Format>;
using X86 = Spec<X86FsFormat>;

constexpr u64 kIova = 0x40201000;

// An AMD-Vi entry with Next Level 7: a page of 1 << `bits` bytes.
u64 of_size(u64 gpa, unsigned bits) {
  const u64 ones = (u64{1} << (bits - 1)) - 1;
  return gpa | (ones & ~u64{0xfff}) | 7 << 9 | 1 | Amd::permissions(kRW);
}

TEST(AmdV1, SmallModes) {
  for (int top : {0, 1}) {
    World<AmdV1Format> world({.top = top});
    world.tables.map(5 * kPage, world.data(7));
    world.expect_refresh(0, world.tables.reach());
    EXPECT_EQ(world.sees(5 * kPage), world.frame(world.data(7)));
    EXPECT_EQ(world.info().mapped_pages, 1u);
    EXPECT_EQ(world.refresh(world.tables.reach(), kPage).error, -EINVAL);
  }
}

// An entry of the top table names a table two levels below: it reaches 2 MiB
// (a table of pages), and the rest of the entry's span is not mapped.
TEST(AmdV1, LevelsLeftOut) {
  World<AmdV1Format> world({.top = 2});
  const u64 low = kGiB;               // index 1 of the top table
  const u64 beyond = low + 2 * kMiB;  // the skipped bits are not zero
  world.tables.map(low + 3 * kPage, world.data(1));
  world.tables.map(beyond, world.data(2));
  world.expect_refresh(low, kGiB);
  ASSERT_EQ(world.sees(beyond), world.frame(world.data(2)));
  const u64 pages = world.tables.table(low, 0);
  world.tables.set(low, 2, Amd::table(1, pages, kRW));
  world.expect_refresh(low, kGiB);
  EXPECT_EQ(world.sees(low + 3 * kPage), world.frame(world.data(1)));
  EXPECT_EQ(world.sees(beyond), kBlocked);
  EXPECT_EQ(world.info().mapped_pages, 1u);
  EXPECT_EQ(world.translate(beyond + 3 * kPage).status,
            unsigned{KVM_IOMMU_STATUS_NOT_MAPPED});
  // Refresh only what lies beyond.
  world.expect_refresh(beyond, kPage);
  EXPECT_EQ(world.sees(low + 3 * kPage), world.frame(world.data(1)));
}

// Next Level 7: 32 KiB, described by eight equal entries; each is read by
// itself.
TEST(AmdV1, PageOfAnySize) {
  World<AmdV1Format> world;
  const u64 gpa = world.data(16);
  const u64 entry = of_size(gpa, 15);
  const u64 iova = 0x40208000;
  for (u64 i = 0; i < 8; ++i) world.tables.set(iova + i * kPage, 0, entry);
  world.expect_refresh(iova + 2 * kPage, 3 * kPage);
  EXPECT_EQ(world.sees(iova + kPage), kBlocked);
  for (u64 i = 2; i < 5; ++i) {
    EXPECT_EQ(world.sees(iova + i * kPage), world.frame(world.data(16 + i)));
  }
  world.expect_refresh(iova, 8 * kPage);
  EXPECT_EQ(world.info().mapped_pages, 8u);
  const kiommu_translation answer = world.translate(iova + 0x6123);
  EXPECT_EQ(answer.page_size, 8 * kPage);
  EXPECT_EQ(answer.gpa, gpa + 0x6123);
}

// All sizes at all levels: only those between the level's own page size and
// that of the next level are valid.
TEST(AmdV1, SizesOfEachLevel) {
  for (unsigned level = 0; level < 5; ++level) {
    const unsigned own = Amd::shift(level);
    for (unsigned bits = 13; bits < 52; ++bits) {
      const Entry entry = AmdV1Format::decode(level, of_size(0, bits));
      if (bits > own && bits < own + 9) {
        ASSERT_EQ(entry.kind, Entry::Kind::kLeaf) << level << ", " << bits;
        EXPECT_EQ(entry.shift, bits);
        EXPECT_EQ(entry.address.value, 0u);
      } else {
        ASSERT_EQ(entry.kind, Entry::Kind::kMalformed) << level << ", " << bits;
        EXPECT_EQ(entry.why, Status::kEntryLength);
      }
    }
    // No zero bit at all.
    const u64 all = 0xffffffffff000 | 7 << 9 | 1;
    EXPECT_EQ(AmdV1Format::decode(level, all).kind, Entry::Kind::kMalformed);
  }
  EXPECT_EQ(AmdV1Format::decode(3, u64{1} << 39 | 1).shift, 39u);
  EXPECT_EQ(AmdV1Format::decode(5, 1).kind, Entry::Kind::kMalformed);
}

// At each level, a page of twice and of 256 times the span of an entry, one of
// whose entries differs.
TEST(AmdV1, PageLargerThanTheSpanOfItsEntries) {
  for (unsigned level : {0, 1, 2}) {
    for (unsigned more : {1, 8}) {
      if (level == 2 && more == 8) continue;  // 256 GiB
      const unsigned bits = Amd::shift(level) + more;
      const u64 span = u64{1} << Amd::shift(level);
      const u64 size = u64{1} << bits;
      World<AmdV1Format> world({.data_pages = size / kPage});
      const u64 iova = 2 * size;
      for (u64 i = 0; i < size / span; ++i) {
        world.tables.set(iova + i * span, level, of_size(kDataGpa, bits));
      }
      world.tables.clear(iova + span, level);
      world.expect_refresh(iova, 2 * span);
      EXPECT_EQ(world.info().mapped_pages, span / kPage);
      EXPECT_EQ(world.sees(iova + span), kBlocked);
      world.tables.set(iova + span, level, of_size(kDataGpa, bits));
      // From within one entry into the next.
      world.expect_refresh(iova + span - kPage, 2 * kPage);
      EXPECT_EQ(world.sees(iova + span), world.frame(kDataGpa + span));
      EXPECT_EQ(world.info().mapped_pages, span / kPage + 1);
      const kiommu_translation answer = world.translate(iova + span + 5);
      EXPECT_EQ(answer.page_size, size);
      EXPECT_EQ(answer.gpa, kDataGpa + span + 5);
      world.expect_refresh(iova, size);
      EXPECT_EQ(world.info().mapped_pages, size / kPage);
      EXPECT_EQ(world.sees(iova + size - kPage),
                world.frame(kDataGpa + size - kPage));
    }
  }
}

// A size that fits another level only: what the entry mapped is gone, what the
// next one maps is not.
TEST(AmdV1, PageSmallerThanTheSpanOfItsEntry) {
  for (unsigned level : {1, 2}) {
    const u64 span = u64{1} << Amd::shift(level);
    for (unsigned bits : {13u, Amd::shift(level), Amd::shift(level + 1)}) {
      World<AmdV1Format> world({.data_pages = 2 * span / kPage});
      const u64 iova = 4 * span;
      world.tables.map(iova, kDataGpa, kRW, level);
      world.tables.map(iova + span, kDataGpa + span, kRW, level);
      world.expect_refresh(iova, 2 * span);
      world.tables.set(iova, level, of_size(kDataGpa, bits));
      world.expect_stops(iova, 2 * span, iova, -EIO,
                         KVM_IOMMU_STATUS_ENTRY_LENGTH);
      EXPECT_EQ(world.sees(iova), kBlocked) << level << ", " << bits;
      EXPECT_EQ(world.sees(iova + span), world.frame(kDataGpa + span));
      EXPECT_EQ(world.info().mapped_pages, span / kPage);
    }
  }
}

TEST(X86Fs, SupervisorEntriesMapNothing) {
  World<X86FsFormat> world;
  for (unsigned level = 0; level <= world.tables.top(); ++level) {
    world.tables.map(kIova, world.data(1));
    world.expect_refresh(kIova, kPage);
    ASSERT_EQ(world.sees(kIova), world.frame(world.data(1)));
    const u64 entry =
        level == 0
            ? X86::leaf(0, world.data(1), kRW)
            : X86::table(level, world.tables.table(kIova, level - 1), kRW);
    world.tables.set(kIova, level, entry & ~u64{4});
    world.expect_refresh(kIova, kPage);
    EXPECT_EQ(world.sees(kIova), kBlocked) << level;
    if (level > 0) world.tables.link(kIova, level);
  }
}

TEST(X86Fs, PatAndExecuteDisableMeanNothing) {
  World<X86FsFormat> world;
  const u64 iova = 4 * kGiB;
  world.tables.set(iova, 1,
                   X86::leaf(1, world.data(0), kRW) | 0x1000 | u64{1} << 63);
  world.expect_refresh(iova, 2 * kMiB);
  EXPECT_EQ(world.sees(iova + kPage), world.frame(world.data(1)));
}

}  // namespace
}  // namespace kiommu::test
