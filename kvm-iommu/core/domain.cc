// SPDX-License-Identifier: GPL-2.0-only
//
// A domain, see domain.hpp.
#include "domain.hpp"

#include "anchor.hpp"
#include "drop_stale.hpp"
#include "format_list.hpp"
#include "refresh.hpp"

namespace kiommu {
namespace {

constexpr uint64_t kLastPage = ~uint64_t{0} >> kPageShift;

// Takes the answer for one page out of a walk.
class FindLeaf {
 public:
  Result<void> absent(IovaRange) { return fail(Status::kNotMapped); }
  Result<void> bad(IovaRange, Status why) { return fail(why); }
  Result<void> stopped(Iova, Status why) { return fail(why); }
  Result<void> pages(Iova, const kiommu_u64* words, unsigned) {
    if (words[0] == PageWord::kAbsent) return fail(Status::kNotMapped);
    found = {Gpa::of_page(PageWord::gfn(words[0])), kPageBytes,
             PageWord::rights(words[0])};
    return {};
  }
  Result<void> leaf(const Leaf& leaf) {
    found = {leaf.gpa, uint64_t{1} << leaf.shift, leaf.rights};
    return {};
  }

  Translation found;
};

// Walks the tables of a format that has some.
template <WalkSink Sink>
Result<void> walk_tables(const Stage1& stage1, Stage2& stage2,
                         const WalkScratch& scratch, Sink& sink,
                         IovaRange range) {
  return FormatList::dispatch<void>(
      stage1.anchor.format, [&]<TableFormat F>() -> Result<void> {
        return Walker<F, Sink>(stage2, scratch, sink).walk(stage1.root, range);
      });
}

// Whether the call could go on if something was unmapped.
constexpr bool may_find_room(Status status) {
  return status == Status::kNoMemory || status == Status::kShadowLimit ||
         status == Status::kMemlock;
}

// Tells what a pass did, which begins anew for the next one.
void add_counts(Request& request, kiommu_refresh_result* result) {
  result->mapped += request.mapped;
  result->unmapped += request.unmapped;
  request.mapped = request.unmapped = 0;
  request.refused.reset();
}

}  // namespace

// Takes a request and the leaves and blocks around a range of pages, gives
// both back at the end of the scope.
class Domain::Session {
 public:
  Session(Domain& domain, PageRange range)
      : domain_(domain), request_(*domain.requests_.take()) {
    request_.begin(*domain.pins_);
    PageRange want{range.first & ~uint64_t{Shadow::kLeafPages - 1},
                   range.last | (Shadow::kLeafPages - 1)};
    for (;;) {
      domain_.locks_.lock(request_, want);
      const PageRange reach = domain_.shadow_.reach(want);
      if (want.contains(reach)) break;
      // Only who has a whole block to himself changes it: with these locked,
      // it stays as it is.
      domain_.locks_.unlock(request_);
      want = {reach.first & ~uint64_t{Shadow::kLeafPages - 1},
              reach.last | (Shadow::kLeafPages - 1)};
    }
  }
  ~Session() {
    domain_.locks_.unlock(request_);
    request_.end();
    domain_.requests_.give(request_);
  }
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  Request& request() { return request_; }
  // Whole leaves and blocks: the pages that the request has to itself.
  PageRange locked() const { return request_.range; }

