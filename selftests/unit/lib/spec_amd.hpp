// SPDX-License-Identifier: GPL-2.0-only
//
// AMD-Vi host tables, from the AMD IOMMU specification: 2.2.3, tables of the
// entry formats and of page sizes.
#pragma once

#include "spec.hpp"

namespace kiommu::test {

template <>
struct Spec<AmdV1Format> : LittleEndianEntries {
  // One and two levels reach less than the tests use: see test_x86.cc.
  static inline const std::vector<unsigned> kTops{2, 3, 4, 5};
  static constexpr unsigned kUsualTop = 3;  // mode 4
  static inline const std::vector<unsigned> kRights{kR, kW, kRW};
  static inline const std::vector<unsigned> kTableRights{kR, kW, kRW};
  static constexpr u64 kFarGpa = 0x000f'fff0'0000'0000;

  static constexpr unsigned shift(unsigned level) { return 12 + 9 * level; }
  static constexpr unsigned entries(unsigned level) {
    return level == 5 ? 128 : 512;
  }
  static constexpr u64 table_bytes(unsigned level) {
    return 8 * entries(level);
  }
  static constexpr unsigned reach_bits(unsigned top) {
    return top == 5 ? 64 : shift(top) + 9;
  }
  static constexpr bool has_leaf(unsigned level) { return level <= 2; }

  static u64 absent(unsigned level) { return level == 0 ? 0 : 0x12345ffe; }
  static u64 permissions(unsigned rights) {
    return (rights & kR ? u64{1} << 61 : 0) | (rights & kW ? u64{1} << 62 : 0);
  }
  // The field Next Level counts from 1, as modes do.
  static u64 table(unsigned level, u64 gpa, unsigned rights) {
    return gpa | 1 | u64{level} << 9 | permissions(rights);
  }
  static u64 leaf(unsigned, u64 gpa, unsigned rights) {
    return gpa | 1 | permissions(rights);
  }

  static std::vector<BadEntry> malformed(unsigned level) {
    std::vector<BadEntry> bad;
    const u64 good = 0x10000000 | 1 | permissions(kRW);
    for (unsigned next = level + 1; next <= 6; ++next) {
      bad.push_back({"table that is not lower", good | u64{next} << 9,
                     KVM_IOMMU_STATUS_ENTRY_TYPE});
    }
    bad.push_back({"reserved bits of a page", good | u64{1} << 52,
                   KVM_IOMMU_STATUS_ENTRY_RESERVED});
    if (level > 0) {
      bad.push_back({"reserved bits of a table",
                     good | u64{level} << 9 | u64{1} << 60,
                     KVM_IOMMU_STATUS_ENTRY_RESERVED});
      bad.push_back({"misaligned page",
                     (u64{1} << (shift(level) - 1)) | 1 | permissions(kRW),
                     KVM_IOMMU_STATUS_ENTRY_RESERVED});
      bad.push_back({"page size below that of the level",
                     0x10000000 | 7 << 9 | 1 | permissions(kRW),
                     KVM_IOMMU_STATUS_ENTRY_LENGTH});
    }
    return bad;
  }

  static kiommu_anchor anchor(unsigned top, u64 gpa) {
    return anchor_of(KVM_IOMMU_FORMAT_AMD_V1, top + 1, gpa);
  }

  static std::vector<BadAnchor> bad_anchors(u64 gpa) {
    BadAnchors bad{anchor(kUsualTop, gpa)};
    for (unsigned levels : {0u, 7u, ~0u}) {
      bad.add("mode", KVM_IOMMU_STATUS_DESIGNATION,
              [&](auto& a) { a.levels = levels; });
    }
    bad.add("misaligned", KVM_IOMMU_STATUS_MISALIGNED,
            [](auto& a) { a.iota += 0x800; });
    bad.add("offset", KVM_IOMMU_STATUS_FIELD,
            [](auto& a) { a.offset = 0x1000; });
    return bad.all;
  }

  // The size of a page with Next Level 7: the lowest zero bit of the address,
  // from bit 12 on, doubled.
  static unsigned page_bits(u64 entry) {
    unsigned bits = 12;
    while (bits < 52 && (entry >> bits & 1)) ++bits;
    return bits + 1;
  }

  static Answer translate(const ReadBytes& read, const kiommu_anchor& anchor,
                          u64 iova) {
    constexpr u64 kAddress = 0xffffffffff000;  // 51:12
    unsigned rights = kRW;
    u64 table = anchor.iota;
    unsigned level = anchor.levels;  // from 1
    for (;;) {
      const unsigned bits = 12 + 9 * (level - 1);
      u8 bytes[8];
      if (unsigned bad = read(table + 8 * (iova >> bits & 0x1ff), bytes)) {
        return {bad};
      }
      const u64 entry = load(bytes);
      if (!(entry & 1)) return {};
      const unsigned next = entry >> 9 & 7;
      rights &= (entry >> 61 & 1 ? kR : 0) | (entry >> 62 & 1 ? kW : 0);
      if (next == 0 || next == 7) {
        const unsigned size = next == 0 ? bits : page_bits(entry);
        if (next == 7 && (size <= bits || size >= bits + 9)) {
          return {KVM_IOMMU_STATUS_ENTRY_LENGTH};
        }
        const u64 in_page = (u64{1} << size) - 1;
        const bool misaligned = next == 0 && (entry & kAddress & in_page);
        if (size >= 52 || misaligned || (entry >> 52 & 0x7f)) {
          return {KVM_IOMMU_STATUS_ENTRY_RESERVED};
        }
        if (rights == 0) return {};
        return {KVM_IOMMU_STATUS_OK,
                (entry & kAddress & ~in_page) + (iova & in_page), rights, size};
      }
      if (next >= level) return {KVM_IOMMU_STATUS_ENTRY_TYPE};
      if (entry >> 52 & 0x1ff) return {KVM_IOMMU_STATUS_ENTRY_RESERVED};
      if (rights == 0) return {};
      // The bits of the IOVA for skipped levels must be zero.
      const unsigned reached = 12 + 9 * next;
      if (reached < bits && (iova & ((u64{1} << bits) - 1)) >> reached) {
        return {};
      }
      table = entry & kAddress;
      level = next;
    }
  }
};

}  // namespace kiommu::test
