// SPDX-License-Identifier: GPL-2.0-only
//
// A memory slot of the guest: the GFNs that it has, and where the VMM's process
// has their pages. This is the only place where a GPA becomes a host address,
// so a guest cannot name any memory but its own.
#pragma once

#include "base/types.hpp"

namespace kiommu {

struct Memslot {
  uint64_t first_gfn = 0;
  uint64_t pages = 0;
  Hva hva;
  bool read_only = false;
  bool may_be_private = false;

  bool holds(uint64_t gfn) const {
    return gfn - first_gfn < pages;  // wraps if gfn is below
  }
  uint64_t last_gfn() const { return first_gfn + pages - 1; }
  Hva hva_of(uint64_t gfn) const {
    return hva.plus((gfn - first_gfn) << kPageShift);
  }
  Hva hva_of(Gpa gpa) const {
    return hva.plus(gpa.value - (first_gfn << kPageShift));
  }
  uint64_t pages_from(uint64_t gfn) const { return first_gfn + pages - gfn; }
  uint64_t bytes_from(Gpa gpa) const {
    return ((first_gfn + pages) << kPageShift) - gpa.value;
  }
  Rights rights() const { return read_only ? kRead : kReadWrite; }
};

}  // namespace kiommu
