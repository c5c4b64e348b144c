// SPDX-License-Identifier: GPL-2.0-only
//
// The queue of chunks that may have idle pages, see idle_queue.hpp.
#include "memory/idle_queue.hpp"

namespace kiommu {

void IdleQueue::add_new(const Slot& slot, Chunk& chunk) {
  uint32_t none = 0;
  if (!__atomic_compare_exchange_n(&chunk.next_idle, &none, kLast, false,
                                   __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
    return;
  }
  const auto link = static_cast<uint32_t>(&chunk - slot.chunks + 1);
  const uint32_t before =
      __atomic_exchange_n(&slot.last_idle, link, __ATOMIC_ACQ_REL);
  if (before != 0) {
    __atomic_store_n(&slot.chunks[before - 1].next_idle, link,
                     __ATOMIC_RELAXED);
    return;
  }
  slot.first_idle = link;
  const Slot* const previous =
      __atomic_exchange_n(&last_, &slot, __ATOMIC_ACQ_REL);
  slot.previous = previous;
  (previous != nullptr ? previous->next : first_) = &slot;
}

void IdleQueue::remove_first(const Slot& slot) {
  Chunk& chunk = *first_chunk(slot);
  const uint32_t next = chunk.next_idle;
  chunk.next_idle = 0;
  if (next != kLast) {
    slot.first_idle = next;
    return;
  }
  slot.first_idle = 0;
  slot.last_idle = 0;
  (slot.previous != nullptr ? slot.previous->next : first_) = slot.next;
  (slot.next != nullptr ? slot.next->previous : last_) = slot.previous;
  slot.next = nullptr;
  slot.previous = nullptr;
}

}  // namespace kiommu
