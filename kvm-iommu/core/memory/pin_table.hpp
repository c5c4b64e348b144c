// SPDX-License-Identifier: GPL-2.0-only
//
// The pin table of a guest: which of its pages are pinned for devices. A page
// is pinned, and charged to locked_vm, once, however many IOVAs of however many
// devices map it.
//
// The last put of a page leaves it pinned but idle, so that mapping it again
// costs no pin. Idle pages are unpinned under P of core.h for writing only:
// each operation flushes the host IOTLBs before it drops P, so "clear, flush,
// unpin" stay in order.
#pragma once

#include "memory/idle_queue.hpp"
#include "memory/slot_table.hpp"

namespace kiommu {

class Domain;

class PinTable {
 public:
  PinTable(kiommu_guest* guest, kiommu_mutex* mutex, uint64_t idle_limit)
      : guest_(guest), slots_(guest, mutex), idle_limit_(idle_limit) {}
  ~PinTable();
  PinTable(const PinTable&) = delete;
  PinTable& operator=(const PinTable&) = delete;

  kiommu_guest* guest() const { return guest_; }
  SlotTable& slots() { return slots_; }

  // The PFN of a page that is held.
  static uint64_t pfn(const Slot& slot, uint64_t gfn);

  void set_idle_limit(uint64_t pages) {
    __atomic_store_n(&idle_limit_, pages, __ATOMIC_RELAXED);
  }
  uint64_t idle_limit() const { return load(idle_limit_); }
  bool trim_due() const { return idle() > idle_limit(); }
  // Unpins idle pages until at most `keep` are left; returns how many.
  uint64_t trim(uint64_t keep);
  // Trims to some less than the limit, so that the next trim is not due at
  // once.
  void trim_to_limit() {
    if (trim_due()) trim(idle_limit() - idle_limit() / 8);
  }

  // See kiommu_core_pins_preregister() and kiommu_core_pins_unregister().
  Result<void> preregister(uint64_t gpa, uint64_t length);
  Result<void> unregister(uint64_t gpa, uint64_t length);

  uint64_t slot_count() const { return slots_.count(); }
  // Removes the slots of which no page is pinned, see
  // kiommu_core_pins_forget_slots().
  void forget_slots();
  // Unpins all pages of a slot, none of which may be held.
  void release_slot(Slot& slot);
  // Unpins the pages marked stale in the chunks of [first_gfn, last_gfn]; none
  // of these pages may be held.
  void release_stale(Slot& slot, uint64_t first_gfn, uint64_t last_gfn);
  // Unpins the idle pages in [first_gfn, last_gfn], unless they are
  // preregistered. The cost is proportional to what is pinned there.
  void release_idle(uint64_t first_gfn, uint64_t last_gfn);
  // Turns a huge chunk into a node with a word per page, all without holders:
  // if there are holders, the caller must count them anew. The only error is
  // kNoMemory.
  Result<uint64_t*> break_huge(Chunk& chunk);

  uint64_t pinned() const { return load(pinned_); }
  uint64_t idle() const {
    // Operations add their changes one after the other, so the sum can be
    // negative in between.
    const auto sum = static_cast<int64_t>(load(idle_));
    return sum < 0 ? 0 : static_cast<uint64_t>(sum);
  }
  uint64_t bytes() const { return slots_.bytes() + load(node_bytes_); }

  // Adds to the numbers of pinned and idle pages; negative values wrap.
  void count(uint64_t pinned, uint64_t idle) {
    __atomic_fetch_add(&pinned_, pinned, __ATOMIC_RELAXED);
    __atomic_fetch_add(&idle_, idle, __ATOMIC_RELAXED);
  }
  // Queues a chunk of which some page has become idle. Its slot must not be
  // preregistered.
  void note_idle(const Slot& slot, Chunk& chunk) {
    idle_chunks_.add(slot, chunk);
  }
  // Allocates a node for a chunk; nullptr if there is no memory.
  uint64_t* allocate_node();
  void free_node(uint64_t* node);

  // The domains started with this table, linked by Domain::next. Protected by
  // P.
  Domain* domains = nullptr;

 private:
  static uint64_t load(const uint64_t& counter) {
    return __atomic_load_n(&counter, __ATOMIC_RELAXED);
  }
  template <class Select>
  uint64_t release_chunk(const Slot& slot, Chunk& chunk, unsigned first,
                         unsigned end, Select select);
  uint64_t release_first_idle(const Slot& slot, uint64_t most);
  template <class Function>
  Result<void> for_slots(uint64_t gpa, uint64_t length, Function function);
  Result<void> pin_slot(Slot& slot);
  void count_idle(const Slot& slot);
  void uncount_idle(const Slot& slot);

  kiommu_guest* guest_;
  SlotTable slots_;
  uint64_t idle_limit_;
  uint64_t pinned_ = 0;
  uint64_t idle_ = 0;
  uint64_t node_bytes_ = 0;
  IdleQueue idle_chunks_;
};

}  // namespace kiommu
