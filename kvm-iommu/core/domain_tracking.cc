// SPDX-License-Identifier: GPL-2.0-only
//
// A domain that follows the guest's stores, see domain.hpp and tracker.hpp.
#include "session.hpp"

namespace kiommu {

Tracker* Domain::stop_tracking() {
  Tracker* tracker = tracker_;
  tracker_ = nullptr;
  return tracker;
}

// For walks now; there is an anchor.
Follow Domain::follow(bool follows, bool for_refresh) const {
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
  work->gfn = gpa.page_number();
  if (tracker_ == nullptr || !stage1_) return;
  work->count = tracker_->store(gpa, bytes, work->ranges);
}

void Domain::find_all(kiommu_tracking_work* work) const {
  *work = {};
  if (tracker_ == nullptr || !stage1_) return;
  work->ranges[0] = {stage1_->window.first.value, stage1_->window.last.value};
  work->count = 1;
  work->for_refresh = KIOMMU_TRACKING_ALL;
}

Result<void> Domain::bring(kiommu_tracking_work* work) {
  // Of 64 GiB of 4 KiB pages each, see WalkScratch.
  constexpr unsigned kRounds = 4;
  constexpr unsigned kRoundsForRefresh = 16;
  const unsigned rounds = work->for_refresh != 0 ? kRoundsForRefresh : kRounds;
  // A refresh has done what it was asked for: what it is ended early for stays
  // as it was before, out of sync or not.
  const bool keep = work->for_refresh == KIOMMU_TRACKING_REFRESHED;
  Result<void> all;
  for (; work->count > 0; --work->count) {
    if (tracker_ == nullptr || !stage1_) break;
    kiommu_window& next = work->ranges[work->count - 1];
    const IovaRange asked{{next.first}, {next.last}};
    Follow follow = this->follow(true, work->for_refresh != 0);
    if (!hosts_.aperture().overlaps(stage1_->window) ||
        !asked.overlaps(follow.limit)) {
      continue;
    }
    const IovaRange range = intersection(asked, follow.limit);
    Session session(*this, {range.first_page(), range.last_page()});
    if (!session.begun()) all = fail(Status::kInterrupted);
    if (!all) {
      // A refresh that has not begun has tracked nothing.
      if (!keep || work->walk != 0) cut(range, true, keep ? work->walk : 0);
      continue;
    }
    Request& request = session.request();
    follow.pass = tracker_->begin_pass();
    if (work->walk == 0) work->walk = follow.pass;
    follow.walk = work->walk;
    // A store to a lowest table: the way to it is known.
    Root table;
    const bool known = !follow.for_refresh &&
                       tracker_->find_followed(work->gfn, range, &table);
    const Pass pass =
        bring_up(request, range, &follow, known ? &table : nullptr);
    follow.finish_reports();
    if (pass.done) continue;
    const Status why = pass.done.error();
    next.first = pass.stopped_at.value;
    if (why == Status::kBudget && ++work->rounds < rounds) return pass.done;
    const IovaRange rest{pass.stopped_at, range.last};
    // Who is killed does not come again, nor waits until all of it is unmapped.
    // But pages that were met are tracked by now, and not in sync.
    if (why == Status::kInterrupted) {
      all = pass.done;
      cut(rest, true, keep ? work->walk : 0);
      continue;
    }
    follow.report(rest, why, {});
    // What cannot be brought up to date is out of sync. It is unmapped, too:
    // all of it, so that what is lost of it need not be told by itself.
    if (!keep) {
      shadow_.unmap(request, {rest.first_page(), rest.last_page()});
      request.outcome.redo({rest.first_page(), rest.last_page()});
    }
    cut(rest, keep, keep ? work->walk : 0);
  }
  return all;
}

void Domain::cut(IovaRange range, bool keep, uint64_t walk) {
  Tracker::Cut result;
  result.keep = keep;
  result.walk = walk;
  tracker_->cut(range, &result);
  const Follow reports = follow(true, false);
  for (unsigned i = 0; i < result.count; ++i) {
    reports.report_unsynced(result.lost[i].base, result.lost[i].gpa);
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
        .report_unsynced(lost.spans[0].first, Gpa::of_page(lost.gfn));
    ++count;
    if (kiommu_port_interrupted() != 0) return fail(Status::kInterrupted);
  }
  return count;
}

void Domain::forget_tables(uint64_t first_gfn, uint64_t last_gfn) {
  if (tracker_ == nullptr || !stage1_) return;
  bool crowded = false;
  uint64_t cursor = 0;
  Tracker::Lost lost;
  while (tracker_->forget(first_gfn, last_gfn, &cursor, &lost)) {
    for (unsigned i = 0; i < lost.count; ++i) {
      const PageRange span{lost.spans[i].first_page(),
                           lost.spans[i].last_page()};
      Session session(*this, span);
      shadow_.unmap(session.request(), span);
    }
    std::optional<Iova> first;
    if (lost.count > 0) first = lost.spans[0].first;
    follow(true, false).report_unsynced(first, Gpa::of_page(lost.gfn));
    crowded |= lost.crowded;
    kiommu_port_yield();
  }
  // Nobody knows where else it was a table.
  cursor = 0;
  while (crowded &&
         tracker_->untrack(0, ~uint64_t{0} >> kPageShift, &cursor, &lost)) {
    follow(true, false)
        .report_unsynced(lost.spans[0].first, Gpa::of_page(lost.gfn));
    kiommu_port_yield();
  }
}

}  // namespace kiommu
