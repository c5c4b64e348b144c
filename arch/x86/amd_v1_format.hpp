// SPDX-License-Identifier: GPL-2.0-only
//
// AMD-Vi host page tables ("v1"): AMD I/O Virtualization Technology (IOMMU)
// Specification 48882, section 2.2.3 (I/O page tables for host translations).
//
// 1 to 6 levels of 4 KiB tables with 512 entries (level 6: 128). An entry holds
// the level of the table that it points to, so levels can be skipped; 0 makes
// it a page of the level's size, 7 a page whose size is encoded in the low bits
// of the address. IR and IW grant a right only if they grant it at each level.
#pragma once

#include "tables/format.hpp"

namespace kiommu {

struct AmdV1Format {
  static constexpr uint32_t kId = 3;
  static constexpr std::endian kByteOrder = std::endian::little;
  static constexpr unsigned kLevels = 6;

  static constexpr uint64_t kPresent = uint64_t{1} << 0;
  static constexpr unsigned kNextLevelShift = 9;
  static constexpr uint64_t kNextLevelMask = 7;
  static constexpr uint64_t kAddress = 0x000ffffffffff000;
  static constexpr uint64_t kReservedInTable = uint64_t{0x1ff} << 52;
  static constexpr uint64_t kReservedInPage = uint64_t{0x7f} << 52;
  static constexpr uint64_t kRead = uint64_t{1} << 61;   // IR
  static constexpr uint64_t kWrite = uint64_t{1} << 62;  // IW
  static constexpr uint64_t kPageOfLevel = 0;
  static constexpr uint64_t kPageOfAddress = 7;

  static constexpr Level level(unsigned level) {
    return {12 + 9 * level, level == kLevels - 1 ? 7u : 9u};
  }

  static constexpr Result<Root> root(const kiommu_anchor& anchor) {
    if (anchor.levels < 1 || anchor.levels > kLevels) {
      return fail(Status::kBadDesignation);
    }
    if ((anchor.iota & ~kPageMask) != 0) return fail(Status::kMisaligned);
    const unsigned top = anchor.levels - 1;
    return Root{{anchor.iota}, top, level(top).reach_last()};
  }

  static constexpr Entry decode(unsigned level, uint64_t entry) {
    if ((entry & kPresent) == 0) return Entry::absent();
    const uint64_t next = (entry >> kNextLevelShift) & kNextLevelMask;
    if (next == kPageOfLevel || next == kPageOfAddress) {
      return decode_page(level, entry, next);
    }
    // The specification counts levels from 1.
    if (next > level) return Entry::malformed(Status::kEntryType);
    if ((entry & kReservedInTable) != 0) {
      return Entry::malformed(Status::kEntryReserved);
    }
    return Entry::table({entry & kAddress}, rights_of(entry),
                        static_cast<unsigned>(next - 1));
  }

 private:
  static constexpr Rights rights_of(uint64_t entry) {
    return {((entry & kRead) != 0 ? kiommu::kRead.bits : 0) |
            ((entry & kWrite) != 0 ? kiommu::kWrite.bits : 0)};
  }

  static constexpr Entry decode_page(unsigned level, uint64_t entry,
                                     uint64_t kind) {
    const unsigned own = AmdV1Format::level(level).shift;
    unsigned shift = own;
    uint64_t address = entry & kAddress;
    if (kind == kPageOfAddress) {
      // The lowest zero bit of the address, from bit 12 on, is the highest bit
      // of the offset within the page.
      shift = 1u + static_cast<unsigned>(
                       std::countr_one((entry & kAddress) | ~kPageMask));
      const bool fits = shift > own && shift < own + 9;
      if (!fits) return Entry::malformed(Status::kEntryLength);
      address &= ~((uint64_t{1} << shift) - 1);
    }
    const bool aligned =
        shift < 52 && (address & ((uint64_t{1} << shift) - 1)) == 0;
    if (!aligned || (entry & kReservedInPage) != 0) {
      return Entry::malformed(Status::kEntryReserved);
    }
    return Entry::leaf({address}, rights_of(entry), shift);
  }
};

static_assert(TableFormat<AmdV1Format>);
static_assert(has_level<AmdV1Format>(0, 4 * kKiB, 512));
static_assert(has_level<AmdV1Format>(1, 2 * kMiB, 512));
static_assert(has_level<AmdV1Format>(2, kGiB, 512));
static_assert(has_level<AmdV1Format>(5, uint64_t{1} << 57, 128));

}  // namespace kiommu
