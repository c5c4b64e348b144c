// SPDX-License-Identifier: GPL-2.0-only
//
// A slot: what the core knows of a memory slot of the guest, and the pins of
// its pages. The one place where a GPA becomes a host address, so a guest can
// name no memory but its own.
//
// PinTable are kept in chunks of 2 MiB of GPA. A chunk is empty; or a node with
// a word for each page; or huge: one word for 512 pages that were pinned
// together and are contiguous in host memory.
//
// Locking: pins are taken (holds) and made by several threads at once, by
// atomic operations; they are removed only when nobody else works with the pin
// table.
#pragma once

#include "base/types.hpp"

namespace kiommu {

// The pin of a page: page frame number | holders | flags. Zero: not pinned.
namespace pin {
inline constexpr uint64_t kDirty = 1;     // some holder could write
inline constexpr uint64_t kWritable = 2;  // pinned for writing
inline constexpr uint64_t kValid = 4;
inline constexpr uint64_t kStale = 8;  // another page is at its address now
inline constexpr unsigned kHoldersShift = 4;
inline constexpr unsigned kPfnShift = 24;
inline constexpr uint64_t kHolder = uint64_t{1} << kHoldersShift;
inline constexpr uint64_t kHoldersMask =
    ((uint64_t{1} << kPfnShift) - 1) & ~(kHolder - 1);
// Set when a page has as many holders as are taken: far enough from the most
// that can be counted that threads that get there together do not reach it.
inline constexpr uint64_t kFull = uint64_t{1} << (kPfnShift - 1);
}  // namespace pin

inline constexpr unsigned kChunkPages = 512;

// `index`; 0 where it is not below `size`, which is so only where the processor
// runs ahead of a check (Spectre v1). What is loaded by the index is the
// address of the next load, so nothing but an entry of the array may be. Both
// are below 2^63. The compiler must not conclude from the check that the mask
// is all ones.
inline uint64_t clamp_index(uint64_t index, uint64_t size) {
  asm("" : "+r"(index));
  const uint64_t outside = index | (size - 1 - index);
  return index & ~static_cast<uint64_t>(static_cast<int64_t>(outside) >> 63);
}

struct Chunk {
  // Layout of `word`: address of a node, or page frame number of the first
  // page << kPageShift | kHuge | flags; 0 if empty.
  static constexpr uint64_t kHuge = 2;
  static constexpr uint64_t kWritable = 4;
  static constexpr uint64_t kDirty = 8;
  static constexpr uint64_t kStale = 16;

  // As for single pages, into which it may be broken.
  static constexpr uint32_t kFull = pin::kFull >> pin::kHoldersShift;

  uint64_t word;
  uint32_t holders;  // of a huge chunk: holds of all of its pages together
  // 0 unless some page may be idle: a link of the queue, see idle_queue.hpp.
  uint32_t next_idle;

  uint64_t load() const { return __atomic_load_n(&word, __ATOMIC_ACQUIRE); }
  static bool is_huge(uint64_t word) { return (word & kHuge) != 0; }
  // nullptr if there is none.
  static uint64_t* node(uint64_t word) {
    return is_huge(word)
               ? nullptr
               : reinterpret_cast<uint64_t*>(static_cast<std::uintptr_t>(word));
  }
  static uint64_t pfn(uint64_t word) { return word >> kPageShift; }
};

// 64 neighbouring pages in the dirty log, see dirty_log.hpp; the first GFN is a
// multiple of 64.
struct DirtyBlock {
  static constexpr uint64_t kPages = 64;
  static constexpr unsigned kLanes = 8;  // counts in a word

  uint64_t unmapped;  // a bit a page: was writable, and was unmapped
  // A byte a page: how many entries of shadows let a device write it. One that
  // has reached kMany stays so.
  uint64_t writers[kPages / kLanes];

  static constexpr unsigned kMany = 0xff;
};

struct Slot {
  uint64_t first_gfn = 0;
  uint64_t pages = 0;
  Hva hva;
  bool read_only = false;
  bool may_be_private = false;
  bool preregistered = false;  // its pins stay when nobody holds them
  bool new_pins = false;       // being preregistered
  bool gone = false;           // the slot is not there any more
  Chunk* chunks = nullptr;     // made when first needed
  // The chunks that may have idle pages, and this slot's place among those
  // that have such chunks, see idle_queue.hpp. Changed by who only uses the
  // slot, too.
  mutable uint32_t first_idle = 0;
  mutable uint32_t last_idle = 0;
  mutable const Slot* next = nullptr;
  mutable const Slot* previous = nullptr;
  // While the dirty log runs: what it knows of the pages.
  DirtyBlock* dirty = nullptr;

  bool holds(uint64_t gfn) const {
    return gfn - first_gfn < pages;  // wraps for a gfn below
  }
  uint64_t last_gfn() const { return first_gfn + pages - 1; }
  Hva hva_of(uint64_t gfn) const {
    return hva.plus((gfn - first_gfn) << kPageShift);
  }
  Hva hva_of(Gpa gpa) const {
    return hva.plus(gpa.value - (first_gfn << kPageShift));
  }
  uint64_t pages_from(uint64_t gfn) const { return first_gfn + pages - gfn; }
  uint64_t bytes_from(Gpa gpa) const {
    return ((first_gfn + pages) << kPageShift) - gpa.value;
  }
  Rights rights() const { return read_only ? kRead : kReadWrite; }

  uint64_t chunk_count() const {
    return last_gfn() / kChunkPages - first_gfn / kChunkPages + 1;
  }
  uint64_t chunk_index(uint64_t gfn) const {
    return gfn / kChunkPages - first_gfn / kChunkPages;
  }
  Chunk& chunk(uint64_t gfn) const {
    return chunks[clamp_index(chunk_index(gfn), chunk_count())];
  }
  // The pages of a chunk that are in the slot.
  uint64_t chunk_first(uint64_t index) const {
    const uint64_t gfn = (first_gfn / kChunkPages + index) * kChunkPages;
    return gfn < first_gfn ? first_gfn : gfn;
  }
  uint64_t chunk_last(uint64_t index) const {
    const uint64_t gfn =
        (first_gfn / kChunkPages + index) * kChunkPages + kChunkPages - 1;
    return gfn > last_gfn() ? last_gfn() : gfn;
  }
  uint64_t dirty_blocks() const {
    return last_gfn() / DirtyBlock::kPages - first_gfn / DirtyBlock::kPages + 1;
  }
  DirtyBlock& dirty_block(uint64_t gfn) const {
    return dirty[gfn / DirtyBlock::kPages - first_gfn / DirtyBlock::kPages];
  }
  bool has_chunks() const {
    return __atomic_load_n(&chunks, __ATOMIC_ACQUIRE) != nullptr;
  }
};

}  // namespace kiommu
