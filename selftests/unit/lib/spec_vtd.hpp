// SPDX-License-Identifier: GPL-2.0-only
//
// VT-d second stage, from Intel's VT-d architecture specification: 3.7 and
// 9.8.
#pragma once

#include "spec.hpp"

namespace kiommu::test {

template <>
struct Spec<VtdSsFormat> : LittleEndianEntries {
  static inline const std::vector<unsigned> kTops{2, 3, 4};
  static constexpr unsigned kUsualTop = 3;  // 4 levels
  static inline const std::vector<unsigned> kRights{kR, kW, kRW};
  static inline const std::vector<unsigned> kTableRights{kR, kW, kRW};
  static constexpr u64 kFarGpa = 0x000f'fff0'0000'0000;

  static constexpr unsigned shift(unsigned level) { return 12 + 9 * level; }
  static constexpr unsigned entries(unsigned) { return 512; }
  static constexpr u64 table_bytes(unsigned) { return 4096; }
  static constexpr unsigned reach_bits(unsigned top) { return shift(top) + 9; }
  static constexpr bool has_leaf(unsigned level) { return level <= 2; }

  // Neither R nor W; the other bits must not matter.
  static u64 absent(unsigned level) { return level == 0 ? 0 : 0x12345ff8; }
  static u64 table(unsigned, u64 gpa, unsigned rights) { return gpa | rights; }
  static u64 leaf(unsigned level, u64 gpa, unsigned rights) {
    return gpa | rights | (level == 0 ? 0 : 0x80);
  }

  static std::vector<BadEntry> malformed(unsigned level) {
    std::vector<BadEntry> bad;
    const auto reserved = [&](const char* what, u64 entry) {
      bad.push_back({what, entry, KVM_IOMMU_STATUS_ENTRY_RESERVED});
    };
    if (level == 0) return bad;
    reserved("SNP in an entry that names a table", 0x10000000 | kRW | 0x800);
    if (level >= 3) reserved("PS above the 1 GiB level", kRW | 0x80);
    if (level == 1 || level == 2) {
      reserved("misaligned large page",
               (u64{1} << (shift(level) - 1)) | 0x80 | kRW);
      reserved("misaligned large page", 0x1000 | 0x80 | kR);
    }
    return bad;
  }

  static kiommu_anchor anchor(unsigned top, u64 gpa) {
    return anchor_of(KVM_IOMMU_FORMAT_VTD_SS, top + 1, gpa);
  }

  static std::vector<BadAnchor> bad_anchors(u64 gpa) {
    BadAnchors bad{anchor(kUsualTop, gpa)};
    for (unsigned levels : {0u, 1u, 2u, 6u, ~0u}) {
      bad.add("levels", KVM_IOMMU_STATUS_DESIGNATION,
              [&](auto& a) { a.levels = levels; });
    }
    bad.add("misaligned", KVM_IOMMU_STATUS_MISALIGNED,
            [](auto& a) { a.iota += 8; });
    bad.add("misaligned", KVM_IOMMU_STATUS_MISALIGNED,
            [](auto& a) { a.iota += 0x800; });
    bad.add("beyond 52 bits", KVM_IOMMU_STATUS_TABLE,
            [](auto& a) { a.iota |= u64{1} << 52; });
    bad.add("offset", KVM_IOMMU_STATUS_FIELD,
            [](auto& a) { a.offset = 0x1000; });
    return bad.all;
  }

  static Answer translate(const ReadBytes& read, const kiommu_anchor& anchor,
                          u64 iova) {
    constexpr u64 kAddress = 0xffffffffff000;  // 51:12
    unsigned rights = kRW;
    u64 table = anchor.iota;
    for (int left = static_cast<int>(anchor.levels); left > 0; --left) {
      const int bits = 12 + 9 * (left - 1);
      u8 bytes[8];
      if (unsigned bad = read(table + 8 * (iova >> bits & 0x1ff), bytes)) {
        return {bad};
      }
      const u64 entry = load(bytes);
      if ((entry & 3) == 0) return {};
      const bool page = left == 1 || (entry & 0x80);
      if (page && left > 3) return {KVM_IOMMU_STATUS_ENTRY_RESERVED};
      if (!page && (entry & 0x800)) return {KVM_IOMMU_STATUS_ENTRY_RESERVED};
      const u64 in_page = (u64{1} << bits) - 1;
      if (page && (entry & kAddress & in_page)) {
        return {KVM_IOMMU_STATUS_ENTRY_RESERVED};
      }
      rights &= entry & 3;
      if (rights == 0) return {};
      if (page) {
        return {KVM_IOMMU_STATUS_OK, (entry & kAddress) + (iova & in_page),
                rights, static_cast<unsigned>(bits)};
      }
      table = entry & kAddress;
    }
    return {};
  }
};

}  // namespace kiommu::test
