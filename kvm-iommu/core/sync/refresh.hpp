// SPDX-License-Identifier: GPL-2.0-only
//
// One refresh: brings a range of the shadow to what the guest's tables say.
// A sink of the walker; for the identity format, which has no tables, it
// walks the memory slots.
#pragma once

#include "shadow/shadow.hpp"
#include "sync/table_follower.hpp"
#include "tables/walker.hpp"

namespace kiommu {

class Refresh {
 public:
  // The operation has [range] to itself. `follow`: nullptr if no tables are
  // tracked.
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

  // GPA = IOVA - offset, wherever there is memory; other IOVAs are unmapped.
  Result<void> identity(IovaRange range, uint64_t offset, Rights rights);

  // Does what a walk, which came out as `walked`, told last.
  Result<void> finish(Result<void> walked);
  // After a failure: all below is done, but for what the operation has lost;
  // the page here and above is not.
  Iova stopped_at() const { return stopped_at_; }
  // What the failure is about.
  const Blame& blame() const { return blame_; }

 private:
  // The most pages that are mapped without a look at signals.
  static constexpr uint64_t kStepPages = 4096;
  struct Step {
    uint64_t pages = 0;  // done
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
  bool reserved_;  // some of the range is
  // What the walk told and is not done yet, one of the two at most: absent
  // pages, so that neighbours are one unmap; leaves of one size that are
  // contiguous in IOVA and GPA, so that neighbours are pinned together.
  std::optional<IovaRange> absent_;
  std::optional<Leaf> gathered_;
  Iova stopped_at_;
  Blame blame_;
};

static_assert(WalkSink<Refresh> && FollowingSink<Refresh>);

}  // namespace kiommu
