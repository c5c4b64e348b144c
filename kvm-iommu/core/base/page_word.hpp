// SPDX-License-Identifier: GPL-2.0-only
//
// A page word is what stage 1 says of one 4 KiB page, in 8 bytes: GPA | rights.
// The compact form allows many pages to be compared at once.
#pragma once

#include "base/types.hpp"

namespace kiommu {

struct PageWord {
  static constexpr uint64_t kAddressMask = 0x000ffffffffff000;
  static constexpr uint64_t kRightsMask = 3;
  // Nothing is mapped.
  static constexpr uint64_t kAbsent = 0;
  // Not expressible as a page word: the entry must be decoded by itself.
  static constexpr uint64_t kOther = 4;

  static constexpr bool fits(Gpa gpa) {
    return (gpa.value & ~kAddressMask) == 0;
  }
  static constexpr uint64_t of(Gpa gpa, Rights rights) {
    return gpa.value | rights.bits;
  }
  static constexpr uint64_t gfn(uint64_t word) {
    return (word & kAddressMask) >> kPageShift;
  }
  static constexpr Rights rights(uint64_t word) {
    return {static_cast<unsigned>(word & kRightsMask)};
  }
};

}  // namespace kiommu
