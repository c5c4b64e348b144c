// SPDX-License-Identifier: GPL-2.0-only
//
// The chunks that may have idle pages, see idle_queue.hpp.
#include "memory/idle_queue.hpp"

namespace kiommu {

void IdleQueue::add_new(const Region& region, Chunk& chunk) {
  uint32_t none = 0;
  if (!__atomic_compare_exchange_n(&chunk.next_idle, &none, kLast, false,
                                   __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
    return;
  }
  const auto link = static_cast<uint32_t>(&chunk - region.chunks + 1);
  const uint32_t before =
      __atomic_exchange_n(&region.last_idle, link, __ATOMIC_ACQ_REL);
  if (before != 0) {
    __atomic_store_n(&region.chunks[before - 1].next_idle, link,
                     __ATOMIC_RELAXED);
    return;
  }
  region.first_idle = link;
  const Region* const previous =
      __atomic_exchange_n(&last_, &region, __ATOMIC_ACQ_REL);
  region.previous = previous;
  (previous != nullptr ? previous->next : first_) = &region;
}

void IdleQueue::remove_first(const Region& region) {
  Chunk& chunk = *first_chunk(region);
  const uint32_t next = chunk.next_idle;
  chunk.next_idle = 0;
  if (next != kLast) {
    region.first_idle = next;
    return;
  }
  region.first_idle = 0;
  region.last_idle = 0;
  (region.previous != nullptr ? region.previous->next : first_) = region.next;
  (region.next != nullptr ? region.next->previous : last_) = region.previous;
  region.next = nullptr;
  region.previous = nullptr;
}

}  // namespace kiommu
