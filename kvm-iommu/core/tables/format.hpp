// SPDX-License-Identifier: GPL-2.0-only
//
// What a table format is: a type without state that satisfies TableFormat. The
// walker and all tests are written once, over this concept.
//
// Levels are counted upwards from 0, the tables whose entries map pages.
// Entries have 8 bytes in every format. To add a format, write one file and
// name its type in formats/list.hpp.
#pragma once

#include <bit>
#include <concepts>

#include "base/types.hpp"
#include "core.h"

namespace kiommu {

// A decoded entry.
struct Entry {
  enum class Kind : std::uint8_t {
    kAbsent,     // nothing is mapped in the entry's whole span
    kTable,      // `address` is a table of `level`, below the entry's
    kLeaf,       // `address` is a page of 1 << `shift` bytes
    kMalformed,  // the entry cannot be used; `why` says why
  };
  Kind kind = Kind::kAbsent;
  Status why = Status::kEntryType;
  // The rights that this entry grants; the walker intersects those of all
  // levels.
  Rights rights = kNoRights;
  Gpa address;
  unsigned level = 0;
  unsigned shift = 0;

  static constexpr Entry absent() { return {}; }
  // A table at least one level below the entry's. Where levels are skipped,
  // only IOVAs whose bits for those levels are zero are mapped.
  static constexpr Entry table(Gpa address, Rights rights, unsigned level) {
    return {Kind::kTable, {}, rights, address, level, 0};
  }
  // A page, aligned to its size. It may be larger than the entry's span; the
  // guest repeats the entry over all of the page then.
  static constexpr Entry leaf(Gpa address, Rights rights, unsigned shift) {
    return {Kind::kLeaf, {}, rights, address, 0, shift};
  }
  static constexpr Entry malformed(Status why) {
    return {Kind::kMalformed, why, kNoRights, {}, 0, 0};
  }
};

// The root of the tables, decoded from an anchor.
struct Root {
  Gpa table;
  unsigned level = 0;       // of the top table
  uint64_t reach_last = 0;  // highest IOVA that the tables can map
  Rights rights = kReadWrite;
};

inline constexpr unsigned kEntryBytes = 8;
inline constexpr unsigned kMaxLevels = 6;

// Geometry of one level.
struct Level {
  unsigned shift;       // log2 of the bytes of IOVA that one entry spans
  unsigned index_bits;  // log2 of the number of entries of a table

  constexpr uint64_t span() const { return uint64_t{1} << shift; }
  constexpr uint64_t table_bytes() const {
    return uint64_t{kEntryBytes} << index_bits;
  }
  constexpr unsigned index(Iova iova) const {
    return static_cast<unsigned>((iova.value >> shift) &
                                 ((uint64_t{1} << index_bits) - 1));
  }
  // The highest IOVA that a top table of this level can map.
  constexpr uint64_t reach_last() const {
    const unsigned bits = shift + index_bits;
    return bits >= 64 ? ~uint64_t{0} : (uint64_t{1} << bits) - 1;
  }
};

// A format with 4 KiB pages at level 0 can also have
//   static constexpr uint64_t page_word(uint64_t entry);
// a faster decode(0, entry). It returns a page word, a word without rights and
// without kOther for an absent entry, or PageWord::kOther.
template <class F>
concept TableFormat = requires(const kiommu_anchor& anchor, unsigned level,
                               uint64_t entry) {
  // A value of enum kvm_iommu_format.
  { F::kId } -> std::convertible_to<uint32_t>;
  // Byte order of entries in guest memory.
  { F::kByteOrder } -> std::convertible_to<std::endian>;
  // The level of a top table is in [0, kLevels).
  { F::kLevels } -> std::convertible_to<unsigned>;
  // Geometry of a level.
  { F::level(level) } -> std::same_as<Level>;
  // Checks an anchor's iota and levels; the errors are kBadDesignation,
  // kMisaligned, kUnusedField.
  { F::root(anchor) } -> std::same_as<Result<Root>>;
  // Decodes an entry of a table of `level`, in host byte order. Pure: it
  // depends on nothing else.
  { F::decode(level, entry) } -> std::same_as<Entry>;
  requires(F::kLevels <= kMaxLevels);
};

// Each format asserts its geometry with this: the bytes of IOVA that an entry
// of `level` spans, and the number of entries of a table.
template <TableFormat F>
consteval bool has_level(unsigned level, uint64_t span, unsigned entries) {
  return F::level(level).span() == span &&
         F::level(level).table_bytes() == uint64_t{kEntryBytes} * entries;
}

template <TableFormat F>
constexpr uint64_t from_guest(uint64_t raw) {
  return F::kByteOrder == std::endian::native ? raw : std::byteswap(raw);
}

}  // namespace kiommu
