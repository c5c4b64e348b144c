// SPDX-License-Identifier: GPL-2.0-only
//
// The chunks that may have idle pages, first come, first trimmed: so who trims
// looks at no others, however many pages and slots there are.
//
// Each slot has a queue of its chunks, and there is one of the slots that
// have such chunks. A chunk is in it from when its first page becomes idle
// until who trims finds none; meanwhile all of them can have been held again.
// Chunks of preregistered slots are never in it.
//
// Operations add in parallel: who exchanges the end of a queue links the one
// that was there to what it has added. All else wants the pin table for itself:
// no link is missing then.
#pragma once

#include "memory/slot.hpp"

namespace kiommu {

class IdleQueue {
 public:
  // Some page of a chunk of the slot has become idle.
  void add(const Slot& slot, Chunk& chunk) {
    if (__atomic_load_n(&chunk.next_idle, __ATOMIC_RELAXED) != 0) return;
    add_new(slot, chunk);
  }

  // All below: the pin table is the caller's.

  // The slot whose first chunk came first, or nullptr.
  const Slot* first() const { return first_; }
  // The first chunk of a slot, or nullptr.
  static Chunk* first_chunk(const Slot& slot) {
    return slot.first_idle == 0 ? nullptr : &slot.chunks[slot.first_idle - 1];
  }
  // Takes it out of the queue.
  void remove_first(const Slot& slot);
  // Takes all chunks of a slot out.
  void remove_all(const Slot& slot) {
    while (first_chunk(slot) != nullptr) remove_first(slot);
  }

 private:
  // What a link is, if it is not the index of the next chunk + 1.
  static constexpr uint32_t kLast = ~uint32_t{0};

  void add_new(const Slot& slot, Chunk& chunk);

  const Slot* first_ = nullptr;
  const Slot* last_ = nullptr;
};

}  // namespace kiommu
