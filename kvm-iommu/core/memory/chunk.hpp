// SPDX-License-Identifier: GPL-2.0-only
//
// The pins of 2 MiB of GPA. A chunk is empty; or a node with a word per page;
// or huge: one word for 512 pages that were pinned together and are contiguous
// in host memory.
//
// Locking: under P for reading, threads take holds and add pins in parallel, by
// atomic operations. Pins are removed under P for writing only.
#pragma once

#include "base/types.hpp"

namespace kiommu {

// The pin of a page: PFN | number of holders | flags. Zero: not pinned.
namespace pin {
inline constexpr uint64_t kDirty = 1;     // some holder could write to it
inline constexpr uint64_t kWritable = 2;  // pinned for writing
inline constexpr uint64_t kValid = 4;
inline constexpr uint64_t kStale = 8;  // no longer the page at its HVA
inline constexpr unsigned kHoldersShift = 4;
inline constexpr unsigned kPfnShift = 24;
inline constexpr uint64_t kHolder = uint64_t{1} << kHoldersShift;
inline constexpr uint64_t kHoldersMask =
    ((uint64_t{1} << kPfnShift) - 1) & ~(kHolder - 1);
// The top bit of the number of holders: once it is set, no holder is added.
// This is so far below the overflow that threads which pass the check at the
// same time cannot reach it.
inline constexpr uint64_t kFull = uint64_t{1} << (kPfnShift - 1);
}  // namespace pin

inline constexpr unsigned kChunkPages = 512;

struct Chunk {
  // `word` is 0 if the chunk is empty; the address of a node; or, if it is
  // huge, the PFN of its first page << kPageShift | kHuge | flags.
  static constexpr uint64_t kHuge = 2;
  static constexpr uint64_t kWritable = 4;
  static constexpr uint64_t kDirty = 8;
  static constexpr uint64_t kStale = 16;

  // The limit for single pages applies, because a huge chunk can be broken up.
  static constexpr uint32_t kFull = pin::kFull >> pin::kHoldersShift;

  uint64_t word;
  uint32_t holders;  // of a huge chunk: sum over its pages
  // Link in the idle queue, see idle_queue.hpp; 0 if the chunk is not queued.
  uint32_t next_idle;

  uint64_t load() const { return __atomic_load_n(&word, __ATOMIC_ACQUIRE); }
  static bool is_huge(uint64_t word) { return (word & kHuge) != 0; }
  // Returns nullptr if the chunk is empty or huge.
  static uint64_t* node(uint64_t word) {
    return is_huge(word)
               ? nullptr
               : reinterpret_cast<uint64_t*>(static_cast<std::uintptr_t>(word));
  }
  static uint64_t pfn(uint64_t word) { return word >> kPageShift; }
};

}  // namespace kiommu
