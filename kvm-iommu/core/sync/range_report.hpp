// SPDX-License-Identifier: GPL-2.0-only
//
// A sink of the walker that reports what a range of IOVA translates to, as
// records: what the guest's tables say and the slots allow, and what devices
// can do now. It changes nothing, and continues after bad entries.
//
// Consecutive pages with the same answer, and with consecutive GPAs, share a
// record. There is none where neither the guest's tables nor the shadow map
// anything.
#pragma once

#include "shadow/shadow.hpp"
#include "tables/walker.hpp"

namespace kiommu {

class RangeReport {
 public:
  // The operation must have locked the range. `records` has room for
  // `capacity`. `holes`: a GPA in no slot counts as not mapped.
  RangeReport(Workspace& workspace, const Shadow& shadow, bool holes,
              kiommu_range_record* records, unsigned capacity)
      : workspace_(workspace),
        shadow_(shadow),
        holes_(holes),
        records_(records),
        capacity_(capacity) {}

  // The walker's sink.
  Result<void> absent(IovaRange range);
  Result<void> leaf(const Leaf& leaf);
  Result<void> pages(Iova at, const kiommu_u64* words, unsigned n);
  Result<void> bad(IovaRange range, Status why, const Blame& blame);
  Result<void> stopped(Iova at, Status why);

  unsigned count() const { return count_; }
  // Set if the sink or the walker stopped the walk: this IOVA and those above
  // are not reported.
  std::optional<Iova> stopped_at() const { return stopped_at_; }

 private:
  // What the tables and the slots say of some pages.
  struct Answer {
    IovaPages pages{};
    Gpa gpa{};
    unsigned shift = 0;
    Rights rights{};
    std::optional<Status> why{};  // set: gpa and shift are not used
  };
  Result<void> tell(const Answer& answer);
  Result<void> add(const Answer& answer, IovaPages pages, Rights shadow);

  Workspace& workspace_;
  const Shadow& shadow_;
  bool holes_;
  kiommu_range_record* records_;
  unsigned capacity_;
  unsigned count_ = 0;
  std::optional<Iova> stopped_at_;
};

static_assert(WalkSink<RangeReport>);

}  // namespace kiommu
