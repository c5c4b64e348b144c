// SPDX-License-Identifier: GPL-2.0-only
//
// Stage 2 as one operation sees it: the guest's memory slots, with the last
// ones that were met at hand, for those cost no search.
#pragma once

#include "memory/slot_table.hpp"

namespace kiommu {

class GuestMemory {
 public:
  GuestMemory(kiommu_mem* mem, SlotTable& slots)
      : mem_(mem), slots_(slots), removals_(slots.removals()) {}
  GuestMemory(const GuestMemory&) = delete;
  GuestMemory& operator=(const GuestMemory&) = delete;

  kiommu_mem* mem() const { return mem_; }
  // Whether what is at hand is still there: nothing goes during an operation.
  bool is_current() const { return removals_ == slots_.removals(); }

  // The slot that holds `gfn` and can be mapped for devices; the errors are
  // kNoSlot, kPrivate, and those of slot_or_next().
  Result<Slot*> slot(uint64_t gfn) {
    if (Slot* found = recent(gfn)) return found;
    return find(gfn);
  }
  // The same if it is one of the last that were met; else nullptr.
  Slot* recent(uint64_t gfn) const {
    for (Slot* slot : recent_) {
      if (slot != nullptr && slot->holds(gfn)) return slot;
    }
    return nullptr;
  }
  // The slot that holds `gfn` or the next one above; nullptr if none is.
  // The errors are kNoMemory and kBudget.
  Result<Slot*> slot_or_next(uint64_t gfn) { return slots_.find(gfn); }
  // The slot of a page that is mapped.
  Slot& mapped_slot(uint64_t gfn) {
    if (Slot* found = recent(gfn)) return *found;
    return **find(gfn);
  }

  // Reads `count` entries of a table at `gpa`, a multiple of 8, as they are
  // in guest memory. Tables must be in memory that the guest can write. The
  // errors are those of slot(), kReadOnly, kUnbacked, kMmio,
  // kForeignProcess.
  [[gnu::always_inline]] Result<void> read_entries(Gpa gpa, kiommu_u64* entries,
                                                   unsigned count) {
    const Hva at = at_hand(gpa, count);
    if (at.value == 0) return read_parts(gpa, entries, count);
    return result_of(kiommu_port_read_entries(mem_, at.value, entries, count));
  }
  // The same for one of them.
  [[gnu::always_inline]] Result<void> read_entry(Gpa gpa, kiommu_u64* entry) {
    const Hva at = at_hand(gpa, 1);
    if (at.value == 0) return read_parts(gpa, entry, 1);
    return result_of(kiommu_port_read_entry(mem_, at.value, entry));
  }
  // Writes `count` words of a ring, likewise.
  [[gnu::always_inline]] Result<void> write_entries(Gpa gpa,
                                                    const kiommu_u64* entries,
                                                    unsigned count) {
    const Hva at = at_hand(gpa, count);
    if (at.value == 0) return write_parts(gpa, entries, count);
    return result_of(kiommu_port_write_entries(mem_, at.value, entries, count));
  }
  // Whether all of [gpa, gpa + bytes) could be read as tables.
  Result<void> check_table(Gpa gpa, uint64_t bytes);

 private:
  static constexpr unsigned kRecent = 4;
  // What kiommu_port_read_entries() returns, besides a lack of memory.
  static constexpr int kForeignErrno = 1;  // EPERM, all architectures
  static constexpr int kMmioErrno = 6;     // ENXIO

  Result<Slot*> find(uint64_t gfn);
  // Where `count` words are, if all of them are in one slot that was met
  // lately and can be written; else 0.
  [[gnu::always_inline]] Hva at_hand(Gpa gpa, unsigned count) const {
    const Slot* slot = recent(gpa.page_number());
    if (slot == nullptr || slot->read_only ||
        count * sizeof(kiommu_u64) > slot->bytes_from(gpa)) {
      return {};
    }
    return slot->hva_of(gpa);
  }
  // Wherever they are.
  Result<void> read_parts(Gpa gpa, kiommu_u64* entries, unsigned count);
  Result<void> write_parts(Gpa gpa, const kiommu_u64* entries, unsigned count);
  // Calls transfer(hva, first, n), which returns what
  // kiommu_port_read_entries() does, for each part of `count` words at `gpa`
  // that lies in one slot.
  template <class Transfer>
  Result<void> for_parts(Gpa gpa, unsigned count, Transfer transfer);
  static Result<void> result_of(int error) {
    if (error == 0) return {};
    return fail(error == -kForeignErrno ? Status::kForeignProcess
                : error == -kMmioErrno  ? Status::kMmio
                                        : Status::kUnbacked);
  }

  kiommu_mem* mem_;
  SlotTable& slots_;
  const uint64_t removals_;
  // SlotTable that can be mapped; the next one comes in at `oldest_`.
  Slot* recent_[kRecent] = {};
  unsigned oldest_ = 0;
};

}  // namespace kiommu
