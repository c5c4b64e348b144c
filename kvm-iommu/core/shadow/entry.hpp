// SPDX-License-Identifier: GPL-2.0-only
//
// One page of the shadow, in 8 bytes, or a run of 512 (see base/radix.hpp).
// Zero is absent. Low and address bits are a page word, as the walker makes
// them.
//
//   51..12  GPA of the page
//       11  a run (Radix::kRun)
//       10  a host block begins here
//     9..5  log2 of the pages of the host block that it may be part of
//        4  device memory: not pinned, mapped by kiommu_port_mmio_map()
//        3  the right to write was wanted, and is not given
//     1..0  rights that the guest's tables give, never none
#pragma once

#include "base/page_word.hpp"
#include "base/radix.hpp"

namespace kiommu {

struct ShadowEntry {
  uint64_t word = 0;

  // What differs between two page words that need different mappings. Whether
  // the right to write is withheld is not: as long as a page is mapped, its
  // slot and its pin are the same.
  static constexpr uint64_t kSame =
      PageWord::kAddressMask | PageWord::kRightsMask;

  // A page that is a block of its own, or a run of such; `given`: rights in
  // the lowest bits, of those of the page word all but perhaps writing.
  static constexpr ShadowEntry alone(uint64_t page_word, uint64_t given) {
    return {page_word | kBegins | ((page_word ^ given) & kWrite.bits) << 2};
  }
  static constexpr ShadowEntry alone(uint64_t page_word) {
    return {page_word | kBegins};
  }
  static constexpr ShadowEntry mmio(uint64_t page_word, uint64_t given) {
    return {alone(page_word, given).word | kMmio};
  }

  constexpr uint64_t gfn() const {
    return (word & PageWord::kAddressMask) >> kPageShift;
  }
  constexpr Rights wanted() const {
    return {static_cast<unsigned>(word & PageWord::kRightsMask)};
  }
  // What a device can do.
  constexpr Rights rights() const {
    return (word & kWithheld) != 0 ? wanted() & kRead : wanted();
  }
  constexpr bool is_mmio() const { return (word & kMmio) != 0; }
  constexpr unsigned block_order() const { return (word >> 5) & 0x1f; }
  constexpr bool begins_block() const { return (word & kBegins) != 0; }

  constexpr ShadowEntry in_block(unsigned order, bool begins) const {
    return {(word & ~(uint64_t{0x1f} << 5 | kBegins)) | uint64_t{order} << 5 |
            (begins ? kBegins : 0)};
  }
  // The entry of the page `i` pages above, of a run.
  constexpr ShadowEntry page_of_run(unsigned i) const {
    return {(word & ~Radix::kRun) + (uint64_t{i} << kPageShift)};
  }

 private:
  static constexpr uint64_t kWithheld = 0x8;
  static constexpr uint64_t kMmio = 0x10;
  static_assert(kWrite.bits << 2 == kWithheld);
  static constexpr uint64_t kBegins = 0x400;
};

}  // namespace kiommu
