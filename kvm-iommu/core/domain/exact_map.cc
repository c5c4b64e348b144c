// SPDX-License-Identifier: GPL-2.0-only
//
// Maps a range as a whole or not at all, see domain.hpp: for clients that name
// the memory of each mapping themselves, and have no tables.
#include "domain/operation.hpp"
#include "formats/list.hpp"

namespace kiommu {
namespace {

// The most pages that are mapped between checks for a fatal signal.
constexpr uint64_t kStepPages = 4096;

}  // namespace

Result<void> Domain::map_pages(Workspace& workspace, IovaPages pages,
                               Rights rights) {
  uint64_t page = pages.first;
  while (page <= pages.last) {
    if (kiommu_port_interrupted() != 0) return fail(Status::kInterrupted);
    const uint64_t left = pages.last - page + 1;
    const uint64_t count = left < kStepPages ? left : kStepPages;
    const Gpa gpa{(page << kPageShift) - stage1_->anchor.offset};
    const Shadow::Done part = shadow_.map(workspace, page, gpa, count, rights);
    if (part.count < count) return fail(part.why);
    page += count;
  }
  return {};
}

Result<void> Domain::map(uint64_t iova, uint64_t length, Rights rights) {
  auto range = checked_range(iova, length);
  if (!range) return fail(range.error());
  if (stage1_->anchor.format != kIdentityFormatId) {
    return fail(Status::kAnchorBusy);
  }
  if (hosts_.first_reserved(*range)) return fail(Status::kReservedIova);
  const IovaPages pages = range->pages();
  Operation operation(*this, pages);
  if (!operation.begun()) return fail(Status::kInterrupted);
  Workspace& workspace = operation.workspace();
  Result<void> done = map_pages(workspace, pages, rights);
  shadow_.settle(workspace);
  if (done && workspace.outcome.failed()) done = fail(workspace.outcome.why());
  if (!done) {
    shadow_.unmap(workspace, pages);
    // The caller is told of everything in the range by the error.
    [[maybe_unused]] const Outcome told = operation.finish(pages);
  }
  return done;
}

}  // namespace kiommu
