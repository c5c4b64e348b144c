// SPDX-License-Identifier: GPL-2.0-only
//
// zPCI tables, from the kernel's description of what it writes (Linux 6.12,
// arch/s390/include/asm/pci_dma.h) and from QEMU's s390-pci-inst.c.
#pragma once

#include "spec.hpp"

namespace kiommu::test {

template <>
struct Spec<ZpciFormat> {
  static inline const std::vector<unsigned> kTops{1, 2, 3, 4};
  static constexpr unsigned kUsualTop = 2;  // region-third
  static inline const std::vector<unsigned> kRights{kR, kRW};
  static inline const std::vector<unsigned> kTableRights{kR, kRW};
  static constexpr u64 kFarGpa = 0x000f'fff0'0000'0000;

  static constexpr unsigned shift(unsigned level) {
    return level == 0 ? 12 : 20 + 11 * (level - 1);
  }
  static constexpr unsigned entries(unsigned level) {
    return level == 0 ? 256 : 2048;
  }
  static constexpr u64 table_bytes(unsigned level) {
    return 8 * entries(level);
  }
  static constexpr unsigned reach_bits(unsigned top) { return shift(top) + 11; }
  static constexpr bool has_leaf(unsigned level) { return level <= 2; }

  static u64 absent(unsigned level) { return level == 0 ? 0x400 : 0x20; }

  static u64 protect(unsigned rights) { return (rights & kW) ? 0 : 0x200; }

  static u64 table(unsigned level, u64 gpa, unsigned rights) {
    const u64 type = u64{level - 1} << 2;  // segment 0, region-third 4, ...
    const u64 length = level == 1 ? 0 : 3;
    return gpa | type | length | protect(rights);
  }
  static u64 leaf(unsigned level, u64 gpa, unsigned rights) {
    if (level == 0) return gpa | protect(rights);
    return gpa | 0x400 | table(level, 0, rights);
  }

  static std::vector<BadEntry> malformed(unsigned level) {
    if (level == 0) return {};
    std::vector<BadEntry> bad;
    const u64 good = table(level, 0x10000000, kRW);
    for (u64 type = 0; type < 4; ++type) {
      if (type == level - 1) continue;
      bad.push_back({"type of another level", (good & ~u64{0xc}) | type << 2,
                     KVM_IOMMU_STATUS_ENTRY_TYPE});
    }
    if (level >= 2) {
      bad.push_back({"offset", good | 0x40, KVM_IOMMU_STATUS_ENTRY_LENGTH});
      bad.push_back({"offset", good | 0x80, KVM_IOMMU_STATUS_ENTRY_LENGTH});
      for (u64 length = 0; length < 3; ++length) {
        bad.push_back({"length", (good & ~u64{3}) | length,
                       KVM_IOMMU_STATUS_ENTRY_LENGTH});
      }
    }
    return bad;
  }

  static void store(u64 entry, u8* bytes) {
    for (int i = 0; i < 8; ++i)
      bytes[i] = static_cast<u8>(entry >> (56 - 8 * i));
  }
  static u64 load(const u8* bytes) {
    u64 entry = 0;
    for (int i = 0; i < 8; ++i) entry = entry << 8 | bytes[i];
    return entry;
  }

  static kiommu_anchor anchor(unsigned top, u64 gpa) {
    kiommu_anchor anchor{};
    anchor.rights = kRW;
    anchor.format = KVM_IOMMU_FORMAT_ZPCI;
    anchor.iota = gpa | 0x800 | u64{top - 1} << 2;
    return anchor;
  }

  static std::vector<BadAnchor> bad_anchors(u64 gpa) {
    BadAnchors bad{anchor(kUsualTop, gpa)};
    bad.add("T is 0", KVM_IOMMU_STATUS_DESIGNATION,
            [](auto& a) { a.iota &= ~u64{0x800}; });
    for (u64 type : {4, 5, 6, 7}) {
      bad.add("page frame or undefined designation",
              KVM_IOMMU_STATUS_DESIGNATION,
              [&](auto& a) { a.iota = (a.iota & ~u64{0x1c}) | type << 2; });
    }
    bad.add("frame size", KVM_IOMMU_STATUS_DESIGNATION,
            [](auto& a) { a.iota |= 1; });
    bad.add("frame size", KVM_IOMMU_STATUS_DESIGNATION,
            [](auto& a) { a.iota |= 2; });
    bad.add("misaligned", KVM_IOMMU_STATUS_MISALIGNED,
            [](auto& a) { a.iota += 0x1000; });
    bad.add("misaligned", KVM_IOMMU_STATUS_MISALIGNED,
            [](auto& a) { a.iota += 0x2000; });
    bad.add("levels", KVM_IOMMU_STATUS_FIELD, [](auto& a) { a.levels = 3; });
    bad.add("offset", KVM_IOMMU_STATUS_FIELD,
            [](auto& a) { a.offset = 0x1000; });
    return bad.all;
  }

  static Answer translate(const ReadBytes& read, const kiommu_anchor& anchor,
                          u64 iova) {
    u8 bytes[8];
    unsigned rights = (anchor.iota & 0x200) ? kR : kRW;
    u64 table = anchor.iota & ~u64{0x3fff};
    // Region-first 3, region-second 2, region-third 1, segment 0.
    for (int kind = anchor.iota >> 2 & 7; kind >= 0; --kind) {
      const u64 index = iova >> (20 + 11 * kind) & 0x7ff;
      if (unsigned bad = read(table + 8 * index, bytes)) return {bad};
      const u64 entry = load(bytes);
      if (entry & 0x20) return {};
      if ((entry >> 2 & 3) != static_cast<u64>(kind)) {
        return {KVM_IOMMU_STATUS_ENTRY_TYPE};
      }
      if (entry & 0x200) rights = kR;
      if (kind <= 1 && (entry & 0x400)) {
        const unsigned bits = kind == 0 ? 20 : 31;
        const u64 in_frame = iova & ((u64{1} << bits) - 1);
        return {KVM_IOMMU_STATUS_OK, (entry >> bits << bits) + in_frame, rights,
                bits};
      }
      if (kind >= 1 && (entry & 0xc3) != 0x03) {
        return {KVM_IOMMU_STATUS_ENTRY_LENGTH};
      }
      table = entry & (kind == 0 ? ~u64{0x7ff} : ~u64{0x3fff});
    }
    if (unsigned bad = read(table + 8 * (iova >> 12 & 0xff), bytes)) {
      return {bad};
    }
    const u64 entry = load(bytes);
    if (entry & 0x400) return {};
    if (entry & 0x200) rights = kR;
    return {KVM_IOMMU_STATUS_OK, (entry & ~u64{0xfff}) + (iova & 0xfff), rights,
            12};
  }
};

}  // namespace kiommu::test
