// SPDX-License-Identifier: GPL-2.0-only
//
// The memory of the dirty log's tests, and the log as sets of pages.
#pragma once

#include <set>
#include <vector>

#include "world.hpp"

namespace kiommu::test::dirty {

using W = World<VtdSsFormat>;
using Bits = std::vector<kiommu_u64>;
using Gfns = std::set<u64>;

inline constexpr u64 kBase = kGiB;   // first IOVA
inline constexpr u64 kPages = 2048;  // of IOVA
inline constexpr u64 kAll =
    kPages + 1024;                   // and those of large pages in the model
inline constexpr u64 kData = 4096;   // pages of memory
inline constexpr u64 kLarge = 2048;  // more of it, for large pages in the model
// A slot that comes and goes, with odd ends.
inline constexpr u64 kOther = kDataGpa + kGiB + 5 * kPage;
inline constexpr u64 kOtherPages = 700;
// All memory that devices use, and its surroundings.
inline constexpr u64 kFirst = kDataGpa - 3 * kPage;
inline constexpr u64 kLength = kOther + (kOtherPages + 77) * kPage - kFirst;

inline u64 iova(u64 page) { return kBase + page * kPage; }

inline Gfns gfns_of(const Bits& bits, u64 gpa, u64 length) {
  Gfns found;
  for (u64 i = 0; i < bits.size() * 64; ++i) {
    if ((bits[i / 64] >> (i % 64) & 1) == 0) continue;
    EXPECT_LT(i, length / kPage) << "a bit beyond the range";
    found.insert(gpa / kPage + i);
  }
  return found;
}

inline Gfns read(port::PinTable& pins, u64 gpa = kFirst, u64 length = kLength,
                 u64 part = 1 << 15) {
  Bits bits;
  EXPECT_EQ(pins.read_dirty(gpa, length, &bits, part), 0);
  return gfns_of(bits, gpa, length);
}

// The pages from GPA `gpa` on.
inline Gfns pages(u64 gpa, u64 count) {
  Gfns all;
  for (u64 i = 0; i < count; ++i) all.insert(gpa / kPage + i);
  return all;
}

inline WorldOptions small(unsigned order = port::kShuffled) {
  return {.data_pages = kData, .data_order = order};
}

}  // namespace kiommu::test::dirty
