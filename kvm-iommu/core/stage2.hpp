// SPDX-License-Identifier: GPL-2.0-only
//
// Stage 2: the guest's memory slots. The one place where a GPA becomes a host
// address, so a guest can name no memory but its own.
//
// A Stage2 lives for one call and remembers the last slot that it met, for
// neighbouring pages cost no search.
#pragma once

#include "../include/port.h"
#include "types.hpp"

namespace kiommu {

// Guest memory [first_gfn, first_gfn + pages) and the host address behind it.
struct Slot {
  uint64_t first_gfn = 0;
  uint64_t pages = 0;
  Hva hva;
  bool read_only = false;
  bool may_be_private = false;

  constexpr bool holds(uint64_t gfn) const {
    return gfn - first_gfn < pages;  // wraps for a gfn below
  }
  constexpr Hva hva_of(uint64_t gfn) const {
    return hva.plus((gfn - first_gfn) << kPageShift);
  }
  constexpr uint64_t pages_from(uint64_t gfn) const {
    return first_gfn + pages - gfn;
  }
  constexpr Rights rights() const { return read_only ? kRead : kReadWrite; }
};

class Stage2 {
 public:
  explicit Stage2(kiommu_mem* mem) : mem_(mem) {}

  kiommu_mem* mem() const { return mem_; }

  // The slot that holds `gfn` and can be mapped for devices; the errors are
  // kNoSlot and kPrivate. Valid until the next call.
  Result<const Slot*> slot(uint64_t gfn);
  // The slot that holds `gfn` or the next one above; nullptr if none is.
  const Slot* slot_or_next(uint64_t gfn);

  // Reads `count` entries of a table at `gpa`, a multiple of 8, as they are
  // in guest memory. Tables must be in memory that the guest can write. The
  // errors are those of slot(), kReadOnly, kUnbacked, kMmio, kForeignProcess.
  Result<void> read_entries(Gpa gpa, kiommu_u64* entries, unsigned count);
  // Whether all of [gpa, gpa + bytes) could be read as tables.
  Result<void> check_table(Gpa gpa, uint64_t bytes);

 private:
  kiommu_mem* mem_;
  Slot last_;
};

}  // namespace kiommu
