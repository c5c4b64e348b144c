// SPDX-License-Identifier: GPL-2.0-only
//
// What only RISC-V's tables have: the bits U, A and D, pages without R, 64 KiB
// by N, memory types, pages at each level.
#include "lib/world.hpp"

namespace kiommu::test {
namespace {

using W = World<RiscvSvFormat>;
using Sv = Spec<RiscvSvFormat>;

constexpr u64 kIova = W::kIova;
constexpr u64 kReadBit = 0x02, kWriteBit = 0x04, kExecute = 0x08, kUser = 0x10,
              kGlobal = 0x20, kAccessed = 0x40, kDirty = 0x80;
constexpr u64 kNapot = u64{1} << 63;

// Expects a device to have `rights` through pages of the lowest three levels in
// which the bits of `change` are inverted.
void expect_leaves(u64 change, unsigned rights) {
  for (unsigned level : {0, 1, 2}) {
    W world({.data_pages = kGiB / kPage});
    const u64 iova = kIova & ~((u64{1} << Sv::shift(level)) - 1);
    world.tables.set(iova, level, Sv::leaf(level, kDataGpa, kRW) ^ change);
    world.expect_refresh(iova, kPage);
    EXPECT_EQ(world.sees(iova),
              rights != 0 ? world.frame(kDataGpa, rights) : kBlocked)
        << std::hex << change << " at level " << level;
  }
}

TEST(RiscvSv, BitsOfPages) {
  expect_leaves(kUser, 0);
  expect_leaves(kAccessed, 0);
  expect_leaves(kDirty, kR);
  expect_leaves(kWriteBit, kR);
  expect_leaves(kWriteBit | kDirty, kR);
  expect_leaves(kExecute, kRW);
  expect_leaves(kReadBit | kWriteBit | kExecute, 0);  // X alone
  expect_leaves(kGlobal, kRW);
  expect_leaves(0x300, kRW);         // for software
  expect_leaves(u64{1} << 61, kRW);  // PBMT: non-cacheable
  expect_leaves(u64{1} << 62, kRW);  // PBMT: I/O
}

// G and the bits for software: all that may be set in a table besides V.
TEST(RiscvSv, BitsOfTables) {
  W world;
  world.tables.map(kIova, world.data(1));
  for (unsigned level = 1; level <= world.tables.top(); ++level) {
    const u64 below = world.tables.table(kIova, level - 1);
    world.tables.set(kIova, level,
                     Sv::table(level, below, kRW) | kGlobal | 0x300);
  }
  world.expect_refresh(kIova, kPage);
  EXPECT_EQ(world.sees(kIova), world.frame(world.data(1)));
}

// N: 64 KiB, described by sixteen equal entries; each is read by itself.
TEST(RiscvSv, NaturallyAlignedPowerOfTwo) {
  W world;
  const u64 iova = 0x40210000;
  const u64 gpa = world.data(32);
  const u64 entry = Sv::leaf(0, gpa | 0x8000, kRW) | kNapot;
  for (u64 i = 0; i < 16; ++i) world.tables.set(iova + i * kPage, 0, entry);
  world.expect_refresh(iova + 3 * kPage, 2 * kPage);
  EXPECT_EQ(world.info().mapped_pages, 2u);
  EXPECT_EQ(world.sees(iova + 4 * kPage), world.frame(world.data(36)));
  world.tables.clear(iova + 9 * kPage);
  world.expect_refresh(iova, 16 * kPage);
  for (u64 i = 0; i < 16; ++i) {
    EXPECT_EQ(world.sees(iova + i * kPage),
              i == 9 ? kBlocked : world.frame(world.data(32 + i)));
  }
  const kiommu_translation answer = world.translate(iova + 0x6123);
  EXPECT_EQ(answer.page_size, 16 * kPage);
  EXPECT_EQ(answer.gpa, gpa + 0x6123);
}

TEST(RiscvSv, PagesOfEachLevel) {
  W world({.top = 4});
  for (unsigned level : {3, 4}) {
    const u64 iova = u64{3} << Sv::shift(level);
    // Only parts of the large page are memory, such as page 5 of the data.
    world.tables.map(iova, 0, kRW, level);
    world.expect_refresh(iova + kDataGpa + 5 * kPage, kPage);
    EXPECT_EQ(world.sees(iova + kDataGpa + 5 * kPage),
              world.frame(world.data(5)));
    EXPECT_EQ(world.translate(iova + kDataGpa).page_size,
              u64{1} << Sv::shift(level));
    world.expect_stops(iova, kPage, iova, -EIO, KVM_IOMMU_STATUS_NO_SLOT);
  }
}

}  // namespace
}  // namespace kiommu::test
