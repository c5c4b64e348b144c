// SPDX-License-Identifier: GPL-2.0-only
//
// What a refresh has to do with a tracker. There are two kinds of refresh:
//   asked for (KVM_IOMMU_REFRESH): changes nothing that is known of tables. It
//     notes what pages of tables it met that are out of sync; these are
//     followed afterwards, all of each.
//   that follows: goes on after bad entries, which are reported. What it goes
//     over in whole is known, and tracked, from then on.
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
  bool for_refresh;   // by the VMM, not for a store
  uint64_t walk = 0;  // of the second kind: see Tracker::Walk
  uint64_t pass = 0;
  std::optional<IovaRange> unsynced{};  // what the first kind met
  unsigned reports = 0;  // bad entries that were met, see report()

  Result<TableUse*> meet(const TableWindow& window, IovaRange walked,
                         GuestMemory& guest_memory);
  void meet_entry(TableUse* use, unsigned slot, IovaRange walked,
                  const Entry* table);

  // The first entries are told one by one, as many as the queue holds; the
  // others of a call are counted as lost: a store can bring millions.
  void report(IovaRange range, Status why, const Blame& blame);
  // Tells how many were counted.
  void finish_reports();
  // A page is out of sync, against the guest's and the VMM's will.
  // `iova`: none if it is not known where.
  void report_unsync(std::optional<Iova> iova, Gpa gpa) const;

 private:
  // What a walk goes over, with what cannot be mapped beside it.
  IovaRange covered(IovaRange walked) const {
    if (walked.first <= limit.first) walked.first = {0};
    if (walked.last >= limit.last) walked.last = {~uint64_t{0}};
    return walked;
  }
  // Whether all that can be mapped of `span` is walked.
  bool whole(IovaRange span, IovaRange walked) const {
    return covered(walked).contains(span);
  }
};

}  // namespace kiommu
