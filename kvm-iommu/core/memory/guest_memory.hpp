// SPDX-License-Identifier: GPL-2.0-only
//
// Stage 2 for one operation: the guest's memory slots, with a cache of the last
// ones that were used, which need no search.
#pragma once

#include "memory/slot_table.hpp"

namespace kiommu {

class GuestMemory {
 public:
  GuestMemory(kiommu_guest* guest, SlotTable& slots)
      : guest_(guest), slots_(slots), removals_(slots.removals()) {}
  GuestMemory(const GuestMemory&) = delete;
  GuestMemory& operator=(const GuestMemory&) = delete;

  kiommu_guest* guest() const { return guest_; }
  // Whether the cached slots still exist. Slots are not removed during an
  // operation, so it is enough to ask when one begins.
  bool is_current() const { return removals_ == slots_.removals(); }

  // Returns the slot that holds `gfn` and that devices may map. The errors are
  // kNoSlot, kPrivate, and those of slot_or_next().
  Result<Slot*> slot(uint64_t gfn) {
    if (Slot* found = recent(gfn)) return found;
    return find(gfn);
  }
  // Same as slot(), but looks in the cache only; nullptr if it is not there.
  Slot* recent(uint64_t gfn) const {
    for (Slot* slot : recent_) {
      if (slot != nullptr && slot->holds(gfn)) return slot;
    }
    return nullptr;
  }
  // Returns the slot that holds `gfn`, else the next one above, else nullptr.
  // The errors are kNoMemory and kBudget.
  Result<Slot*> slot_or_next(uint64_t gfn) { return slots_.find(gfn); }
  // Returns the slot of a page that is mapped, which is always found.
  Slot& mapped_slot(uint64_t gfn) {
    if (Slot* found = recent(gfn)) return *found;
    return **find(gfn);
  }

  // Reads `count` entries of a table at `gpa`, a multiple of 8, in the guest's
  // byte order. Tables must be in memory that the guest can write. The errors
  // are those of slot(), kReadOnly, kUnbacked, kMmio, kForeignProcess, and
  // kNoMemory.
  [[gnu::always_inline]] Result<void> read_entries(Gpa gpa, kiommu_u64* entries,
                                                   unsigned count) {
    const Hva at = at_hand(gpa, count);
    if (at.value == 0) return read_parts(gpa, entries, count);
    return result_of(
        kiommu_port_read_entries(guest_, at.value, entries, count));
  }
  // Same as read_entries(), for one entry.
  [[gnu::always_inline]] Result<void> read_entry(Gpa gpa, kiommu_u64* entry) {
    const Hva at = at_hand(gpa, 1);
    if (at.value == 0) return read_parts(gpa, entry, 1);
    return result_of(kiommu_port_read_entry(guest_, at.value, entry));
  }
  // Writes `count` words of a ring; conditions and errors as for
  // read_entries().
  [[gnu::always_inline]] Result<void> write_entries(Gpa gpa,
                                                    const kiommu_u64* entries,
                                                    unsigned count) {
    const Hva at = at_hand(gpa, count);
    if (at.value == 0) return write_parts(gpa, entries, count);
    return result_of(
        kiommu_port_write_entries(guest_, at.value, entries, count));
  }
  // Checks that all of [gpa, gpa + bytes) is in slots that may hold tables.
  Result<void> check_table(Gpa gpa, uint64_t bytes);

 private:
  static constexpr unsigned kRecent = 4;
  // Errors of kiommu_port_read_entries() other than -EFAULT.
  static constexpr int kForeignErrno = 1;  // EPERM, all architectures
  static constexpr int kMmioErrno = 6;     // ENXIO
  static constexpr int kMemoryErrno = 12;  // ENOMEM

  Result<Slot*> find(uint64_t gfn);
  // Returns the HVA of `count` words at `gpa` if all of them are in one cached
  // slot that the guest can write, else 0.
  [[gnu::always_inline]] Hva at_hand(Gpa gpa, unsigned count) const {
    const Slot* slot = recent(gpa.page_number());
    if (slot == nullptr || slot->read_only ||
        count * sizeof(kiommu_u64) > slot->bytes_from(gpa)) {
      return {};
    }
    return slot->hva_of(gpa);
  }
  // The slow path: words in any number of slots, cached or not.
  Result<void> read_parts(Gpa gpa, kiommu_u64* entries, unsigned count);
  Result<void> write_parts(Gpa gpa, const kiommu_u64* entries, unsigned count);
  // Calls transfer(hva, first, n) for each part of `count` words at `gpa` that
  // is in one slot; `first` is the index of the part's first word. transfer()
  // returns what kiommu_port_read_entries() does.
  template <class Transfer>
  Result<void> for_parts(Gpa gpa, unsigned count, Transfer transfer);
  static Result<void> result_of(int error) {
    if (error == 0) return {};
    return fail(error == -kForeignErrno  ? Status::kForeignProcess
                : error == -kMmioErrno   ? Status::kMmio
                : error == -kMemoryErrno ? Status::kNoMemory
                                         : Status::kUnbacked);
  }

  kiommu_guest* guest_;
  SlotTable& slots_;
  const uint64_t removals_;
  // The cache: slots that devices may map. recent_[oldest_] is replaced next.
  Slot* recent_[kRecent] = {};
  unsigned oldest_ = 0;
};

}  // namespace kiommu
