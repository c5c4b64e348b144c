// SPDX-License-Identifier: GPL-2.0-only
//
// Mode TRACKED: follows the guest's stores, see domain.hpp and
// sync/tracker.hpp.
#include "domain/operation.hpp"

namespace kiommu {
namespace {

void note_unsynced(IovaRange range, kiommu_tracking_work* work) {
  kiommu_window& noted = work->unsynced;
  if (noted.last != 0) {
    range = hull(range, {{noted.first}, {noted.last}});
  }
  noted = {range.first.value, range.last.value};
}

}  // namespace

Tracker* Domain::stop_tracking() {
  Tracker* tracker = tracker_;
  tracker_ = nullptr;
  return tracker;
}

// Returns a follower for the walks of one call. An anchor must be set.
TableFollower Domain::follow(bool follows, bool for_refresh) const {
  return {.tracker = *tracker_,
          .faults = *parts_.faults,
          .format = stage1_->anchor.format,
          .limit = intersection(hosts_.aperture(), stage1_->window),
          .follows = follows,
          .for_refresh = for_refresh};
}

void Domain::find_changes(Gpa gpa, uint64_t bytes, kiommu_tracking_work* work) {
  work->count = work->rounds = work->for_refresh = 0;
  work->walk = 0;
  work->unsynced = {};
  work->gfn = gpa.page_number();
  if (tracker_ == nullptr || !stage1_) return;
  work->count = tracker_->store(gpa, bytes, work->ranges);
}

kiommu_tracking_work Domain::work_for(IovaRange range, uint32_t for_refresh) {
  kiommu_tracking_work work{};
  work.ranges[0] = {range.first.value, range.last.value};
  work.count = 1;
  work.for_refresh = for_refresh;
  return work;
}

Result<void> Domain::follow_stores(kiommu_tracking_work* work) {
  // The most walks for one kiommu_tracking_work. Each covers up to 64 GiB of 4
  // KiB pages, see WalkScratch.
  constexpr unsigned kRounds = 4;
  constexpr unsigned kRoundsForRefresh = 16;
  const unsigned rounds = work->for_refresh != 0 ? kRoundsForRefresh : kRounds;
  // A refresh has done what it was asked for. If the walk for it ends early,
  // pages that it has not tracked stay as they were, in sync or not.
  const bool keep = work->for_refresh == KIOMMU_TRACKING_REFRESHED;
  Result<void> all;
  for (; work->count > 0; --work->count) {
    if (tracker_ == nullptr || !stage1_) break;
    kiommu_window& next = work->ranges[work->count - 1];
    const IovaRange asked{{next.first}, {next.last}};
    TableFollower follower = this->follow(true, work->for_refresh != 0);
    if (!hosts_.aperture().overlaps(stage1_->window) ||
        !asked.overlaps(follower.limit)) {
      continue;
    }
    const IovaRange range = intersection(asked, follower.limit);
    Operation operation(*this, range.pages());
    if (!operation.begun()) all = fail(Status::kInterrupted);
    if (!all) {
      // Before its first pass, the walk for a refresh has tracked nothing that
      // would have to go out of sync.
      if (!keep || work->walk != 0) cut(range, true, keep ? work->walk : 0);
      continue;
    }
    Workspace& workspace = operation.workspace();
    follower.pass = tracker_->begin_pass();
    if (work->walk == 0) work->walk = follower.pass;
    follower.walk = work->walk;
    // After a store to a lowest table, the walk can begin at that table.
    Root table;
    const bool known = !follower.for_refresh &&
                       tracker_->find_followed(work->gfn, range, &table);
    const Pass pass =
        update(workspace, range, &follower, known ? &table : nullptr);
    follower.finish_reports();
    if (work->for_refresh == KIOMMU_TRACKING_ALL && follower.unsynced) {
      note_unsynced(*follower.unsynced, work);
    }
    if (pass.done) continue;
    const Status why = pass.done.error();
    next.first = pass.stopped_at.value;
    if (why == Status::kBudget && ++work->rounds < rounds) return pass.done;
    const IovaRange rest{pass.stopped_at, range.last};
    // After a fatal signal there is no further call, and no time to unmap all
    // of it. But pages that the walk has met are tracked by now, and their
    // shadow is not up to date.
    if (why == Status::kInterrupted) {
      all = pass.done;
      cut(rest, true, keep ? work->walk : 0);
      continue;
    }
    follower.report(rest, why, {});
    // What cannot be brought up to date goes out of sync. After a store it is
    // also unmapped as a whole: the fault above reports all of it, so that what
    // is lost of it needs no report of its own.
    if (!keep) {
      shadow_.unmap(workspace, rest.pages());
      workspace.outcome.redo(rest.pages());
    }
    cut(rest, keep, keep ? work->walk : 0);
  }
  if (!all || work->unsynced.last == 0) return all;
  const kiommu_window unsynced = work->unsynced;
  *work =
      work_for({{unsynced.first}, {unsynced.last}}, KIOMMU_TRACKING_REFRESHED);
  return fail(Status::kBudget);
}

void Domain::cut(IovaRange range, bool keep, uint64_t walk) {
  Tracker::Cut result;
  result.keep = keep;
  result.walk = walk;
  tracker_->cut(range, &result);
  const TableFollower reports = follow(true, false);
  for (unsigned i = 0; i < result.count; ++i) {
    reports.report_unsync(result.lost[i].base, result.lost[i].gpa);
  }
  if (result.total > result.count) {
    parts_.faults->count_lost(result.total - result.count);
  }
}

Result<uint64_t> Domain::untrack(uint64_t first_gfn, uint64_t last_gfn) {
  uint64_t count = 0;
  if (tracker_ == nullptr || !stage1_) return count;
  uint64_t cursor = 0;
  Tracker::Lost lost;
  while (tracker_->untrack(first_gfn, last_gfn, &cursor, &lost)) {
    follow(true, false)
        .report_unsync(lost.spans[0].first, Gpa::of_page(lost.gfn));
    ++count;
    if (kiommu_port_interrupted() != 0) return fail(Status::kInterrupted);
  }
  return count;
}

void Domain::forget_tables(uint64_t first_gfn, uint64_t last_gfn) {
  if (tracker_ == nullptr || !stage1_) return;
  bool too_many_uses = false;
  uint64_t cursor = 0;
  Tracker::Lost lost;
  while (tracker_->forget(first_gfn, last_gfn, &cursor, &lost)) {
    for (unsigned i = 0; i < lost.count; ++i) {
      const IovaPages span{lost.spans[i].first_page(),
                           lost.spans[i].last_page()};
      Operation operation(*this, span);
      shadow_.unmap(operation.workspace(), span);
    }
    std::optional<Iova> first;
    if (lost.count > 0) first = lost.spans[0].first;
    follow(true, false).report_unsync(first, Gpa::of_page(lost.gfn));
    too_many_uses |= lost.too_many_uses;
    kiommu_port_yield();
  }
  // Uses beyond kMostUses were not recorded: which IOVAs such a page mapped
  // there is unknown, so all pages go out of sync.
  cursor = 0;
  while (too_many_uses &&
         tracker_->untrack(0, ~uint64_t{0} >> kPageShift, &cursor, &lost)) {
    follow(true, false)
        .report_unsync(lost.spans[0].first, Gpa::of_page(lost.gfn));
    kiommu_port_yield();
  }
}

}  // namespace kiommu
