// SPDX-License-Identifier: GPL-2.0-only
//
// Arm stage 1, from the Arm Architecture Reference Manual (DDI 0487): D8.3,
// VMSAv8-64 descriptor formats with 48-bit addresses, D8.4, permissions of
// unprivileged accesses.
#pragma once

#include "spec.hpp"

namespace kiommu::test {

// The manual's figures for a granule. The manual's lowest level is 3, here it
// is 0.
struct Granule {
  unsigned bits;        // of a page, and of a table
  unsigned block_bits;  // of the smallest block
  unsigned start_bits;  // resolved by the top table for 48-bit addresses
  unsigned levels;      // that 48-bit addresses need
  u32 format;
};
inline constexpr Granule kGranule4K{12, 21, 9, 4, KVM_IOMMU_FORMAT_ARM_4K};
inline constexpr Granule kGranule16K{14, 25, 1, 4, KVM_IOMMU_FORMAT_ARM_16K};
inline constexpr Granule kGranule64K{16, 29, 6, 3, KVM_IOMMU_FORMAT_ARM_64K};

template <const Granule& granule>
struct ArmSpec : LittleEndianEntries {
  // Two levels of 4 KiB tables reach less than the tests use: see test_arm.cc.
  static inline const std::vector<unsigned> kTops =
      granule.bits == 12   ? std::vector<unsigned>{2, 3}
      : granule.bits == 14 ? std::vector<unsigned>{1, 2, 3}
                           : std::vector<unsigned>{1, 2};
  // With 16 KiB, a whole table, not the top table for 48 bits, which has two
  // entries.
  static constexpr unsigned kUsualTop = granule.bits == 12 ? 3 : 2;
  static inline const std::vector<unsigned> kRights{kR, kRW};
  static inline const std::vector<unsigned> kTableRights{kR, kRW};
  static constexpr u64 kFarGpa = 0xfff0'0000'0000;

  static constexpr unsigned shift(unsigned level) {
    return granule.bits + level * (granule.bits - 3);
  }
  static constexpr unsigned entries(unsigned level) {
    return level == granule.levels - 1 ? 1u << granule.start_bits
                                       : 1u << (granule.bits - 3);
  }
  static constexpr u64 table_bytes(unsigned level) {
    return u64{8} * entries(level);
  }
  static constexpr unsigned reach_bits(unsigned top) {
    return top == granule.levels - 1 ? 48 : shift(top + 1);
  }
  static constexpr bool has_leaf(unsigned level) {
    return level <= 1 || (granule.bits == 12 && level == 2);
  }

  // Bit 0 alone makes an entry valid.
  static u64 absent(unsigned level) { return level == 0 ? 0 : 0x12345ffe; }
  // APTable[1], bit 62: no writes below.
  static u64 table(unsigned, u64 gpa, unsigned rights) {
    return gpa | 3 | (rights & kW ? 0 : u64{1} << 62);
  }
  // AF, AP[1] (unprivileged), AP[2] (read-only); SH, AttrIndx and nG as Linux
  // sets them.
  static u64 leaf(unsigned level, u64 gpa, unsigned rights) {
    return gpa | (level == 0 ? 3 : 1) | 0x400 | 0x40 |
           (rights & kW ? 0 : 0x80) | 0x800 | 0x300 | 0x4;
  }

  static std::vector<BadEntry> malformed(unsigned level) {
    std::vector<BadEntry> bad;
    const auto add = [&](const char* what, u64 entry, unsigned status) {
      bad.push_back({what, entry, status});
    };
    const auto reserved = [&](const char* what, u64 entry) {
      add(what, entry, KVM_IOMMU_STATUS_ENTRY_RESERVED);
    };
    const u64 aligned = u64{1} << 40;
    if (has_leaf(level)) {
      reserved("bit 48 of a leaf", leaf(level, aligned, kRW) | u64{1} << 48);
      reserved("bit 49 of a leaf", leaf(level, aligned, kR) | u64{1} << 49);
    }
    if (level == 0) {
      add("block at the last level", leaf(1, aligned, kRW),
          KVM_IOMMU_STATUS_ENTRY_TYPE);
    } else {
      for (unsigned bit = 48; bit <= 50; ++bit) {
        reserved("bits 50 to 48 of a table",
                 table(level, aligned, kRW) | u64{1} << bit);
      }
    }
    if (level > 0 && !has_leaf(level)) {
      add("block above the highest level that has them",
          leaf(level, aligned, kRW), KVM_IOMMU_STATUS_ENTRY_TYPE);
    }
    if (level > 0 && has_leaf(level)) {
      reserved("misaligned block",
               leaf(level, aligned | u64{1} << (shift(level) - 1), kRW));
      reserved("misaligned block", leaf(level, aligned | 0x1000, kRW));
    }
    if (granule.bits > 12) {
      reserved("bit 12", level == 0 ? leaf(0, aligned | 0x1000, kRW)
                                    : table(level, aligned | 0x1000, kRW));
    }
    return bad;
  }

