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
  work->gfn = gpa.page_number();
  if (tracker_ == nullptr || !stage1_) return;
  work->count = tracker_->store(gpa, bytes, work->ranges);
}

void Domain::find_all(kiommu_tracking_work* work) const {
  *work = {};
  if (tracker_ == nullptr || !stage1_) return;
  work->ranges[0] = {stage1_->window.first.value, stage1_->window.last.value};
  work->count = 1;
  work->for_refresh = 1;
}

Result<void> Domain::bring(kiommu_tracking_work* work) {
  // Of 64 GiB of 4 KiB pages each, see WalkScratch.
  constexpr unsigned kRounds = 4;
  constexpr unsigned kRoundsForRefresh = 16;
  const unsigned rounds = work->for_refresh != 0 ? kRoundsForRefresh : kRounds;
  for (; work->count > 0; --work->count) {
    if (tracker_ == nullptr || !stage1_) return {};
    kiommu_window& next = work->ranges[work->count - 1];
    const IovaRange asked{{next.first}, {next.last}};
    Follow follow = this->follow(true, work->for_refresh != 0);
    if (!hosts_.aperture().overlaps(stage1_->window) ||
        !asked.overlaps(follow.limit)) {
      continue;
    }
    const IovaRange range = intersection(asked, follow.limit);
    kiommu_refresh_result result{};
    Session session(*this, {range.first_page(), range.last_page()});
    // A store to a lowest table: the way to it is known.
    Root table;
    const bool known = !follow.for_refresh &&
                       tracker_->find_followed(work->gfn, range, &table);
    auto done = bring_up(session.request(), range, &result, &follow,
                         known ? &table : nullptr);
    if (session.request().lost) cut_lost(session);
    if (done) continue;
    if (done.error() == Status::kInterrupted) return done;
    next.first = result.stopped_iova;
    if (done.error() == Status::kBudget && ++work->rounds < rounds) return done;
    const IovaRange rest{{result.stopped_iova}, range.last};
    follow.report(rest, done.error(), {});
    // What cannot be brought up to date is unmapped, and out of sync.
    block(session, rest);
    cut(rest);
  }
  return {};
}

void Domain::block(Session& session, IovaRange range) {
  Request& request = session.request();
  (void)shadow_.unmap(request, {range.first_page(), range.last_page()});
  (void)shadow_.finish(request);  // nothing was mapped: nothing can be refused
  request.mapped = request.unmapped = 0;
  cut_lost(session);
}

// The rest of a block that was split, without memory for that.
void Domain::cut_lost(Session& session) {
  if (const auto lost = session.request().lost) {
    cut({Iova::of_page(*lost), Iova::of_page(session.locked().last)});
  }
}

void Domain::cut(IovaRange range) {
  TableWindow lost[Tracker::kMostLost];
  const unsigned count = tracker_->cut(range, lost);
  const Follow reports = follow(true, false);
  for (unsigned i = 0; i < count; ++i) {
    reports.report_unsynced(lost[i].base, lost[i].gpa);
  }
}

uint64_t Domain::untrack(uint64_t first_gfn, uint64_t last_gfn) {
  uint64_t count = 0;
  if (tracker_ == nullptr || !stage1_) return count;
  Tracker::Lost lost;
  while (tracker_->untrack(&first_gfn, last_gfn, &lost)) {
    follow(true, false)
        .report_unsynced(lost.spans[0].first, Gpa::of_page(lost.gfn));
    ++count;
  }
  return count;
}

void Domain::forget_tables(uint64_t first_gfn, uint64_t last_gfn) {
  if (tracker_ == nullptr || !stage1_) return;
  uint64_t cursor = 0;
  Tracker::Lost lost;
  while (tracker_->forget(first_gfn, last_gfn, &cursor, &lost)) {
    for (unsigned i = 0; i < lost.count; ++i) {
      const IovaRange span = lost.spans[i];
      Session session(*this, {span.first_page(), span.last_page()});
      block(session, span);
    }
    follow(true, false)
        .report_unsynced(lost.spans[0].first, Gpa::of_page(lost.gfn));
  }
}

}  // namespace kiommu
