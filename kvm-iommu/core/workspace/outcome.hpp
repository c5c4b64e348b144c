// SPDX-License-Identifier: GPL-2.0-only
//
// What an operation did, and which pages it lost: left unmapped although the
// guest's tables map them. A page is lost if a host refuses to map it; if a
// large host page or a run was split and there was no memory for the rest; or
// if a page was unmapped to be replaced and its replacement could not be
// mapped.
//
// The code that unmaps a page records the loss here, at once, and returns
// nothing that could be ignored. The operation hands the outcome over when it
// ends, see Domain::Operation::finish().
#pragma once

#include "base/types.hpp"

namespace kiommu {

class [[nodiscard]] Outcome {
 public:
  // The number of ranges kept apart. If there is no room for one more, it is
  // merged with the nearest one: the pages in between are then reported as
  // lost, too.
  static constexpr unsigned kMost = 8;

  uint64_t mapped = 0;    // pages
  uint64_t unmapped = 0;  // pages

  // As it was made, which costs more.
  void reset() {
    mapped = 0;
    unmapped = 0;
    count_ = 0;
  }
  void lose(IovaPages pages, Status why);
  // The caller refreshes these pages once more, or reports them itself: they no
  // longer count as lost.
  void redo(IovaPages pages);

  // Whether something is lost; why() is the reason of the first loss.
  bool failed() const { return count_ > 0; }
  Status why() const { return why_; }
  unsigned count() const { return count_; }
  IovaPages lost(unsigned i) const { return lost_[i]; }
  // The lowest page of `within` that is lost, if any.
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
