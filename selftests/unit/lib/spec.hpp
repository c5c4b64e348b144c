// SPDX-License-Identifier: GPL-2.0-only
//
// What the tests know of table formats, written from their specifications and
// not from the code under test. Spec<Format> offers, for each format:
//
//   kTops                 levels that a top table can have
//   kUsualTop             the one that most tests use
//   kRights               rights that a leaf can have
//   kTableRights          rights that an entry can leave to a whole table
//   kFarGpa               high in the addresses that entries hold
//   shift, entries        geometry of a level, 0 is the lowest
//   reach_bits            log2 of the IOVAs that a top level reaches
//   has_leaf              levels whose entries can be pages, up to 2 GiB
//   absent, table, leaf   make entries
//   malformed             entries that must be refused, and how
//   store, load           an entry to and from memory, byte by byte
//   anchor, bad_anchors   anchors, good and bad
//   translate             a slow walk for one IOVA: the oracle
#pragma once

#include <linux/kvm_iommu.h>

#include <gtest/gtest.h>
#include <cerrno>
#include <cstdint>
#include <functional>
#include <vector>

#include "formats/list.hpp"

namespace kiommu::test {

using u8 = std::uint8_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;

inline constexpr unsigned kR = KVM_IOMMU_READ;
inline constexpr unsigned kW = KVM_IOMMU_WRITE;
inline constexpr unsigned kRW = kR | kW;

template <class Format>
struct Spec;

// store() and load() of formats whose entries are little-endian.
struct LittleEndianEntries {
  static void store(u64 entry, u8* bytes) {
    for (int i = 0; i < 8; ++i) bytes[i] = static_cast<u8>(entry >> (8 * i));
  }
  static u64 load(const u8* bytes) {
    u64 entry = 0;
    for (int i = 7; i >= 0; --i) entry = entry << 8 | bytes[i];
    return entry;
  }
};

struct BadEntry {
  const char* what;
  u64 entry;
  unsigned status;  // enum kvm_iommu_status
};

struct BadAnchor {
  const char* what;
  kiommu_anchor anchor;
  unsigned status;  // enum kvm_iommu_status
};

// An anchor with both rights whose designation is the head of the tables and
// the number of their levels.
inline kiommu_anchor anchor_of(unsigned format, unsigned levels, u64 gpa) {
  kiommu_anchor anchor{};
  anchor.rights = kRW;
  anchor.format = format;
  anchor.levels = levels;
  anchor.iota = gpa;
  return anchor;
}

// Anchors that differ from a good one.
struct BadAnchors {
  kiommu_anchor good;
  std::vector<BadAnchor> all{};

  template <class Change>
  void add(const char* what, unsigned status, Change change) {
    BadAnchor one{what, good, status};
    change(one.anchor);
    all.push_back(one);
  }
};

// The result of a translation.
struct Answer {
  unsigned status = KVM_IOMMU_STATUS_NOT_MAPPED;
  u64 gpa = 0;
  unsigned rights = 0;
  unsigned shift = 0;
};

// Reads 8 bytes of guest memory; returns a status.
using ReadBytes = std::function<unsigned(u64 gpa, u8* bytes)>;

// The list of formats under test is the core's.
template <class>
struct ToTypes;
template <class... F>
struct ToTypes<Formats<F...>> {
  using type = testing::Types<F...>;
};
using AllFormats = ToTypes<FormatList>::type;

}  // namespace kiommu::test

#include "spec_amd.hpp"
#include "spec_arm.hpp"
#include "spec_riscv.hpp"
#include "spec_vtd.hpp"
#include "spec_x86_fs.hpp"
#include "spec_zpci.hpp"
