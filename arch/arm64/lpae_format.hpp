// SPDX-License-Identifier: GPL-2.0-only
//
// Arm stage 1 (VMSAv8-64), as an SMMUv3 walks it: Arm Architecture Reference
// Manual DDI 0487, D8.2 (translation process), D8.3 (descriptors), D8.4
// (permissions); Arm SMMU Architecture Specification IHI 0070, 3.4 (address
// sizes) and 5.4 (context descriptor).
//
// The granule is 4, 16 or 64 KiB; tables and pages have its size. IOVAs and
// output addresses have 48 bits, so the top table may be short: 2 entries with
// 16 KiB, 64 with 64 KiB. What the manual calls level 3 is level 0 here.
//
// Requests are unprivileged data accesses: a PCIe function can ask for
// privilege only with a PASID (PCI Express Base Specification, 6.20), and here
// it has none. What unprivileged code cannot reach (AP[1] = 0, or APTable[0] =
// 1 above) is not mapped. APTable removes rights at all levels below. Nothing
// is written to the tables, neither the access flag nor the dirty state: an
// entry with AF = 0 is absent, and DBM grants nothing.
#pragma once

#include "tables/format.hpp"

namespace kiommu {

template <uint32_t id, unsigned granule_shift>
struct LpaeFormat {
  static constexpr uint32_t kId = id;
  static constexpr std::endian kByteOrder = std::endian::little;

  static constexpr unsigned kAddressBits = 48;
  static constexpr unsigned kIndexBits = granule_shift - 3;
  // As many levels as 48 bits need.
  static constexpr unsigned kLevels =
      (kAddressBits - granule_shift + kIndexBits - 1) / kIndexBits;
  static constexpr unsigned kFewestLevels = 2;
  // The highest level with blocks: of 2 MiB and 1 GiB (granule of 4 KiB), 32
  // MiB (16 KiB), or 512 MiB (64 KiB).
  static constexpr unsigned kTopBlockLevel = granule_shift == 12 ? 2 : 1;
  // A short top table is aligned to its size in bytes, and at least to this.
  static constexpr uint64_t kLeastAlignment = 64;

  static constexpr uint64_t kValid = uint64_t{1} << 0;
  static constexpr uint64_t kTableOrPage = uint64_t{1} << 1;  // else a block
  // Bits of blocks and pages.
  static constexpr uint64_t kUnprivileged = uint64_t{1} << 6;  // AP[1]
  static constexpr uint64_t kReadOnly = uint64_t{1} << 7;      // AP[2]
  static constexpr uint64_t kAccessed = uint64_t{1} << 10;     // AF
  static constexpr uint64_t kNoTranslate = uint64_t{1} << 16;  // nT, blocks
  static constexpr uint64_t kReservedInLeaf = uint64_t{3} << 48;
  // Bits of tables.
  static constexpr uint64_t kPrivilegedBelow = uint64_t{1} << 61;  // APTable[0]
  static constexpr uint64_t kReadOnlyBelow = uint64_t{1} << 62;    // APTable[1]
  static constexpr uint64_t kReservedInTable = uint64_t{7} << 48;
  // The bits that an address can have, aligned or not.
  static constexpr uint64_t kAddress = 0x0000fffffffff000;

  static constexpr Level level(unsigned level) {
    const unsigned shift = granule_shift + kIndexBits * level;
    const unsigned rest = kAddressBits - shift;
    return {shift, rest < kIndexBits ? rest : kIndexBits};
  }

  static constexpr Result<Root> root(const kiommu_anchor& anchor) {
    if (anchor.levels < kFewestLevels || anchor.levels > kLevels) {
      return fail(Status::kBadDesignation);
    }
    const unsigned top = anchor.levels - 1;
    const Level geometry = level(top);
    // TxSZ makes the top table as short as the highest IOVA allows.
    const uint64_t entries =
        anchor.last == 0
            ? uint64_t{1} << geometry.index_bits
            : std::bit_ceil(uint64_t{geometry.index({anchor.last})} + 1);
    uint64_t alignment = entries * kEntryBytes;
    if (alignment < kLeastAlignment) alignment = kLeastAlignment;
    if ((anchor.iota & (alignment - 1)) != 0) return fail(Status::kMisaligned);
    return Root{{anchor.iota}, top, geometry.reach_last()};
  }

  static constexpr Entry decode(unsigned level, uint64_t entry) {
    if ((entry & kValid) == 0) return Entry::absent();
    const bool table_or_page = (entry & kTableOrPage) != 0;
    if (level > 0 && table_or_page) return decode_table(level, entry);
    const bool leaf = level == 0 ? table_or_page : level <= kTopBlockLevel;
    if (!leaf) return Entry::malformed(Status::kEntryType);
    return decode_leaf(level, entry);
  }

 private:
  static constexpr Entry decode_table(unsigned level, uint64_t entry) {
    const uint64_t address = entry & kAddress;
    const uint64_t in_granule = (uint64_t{1} << granule_shift) - 1;
    if ((address & in_granule) != 0 || (entry & kReservedInTable) != 0) {
      return Entry::malformed(Status::kEntryReserved);
    }
    const Rights rights = (entry & kPrivilegedBelow) != 0 ? kNoRights
                          : (entry & kReadOnlyBelow) != 0 ? kRead
                                                          : kReadWrite;
    return Entry::table({address}, rights, level - 1);
  }

  static constexpr Entry decode_leaf(unsigned level, uint64_t entry) {
    const Level geometry = LpaeFormat::level(level);
    // nT tells whether a TLB may cache a block; it is not an address bit.
    const uint64_t address =
        entry & (level > 0 ? kAddress & ~kNoTranslate : kAddress);
    if ((address & (geometry.span() - 1)) != 0 ||
        (entry & kReservedInLeaf) != 0) {
      return Entry::malformed(Status::kEntryReserved);
    }
    if ((entry & kAccessed) == 0) return Entry::absent();
    const Rights rights = (entry & kUnprivileged) == 0 ? kNoRights
                          : (entry & kReadOnly) != 0   ? kRead
                                                       : kReadWrite;
    return Entry::leaf({address}, rights, geometry.shift);
  }
};

using Arm4KFormat = LpaeFormat<5, 12>;
using Arm16KFormat = LpaeFormat<6, 14>;
using Arm64KFormat = LpaeFormat<7, 16>;

static_assert(TableFormat<Arm4KFormat> && Arm4KFormat::kLevels == 4);
static_assert(TableFormat<Arm16KFormat> && Arm16KFormat::kLevels == 4);
static_assert(TableFormat<Arm64KFormat> && Arm64KFormat::kLevels == 3);
static_assert(has_level<Arm4KFormat>(1, 2 * kMiB, 512));
static_assert(has_level<Arm4KFormat>(2, kGiB, 512));
static_assert(has_level<Arm16KFormat>(1, 32 * kMiB, 2048));
static_assert(has_level<Arm16KFormat>(3, uint64_t{1} << 47, 2));
static_assert(has_level<Arm64KFormat>(1, 512 * kMiB, 8192));
static_assert(has_level<Arm64KFormat>(2, uint64_t{1} << 42, 64));

}  // namespace kiommu
