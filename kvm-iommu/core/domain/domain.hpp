// SPDX-License-Identifier: GPL-2.0-only
//
// A domain: its state, its anchor, and the shadow that belongs to them.
//
//   created --start--> started --register_ioat--> anchored
//          <--stop---         <--unregister_ioat--
//
// It knows nothing of its front. Calls are shared or exclusive, as core.h
// says: operations, which are shared, run in parallel and wait for each other
// only where their ranges overlap.
#pragma once

#include "core_sync.h"
#include "faults/queue.hpp"
#include "formats/anchor.hpp"
#include "host/capabilities.hpp"
#include "memory/pin_table.hpp"
#include "shadow/shadow.hpp"
#include "sync/table_follower.hpp"
#include "workspace/pool.hpp"

namespace kiommu {

class Refresh;

// What the guest's tables say of one IOVA.
struct Translation {
  Gpa gpa;
  uint64_t page_bytes = 0;
  Rights rights;
};

// What a domain is made of beside itself.
struct DomainParts {
  FaultQueue* faults = nullptr;
  kiommu_mutex* tree_mutex = nullptr;
  kiommu_mutex* workspace_mutex = nullptr;
  Workspace* workspace = nullptr;
};

class Domain {
 public:
  Domain(kiommu_hosts* hosts, uint64_t shadow_limit, const DomainParts& parts)
      : parts_(parts),
        pool_(shadow_limit),
        shadow_(pool_, hosts_, parts.tree_mutex),
        workspaces_(hosts, parts.workspace_mutex, parts.workspace) {}
  Domain(const Domain&) = delete;
  Domain& operator=(const Domain&) = delete;

  const DomainParts& parts() const { return parts_; }
  NodePool& pool() { return pool_; }
  // There is a guest.
  kiommu_mem* mem() const { return pins_->mem(); }

  // Exclusive.
  Result<void> set_host_caps(const kiommu_host_caps& caps);
  Result<void> replay(uint32_t host);
  Result<void> start(PinTable* pins);
  Result<void> stop();
  Result<void> register_ioat(const kiommu_anchor& anchor);
  Result<void> unregister_ioat();
  // The same for several that share an anchor, because their devices share the
  // domain: who joins brings the one that is set, or the first one, and gets a
  // ticket; the anchor goes with who leaves last. The errors are those of
  // register_ioat(), or kNoAnchor: the anchor of this ticket is gone.
  Result<uint64_t> join_ioat(const kiommu_anchor& anchor);
  Result<void> leave_ioat(uint64_t ticket);

  // Shared. The result's stopped_iova is set, and what was mapped and unmapped
  // is added to it, unless the error says that nothing has changed.
  Result<void> refresh(uint64_t iova, uint64_t length,
                       kiommu_refresh_result* result);
  Result<void> refresh(IovaRange range, kiommu_refresh_result* result);
  // Several ranges, which are sorted and do not overlap, with one flush.
  struct Change {
    IovaRange range;
    bool drop;  // unmap all of it; the tables are not looked at
  };
  // On failure some of it is done: refresh and unmap them one by one. *lost:
  // not even that helps, for pages around the ranges were lost, too.
  Result<void> refresh_all(const Change* changes, unsigned n, bool* lost);
  // Mode TRACKED, see sync/tracker.hpp. start_tracking() and stop_tracking()
  // are exclusive; the tracker belongs to the caller.
  void start_tracking(Tracker* tracker) { tracker_ = tracker; }
  Tracker* stop_tracking();
  Tracker* tracker() const { return tracker_; }
  uint64_t& passes() { return passes_; }
  // What a store to [gpa, gpa + bytes), or all that the tables say, has to
  // bring up to date; follow_stores() does a part of it: kBudget means that
  // there is more, kInterrupted that it ends here. Nothing else fails: what
  // cannot be is reported.
  void find_changes(Gpa gpa, uint64_t bytes, kiommu_tracking_work* work);
  void find_all(kiommu_tracking_work* work) const;
  Result<void> follow_stores(kiommu_tracking_work* work);
  // Puts pages of tables in [first, last] out of sync: how many.
  Result<uint64_t> untrack(uint64_t first_gfn, uint64_t last_gfn);
  // With the pin table locked: what was in these pages is no table any more.
  void forget_tables(uint64_t first_gfn, uint64_t last_gfn);