 private:
  Domain& domain_;
  Request& request_;
};

Result<void> Domain::set_host_caps(const kiommu_host_caps& caps) {
  Hosts next = hosts_;
  next.set_caps(caps);
  if (shadow_.mapped_pages() > 0) {
    const IovaRange aperture = next.aperture();
    const uint64_t first = aperture.first_page();
    const uint64_t last = aperture.last_page();
    bool conflict = next.splits_calls() != hosts_.splits_calls();
    conflict |= first > 0 && shadow_.anything_mapped({0, first - 1});
    conflict |=
        last < kLastPage && shadow_.anything_mapped({last + 1, kLastPage});
    for (unsigned i = 0; i < next.reserved_count(); ++i) {
      conflict |= shadow_.anything_mapped(
          {next.reserved(i).first_page(), next.reserved(i).last_page()});
    }
    if (conflict) return fail(Status::kConflict);
  }
  hosts_ = next;
  return {};
}

Result<void> Domain::replay(uint32_t host) {
  if (pins_ == nullptr) return {};
  Session session(*this, {0, kLastPage});
  return shadow_.replay(session.request(), host);
}

Result<void> Domain::start(Pins* pins) {
  if (pins_ != nullptr) return fail(Status::kKvmBusy);
  pins_ = pins;
  next = pins->domains;
  pins->domains = this;
  return {};
}

// Removes every mapping, and every pin that nobody else needs.
void Domain::clear() {
  std::uint64_t unmapped = 0;
  // Nothing is split here, for nothing is left: this cannot fail.
  (void)unmap_range({{0}, {~uint64_t{0}}}, &unmapped);
  if (tracker_ != nullptr) tracker_->clear();
  pins_->trim(0);
}

void Domain::set_stage1(const std::optional<Stage1>& stage1) {
  std::optional<FaultQueue::Anchor> anchor;
  if (stage1) anchor = {stage1->anchor.format, stage1->window};
  stage1_ = stage1;
  parts_.faults->set_anchor(anchor);
}

Result<void> Domain::stop() {
  if (pins_ == nullptr) return fail(Status::kNoKvm);
  clear();
  set_stage1({});
  Domain** link = &pins_->domains;
  while (*link != this) link = &(*link)->next;
  *link = next;
  pins_ = nullptr;
  return {};
}

Result<void> Domain::register_ioat(const kiommu_anchor& anchor) {
  if (pins_ == nullptr) return fail(Status::kNoKvm);
  if (stage1_) return fail(Status::kAnchorBusy);
  Stage2 stage2(pins_->mem(), pins_->regions());
  auto stage1 = check_anchor(anchor, stage2);
  if (!stage1) return fail(stage1.error());
  set_stage1(*stage1);
  ++anchor_number_;
  anchor_users_ = 1;
  return {};
}

Result<uint64_t> Domain::join_ioat(const kiommu_anchor& anchor) {
  if (!stage1_) {
    KIOMMU_TRY(register_ioat(anchor));
    return anchor_number_;
  }
  Stage2 stage2(pins_->mem(), pins_->regions());
  auto stage1 = check_anchor(anchor, stage2);
  if (!stage1) return fail(stage1.error());
  if (!stage1_->same_as(*stage1)) return fail(Status::kAnchorBusy);
  ++anchor_users_;
  return anchor_number_;
}

Result<void> Domain::leave_ioat(uint64_t ticket) {
  if (joined(ticket) == nullptr) return fail(Status::kNoAnchor);
  if (--anchor_users_ > 0) return {};
  return unregister_ioat();
}

Result<void> Domain::unregister_ioat() {
  KIOMMU_TRY(require_anchor());
  clear();
  set_stage1({});
  return {};
}

Result<void> Domain::require_anchor() const {
  if (pins_ == nullptr) return fail(Status::kNoKvm);
  if (!stage1_) return fail(Status::kNoAnchor);
  return {};
}

Result<IovaRange> Domain::checked_range(uint64_t iova, uint64_t length) const {
  KIOMMU_TRY(require_anchor());
  const IovaRange range{{iova}, {iova + (length - 1)}};
  if (length == 0 || ((iova | length) & ~kPageMask) != 0) {
    return fail(Status::kMisaligned);
  }
  if (range.last < range.first) return fail(Status::kOverflow);
  KIOMMU_TRY(check_range(range));
  return range;
}

Result<void> Domain::check_range(IovaRange range) const {
  KIOMMU_TRY(require_anchor());
  if (!hosts_.aperture().contains(range) || !stage1_->window.contains(range)) {
    return fail(Status::kOutOfRange);
  }
  return {};
}

Result<void> Domain::refresh(uint64_t iova, uint64_t length,
                             kiommu_refresh_result* result) {
  auto range = checked_range(iova, length);
  if (!range) return fail(range.error());
  return refresh(*range, result);
}

Result<void> Domain::refresh(IovaRange range, kiommu_refresh_result* result) {
  KIOMMU_TRY(check_range(range));
  if (tracker_ == nullptr) return refresh_once(range, result, nullptr);
  Follow asked = follow(false, true);
  auto done = refresh_once(range, result, &asked);
  if (!asked.unsynced) return done;
  kiommu_tracking_work work{};
  work.count = work.for_refresh = 1;
  work.ranges[0] = {asked.unsynced->first.value, asked.unsynced->last.value};
  Result<void> followed;
  do {
    followed = bring(&work);
  } while (!followed && followed.error() == Status::kBudget);
  return done;
}

Result<void> Domain::refresh_once(IovaRange range,
                                  kiommu_refresh_result* result,
                                  Follow* follow) {
  Session session(*this, {range.first_page(), range.last_page()});
  Request& request = session.request();
  auto done = bring_up(request, range, result, follow);
  if (done || !may_find_room(done.error()) || request.lost) return done;
  // What the guest has given up further on may take the room. Pins that become
  // idle are not unpinned here: those are for the caller to trim.
  const IovaRange rest{{result->stopped_iova}, range.last};
  const uint64_t unmapped = result->unmapped;
  KIOMMU_TRY(drop_stale(request, rest, result));
  if (result->unmapped == unmapped || done.error() == Status::kMemlock ||
      request.lost) {
    return done;
  }
  return bring_up(request, rest, result, follow);
}

Result<void> Domain::walk(Request& request, Refresh& refresh, IovaRange range) {
  if (stage1_->anchor.format == kIdentityFormatId) {
    return refresh.identity(range, stage1_->anchor.offset);
  }
  return walk_tables(*stage1_, *request.stage2, request.scratch, refresh,
                     range);
}

Result<void> Domain::refresh_all(const Change* changes, unsigned n,
                                 bool* lost) {
  Session session(
      *this, {changes[0].range.first_page(), changes[n - 1].range.last_page()});
  Request& request = session.request();
  Result<void> done;
  for (unsigned i = 0; i < n && done; ++i) {
    const IovaRange range = changes[i].range;
    if (changes[i].drop) {
      done = shadow_.unmap(request, {range.first_page(), range.last_page()});
    } else {
      Refresh refresh(request, shadow_, hosts_, range, nullptr);
      done = refresh.settle(walk(request, refresh, range));
    }
  }
  const auto finished = shadow_.finish(request);
  *lost = request.lost.has_value();
  return done ? finished : done;
}

// One pass of a refresh.
Result<void> Domain::bring_up(Request& request, IovaRange range,
                              kiommu_refresh_result* result, Follow* follow) {
  Refresh refresh(request, shadow_, hosts_, range, follow);
  auto done = refresh.finish(walk(request, refresh, range));
  const Iova stopped_at = refresh.stopped_at();  // may be below the range
  result->stopped_iova = done                       ? range.last.value + 1
                         : stopped_at < range.first ? range.first.value
                                                    : stopped_at.value;
  add_counts(request, result);
  return done;
}

Result<void> Domain::drop_stale(IovaRange range,
                                kiommu_refresh_result* result) {
  KIOMMU_TRY(check_range(range));
  Session session(*this, {range.first_page(), range.last_page()});
  result->stopped_iova = range.first.value;
  return drop_stale(session.request(), range, result);
}

// Goes by what is mapped, a leaf at a time, not by what the tables say that
// there should be: that can be without end.
Result<void> Domain::drop_stale(Request& request, IovaRange range,
                                kiommu_refresh_result* result) {
  // Without tables nothing changes but memory slots: see memory_change.hpp.
  if (stage1_->anchor.format == kIdentityFormatId) return {};
  Result<void> done;
  PageRange left{range.first_page(), range.last_page()};
  while (const auto leaf = shadow_.next_leaf(left)) {
    IovaRange part = IovaRange::of_pages(leaf->first, leaf->last);
    for (;;) {
      DropStale sink(request, shadow_);
      done =
          walk_tables(*stage1_, *request.stage2, request.scratch, sink, part);
      const auto bad_last = sink.bad_last();
      if (done || !bad_last) break;
      done = {};
      if (*bad_last >= part.last) break;
      part.first = bad_last->plus(1);
    }
    if (!done || leaf->last == left.last) break;
    left.first = leaf->last + 1;
  }
  (void)shadow_.finish(request);  // nothing was mapped: nothing can be refused
  add_counts(request, result);
  if (request.lost &&
      Iova::of_page(*request.lost).value < result->stopped_iova) {
    const Iova lost = Iova::of_page(*request.lost);
    result->stopped_iova = lost < range.first ? range.first.value : lost.value;
  }
  return done;
}

Result<void> Domain::unmap_range(IovaRange range, uint64_t* unmapped,
                                 kiommu_u64* writable) {
  const PageRange pages{range.first_page(), range.last_page()};
  Session session(*this, pages);
  Request& request = session.request();
  if (writable != nullptr) find_writable(request, pages, writable);
  auto done = shadow_.unmap(request, pages);
  (void)shadow_.finish(request);  // nothing was mapped: nothing can be refused
  *unmapped = request.unmapped;
  return done;
}

Result<void> Domain::unmap(uint64_t iova, uint64_t length, uint64_t* unmapped,
                           kiommu_u64* writable) {
  auto range = checked_range(iova, length);
  if (!range) return fail(range.error());
  return unmap_range(*range, unmapped, writable);
}

Result<void> Domain::unmap_all(uint64_t* unmapped) {
  KIOMMU_TRY(require_anchor());
  return unmap_range({{0}, {~uint64_t{0}}}, unmapped);
}

Result<void> Domain::check_iova(Iova iova) const {
  auto range = checked_range(iova.page().value, kPageBytes);
  return range ? Result<void>{} : fail(range.error());
}

Result<Translation> Domain::translate(Iova iova, Rights* rights) {
  KIOMMU_TRY(check_iova(iova));
  const uint64_t page = iova.page_number();
  Session session(*this, {page, page});
  Request& request = session.request();
  *rights = shadow_.rights_at(page);
  FindLeaf sink;
  if (stage1_->anchor.format == kIdentityFormatId) {
    (void)sink.leaf({.iova = iova.page(),
                     .gpa = {iova.page().value - stage1_->anchor.offset},
                     .pages = 1,
                     .rights = kReadWrite,
                     .shift = kPageShift});
  } else {
    KIOMMU_TRY(walk_tables(*stage1_, *request.stage2, request.scratch, sink,
                           IovaRange::of_pages(page, page)));
  }
  Translation found = sink.found;
  auto region = request.stage2->region(found.gpa.page_number());
  if (!region) return fail(region.error());
  found.rights = found.rights & (*region)->rights();
  if (!found.rights.any()) return fail(Status::kReadOnly);
  found.gpa = found.gpa.plus(iova.value & ~kPageMask);
  return found;
}

Result<void> Domain::translate_range(uint64_t iova, uint64_t length,
                                     kiommu_range_record* records,
                                     unsigned capacity, unsigned* count,
                                     Iova* next) {
  auto range = checked_range(iova, length);
  if (!range) return fail(range.error());
  Session session(*this, {range->first_page(), range->last_page()});
  Request& request = session.request();
  const bool identity = stage1_->anchor.format == kIdentityFormatId;
  TellRange sink(request, shadow_, identity, records, capacity);
  auto told =
      identity
          ? sink.leaf({.iova = range->first,
                       .gpa = {range->first.value - stage1_->anchor.offset},
                       .pages = range->pages(),
                       .rights = kReadWrite,
                       .shift = kPageShift})
          : walk_tables(*stage1_, *request.stage2, request.scratch, sink,
                        *range);
  *count = sink.count();
  *next = sink.stopped_at() ? *sink.stopped_at() : range->last.plus(1);
  return told;
}

void Domain::writable_pages(IovaRange range, kiommu_u64* bits) {
  if (pins_ == nullptr) return;
  const PageRange pages{range.first_page(), range.last_page()};
  Session session(*this, pages);
  find_writable(session.request(), pages, bits);
}

void Domain::find_writable(Request& request, PageRange pages,
                           kiommu_u64* bits) {
  for (uint64_t page = pages.first; page <= pages.last;) {
    const Shadow::Span span = shadow_.span_at(request, page, pages.last);
    const bool writable = span.rights.write() && !span.mmio;
    for (; page <= span.last && writable; ++page) {
      const uint64_t bit = page - pages.first;
      bits[bit / 64] |= kiommu_u64{1} << (bit % 64);
    }
    page = span.last + 1;
  }
}

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
  *work = {};
  if (tracker_ == nullptr || !stage1_) return;
  IovaRange ranges[Tracker::kMostUses];
  work->count = tracker_->store(gpa, bytes, ranges);
  for (unsigned i = 0; i < work->count; ++i) {
    work->ranges[i] = {ranges[i].first.value, ranges[i].last.value};
  }
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
    auto done = bring_up(session.request(), range, &result, &follow);
    cut_lost(session);
    if (done) continue;
    if (done.error() == Status::kInterrupted) return done;
    next.first = result.stopped_iova;
    if (done.error() == Status::kBudget && ++work->rounds < rounds) return done;
    const IovaRange rest{{result.stopped_iova}, range.last};
    follow.report(rest, done.error());
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

void Domain::get_info(kiommu_core_info* info) const {
  *info = {};
  info->state = pins_ == nullptr ? 0 : !stage1_ ? 1 : 2;
  if (stage1_) info->anchor = stage1_->anchor;
  info->formats = FormatList::kBitmap | uint64_t{1} << kIdentityFormatId;
  info->mapped_pages = shadow_.mapped_pages();
  info->shadow_bytes = pool_.bytes();
  info->shadow_limit = pool_.limit_bytes();
  if (pins_ == nullptr) return;
  info->pinned_pages = pins_->pinned();
  info->idle_pages = pins_->idle();
  info->idle_limit = pins_->idle_limit();
  info->pin_bytes = pins_->bytes();
  if (tracker_ == nullptr) return;
  info->tracked_pages = tracker_->tracked();
  info->unsynced_pages = tracker_->unsynced();
}

}  // namespace kiommu
