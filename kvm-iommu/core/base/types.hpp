// SPDX-License-Identifier: GPL-2.0-only
//
// Types that all of the core shares: addresses, rights, page geometry, results.
// Each address space has a type of its own, so that an address of one space
// cannot be passed for one of another.
//
//   IOVA --stage 1--> GPA --memory slots--> HVA --pin--> HPA
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>

#include "base/status.hpp"

namespace kiommu {

using std::int64_t;
using std::uint32_t;
using std::uint64_t;

inline constexpr unsigned kPageShift = 12;
inline constexpr uint64_t kPageBytes = uint64_t{1} << kPageShift;
inline constexpr uint64_t kPageMask = ~(kPageBytes - 1);
inline constexpr uint64_t kKiB = uint64_t{1} << 10;
inline constexpr uint64_t kMiB = uint64_t{1} << 20;
inline constexpr uint64_t kGiB = uint64_t{1} << 30;

// A byte address in the address space Tag.
template <class Tag>
struct Address {
  uint64_t value = 0;

  friend constexpr auto operator<=>(Address, Address) = default;
  constexpr Address plus(uint64_t bytes) const { return {value + bytes}; }
  constexpr Address page() const { return {value & kPageMask}; }
  constexpr uint64_t page_number() const { return value >> kPageShift; }
  constexpr bool aligned(uint64_t bytes) const {
    return (value & (bytes - 1)) == 0;
  }
  static constexpr Address of_page(uint64_t number) {
    return {number << kPageShift};
  }
};

using Iova = Address<struct IovaTag>;  // used by a device
using Gpa = Address<struct GpaTag>;    // guest physical
using Hva = Address<struct HvaTag>;    // virtual, in the VMM's process
using Hpa = Address<struct HpaTag>;    // host physical

// Pages [first, last] of the address space Tag, inclusive, never empty.
template <class Tag>
struct Pages {
  uint64_t first;
  uint64_t last;

  friend constexpr bool operator==(Pages, Pages) = default;
  constexpr bool contains(Pages other) const {
    return first <= other.first && other.last <= last;
  }
  constexpr bool overlaps(Pages other) const {
    return first <= other.last && other.first <= last;
  }
};

using IovaPages = Pages<IovaTag>;
using GfnRange = Pages<GpaTag>;

// IOVA bytes [first, last], inclusive, never empty; whole pages unless stated
// otherwise.
struct IovaRange {
  Iova first;
  Iova last;

  friend constexpr bool operator==(IovaRange, IovaRange) = default;
  constexpr bool contains(IovaRange other) const {
    return first <= other.first && other.last <= last;
  }
  constexpr bool overlaps(IovaRange other) const {
    return first <= other.last && other.first <= last;
  }
  constexpr uint64_t first_page() const { return first.page_number(); }
  constexpr uint64_t last_page() const { return last.page_number(); }
  constexpr IovaPages pages() const { return {first_page(), last_page()}; }
  constexpr uint64_t page_count() const {
    return last_page() - first_page() + 1;
  }
  static constexpr IovaRange of_pages(uint64_t first_page, uint64_t last_page) {
    return {Iova::of_page(first_page),
            {(last_page << kPageShift) | (kPageBytes - 1)}};
  }
};

// The intersection of two ranges that overlap.
constexpr IovaRange intersection(IovaRange a, IovaRange b) {
  return {a.first > b.first ? a.first : b.first,
          a.last < b.last ? a.last : b.last};
}

// The smallest range that contains both.
constexpr IovaRange hull(IovaRange a, IovaRange b) {
  return {a.first < b.first ? a.first : b.first,
          a.last > b.last ? a.last : b.last};
}

// What a device may do with a page. Rights are never added: `&` is the only
// operation on them.
struct Rights {
  unsigned bits = 0;

  friend constexpr bool operator==(Rights, Rights) = default;
  friend constexpr Rights operator&(Rights a, Rights b) {
    return {a.bits & b.bits};
  }
  constexpr bool any() const { return bits != 0; }
  constexpr bool write() const { return (bits & 2) != 0; }
};

inline constexpr Rights kNoRights{0};
inline constexpr Rights kRead{1};
inline constexpr Rights kWrite{2};
inline constexpr Rights kReadWrite{3};

template <class T>
using Result = std::expected<T, Status>;

constexpr std::unexpected<Status> fail(Status status) {
  return std::unexpected<Status>(status);
}

}  // namespace kiommu

// Returns from the enclosing function if a Result holds an error. A macro,
// because GCC 12 has no monadic operations on std::expected.
#define KIOMMU_TRY(expression)                             \
  do {                                                     \
    if (auto kiommu_result = (expression); !kiommu_result) \
      return ::kiommu::fail(kiommu_result.error());        \
  } while (false)