  // Unmaps what is not, or no longer, as the guest's tables say; maps nothing.
  // Bad entries are passed by. The work is bounded by what is mapped, and ends
  // early with a fatal signal.
  void drop_stale(IovaRange range);
  // *unmapped is set, also with kNoMemory. `writable`: see writable_pages(), of
  // what is unmapped; or nullptr.
  Result<void> unmap(uint64_t iova, uint64_t length, uint64_t* unmapped,
                     kiommu_u64* writable = nullptr);
  Result<void> unmap_all(uint64_t* unmapped);
  // The error is kNotMapped or what is wrong with the guest's tables; `rights`
  // is what the device can do, set in both cases; kOutOfRange and the like if
  // the IOVA cannot be asked for.
  Result<Translation> translate(Iova iova, Rights* rights);
  // What translate() tells, for many pages, and as much of it as there is room
  // for; *next is where to go on. The error is kOutOfRange and the like, or why
  // it stopped before *next: kBudget also if there was no more room.
  Result<void> translate_range(uint64_t iova, uint64_t length,
                               kiommu_range_record* records, unsigned capacity,
                               unsigned* count, Iova* next);
  // Sets the bits of pages that a device can write now, but for device memory:
  // bit i % 64 of bits[i / 64] is that of page i. In each state. The error is
  // kInterrupted.
  Result<void> writable_pages(IovaRange range, kiommu_u64* bits);
  // The errors of a refused call.
  Result<void> check_iova(Iova iova) const;
  // [iova, iova + length), checked against aperture and window.
  Result<IovaRange> checked_range(uint64_t iova, uint64_t length) const;
  void get_info(kiommu_core_info* info) const;
  // Of the hosts.
  IovaRange aperture() const { return hosts_.aperture(); }
  // The anchor of a ticket; nullptr if it is gone.
  const Stage1* joined(uint64_t ticket) const {
    return stage1_ && ticket == anchor_number_ ? &*stage1_ : nullptr;
  }
  // Of the anchor that was set last: another one has another number.
  uint64_t anchor_number() const { return anchor_number_; }
  // The anchor that is set, whoever did; nullptr if none is.
  const Stage1* anchored() const { return stage1_ ? &*stage1_ : nullptr; }
  // Of the guest; nullptr without one.
  PinTable* pins() const { return pins_; }
  // Pages that stay pinned, of the guest; 0 without one.
  uint64_t idle_pages() const { return pins_ != nullptr ? pins_->idle() : 0; }

  // With the pin table locked, for guest_changes.cc: unmaps the pages that
  // `wants` selects, see Shadow::unmap_where(), and flushes. In operation.hpp.
  template <class Wants>
  void unmap_where(Wants& wants);
  const Shadow& shadow() const { return shadow_; }
  // In the list of the pin table.
  Domain* next = nullptr;

 private:
  // An operation on a range, for as long as it lasts.
  class Operation;

  // How far a walk of a refresh got.
  struct Pass {
    Result<void> done;
    Iova stopped_at;  // if it failed
    Blame blame;
  };

  Result<void> require_anchor() const;
  Result<void> check_range(IovaRange range) const;
  TableFollower follow(bool follows, bool for_refresh) const;
  Result<void> refresh_range(IovaRange range, kiommu_refresh_result* result,
                             TableFollower* follower);
  // `known`: nullptr, or a table from which the walk can begin.
  Pass update(Workspace& workspace, IovaRange range, TableFollower* follower,
              const Root* known = nullptr);
  static Result<void> tell_refresh(Operation& operation, IovaRange range,
                                   const Pass& pass,
                                   kiommu_refresh_result* result);
  Result<void> walk(Workspace& workspace, Refresh& refresh, IovaRange range,
                    const Root* known = nullptr);
  void tell_lost(const Outcome& outcome, std::optional<IovaPages> told);
  void report_lost(IovaPages pages, Status why);
  void cut(IovaRange range, bool keep = false, uint64_t walk = 0);
  Result<void> drop_stale(Workspace& workspace, IovaRange range);
  Result<void> unmap_range(IovaRange range, uint64_t* unmapped,
                           kiommu_u64* writable = nullptr);
  void find_writable(Workspace& workspace, IovaPages pages, kiommu_u64* bits);
  void clear();
  void set_stage1(const std::optional<Stage1>& stage1);

  DomainParts parts_;
  NodePool pool_;
  HostCapabilities hosts_;
  Shadow shadow_;
  WorkspacePool workspaces_;
  Tracker* tracker_ = nullptr;    // set: mode TRACKED
  uint64_t passes_ = 0;           // of all its trackers
  PinTable* pins_ = nullptr;      // set: at least started
  std::optional<Stage1> stage1_;  // set: anchored
  uint64_t anchor_number_ = 0;    // of the anchor that was set last
  uint64_t anchor_users_ = 0;     // who registered it, and who joined
};

}  // namespace kiommu
