// SPDX-License-Identifier: GPL-2.0-only
//
// The chunks that may have idle pages, first in, first out, so that trimming
// looks at no other chunk, however many pages and slots there are.
//
// Each slot has a queue of its chunks, and the slots with a nonempty one are
// queued themselves. A chunk is queued when its first page becomes idle, and
// stays until trimming finds no idle page in it; by then all of its pages may
// be held again. Chunks of preregistered slots are never queued.
//
// Locking: operations add in parallel. The one that exchanges the tail of a
// queue then links the previous tail to its own element, so a link can be
// missing for a moment. All else needs P for writing, under which no link is
// missing.
#pragma once

#include "memory/slot.hpp"

namespace kiommu {

class IdleQueue {
 public:
  // Queues a chunk of the slot of which some page has become idle.
  void add(const Slot& slot, Chunk& chunk) {
    if (__atomic_load_n(&chunk.next_idle, __ATOMIC_RELAXED) != 0) return;
    add_new(slot, chunk);
  }

  // The caller of the functions below holds P for writing.

  // The first slot of the queue, or nullptr.
  const Slot* first() const { return first_; }
  // The first chunk in the queue of a slot, or nullptr.
  static Chunk* first_chunk(const Slot& slot) {
    return slot.first_idle == 0 ? nullptr : &slot.chunks[slot.first_idle - 1];
  }
  // Removes that chunk from the queue.
  void remove_first(const Slot& slot);
  // Removes all chunks of a slot from the queue.
  void remove_all(const Slot& slot) {
    while (first_chunk(slot) != nullptr) remove_first(slot);
  }

 private:
  // The link of a slot's last chunk. Other links are the index of the next
  // chunk + 1.
  static constexpr uint32_t kLast = ~uint32_t{0};

  void add_new(const Slot& slot, Chunk& chunk);

  const Slot* first_ = nullptr;
  const Slot* last_ = nullptr;
};

}  // namespace kiommu
