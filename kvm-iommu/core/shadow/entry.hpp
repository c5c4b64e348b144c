// SPDX-License-Identifier: GPL-2.0-only
//
// An entry of the shadow, in 8 bytes: a page, or a run of 512 (see
// base/radix.hpp). Zero is absent. The address and the rights are those of the
// page word that the walker made.
//
//   51..12  GPA of the page; of a run, that of its first page
//       11  a run (Radix::kRun)
//       10  a host block begins here
//     9..5  log2, in pages, of the host block that the page may be part of
//        4  device memory: not pinned, mapped by kiommu_port_mmio_map()
//        3  write access is wanted but withheld
//     1..0  rights that the guest's tables grant, never none
#pragma once

#include "base/page_word.hpp"
#include "base/radix.hpp"

namespace kiommu {

struct ShadowEntry {
  uint64_t word = 0;

  // Two words that agree in these bits need the same mapping. Whether write
  // access is withheld is not among them: while a page is mapped, its slot and
  // its pin do not change, and so neither does that.
  static constexpr uint64_t kSame =
      PageWord::kAddressMask | PageWord::kRightsMask;

  // A page that is a host block of its own, or a run of such pages. The lowest
  // bits of `given` are the rights that were granted: those of the page word,
  // or these less write access.
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
  // The rights that a device has.
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
  // Of a run: the entry of its page `i`.
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
