// SPDX-License-Identifier: GPL-2.0-only
//
// A domain: its state, its anchor, and the shadow that belongs to them.
//
//   created --start--> started --register_ioat--> anchored
//          <--stop---         <--unregister_ioat--
//
// It knows nothing of its front end. Locking: calls are shared or exclusive,
// see core.h. Shared calls are operations: they run in parallel, and wait for
// each other only where their ranges overlap.
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

// What an IOVA translates to.
struct Translation {
  Gpa gpa;
  uint64_t page_bytes = 0;
  Rights rights;
};

// The objects that a domain uses, created before it.
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
  // The domain must be started.
  kiommu_guest* guest() const { return pins_->guest(); }

  // Exclusive: the caller holds D and P for writing, see core.h.
  Result<void> set_host_caps(const kiommu_host_caps& caps);
  Result<void> replay(uint32_t host, bool killable);
  Result<void> start(PinTable* pins);
  Result<void> stop();
  Result<void> register_ioat(const kiommu_anchor& anchor);
  Result<void> unregister_ioat();
  // The same for several users that share an anchor because their devices share
  // the domain. Each passes the anchor that is set, or sets the first one,
  // and gets a ticket. The last one to leave unsets the anchor. The errors are
  // those of register_ioat(), and kNoAnchor if the anchor of a ticket is gone.
  Result<uint64_t> join_ioat(const kiommu_anchor& anchor);
  Result<void> leave_ioat(uint64_t ticket);

  // Shared: the caller holds D and P for reading. Sets the result's
  // stopped_iova, and adds what was mapped and unmapped to it, unless the error
  // says that nothing has changed.
  Result<void> refresh(uint64_t iova, uint64_t length,
                       kiommu_refresh_result* result);
  Result<void> refresh(IovaRange range, kiommu_refresh_result* result);
  // Maps a range to GPA = IOVA - offset, as the identity anchor that is set
  // says, but with `rights`, and all of it: if some page cannot be mapped, none
  // is. Nothing may be mapped in the range. The errors are those of a refresh,
  // where what a refresh leaves out is an error as well; kAnchorBusy for
  // another anchor.
  Result<void> map(uint64_t iova, uint64_t length, Rights rights);
  // Refreshes or unmaps several ranges, sorted and not overlapping, with one
  // flush.
  struct Change {
    IovaRange range;
    bool drop;  // unmap all of it without reading the tables
  };
  // On failure some of the changes may not be done: the caller must do them one
  // by one. *lost: not even that brings everything back, because pages
  // outside of the ranges were lost, too.
  Result<void> refresh_all(const Change* changes, unsigned n, bool* lost);
  // Mode TRACKED, see sync/tracker.hpp. start_tracking() and stop_tracking()
  // are exclusive; the caller owns the tracker.
  void start_tracking(Tracker* tracker) { tracker_ = tracker; }
  Tracker* stop_tracking();
  Tracker* tracker() const { return tracker_; }
  uint64_t& passes() { return passes_; }
  // Set `work` to the IOVAs that must be brought up to date: after a store to
  // [gpa, gpa + bytes), or `range`. follow_stores() does a part
  // of the work. The errors are kBudget if there is more to do, and
  // kInterrupted if a fatal signal ended it; anything else is reported as a
  // fault.
  void find_changes(Gpa gpa, uint64_t bytes, kiommu_tracking_work* work);
  // KIOMMU_TRACKING_*
  static kiommu_tracking_work work_for(IovaRange range, uint32_t for_refresh);
  Result<void> follow_stores(kiommu_tracking_work* work);
  // Puts the tracked pages in [first_gfn, last_gfn] out of sync and returns how
  // many these are. The error is kInterrupted.
  Result<uint64_t> untrack(uint64_t first_gfn, uint64_t last_gfn);
  // Forgets the tables in these pages, whose memory is gone, and unmaps what
  // they map. The caller holds P for writing.
  void forget_tables(uint64_t first_gfn, uint64_t last_gfn);

  // Unmaps what differs from the guest's tables; maps nothing. What bad entries
  // map is unmapped, too. The work is bounded by what is mapped; a fatal signal
  // ends it early.
  void drop_stale(IovaRange range);
  // Sets *unmapped, also with kNoMemory. If `writable` is not nullptr, first
  // sets the bits of the pages in it, see writable_pages().
  Result<void> unmap(uint64_t iova, uint64_t length, uint64_t* unmapped,
                     kiommu_u64* writable = nullptr);
  Result<void> unmap_all(uint64_t* unmapped);
  // The error is kNotMapped or what is wrong with the guest's tables; *rights
  // is set to those that a device has, even then. If the IOVA cannot be asked
  // for, the error is kOutOfRange or the like, and *rights is not set.
  Result<Translation> translate(Iova iova, Rights* rights);
  // Same as translate(), for a range, as far as there is room for the records.
  // *next is set to where to continue. The error is kOutOfRange or the like, or
  // why the walk stopped at *next: kBudget also if there was no more room.
  Result<void> translate_range(uint64_t iova, uint64_t length,
                               kiommu_range_record* records, unsigned capacity,
                               unsigned* count, Iova* next);
  // Sets the bits of pages that a device can write now, except for device
  // memory: bit i % 64 of bits[i / 64] is that of page i of the range. Works in
  // each state. The error is kInterrupted.
  Result<void> writable_pages(IovaRange range, kiommu_u64* bits);
  // Checks an IOVA. The errors are those of a refused call.
  Result<void> check_iova(Iova iova) const;
  // Returns [iova, iova + length) once it is checked against aperture and
  // window.
  Result<IovaRange> checked_range(uint64_t iova, uint64_t length) const;
  void get_info(kiommu_core_info* info) const;
  // The IOVAs that all hosts translate.
  IovaRange aperture() const { return hosts_.aperture(); }
  // The anchor of a ticket, or nullptr if it is gone.
  const Stage1* joined(uint64_t ticket) const {
    return stage1_ && ticket == anchor_number_ ? &*stage1_ : nullptr;
  }
  // The number of the anchor that was set last; each anchor gets a new one.
  uint64_t anchor_number() const { return anchor_number_; }
  // The anchor that is set, whoever set it, or nullptr.
  const Stage1* anchored() const { return stage1_ ? &*stage1_ : nullptr; }
  // The guest's pin table, or nullptr without a guest.
  PinTable* pins() const { return pins_; }
  // The guest's idle pages, 0 without a guest.
  uint64_t idle_pages() const { return pins_ != nullptr ? pins_->idle() : 0; }

  // Unmaps the pages that `wants` selects, see Shadow::unmap_where(), and
  // flushes. The caller holds P for writing. Defined in operation.hpp.
  template <class Wants>
  void unmap_where(Wants& wants);
  const Shadow& shadow() const { return shadow_; }
  // Link in PinTable::domains, protected by P.
  Domain* next = nullptr;

 private:
  // An operation on a range, see operation.hpp.
  class Operation;

  // The result of one pass of a refresh.
  struct Pass {
    Result<void> done;
    Iova stopped_at;  // if it failed
    Blame blame;
  };

  Result<void> require_anchor() const;
  Result<void> check_range(IovaRange range) const;
  TableFollower follow(bool follows, bool for_refresh) const;
  // The range has passed check_range().
  Result<void> refresh_checked(IovaRange range, kiommu_refresh_result* result);
  Result<void> refresh_range(IovaRange range, kiommu_refresh_result* result,
                             TableFollower* follower);
  // `known`: a table at which the walk can begin, or nullptr.
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
  Result<void> map_pages(Workspace& workspace, IovaPages pages, Rights rights);
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
  uint64_t passes_ = 0;           // begun by all its trackers
  PinTable* pins_ = nullptr;      // set: at least started
  std::optional<Stage1> stage1_;  // set: anchored
  uint64_t anchor_number_ = 0;    // of the anchor that was set last
  uint64_t anchor_users_ = 0;     // that registered or joined it
};

}  // namespace kiommu
