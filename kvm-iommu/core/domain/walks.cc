// SPDX-License-Identifier: GPL-2.0-only
//
// The calls of a domain that walk the guest's tables, see domain.hpp: they
// update the shadow, and translate IOVAs.
//
// All walks are in this file: functions of formats that the compiler does not
// inline must not be emitted into two objects, because the kernel's linker
// keeps the tables of patchable functions (ftrace) of both.
#include "domain/operation.hpp"
#include "formats/list.hpp"
#include "sync/drop_stale.hpp"
#include "sync/range_report.hpp"
#include "sync/refresh.hpp"

namespace kiommu {
namespace {

// A sink that keeps the translation of one page.
class FindLeaf {
 public:
  Result<void> absent(IovaRange) { return fail(Status::kNotMapped); }
  Result<void> bad(IovaRange, Status why, const Blame&) { return fail(why); }
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

// Walks the guest's tables, which the format must have, from the root, or from
// `known` if that is not nullptr.
template <WalkSink Sink>
Result<void> walk_tables(const Stage1& stage1, GuestMemory& guest_memory,
                         const WalkScratch& scratch, Sink& sink,
                         IovaRange range, const Root* known = nullptr) {
  return FormatList::dispatch<void>(
      stage1.anchor.format, [&]<TableFormat F>() -> Result<void> {
        Walker<F, Sink> walker(guest_memory, scratch, sink);
        return known != nullptr ? walker.walk_below(*known, range)
                                : walker.walk(stage1.root, range);
      });
}

// Whether the call may succeed once something is unmapped.
constexpr bool may_find_room(Status status) {
  return status == Status::kNoMemory || status == Status::kShadowLimit ||
         status == Status::kMemlock;
}

}  // namespace

Result<void> Domain::refresh(uint64_t iova, uint64_t length,
                             kiommu_refresh_result* result) {
  auto range = checked_range(iova, length);
  if (!range) return fail(range.error());
  return refresh_checked(*range, result);
}

Result<void> Domain::refresh(IovaRange range, kiommu_refresh_result* result) {
  KIOMMU_TRY(check_range(range));
  return refresh_checked(range, result);
}

Result<void> Domain::refresh_checked(IovaRange range,
                                     kiommu_refresh_result* result) {
  if (tracker_ == nullptr) return refresh_range(range, result, nullptr);
  TableFollower asked = follow(false, true);
  auto done = refresh_range(range, result, &asked);
  if (!asked.unsynced) return done;
  kiommu_tracking_work work =
      work_for(*asked.unsynced, KIOMMU_TRACKING_REFRESHED);
  Result<void> followed;
  do {
    followed = follow_stores(&work);
  } while (!followed && followed.error() == Status::kBudget);
  return done;
}

Result<void> Domain::refresh_range(IovaRange range,
                                   kiommu_refresh_result* result,
                                   TableFollower* follower) {
  Operation operation(*this, range.pages());
  if (!operation.begun()) {
    result->stopped_iova = range.first.value;
    return fail(Status::kInterrupted);
  }
  Workspace& workspace = operation.workspace();
  Pass pass = update(workspace, range, follower);
  if (pass.done || !may_find_room(pass.done.error())) {
    return tell_refresh(operation, range, pass, result);
  }
  // Stale mappings further on may take up the room: unmap them and try again.
  // Pins that become idle by that are left to the caller to trim, so trying
  // again does not help against kMemlock.
  const IovaRange rest{pass.stopped_at, range.last};
  const uint64_t unmapped = workspace.outcome.unmapped;
  if (workspace.outcome.lost_only_in(rest.pages())) {
    auto dropped = drop_stale(workspace, rest);
    if (!dropped) {
      pass.done = dropped;
    } else if (workspace.outcome.unmapped != unmapped &&
               pass.done.error() != Status::kMemlock &&
               workspace.outcome.lost_only_in(rest.pages())) {
      workspace.outcome.redo(rest.pages());
      pass = update(workspace, rest, follower);
    }
  }
  return tell_refresh(operation, range, pass, result);
}

// Ends a refresh and sets its result.
Result<void> Domain::tell_refresh(Operation& operation, IovaRange range,
                                  const Pass& pass,
                                  kiommu_refresh_result* result) {
  const IovaPages pages = range.pages();
  const Outcome outcome = operation.finish(pages);
  result->mapped += outcome.mapped;
  result->unmapped += outcome.unmapped;
  Result<void> done = pass.done;
  uint64_t stopped_at = done ? ~uint64_t{0} : pass.stopped_at.value;
  if (outcome.failed()) {
    // If only pages outside of the range are lost, the caller is to refresh all
    // of it again, which costs little.
    const uint64_t lost = outcome.first_lost(pages).value_or(pages.first)
                          << kPageShift;
    if (lost < stopped_at) stopped_at = lost;
    const bool killed = !done && done.error() == Status::kInterrupted;
    if (!killed) done = fail(outcome.why());
  }
  if (stopped_at < range.first.value) stopped_at = range.first.value;
  result->stopped_iova = done ? range.last.value + 1 : stopped_at;
  if (!pass.done) {
    result->level = pass.blame.level;
    result->has_gpa = pass.blame.names.has_value();
    result->gpa = pass.blame.names.value_or(Gpa{}).value;
  }
  return done;
}

Result<void> Domain::walk(Workspace& workspace, Refresh& refresh,
                          IovaRange range, const Root* known) {
  if (stage1_->anchor.format == kIdentityFormatId) {
    return refresh.identity(range, stage1_->anchor.offset,
                            stage1_->root.rights);
  }
  return walk_tables(*stage1_, *workspace.guest_memory, workspace.scratch,
                     refresh, range, known);
}

Result<void> Domain::refresh_all(const Change* changes, unsigned n,
                                 bool* lost) {
  *lost = false;
  Operation operation(
      *this, {changes[0].range.first_page(), changes[n - 1].range.last_page()});
  if (!operation.begun()) return fail(Status::kInterrupted);
  Workspace& workspace = operation.workspace();
  Result<void> done;
  for (unsigned i = 0; i < n && done; ++i) {
    const IovaRange range = changes[i].range;
    if (changes[i].drop) {
      shadow_.unmap(workspace, range.pages());
    } else {
      Refresh refresh(workspace, shadow_, hosts_, range, nullptr);
      done = refresh.finish(walk(workspace, refresh, range));
    }
  }
  shadow_.settle(workspace);
  if (!workspace.outcome.failed()) return done;
  const Status why = workspace.outcome.why();
  // The caller will do the ranges one by one: what is lost of them can still be
  // mapped.
  for (unsigned i = 0; i < n; ++i) {
    workspace.outcome.redo(changes[i].range.pages());
  }
  *lost = workspace.outcome.failed();
  return fail(why);
}

// One pass of a refresh.
Domain::Pass Domain::update(Workspace& workspace, IovaRange range,
                            TableFollower* follower, const Root* known) {
  Refresh refresh(workspace, shadow_, hosts_, range, follower);
  auto done = refresh.finish(walk(workspace, refresh, range, known));
  shadow_.settle(workspace);
  Iova stopped_at = refresh.stopped_at();
  if (stopped_at < range.first) stopped_at = range.first;
  return {done, stopped_at, refresh.blame()};
}

void Domain::drop_stale(IovaRange range) {
  if (!check_range(range)) return;
  Operation operation(*this, range.pages());
  if (!operation.begun()) return;
  [[maybe_unused]] const auto dropped =
      drop_stale(operation.workspace(), range);
}

// Goes through what is mapped, one leaf at a time, and not through the tables:
// what these map has no bound.
Result<void> Domain::drop_stale(Workspace& workspace, IovaRange range) {
  // Without tables only slots change, which guest_changes.hpp handles.
  if (stage1_->anchor.format == kIdentityFormatId) return {};
  Result<void> done;
  IovaPages left = range.pages();
  while (const auto leaf = shadow_.next_leaf(left)) {
    IovaRange part = IovaRange::of_pages(leaf->first, leaf->last);
    for (;;) {
      DropStale sink(workspace, shadow_);
      done = walk_tables(*stage1_, *workspace.guest_memory, workspace.scratch,
                         sink, part);
      const auto bad_last = sink.bad_last();
      if (done || !bad_last) break;
      done = {};
      if (*bad_last >= part.last) break;
      part.first = bad_last->plus(1);
    }
    if (!done || leaf->last == left.last) break;
    left.first = leaf->last + 1;
  }
  shadow_.settle(workspace);
  return done;
}

Result<void> Domain::unmap_range(IovaRange range, uint64_t* unmapped,
                                 kiommu_u64* writable) {
  const IovaPages pages = range.pages();
  *unmapped = 0;
  Operation operation(*this, pages);
  if (!operation.begun()) return fail(Status::kInterrupted);
  Workspace& workspace = operation.workspace();
  if (writable != nullptr) find_writable(workspace, pages, writable);
  shadow_.unmap(workspace, pages);
  const Outcome outcome = operation.finish();
  *unmapped = outcome.unmapped;
  if (outcome.failed()) return fail(outcome.why());
  return {};
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

Result<Translation> Domain::translate(Iova iova, Rights* rights) {
  KIOMMU_TRY(check_iova(iova));
  const uint64_t page = iova.page_number();
  *rights = kNoRights;
  Operation operation(*this, {page, page});
  if (!operation.begun()) return fail(Status::kInterrupted);
  Workspace& workspace = operation.workspace();
  *rights = shadow_.rights_at(page);
  FindLeaf sink;
  if (stage1_->anchor.format == kIdentityFormatId) {
    KIOMMU_TRY(sink.leaf({.iova = iova.page(),
                          .gpa = {iova.page().value - stage1_->anchor.offset},
                          .pages = 1,
                          .rights = stage1_->root.rights,
                          .shift = kPageShift}));
  } else {
    KIOMMU_TRY(walk_tables(*stage1_, *workspace.guest_memory, workspace.scratch,
                           sink, IovaRange::of_pages(page, page)));
  }
  Translation found = sink.found;
  auto slot = workspace.guest_memory->slot(found.gpa.page_number());
  if (!slot) return fail(slot.error());
  found.rights = found.rights & (*slot)->rights();
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
  *count = 0;
  *next = range->first;
  Operation operation(*this, range->pages());
  if (!operation.begun()) return fail(Status::kInterrupted);
  Workspace& workspace = operation.workspace();
  const bool identity = stage1_->anchor.format == kIdentityFormatId;
  RangeReport sink(workspace, shadow_, identity, records, capacity);
  auto told =
      identity
          ? sink.leaf({.iova = range->first,
                       .gpa = {range->first.value - stage1_->anchor.offset},
                       .pages = range->page_count(),
                       .rights = stage1_->root.rights,
                       .shift = kPageShift})
          : walk_tables(*stage1_, *workspace.guest_memory, workspace.scratch,
                        sink, *range);
  *count = sink.count();
  *next = sink.stopped_at() ? *sink.stopped_at() : range->last.plus(1);
  return told;
}

Result<void> Domain::writable_pages(IovaRange range, kiommu_u64* bits) {
  if (pins_ == nullptr) return {};
  const IovaPages pages = range.pages();
  Operation operation(*this, pages);
  if (!operation.begun()) return fail(Status::kInterrupted);
  find_writable(operation.workspace(), pages, bits);
  return {};
}

void Domain::find_writable(Workspace& workspace, IovaPages pages,
                           kiommu_u64* bits) {
  for (uint64_t page = pages.first; page <= pages.last;) {
    const Shadow::Span span = shadow_.span_at(workspace, page, pages.last);
    const bool writable = span.rights.write() && !span.mmio;
    for (; page <= span.last && writable; ++page) {
      const uint64_t bit = page - pages.first;
      bits[bit / 64] |= kiommu_u64{1} << (bit % 64);
    }
    page = span.last + 1;
  }
}

}  // namespace kiommu
