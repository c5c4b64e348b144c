// SPDX-License-Identifier: GPL-2.0-only
//
// What an operation did, and what it cost: pages that it leaves unmapped
// although the guest's tables map them. A page is lost when a host refuses a
// map, when a large host page was split and there was no memory to map its rest
// again, or when a page was taken out to be replaced and its successor could
// not be mapped.
//
// Whoever takes a page out says so here, where it happens, and returns nothing
// that could be ignored. The operation hands the outcome over once, when it
// ends: see Domain::Operation::finish().
#pragma once

#include "base/types.hpp"

namespace kiommu {

class [[nodiscard]] Outcome {
 public:
  // Ranges that are kept apart. A range that finds no place widens the one that
  // lies next to it: then more is said to be lost than is.
  static constexpr unsigned kMost = 8;

  uint64_t mapped = 0;    // pages
  uint64_t unmapped = 0;  // pages

  void lose(IovaPages pages, Status why);
  // These pages are brought up to date anew: what was lost of them counts no
  // more.
  void redo(IovaPages pages);

  // Something is lost: `why` of what was lost first.
  bool failed() const { return count_ > 0; }
  Status why() const { return why_; }
  unsigned count() const { return count_; }
  IovaPages lost(unsigned i) const { return lost_[i]; }
  // The lowest page of `within` that is lost.
  std::optional<uint64_t> first_lost(IovaPages within) const;
  // Whether nothing outside of `within` is lost.
  bool lost_only_in(IovaPages within) const;

 private:
  void remove(unsigned i);

  IovaPages lost_[kMost] = {};
  unsigned count_ = 0;
  Status why_ = Status::kNoMemory;
};

}  // namespace kiommu
