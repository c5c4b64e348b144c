// SPDX-License-Identifier: GPL-2.0-only
//
// The slots of a guest: found by GPA, learnt from the guest's memory slots
// when they are first needed.
#pragma once

#include "memory/slot.hpp"
#include "port.h"

namespace kiommu {

class SlotTable {
 public:
  SlotTable(kiommu_mem* mem, kiommu_mutex* mutex) : mem_(mem), mutex_(mutex) {}
  ~SlotTable();
  SlotTable(const SlotTable&) = delete;
  SlotTable& operator=(const SlotTable&) = delete;

  // The slot that holds `gfn`, or the next one above; nullptr if there is
  // neither. The errors are kNoMemory; kBudget if the slots have changed and
  // slots_changed() is due. Valid until it is removed.
  Result<Slot*> find(uint64_t gfn);
  // Makes the slot's chunks. The error is kNoMemory.
  Result<void> ensure_chunks(Slot& slot);

  // The dirty log: each slot has blocks of it while it runs, those that are
  // learnt meanwhile, too.
  bool is_logging() const { return logging_; }

  // What follows wants the table for itself.

  // The errors of starting the log are kNoMemory and kInterrupted.
  Result<void> start_log();
  void stop_log();
  uint64_t count() const { return count_; }
  // The index of the first slot that ends at `gfn` or above, or count().
  uint64_t index_of(uint64_t gfn) const { return lower_bound(gfn); }
  Slot& at(uint64_t index) const { return *table_[index]; }
  // Whether the slot of a slot is as it was.
  bool is_current(const Slot& slot) const;
  // Removes a slot without pins.
  void remove(uint64_t index);
  // Counts the slots that were removed.
  uint64_t removals() const { return removals_; }
  // Kernel memory of the slots.
  uint64_t bytes() const { return __atomic_load_n(&bytes_, __ATOMIC_RELAXED); }

 private:
  uint64_t lower_bound(uint64_t gfn) const;
  Result<Slot*> insert(const kiommu_slot& told);
  bool add_dirty_blocks(Slot& slot);
  void remove_dirty_blocks(Slot& slot);
  void* allocate(uint64_t bytes);
  void release(uint64_t bytes);

  kiommu_mem* mem_;
  kiommu_mutex* mutex_;
  Slot** table_ = nullptr;  // sorted by first_gfn
  uint64_t count_ = 0;
  uint64_t capacity_ = 0;
  uint64_t bytes_ = 0;
  uint64_t removals_ = 0;
  bool logging_ = false;  // changed by who has the table for itself
};

}  // namespace kiommu
