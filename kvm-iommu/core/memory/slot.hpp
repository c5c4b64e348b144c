// SPDX-License-Identifier: GPL-2.0-only
//
// A slot: a memory slot of the guest, the pins of its pages, and its part of
// the dirty log.
#pragma once

#include "memory/chunk.hpp"
#include "memory/dirty_block.hpp"
#include "memory/memslot.hpp"

namespace kiommu {

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

struct Slot : Memslot {
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

  uint64_t chunk_count() const {
    return last_gfn() / kChunkPages - first_gfn / kChunkPages + 1;
  }
  uint64_t chunk_index(uint64_t gfn) const {
    return gfn / kChunkPages - first_gfn / kChunkPages;
  }
  Chunk& chunk(uint64_t gfn) const {
    return chunks[clamp_index(chunk_index(gfn), chunk_count())];
  }
  // The first page of a chunk, which may be below the slot.
  uint64_t chunk_base(uint64_t index) const {
    return (first_gfn / kChunkPages + index) * kChunkPages;
  }
  // The first and the last page of a chunk that are in the slot.
  uint64_t chunk_first(uint64_t index) const {
    const uint64_t gfn = chunk_base(index);
    return gfn < first_gfn ? first_gfn : gfn;
  }
  uint64_t chunk_last(uint64_t index) const {
    const uint64_t gfn = chunk_base(index) + kChunkPages - 1;
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
