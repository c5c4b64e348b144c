// SPDX-License-Identifier: GPL-2.0-only
//
// VT-d second-stage paging: Intel Virtualization Technology for Directed I/O,
// architecture specification 4.1, sections 3.7 (translation) and 9.8 (entries).
//
// 3, 4 or 5 levels of 4 KiB tables with 512 entries; leaves of 4 KiB, 2 MiB and
// 1 GiB. An entry with neither R nor W is not present. R and W grant a right
// only if they grant it at each level.
#pragma once

#include "tables/format.hpp"

namespace kiommu {

struct VtdSsFormat {
  static constexpr uint32_t kId = 2;
  static constexpr std::endian kByteOrder = std::endian::little;
  static constexpr unsigned kLevels = 5;

  static constexpr uint64_t kReadBit = uint64_t{1} << 0;
  static constexpr uint64_t kWriteBit = uint64_t{1} << 1;
  static constexpr uint64_t kPageSize = uint64_t{1} << 7;  // PS: a leaf
  static constexpr uint64_t kSnoop = uint64_t{1} << 11;    // leaves only
  static constexpr uint64_t kAddress = 0x000ffffffffff000;
  // The lowest and the highest level at which PS can make a large page.
  static constexpr unsigned kLevel2M = 1;
  static constexpr unsigned kLevel1G = 2;

  static constexpr Level level(unsigned level) { return {12 + 9 * level, 9}; }

  static constexpr Result<Root> root(const kiommu_anchor& anchor) {
    if (anchor.levels < 3 || anchor.levels > kLevels) {
      return fail(Status::kBadDesignation);
    }
    // A table beyond the guest's physical address width is in no memory slot
    // either, so check only the alignment here.
    if ((anchor.iota & ~kPageMask) != 0) return fail(Status::kMisaligned);
    const unsigned top = anchor.levels - 1;
    return Root{{anchor.iota}, top, level(top).reach_last()};
  }

  static constexpr Entry decode(unsigned level, uint64_t entry) {
    const Rights rights{static_cast<unsigned>(entry & (kReadBit | kWriteBit))};
    if (!rights.any()) return Entry::absent();
    const bool large = level > 0 && (entry & kPageSize) != 0;
    if (large && level > kLevel1G) {
      return Entry::malformed(Status::kEntryReserved);
    }
    if (level > 0 && !large) {
      if ((entry & kSnoop) != 0) {
        return Entry::malformed(Status::kEntryReserved);
      }
      return Entry::table({entry & kAddress}, rights, level - 1);
    }
    const Level geometry = VtdSsFormat::level(level);
    const uint64_t address = entry & kAddress;
    if ((address & (geometry.span() - 1)) != 0) {
      return Entry::malformed(Status::kEntryReserved);
    }
    return Entry::leaf({address}, rights, geometry.shift);
  }

  static constexpr uint64_t page_word(uint64_t entry) {
    return entry & (kAddress | kReadBit | kWriteBit);
  }
};

static_assert(TableFormat<VtdSsFormat>);
static_assert(has_level<VtdSsFormat>(0, 4 * kKiB, 512));
static_assert(has_level<VtdSsFormat>(1, 2 * kMiB, 512));
static_assert(has_level<VtdSsFormat>(2, kGiB, 512));

}  // namespace kiommu
