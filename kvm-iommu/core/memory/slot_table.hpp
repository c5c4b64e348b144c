// SPDX-License-Identifier: GPL-2.0-only
//
// The slots of a guest, looked up by GFN. A slot is added when it is first
// needed, from kiommu_port_find_slot().
#pragma once

#include "memory/slot.hpp"
#include "port.h"

namespace kiommu {

class SlotTable {
 public:
  SlotTable(kiommu_guest* guest, kiommu_mutex* mutex)
      : guest_(guest), mutex_(mutex) {}
  ~SlotTable();
  SlotTable(const SlotTable&) = delete;
  SlotTable& operator=(const SlotTable&) = delete;

  // Returns the slot that holds `gfn`, else the next one above, else nullptr;
  // valid until it is removed. The errors are kNoMemory, and kBudget if a
  // memory slot has changed and slots_changed() is due.
  Result<Slot*> find(uint64_t gfn);
  // Allocates the slot's chunks if it has none. The only error is kNoMemory.
  Result<void> ensure_chunks(Slot& slot);

  // Whether the dirty log runs. While it does, each slot has dirty blocks,
  // including those that are added meanwhile.
  bool is_logging() const { return logging_; }

  // The caller of the functions below holds P for writing, except for
  // removals() and bytes().

  // The errors are kNoMemory and kInterrupted: the log does not run then.
  Result<void> start_log();
  void stop_log();
  uint64_t count() const { return count_; }
  // The index of the first slot whose last page is `gfn` or above, or count().
  uint64_t index_of(uint64_t gfn) const { return lower_bound(gfn); }
  Slot& at(uint64_t index) const { return *table_[index]; }
  // Whether the guest's memory slot still is as it was.
  bool is_current(const Slot& slot) const;
  // Removes a slot, which must not have any pins.
  void remove(uint64_t index);
  // Removes the slots for which `unused(slot)` is true, in one pass.
  template <class Unused>
  void remove_if(Unused unused);
  // The number of slots removed so far. It changes under P for writing only.
  uint64_t removals() const { return removals_; }
  // Bytes of kernel memory of the table and the slots.
  uint64_t bytes() const { return __atomic_load_n(&bytes_, __ATOMIC_RELAXED); }

 private:
  uint64_t lower_bound(uint64_t gfn) const;
  Result<Slot*> insert(const kiommu_slot& told);
  bool add_dirty_blocks(Slot& slot);
  void remove_dirty_blocks(Slot& slot);
  void* allocate(uint64_t bytes);
  void release(uint64_t bytes);
  void free_slot(Slot* slot);

  kiommu_guest* guest_;
  kiommu_mutex* mutex_;
  Slot** table_ = nullptr;  // sorted by first_gfn
  uint64_t count_ = 0;
  uint64_t capacity_ = 0;
  uint64_t bytes_ = 0;
  uint64_t removals_ = 0;
  bool logging_ = false;  // written under P for writing
};

template <class Unused>
void SlotTable::remove_if(Unused unused) {
  uint64_t kept = 0;
  for (uint64_t i = 0; i < count_; ++i) {
    Slot* slot = table_[i];
    if (unused(*slot)) {
      free_slot(slot);
    } else {
      table_[kept++] = slot;
    }
  }
  if (kept != count_) ++removals_;
  count_ = kept;
}

}  // namespace kiommu
