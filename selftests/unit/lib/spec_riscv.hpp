// SPDX-License-Identifier: GPL-2.0-only
//
// RISC-V Sv39, Sv48 and Sv57, from the Privileged Architecture: the virtual
// address translation process, Svnapot, Svpbmt; for user privilege and without
// updates of A and D.
#pragma once

#include "spec.hpp"

namespace kiommu::test {

template <>
struct Spec<RiscvSvFormat> : LittleEndianEntries {
  static inline const std::vector<unsigned> kTops{2, 3, 4};
  static constexpr unsigned kUsualTop = 3;  // Sv48
  static inline const std::vector<unsigned> kRights{kR, kRW};
  // R, W and X are 0 in an entry that names a table.
  static inline const std::vector<unsigned> kTableRights{kRW};
  static constexpr u64 kFarGpa = 0x00ff'fff0'0000'0000;

  static constexpr unsigned shift(unsigned level) { return 12 + 9 * level; }
  static constexpr unsigned entries(unsigned) { return 512; }
  static constexpr u64 table_bytes(unsigned) { return 4096; }
  // The lower half.
  static constexpr unsigned reach_bits(unsigned top) { return shift(top) + 8; }
  // For larger pages see test_riscv.cc.
  static constexpr bool has_leaf(unsigned level) { return level <= 2; }

  static u64 absent(unsigned level) { return level == 0 ? 0 : 0x12345ffe; }
  // PPN is at bit 10.
  static u64 table(unsigned, u64 gpa, unsigned) { return gpa >> 2 | 1; }
  // V, R, W, U, A, D.
  static u64 leaf(unsigned, u64 gpa, unsigned rights) {
    return gpa >> 2 | 0x01 | 0x02 | (rights & kW ? 0x04 : 0) | 0x10 | 0x40 |
           0x80;
  }

  static std::vector<BadEntry> malformed(unsigned level) {
    std::vector<BadEntry> bad;
    const auto reserved = [&](const char* what, u64 entry) {
      bad.push_back({what, entry, KVM_IOMMU_STATUS_ENTRY_RESERVED});
    };
    const u64 gpa = u64{1} << 50;
    const u64 good = leaf(level, gpa, kRW);
    reserved("W without R", good & ~u64{0x2});
    reserved("W and X without R", (good & ~u64{0x2}) | 0x8);
    for (unsigned bit = 54; bit <= 60; ++bit) {
      reserved("bits 60 to 54 of a page", good | u64{1} << bit);
    }
    reserved("PBMT 3 of a page", good | u64{3} << 61);
    reserved("N with another size than 64 KiB", good | u64{1} << 63);
    if (level == 0) {
      reserved("N with another size than 64 KiB",
               leaf(0, gpa | 0x4000, kRW) | u64{1} << 63);
      bad.push_back({"table at the last level", table(0, gpa, kRW),
                     KVM_IOMMU_STATUS_ENTRY_TYPE});
      return bad;
    }
    reserved("N of a large page", leaf(level, gpa, kRW) | u64{1} << 63);
    reserved("misaligned large page",
             leaf(level, gpa | u64{1} << (shift(level) - 1), kRW));
    reserved("misaligned large page", leaf(level, gpa | 0x1000, kR));
    const u64 table_bits[] = {0x10,         0x40,         0x80,
                              u64{1} << 54, u64{1} << 60, u64{1} << 61,
                              u64{1} << 62, u64{1} << 63};
    for (u64 bit : table_bits) {
      reserved("bits that a table has not", table(level, gpa, kRW) | bit);
    }
    return bad;
  }

  static kiommu_anchor anchor(unsigned top, u64 gpa) {
    return anchor_of(KVM_IOMMU_FORMAT_RISCV_SV, top + 1, gpa);
  }

  static std::vector<BadAnchor> bad_anchors(u64 gpa) {
    BadAnchors bad{anchor(kUsualTop, gpa)};
    for (unsigned levels : {0u, 2u, 6u, ~0u}) {
      bad.add("levels", KVM_IOMMU_STATUS_DESIGNATION,
              [&](auto& a) { a.levels = levels; });
    }
    bad.add("misaligned", KVM_IOMMU_STATUS_MISALIGNED,
            [](auto& a) { a.iota += 0x800; });
    bad.add("mode of satp", KVM_IOMMU_STATUS_TABLE,
            [](auto& a) { a.iota |= u64{8} << 60; });
    bad.add("offset", KVM_IOMMU_STATUS_FIELD,
            [](auto& a) { a.offset = 0x1000; });
    return bad.all;
  }

  static Answer translate(const ReadBytes& read, const kiommu_anchor& anchor,
                          u64 iova) {
    constexpr u64 kPpnMask = (u64{1} << 44) - 1;
    u64 table = anchor.iota;
    for (int i = static_cast<int>(anchor.levels) - 1; i >= 0; --i) {
      const unsigned bits = 12 + 9 * i;
      u8 bytes[8];
      if (unsigned bad = read(table + 8 * (iova >> bits & 0x1ff), bytes)) {
        return {bad};
      }
      const u64 pte = load(bytes);
      const bool r = pte >> 1 & 1, w = pte >> 2 & 1, x = pte >> 3 & 1;
      const bool u = pte >> 4 & 1, a = pte >> 6 & 1, d = pte >> 7 & 1;
      const bool napot = pte >> 63 & 1;
      const u64 pbmt = pte >> 61 & 3;
      u64 ppn = pte >> 10 & kPpnMask;
      if (!(pte & 1)) return {};
      if (!r && !w && !x) {
        if (i == 0) return {KVM_IOMMU_STATUS_ENTRY_TYPE};
        if (u || a || d || napot || pbmt || pte >> 54 & 0x7f) {
          return {KVM_IOMMU_STATUS_ENTRY_RESERVED};
        }
        table = ppn << 12;
        continue;
      }
      if ((w && !r) || pbmt == 3 || pte >> 54 & 0x7f) {
        return {KVM_IOMMU_STATUS_ENTRY_RESERVED};
      }
      unsigned size = bits;
      if (napot) {
        if (i > 0 || (ppn & 15) != 8) return {KVM_IOMMU_STATUS_ENTRY_RESERVED};
        ppn &= ~u64{15};
        size = 16;
      }
      const u64 in_page = (u64{1} << size) - 1;
      if (ppn << 12 & in_page) return {KVM_IOMMU_STATUS_ENTRY_RESERVED};
      if (!a || !u || !r) return {};
      return {KVM_IOMMU_STATUS_OK, (ppn << 12) + (iova & in_page),
              w && d ? kRW : kR, size};
    }
    return {};
  }
};

}  // namespace kiommu::test
