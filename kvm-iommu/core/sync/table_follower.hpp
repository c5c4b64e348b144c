// SPDX-License-Identifier: GPL-2.0-only
//
// How a refresh uses the tracker. There are two kinds of refresh:
//   requested (KVM_IOMMU_REFRESH): adds and drops no uses. It notes which
//     unsync pages of tables it meets; these are walked as a whole afterwards,
//     by a refresh of the second kind.
//   following: continues after bad entries, which it reports. Pages of tables
//     that it walks as a whole are known to the tracker from then on, and
//     tracked if possible.
#pragma once

#include "faults/queue.hpp"
#include "sync/tracker.hpp"

namespace kiommu {

struct TableFollower {
  Tracker& tracker;
  FaultQueue& faults;
  uint32_t format;
  IovaRange limit;    // IOVAs that can be mapped
  bool follows;       // the second kind
  bool for_refresh;   // requested by the VMM, not due to a store
  uint64_t walk = 0;  // of the second kind: see Tracker::Walk
  uint64_t pass = 0;
  // To walk afterwards: pages of tables out of sync of which it met a part, or
  // one use of several.
  std::optional<IovaRange> unsynced{};
  unsigned reports = 0;  // bad entries that were met, see report()

  Result<TableUse*> meet(const TableWindow& window, IovaRange walked,
                         GuestMemory& guest_memory);
  void meet_entry(TableUse* use, unsigned slot, IovaRange walked,
                  const Entry* table);

  // Reports bad entries one by one, as many as the fault queue holds. A single
  // store can bring millions: the others are only counted.
  void report(IovaRange range, Status why, const Blame& blame);
  // Counts these others in the fault queue, as lost.
  void finish_reports();
  // Reports that a page went out of sync, for any reason but write flooding.
  // `iova`: the first that it maps, if known.
  void report_unsync(std::optional<Iova> iova, Gpa gpa) const;

 private:
  void note(std::optional<IovaRange> met);
  // The walked range; where it reaches an end of `limit`, also the IOVAs
  // beyond, which cannot be mapped anyway.
  IovaRange covered(IovaRange walked) const {
    if (walked.first <= limit.first) walked.first = {0};
    if (walked.last >= limit.last) walked.last = {~uint64_t{0}};
    return walked;
  }
  // Whether everything in `span` that can be mapped is walked.
  bool whole(IovaRange span, IovaRange walked) const {
    return covered(walked).contains(span);
  }
};

}  // namespace kiommu
