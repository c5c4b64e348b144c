// SPDX-License-Identifier: GPL-2.0-only
//
// RISC-V Sv39, Sv48 and Sv57, the first stage of a RISC-V IOMMU: RISC-V
// Privileged Architecture 20240411, Supervisor-Level ISA (Sv39, Sv48, Sv57; the
// translation process is described with Sv32), Svnapot, Svpbmt; RISC-V IOMMU
// Architecture 1.0, chapter 3 (process to translate an IOVA, requests without
// PASID).
//
// 3 to 5 levels of 4 KiB tables with 512 entries. R, W and X distinguish a page
// from a table, so each level can hold pages, and tables grant no rights. N
// makes 16 equal page entries one page of 64 KiB.
//
// Requests without a process_id have user privilege: a page without U is not
// mapped. Nothing is written to the tables: an entry with A = 0 is absent, and
// D = 0 removes the right to write. IOVAs are sign-extended, so only the
// lower half is reachable.
#pragma once

#include "tables/format.hpp"

namespace kiommu {

struct RiscvSvFormat {
  static constexpr uint32_t kId = 8;
  static constexpr std::endian kByteOrder = std::endian::little;
  static constexpr unsigned kLevels = 5;

  static constexpr uint64_t kValid = uint64_t{1} << 0;
  static constexpr uint64_t kReadBit = uint64_t{1} << 1;
  static constexpr uint64_t kWriteBit = uint64_t{1} << 2;
  static constexpr uint64_t kExecute = uint64_t{1} << 3;
  static constexpr uint64_t kUser = uint64_t{1} << 4;
  static constexpr uint64_t kAccessed = uint64_t{1} << 6;
  static constexpr uint64_t kDirty = uint64_t{1} << 7;
  static constexpr uint64_t kReserved = uint64_t{0x7f} << 54;
  // PBMT; the value 3 is reserved.
  static constexpr uint64_t kMemoryType = uint64_t{3} << 61;
  static constexpr uint64_t kNapot = uint64_t{1} << 63;
  // Must be zero in the entry of a table: reserved, or for pages only.
  static constexpr uint64_t kReservedInTable =
      kUser | kAccessed | kDirty | kReserved | kMemoryType | kNapot;
  // The page number of a 64 KiB page ends in 0b1000.
  static constexpr unsigned kNapotShift = 16;
  static constexpr uint64_t kNapotMask = 0xf000;
  static constexpr uint64_t kNapotSize = 0x8000;

  static constexpr Level level(unsigned level) { return {12 + 9 * level, 9}; }

  static constexpr Result<Root> root(const kiommu_anchor& anchor) {
    if (anchor.levels < 3 || anchor.levels > kLevels) {
      return fail(Status::kBadDesignation);
    }
    if ((anchor.iota & ~kPageMask) != 0) return fail(Status::kMisaligned);
    const unsigned top = anchor.levels - 1;
    return Root{{anchor.iota}, top, level(top).reach_last() >> 1};
  }

  static constexpr Entry decode(unsigned level, uint64_t entry) {
    if ((entry & kValid) == 0) return Entry::absent();
    if ((entry & (kReadBit | kWriteBit | kExecute)) != 0) {
      return decode_leaf(level, entry);
    }
    if (level == 0) return Entry::malformed(Status::kEntryType);
    if ((entry & kReservedInTable) != 0) {
      return Entry::malformed(Status::kEntryReserved);
    }
    return Entry::table({address_of(entry)}, kReadWrite, level - 1);
  }

 private:
  // PPN, bits 53 to 10 of an entry, is the address from bit 12 on.
  static constexpr uint64_t address_of(uint64_t entry) {
    return (entry << 2) & 0x00fffffffffff000;
  }

  static constexpr Entry decode_leaf(unsigned level, uint64_t entry) {
    const bool write_only = (entry & (kReadBit | kWriteBit)) == kWriteBit;
    const bool no_type = (entry & kMemoryType) == kMemoryType;
    if (write_only || no_type || (entry & kReserved) != 0) {
      return Entry::malformed(Status::kEntryReserved);
    }
    uint64_t address = address_of(entry);
    unsigned shift = RiscvSvFormat::level(level).shift;
    if ((entry & kNapot) != 0) {
      if (level > 0 || (address & kNapotMask) != kNapotSize) {
        return Entry::malformed(Status::kEntryReserved);
      }
      address &= ~kNapotMask;
      shift = kNapotShift;
    }
    if ((address & ((uint64_t{1} << shift) - 1)) != 0) {
      return Entry::malformed(Status::kEntryReserved);
    }
    if ((entry & kAccessed) == 0) return Entry::absent();
    return Entry::leaf({address}, rights_of(entry), shift);
  }

  static constexpr Rights rights_of(uint64_t entry) {
    if ((entry & kUser) == 0 || (entry & kReadBit) == 0) return kNoRights;
    const bool write = (entry & kWriteBit) != 0 && (entry & kDirty) != 0;
    return write ? kReadWrite : kRead;
  }
};

static_assert(TableFormat<RiscvSvFormat>);
static_assert(has_level<RiscvSvFormat>(0, 4 * kKiB, 512));
static_assert(has_level<RiscvSvFormat>(1, 2 * kMiB, 512));
static_assert(has_level<RiscvSvFormat>(2, kGiB, 512));

}  // namespace kiommu
