// SPDX-License-Identifier: GPL-2.0-only
//
// The chunks that may have idle pages, first come, first trimmed: so who trims
// looks at no others, however many pages and slots there are.
//
// Each region has a queue of its chunks, and there is one of the regions that
// have such chunks. A chunk is in it from when its first page becomes idle
// until who trims finds none; meanwhile all of them can have been held again.
// Chunks of preregistered regions are never in it.
//
// Requests add in parallel: who exchanges the end of a queue links the one that
// was there to what it has added. All else wants the pin table for itself: no
// link is missing then.
#pragma once

#include "memory/slot.hpp"

namespace kiommu {

class IdleQueue {
 public:
  // Some page of a chunk of the region has become idle.
  void add(const Region& region, Chunk& chunk) {
    if (__atomic_load_n(&chunk.next_idle, __ATOMIC_RELAXED) != 0) return;
    add_new(region, chunk);
  }

  // All below: the pin table is the caller's.

  // The region whose first chunk came first, or nullptr.
  const Region* first() const { return first_; }
  // The first chunk of a region, or nullptr.
  static Chunk* first_chunk(const Region& region) {
    return region.first_idle == 0 ? nullptr
                                  : &region.chunks[region.first_idle - 1];
  }
  // Takes it out of the queue.
  void remove_first(const Region& region);
  // Takes all chunks of a region out.
  void remove_all(const Region& region) {
    while (first_chunk(region) != nullptr) remove_first(region);
  }

 private:
  // What a link is, if it is not the index of the next chunk + 1.
  static constexpr uint32_t kLast = ~uint32_t{0};

  void add_new(const Region& region, Chunk& chunk);

  const Region* first_ = nullptr;
  const Region* last_ = nullptr;
};

}  // namespace kiommu
