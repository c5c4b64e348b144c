// SPDX-License-Identifier: GPL-2.0-only
//
// A sink of the walker that tells what a range of IOVA translates to, as
// records: what the guest's tables say and its slots allow, and what devices
// can do now. It changes nothing, and goes on behind entries that are bad.
//
// Neighbouring pages about which the same can be said, and whose GPAs are
// neighbours, too, are one record. Where nothing is mapped, by the guest and
// for devices, there is none.
#pragma once

#include "shadow/shadow.hpp"
#include "tables/walker.hpp"

namespace kiommu {

class RangeReport {
 public:
  // The operation has the range to itself. `records`: room for `capacity`.
  // `holes`: memory that is in no slot counts as not mapped.
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
  // Set if the walk was stopped, by this or by the walker: nothing is told of
  // this IOVA and those above.
  std::optional<Iova> stopped_at() const { return stopped_at_; }

 private:
  // What tables and slots say of some pages.
  struct Answer {
    IovaPages pages{};
    Gpa gpa{};
    unsigned shift = 0;
    Rights rights{};
    std::optional<Status> why{};  // why there is none: the rest is 0
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
