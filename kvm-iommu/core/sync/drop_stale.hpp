// SPDX-License-Identifier: GPL-2.0-only
//
// A sink of the walker that makes room: it unmaps what differs from the guest's
// tables, and maps nothing. The walked range must be within one leaf of the
// shadow.
#pragma once

#include "shadow/shadow.hpp"
#include "tables/walker.hpp"

namespace kiommu {

class DropStale {
 public:
  DropStale(Workspace& workspace, Shadow& shadow)
      : workspace_(workspace), shadow_(shadow) {}

  // The walker's sink.
  Result<void> absent(IovaRange range) {
    shadow_.unmap(workspace_, range.pages());
    return {};
  }
  Result<void> pages(Iova at, const kiommu_u64* words, unsigned n) {
    shadow_.unmap_different(workspace_, at.page_number(), words, n);
    return {};
  }
  Result<void> leaf(const Leaf& leaf) {
    const uint64_t last = (leaf.pages - 1) << kPageShift;
    if (!PageWord::fits(leaf.gpa.plus(last))) {
      return absent({leaf.iova, leaf.iova.plus(last + kPageBytes - 1)});
    }
    kiommu_u64* words = workspace_.memory.run_words;
    const auto n = static_cast<unsigned>(leaf.pages);
    for (unsigned i = 0; i < n; ++i) {
      words[i] =
          PageWord::of(leaf.gpa.plus(uint64_t{i} << kPageShift), leaf.rights);
    }
    return pages(leaf.iova, words, n);
  }
  Result<void> bad(IovaRange range, Status why, const Blame&) {
    // It is unknown what the tables say, so nothing is known to be stale.
    if (!is_guest_mistake(why)) return fail(why);
    bad_last_ = range.last;
    KIOMMU_TRY(absent(range));
    return fail(why);
  }
  Result<void> stopped(Iova, Status why) { return fail(why); }

  // Set if the walk ended at bad entries: the last IOVA that is done.
  std::optional<Iova> bad_last() const { return bad_last_; }

 private:
  Workspace& workspace_;
  Shadow& shadow_;
  std::optional<Iova> bad_last_;
};

static_assert(WalkSink<DropStale>);

}  // namespace kiommu
