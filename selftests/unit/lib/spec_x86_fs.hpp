// SPDX-License-Identifier: GPL-2.0-only
//
// x86 long-mode tables for devices, from Intel's VT-d architecture
// specification: 3.6 and 9.7, for requests with user privilege.
#pragma once

#include "spec.hpp"

namespace kiommu::test {

template <>
struct Spec<X86FsFormat> : LittleEndianEntries {
  static inline const std::vector<unsigned> kTops{3, 4};
  static constexpr unsigned kUsualTop = 3;  // 4 levels
  static inline const std::vector<unsigned> kRights{kR, kRW};
  static inline const std::vector<unsigned> kTableRights{kR, kRW};
  static constexpr u64 kFarGpa = 0x000f'fff0'0000'0000;

  static constexpr unsigned shift(unsigned level) { return 12 + 9 * level; }
  static constexpr unsigned entries(unsigned) { return 512; }
  static constexpr u64 table_bytes(unsigned) { return 4096; }
  // The lower canonical half.
  static constexpr unsigned reach_bits(unsigned top) { return shift(top) + 8; }
  static constexpr bool has_leaf(unsigned level) { return level <= 2; }

  static u64 absent(unsigned level) { return level == 0 ? 0 : 0x12345ffe; }
  static u64 table(unsigned, u64 gpa, unsigned rights) {
    return gpa | 1 | 4 | (rights & kW ? 2 : 0);
  }
  static u64 leaf(unsigned level, u64 gpa, unsigned rights) {
    return table(level, gpa, rights) | (level == 0 ? 0 : 0x80);
  }

  static std::vector<BadEntry> malformed(unsigned level) {
    std::vector<BadEntry> bad;
    const auto reserved = [&](const char* what, u64 entry) {
      bad.push_back({what, entry | 7, KVM_IOMMU_STATUS_ENTRY_RESERVED});
    };
    if (level >= 3) reserved("PS above the 1 GiB level", 0x80);
    if (level == 1 || level == 2) {
      reserved("misaligned large page", u64{1} << (shift(level) - 1) | 0x80);
      reserved("misaligned large page", 0x2000 | 0x80);
    }
    return bad;
  }

  static kiommu_anchor anchor(unsigned top, u64 gpa) {
    return anchor_of(KVM_IOMMU_FORMAT_X86_FS, top + 1, gpa);
  }

  static std::vector<BadAnchor> bad_anchors(u64 gpa) {
    BadAnchors bad{anchor(kUsualTop, gpa)};
    for (unsigned levels : {0u, 3u, 6u}) {
      bad.add("levels", KVM_IOMMU_STATUS_DESIGNATION,
              [&](auto& a) { a.levels = levels; });
    }
    bad.add("misaligned", KVM_IOMMU_STATUS_MISALIGNED,
            [](auto& a) { a.iota += 0x800; });
    bad.add("offset", KVM_IOMMU_STATUS_FIELD,
            [](auto& a) { a.offset = 0x1000; });
    return bad.all;
  }

  static Answer translate(const ReadBytes& read, const kiommu_anchor& anchor,
                          u64 iova) {
    unsigned rights = kRW;
    u64 table = anchor.iota;
    for (int left = static_cast<int>(anchor.levels); left > 0; --left) {
      const int bits = 12 + 9 * (left - 1);
      u8 bytes[8];
      if (unsigned bad = read(table + 8 * (iova >> bits & 0x1ff), bytes)) {
        return {bad};
      }
      const u64 entry = load(bytes);
      if (!(entry & 1)) return {};
      const bool large = left > 1 && (entry & 0x80);
      if (large && left > 3) return {KVM_IOMMU_STATUS_ENTRY_RESERVED};
      // Bit 12 of a large page's entry is its PAT bit.
      const u64 address = entry & (large ? 0xfffffffffe000 : 0xffffffffff000);
      const u64 in_page = (u64{1} << bits) - 1;
      if (large && (address & in_page)) {
        return {KVM_IOMMU_STATUS_ENTRY_RESERVED};
      }
      if (!(entry & 4)) return {};
      if (!(entry & 2)) rights = kR;
      if (large || left == 1) {
        return {KVM_IOMMU_STATUS_OK, address + (iova & in_page), rights,
                static_cast<unsigned>(bits)};
      }
      table = address;
    }
    return {};
  }
};

}  // namespace kiommu::test
