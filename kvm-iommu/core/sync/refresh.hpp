// SPDX-License-Identifier: GPL-2.0-only
//
// One refresh: brings a range of the shadow up to date with the guest's tables.
// It is a sink of the walker. The identity format has no tables: there it goes
// through the memory slots.
#pragma once

#include "shadow/shadow.hpp"
#include "sync/table_follower.hpp"
#include "tables/walker.hpp"

namespace kiommu {

class Refresh {
 public:
  // The operation must have locked `range`. `follower`: nullptr if no tables
  // are tracked.
  Refresh(Workspace& workspace, Shadow& shadow, const HostCapabilities& hosts,
          IovaRange range, TableFollower* follower)
      : workspace_(workspace),
        shadow_(shadow),
        hosts_(hosts),
        range_(range),
        follower_(follower),
        reserved_(hosts.first_reserved(range).has_value()) {}

  // The walker's sink.
  Result<void> absent(IovaRange range);
  Result<void> leaf(const Leaf& leaf);
  Result<void> pages(Iova at, const kiommu_u64* words, unsigned n);
  Result<void> bad(IovaRange range, Status why, const Blame& blame);
  Result<void> stopped(Iova at, Status why);
  bool follows() const { return follower_ != nullptr; }
  Result<TableUse*> meet(const TableWindow& window) {
    return follower_->meet(window, range_, *workspace_.guest_memory);
  }
  void meet_entry(TableUse* use, unsigned slot, const Entry* table) {
    follower_->meet_entry(use, slot, range_, table);
  }

  // Maps GPA = IOVA - offset wherever there is memory; unmaps other IOVAs.
  Result<void> identity(IovaRange range, uint64_t offset, Rights rights);

  // Ends a walk with the result `walked`: does what is still gathered.
  Result<void> finish(Result<void> walked);
  // After a failure: the IOVAs below are done, except for what the operation
  // has lost; this page and those above are not.
  Iova stopped_at() const { return stopped_at_; }
  // The entry to blame for the failure.
  const Blame& blame() const { return blame_; }

 private:
  // The most pages that are mapped between checks for a fatal signal.
  static constexpr uint64_t kStepPages = 4096;
  struct Step {
    uint64_t pages = 0;  // mapped
    Status why = Status::kNoMemory;
    uint64_t extent = 1;  // pages that fail the same way
  };
  Step step(Iova iova, Gpa gpa, uint64_t pages, Rights rights);
  Result<uint64_t> failed(Iova iova, uint64_t in_entry, Iova last, Status why,
                          const Blame& blame);
  Result<void> map_gathered();
  void unmap_absent();

  Workspace& workspace_;
  Shadow& shadow_;
  const HostCapabilities& hosts_;
  const IovaRange range_;  // of the whole walk
  TableFollower* follower_;
  bool reserved_;  // some of the range is in a reserved window
  // What the walk found and is not done yet; at most one of the two is set.
  // Absent pages are gathered so that consecutive ones are one unmap; leaves of
  // one size that are contiguous in IOVA and GPA, so that they are pinned
  // together.
  std::optional<IovaRange> absent_;
  std::optional<Leaf> gathered_;
  Iova stopped_at_;
  Blame blame_;
};

static_assert(WalkSink<Refresh> && FollowingSink<Refresh>);

}  // namespace kiommu