  static kiommu_anchor anchor(unsigned top, u64 gpa) {
    return anchor_of(granule.format, top + 1, gpa);
  }

  static std::vector<BadAnchor> bad_anchors(u64 gpa) {
    BadAnchors bad{anchor(kUsualTop, gpa)};
    for (unsigned levels : {0u, 1u, granule.levels + 1, ~0u}) {
      bad.add("levels", KVM_IOMMU_STATUS_DESIGNATION,
              [&](auto& a) { a.levels = levels; });
    }
    bad.add("misaligned", KVM_IOMMU_STATUS_MISALIGNED,
            [](auto& a) { a.iota += table_bytes(kUsualTop) / 2; });
    bad.add("CnP", KVM_IOMMU_STATUS_MISALIGNED, [](auto& a) { a.iota |= 1; });
    // A top table of which one entry is used is aligned to 64 bytes.
    bad.add("short and misaligned", KVM_IOMMU_STATUS_MISALIGNED, [](auto& a) {
      a.iota += 32;
      a.last = 0xffff;
    });
    bad.add("ASID", KVM_IOMMU_STATUS_TABLE,
            [](auto& a) { a.iota |= u64{1} << 48; });
    bad.add("offset", KVM_IOMMU_STATUS_FIELD,
            [](auto& a) { a.offset = 0x1000; });
    return bad.all;
  }

  static Answer translate(const ReadBytes& read, const kiommu_anchor& anchor,
                          u64 iova) {
    constexpr u64 kOutput = 0xfffffffff000;  // 47:12
    constexpr u64 kGranuleMask = (u64{1} << granule.bits) - 1;
    unsigned rights = kRW;
    bool unprivileged = true;
    u64 table = anchor.iota;
    for (unsigned arm_level = 4 - anchor.levels; arm_level <= 3; ++arm_level) {
      const unsigned bits = granule.bits + (3 - arm_level) * (granule.bits - 3);
      u8 bytes[8];
      const u64 index = iova >> bits & ((u64{1} << (granule.bits - 3)) - 1);
      if (unsigned bad = read(table + 8 * index, bytes)) return {bad};
      const u64 entry = load(bytes);
      if (!(entry & 1)) return {};
      const bool page = arm_level == 3 && (entry & 2);
      const bool block = arm_level < 3 && !(entry & 2);
      if (arm_level == 3 && !page) return {KVM_IOMMU_STATUS_ENTRY_TYPE};
      if (block && bits != granule.block_bits &&
          !(granule.bits == 12 && bits == 30)) {
        return {KVM_IOMMU_STATUS_ENTRY_TYPE};
      }
      if (!page && !block) {
        if (entry >> 48 & 7 || entry & kOutput & kGranuleMask) {
          return {KVM_IOMMU_STATUS_ENTRY_RESERVED};
        }
        if (entry >> 61 & 1) unprivileged = false;
        if (entry >> 62 & 1) rights = kR;
        if (!unprivileged) return {};
        table = entry & kOutput;
        continue;
      }
      // Bit 16 of a block is nT.
      const u64 output = entry & kOutput & ~(block ? u64{1} << 16 : 0);
      const u64 in_page = (u64{1} << bits) - 1;
      if (entry >> 48 & 3 || output & in_page) {
        return {KVM_IOMMU_STATUS_ENTRY_RESERVED};
      }
      if (!(entry >> 10 & 1)) return {};  // AF
      if (!(entry >> 6 & 1)) return {};   // AP[1]
      if (entry >> 7 & 1) rights = kR;    // AP[2]
      return {KVM_IOMMU_STATUS_OK, output + (iova & in_page), rights, bits};
    }
    return {};
  }
};

template <>
struct Spec<Arm4KFormat> : ArmSpec<kGranule4K> {};
template <>
struct Spec<Arm16KFormat> : ArmSpec<kGranule16K> {};
template <>
struct Spec<Arm64KFormat> : ArmSpec<kGranule64K> {};

}  // namespace kiommu::test
