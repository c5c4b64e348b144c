// SPDX-License-Identifier: GPL-2.0-only
//
// x86 long-mode tables, as VT-d first stage and AMD-Vi "v2" use them: Intel
// Virtualization Technology for Directed I/O 4.1, sections 3.6 and 9.7; AMD
// IOMMU Specification 48882, section 2.2.6.
//
// 4 or 5 levels of 4 KiB tables with 512 entries; pages of 4 KiB, 2 MiB and 1
// GiB. Untrusted requests have user privilege: U/S must be set at each level.
// Addresses must be canonical, so only the lower half is reachable.
#pragma once

#include "tables/format.hpp"

namespace kiommu {

struct X86FsFormat {
  static constexpr uint32_t kId = 4;
  static constexpr std::endian kByteOrder = std::endian::little;
  static constexpr unsigned kLevels = 5;

  static constexpr uint64_t kPresent = uint64_t{1} << 0;
  static constexpr uint64_t kWritable = uint64_t{1} << 1;
  static constexpr uint64_t kUser = uint64_t{1} << 2;
  static constexpr uint64_t kPageSize = uint64_t{1} << 7;  // PS: a leaf
  static constexpr uint64_t kLargePat = uint64_t{1} << 12;
  static constexpr uint64_t kAddress = 0x000ffffffffff000;
  static constexpr unsigned kLevel1G = 2;  // the highest with large pages

  static constexpr Level level(unsigned level) { return {12 + 9 * level, 9}; }

  static constexpr Result<Root> root(const kiommu_anchor& anchor) {
    if (anchor.levels < 4 || anchor.levels > kLevels) {
      return fail(Status::kBadDesignation);
    }
    if ((anchor.iota & ~kPageMask) != 0) return fail(Status::kMisaligned);
    const unsigned top = anchor.levels - 1;
    return Root{{anchor.iota}, top, level(top).reach_last() >> 1};
  }

  static constexpr Entry decode(unsigned level, uint64_t entry) {
    if ((entry & kPresent) == 0) return Entry::absent();
    const bool large = level > 0 && (entry & kPageSize) != 0;
    if (large && level > kLevel1G) {
      return Entry::malformed(Status::kEntryReserved);
    }
    const Rights rights = (entry & kUser) == 0       ? kNoRights
                          : (entry & kWritable) == 0 ? kRead
                                                     : kReadWrite;
    if (level > 0 && !large) {
      return Entry::table({entry & kAddress}, rights, level - 1);
    }
    const Level geometry = X86FsFormat::level(level);
    const uint64_t address = entry & (large ? kAddress & ~kLargePat : kAddress);
    if ((address & (geometry.span() - 1)) != 0) {
      return Entry::malformed(Status::kEntryReserved);
    }
    return Entry::leaf({address}, rights, geometry.shift);
  }
};

static_assert(TableFormat<X86FsFormat>);
static_assert(has_level<X86FsFormat>(0, 4 * kKiB, 512));
static_assert(has_level<X86FsFormat>(1, 2 * kMiB, 512));
static_assert(has_level<X86FsFormat>(2, kGiB, 512));

}  // namespace kiommu
