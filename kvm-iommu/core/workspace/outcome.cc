// SPDX-License-Identifier: GPL-2.0-only
//
// The outcome of an operation, see outcome.hpp.
#include "workspace/outcome.hpp"

namespace kiommu {
namespace {

// The number of pages between two ranges; 0 if they overlap or touch.
uint64_t gap(IovaPages a, IovaPages b) {
  if (a.last < b.first) return b.first - a.last - 1;
  if (b.last < a.first) return a.first - b.last - 1;
  return 0;
}

IovaPages hull(IovaPages a, IovaPages b) {
  return {a.first < b.first ? a.first : b.first,
          a.last > b.last ? a.last : b.last};
}

}  // namespace

void Outcome::remove(unsigned i) { lost_[i] = lost_[--count_]; }

void Outcome::lose(IovaPages pages, Status why) {
  if (count_ == 0) why_ = why;
  // Merge all ranges that overlap or touch this one.
  for (unsigned i = 0; i < count_;) {
    if (gap(lost_[i], pages) != 0) {
      ++i;
      continue;
    }
    pages = hull(lost_[i], pages);
    remove(i);
    i = 0;
  }
  if (count_ < kMost) {
    lost_[count_++] = pages;
    return;
  }
  unsigned nearest = 0;
  for (unsigned i = 1; i < count_; ++i) {
    if (gap(lost_[i], pages) < gap(lost_[nearest], pages)) nearest = i;
  }
  pages = hull(lost_[nearest], pages);
  remove(nearest);
  lose(pages, why_);  // there is room now
}

void Outcome::redo(IovaPages pages) {
  for (unsigned i = 0; i < count_;) {
    const IovaPages lost = lost_[i];
    if (!lost.overlaps(pages)) {
      ++i;
      continue;
    }
    const bool below = lost.first < pages.first;
    const bool above = lost.last > pages.last;
    if (!below && !above) {
      remove(i);
    } else if (below && above && count_ == kMost) {
      ++i;  // no room for both ends: all stays lost
    } else {
      if (below && above) lost_[count_++] = {pages.last + 1, lost.last};
      lost_[i] = below ? IovaPages{lost.first, pages.first - 1}
                       : IovaPages{pages.last + 1, lost.last};
      ++i;
    }
  }
}

std::optional<uint64_t> Outcome::first_lost(IovaPages within) const {
  std::optional<uint64_t> first;
  for (unsigned i = 0; i < count_; ++i) {
    if (!lost_[i].overlaps(within)) continue;
    const uint64_t page =
        lost_[i].first > within.first ? lost_[i].first : within.first;
    if (!first || page < *first) first = page;
  }
  return first;
}

bool Outcome::lost_only_in(IovaPages within) const {
  for (unsigned i = 0; i < count_; ++i) {
    if (!within.contains(lost_[i])) return false;
  }
  return true;
}

}  // namespace kiommu
