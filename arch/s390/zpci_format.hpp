// SPDX-License-Identifier: GPL-2.0-only
//
// zPCI I/O translation tables of s390 guests. They have no public architecture
// document; the source is the Linux kernel's description of the format that it
// writes (arch/s390/include/asm/pci_dma.h of Linux 6.12).
//
// Region and segment tables have 2048 entries (16 KiB), page tables 256 (2
// KiB). Each table is aligned to its size. A segment table reaches 2 GiB, a
// region-third table 4 TiB, region-second 8 PiB, region-first all 64 bits.
// Protection at any level removes the right to write at all levels below.
#pragma once

#include "base/page_word.hpp"
#include "tables/format.hpp"

namespace kiommu {

struct ZpciFormat {
  static constexpr uint32_t kId = 1;
  static constexpr std::endian kByteOrder = std::endian::big;
  static constexpr unsigned kLevels = 5;

  enum : unsigned {
    kPage,
    kSegment,
    kRegionThird,
    kRegionSecond,
    kRegionFirst
  };

  // The IOTA register: table origin | translation | designation | key etc.
  struct Iota {
    static constexpr uint64_t kTranslate = 0x800;   // T
    static constexpr uint64_t kProtect = 0x200;     // P
    static constexpr uint64_t kDesignation = 0x1c;  // DT
    static constexpr unsigned kDesignationShift = 2;
    static constexpr uint64_t kFrameSize = 0x3;  // FS: of page frames only
    static constexpr uint64_t kReserved = 0x400;
    // 0x1e0 holds the storage key and cache hints, which a shadow ignores.
    static constexpr uint64_t kOrigin = ~uint64_t{0x3fff};
    static constexpr uint64_t kMisaligned = 0x3000;
  };

  // Bits of region and segment entries.
  static constexpr uint64_t kTypeMask = 0x0c;
  static constexpr uint64_t kLength = 0x03;
  static constexpr uint64_t kOffset = 0xc0;
  static constexpr uint64_t kInvalid = 0x20;
  static constexpr uint64_t kProtect = 0x200;
  static constexpr uint64_t kFrame = 0x400;  // FC: the entry is a leaf
  // Bits of page entries.
  static constexpr uint64_t kPageInvalid = 0x400;
  static constexpr uint64_t kPageProtect = 0x200;

  static constexpr Level level(unsigned level) {
    if (level == kPage) return {12, 8};
    return {20 + 11 * (level - 1), 11};
  }

  static constexpr Result<Root> root(const kiommu_anchor& anchor) {
    if (anchor.levels != 0) return fail(Status::kUnusedField);
    const uint64_t iota = anchor.iota;
    const uint64_t designation =
        (iota & Iota::kDesignation) >> Iota::kDesignationShift;
    // 0 to 3 are tables: segment, region-third, region-second, region-first.
    // The others are page frames or undefined. Without T there are no tables.
    if ((iota & Iota::kTranslate) == 0 || designation > 3 ||
        (iota & Iota::kFrameSize) != 0) {
      return fail(Status::kBadDesignation);
    }
    if ((iota & Iota::kReserved) != 0) return fail(Status::kBadDesignation);
    if ((iota & Iota::kMisaligned) != 0) return fail(Status::kMisaligned);
    const unsigned top = kSegment + static_cast<unsigned>(designation);
    return Root{{iota & Iota::kOrigin},
                top,
                level(top).reach_last(),
                (iota & Iota::kProtect) != 0 ? kRead : kReadWrite};
  }

  static constexpr Entry decode(unsigned level, uint64_t entry) {
    return level == kPage ? decode_page(entry) : decode_upper(level, entry);
  }

  // Addresses that do not fit a page word are left to decode().
  static constexpr uint64_t page_word(uint64_t entry) {
    if ((entry & kPageInvalid) != 0) return PageWord::kAbsent;
    if ((entry & kPageMask & ~PageWord::kAddressMask) != 0) {
      return PageWord::kOther;
    }
    return (entry & PageWord::kAddressMask) | rights_of(entry).bits;
  }

 private:
  static constexpr Rights rights_of(uint64_t entry) {
    return (entry & kProtect) != 0 ? kRead : kReadWrite;
  }

  static constexpr Entry decode_page(uint64_t entry) {
    if ((entry & kPageInvalid) != 0) return Entry::absent();
    return Entry::leaf({entry & kPageMask}, rights_of(entry), kPageShift);
  }

  static constexpr Entry decode_upper(unsigned level, uint64_t entry) {
    if ((entry & kInvalid) != 0) return Entry::absent();
    if ((entry & kTypeMask) != uint64_t{level - 1} << 2) {
      return Entry::malformed(Status::kEntryType);
    }
    const bool frame_level = level == kSegment || level == kRegionThird;
    if (frame_level && (entry & kFrame) != 0) {
      const Level geometry = ZpciFormat::level(level);
      return Entry::leaf({entry & ~(geometry.span() - 1)}, rights_of(entry),
                         geometry.shift);
    }
    if (level == kSegment) {
      return Entry::table({entry & ~uint64_t{0x7ff}}, rights_of(entry), kPage);
    }
    // Offset and length allow for shorter tables, but only full ones are
    // accepted.
    if ((entry & kOffset) != 0 || (entry & kLength) != kLength) {
      return Entry::malformed(Status::kEntryLength);
    }
    return Entry::table({entry & Iota::kOrigin}, rights_of(entry), level - 1);
  }
};

static_assert(TableFormat<ZpciFormat>);
static_assert(has_level<ZpciFormat>(ZpciFormat::kPage, 4 * kKiB, 256));
static_assert(has_level<ZpciFormat>(ZpciFormat::kSegment, kMiB, 2048));
static_assert(has_level<ZpciFormat>(ZpciFormat::kRegionThird, 2 * kGiB, 2048));
static_assert(ZpciFormat::level(ZpciFormat::kRegionFirst).reach_last() ==
              ~uint64_t{0});

}  // namespace kiommu
