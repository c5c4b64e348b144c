// SPDX-License-Identifier: GPL-2.0-only
//
// One page of the shadow, in 8 bytes. Zero is absent.
//
//   63..12  page of the HVA that it is mapped to
//        8  a host block begins here
//     7..2  log2 of the pages of the host block that it may be part of
//     1..0  rights, never none
#pragma once

#include "types.hpp"

namespace kiommu {

struct ShadowEntry {
  uint64_t word = 0;

  // A page that is a block of its own.
  static constexpr ShadowEntry alone(Hva hva, Rights rights) {
    return {hva.value | rights.bits | kBegins};
  }
  constexpr Hva hva() const { return {word & kPageMask}; }
  constexpr Rights rights() const {
    return {static_cast<unsigned>(word & kReadWrite.bits)};
  }
  constexpr unsigned block_order() const { return (word >> 2) & 0x3f; }
  constexpr bool begins_block() const { return (word & kBegins) != 0; }

  constexpr bool maps(Hva to, Rights as) const {
    return (word & (kPageMask | kReadWrite.bits)) == (to.value | as.bits);
  }
  constexpr ShadowEntry in_block(unsigned order, bool begins) const {
    return {hva().value | rights().bits | uint64_t{order} << 2 |
            (begins ? kBegins : 0)};
  }

 private:
  static constexpr uint64_t kBegins = 0x100;
};

}  // namespace kiommu
