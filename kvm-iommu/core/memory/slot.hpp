// SPDX-License-Identifier: GPL-2.0-only
//
// A slot: what the core knows of a memory slot of the guest, and the pins of
// its pages. This is the only place where a GPA becomes a host address, so a
// guest cannot name any memory but its own.
//
// Pins are kept in chunks of 2 MiB of GPA. A chunk is empty; or a node with a
// word per page; or huge: one word for 512 pages that were pinned together and
// are contiguous in host memory.
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

// Returns `index`, or 0 if it is not below `size`, like array_index_nospec():
// that is so only when the CPU speculates past a bounds check (Spectre v1). The
// entry at the index holds the address of the next load, so not even a
// speculative load may be out of bounds. Both arguments must be below 2^63. The
// asm keeps the compiler from concluding from the check that the mask is all
// ones.
inline uint64_t clamp_index(uint64_t index, uint64_t size) {
  asm("" : "+r"(index));
  const uint64_t outside = index | (size - 1 - index);
  return index & ~static_cast<uint64_t>(static_cast<int64_t>(outside) >> 63);
}

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

// 64 consecutive pages in the dirty log, see dirty_log.hpp. The first GFN is a
// multiple of 64.
struct DirtyBlock {
  static constexpr uint64_t kPages = 64;
  static constexpr unsigned kLanes = 8;  // counters in a word

  uint64_t unmapped;  // bit per page: was writable, was unmapped
  // A byte per page: the number of shadow entries that let a device write it.
  // It saturates at kMany.
  uint64_t writers[kPages / kLanes];

  static constexpr unsigned kMany = 0xff;
};

struct Slot {
  uint64_t first_gfn = 0;
  uint64_t pages = 0;
  Hva hva;
  bool read_only = false;
  bool may_be_private = false;
  bool preregistered = false;  // pins without holders are not idle
  bool new_pins = false;       // preregister() is in progress
  bool gone = false;           // deleted or changed by the VMM
  Chunk* chunks = nullptr;     // allocated on first use
  // The queue of this slot's chunks that may have idle pages, and this slot's
  // links in the queue of slots that have such chunks, see idle_queue.hpp.
  // Mutable, because operations that put pages have a const Slot.
  mutable uint32_t first_idle = 0;
  mutable uint32_t last_idle = 0;
  mutable const Slot* next = nullptr;
  mutable const Slot* previous = nullptr;
  // The dirty blocks while the dirty log runs, else nullptr.
  DirtyBlock* dirty = nullptr;

  bool holds(uint64_t gfn) const {
    return gfn - first_gfn < pages;  // wraps if gfn is below
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
  // The first and the last page of a chunk that are in the slot.
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
