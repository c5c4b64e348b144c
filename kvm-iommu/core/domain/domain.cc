// SPDX-License-Identifier: GPL-2.0-only
//
// The states of a domain, see domain.hpp: hosts, guest, anchor.
#include "domain/domain.hpp"

#include "domain/operation.hpp"
#include "formats/anchor.hpp"
#include "formats/list.hpp"

namespace kiommu {
namespace {

constexpr uint64_t kLastPage = ~uint64_t{0} >> kPageShift;

}  // namespace

Result<void> Domain::set_host_caps(const kiommu_host_caps& caps) {
  HostCapabilities next = hosts_;
  next.set_caps(caps);
  if (shadow_.mapped_pages() > 0) {
    const IovaRange aperture = next.aperture();
    const uint64_t first = aperture.first_page();
    const uint64_t last = aperture.last_page();
    // replay() finds the blocks of the first host; before, none holds one.
    bool conflict = hosts_.any() && next.any() &&
                    next.splits_calls() != hosts_.splits_calls();
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

Result<void> Domain::replay(uint32_t host, bool killable) {
  if (pins_ == nullptr) return {};
  Operation operation(*this, {0, kLastPage});
  return shadow_.replay(operation.workspace(), host, killable);
}

Result<void> Domain::start(PinTable* pins) {
  if (pins_ != nullptr) return fail(Status::kKvmBusy);
  pins_ = pins;
  next = pins->domains;
  pins->domains = this;
  return {};
}

// Removes all mappings, then unpins all idle pages of the guest, including
// those that other domains left idle.
void Domain::clear() {
  {
    Operation operation(*this, {0, kLastPage});
    shadow_.unmap(operation.workspace(), {0, kLastPage});
  }
  shadow_.renew_hosts(workspaces_.hosts());
  if (tracker_ != nullptr) tracker_->clear();
  pins_->trim(0);
}

void Domain::report_lost(IovaPages pages, Status why) {
  kiommu_fault fault{};
  fault.iova = pages.first << kPageShift;
  fault.length = (pages.last - pages.first + 1) << kPageShift;
  fault.reason = static_cast<uint32_t>(FaultReason::kLost);
  fault.flags = FaultFlags::kHasIova;
  fault.status = status_code(why);
  if (stage1_) {
    fault.flags |= FaultFlags::kHasFormat;
    fault.format = stage1_->anchor.format;
  }
  parts_.faults->report(fault);
}

void Domain::tell_lost(const Outcome& outcome, std::optional<IovaPages> told) {
  for (unsigned i = 0; i < outcome.count(); ++i) {
    const IovaPages lost = outcome.lost(i);
    if (tracker_ != nullptr) cut(IovaRange::of_pages(lost.first, lost.last));
    if (!told || !told->overlaps(lost)) {
      report_lost(lost, outcome.why());
      continue;
    }
    if (lost.first < told->first) {
      report_lost({lost.first, told->first - 1}, outcome.why());
    }
    if (lost.last > told->last) {
      report_lost({told->last + 1, lost.last}, outcome.why());
    }
  }
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
  workspaces_.forget_guest();
  return {};
}

Result<void> Domain::register_ioat(const kiommu_anchor& anchor) {
  if (pins_ == nullptr) return fail(Status::kNoKvm);
  if (stage1_) return fail(Status::kAnchorBusy);
  GuestMemory guest_memory(pins_->guest(), pins_->slots());
  auto stage1 = check_anchor(anchor, guest_memory);
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
  GuestMemory guest_memory(pins_->guest(), pins_->slots());
  auto stage1 = check_anchor(anchor, guest_memory);
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

Result<void> Domain::check_iova(Iova iova) const {
  auto range = checked_range(iova.page().value, kPageBytes);
  return range ? Result<void>{} : fail(range.error());
}

void Domain::get_info(kiommu_core_info* info) const {
  *info = {};
  info->state = pins_ == nullptr ? 0 : !stage1_ ? 1 : 2;
  if (stage1_) info->anchor = stage1_->anchor;
  info->formats = FormatList::kBitmap | uint64_t{1} << kIdentityFormatId;
  info->mapped_pages = shadow_.mapped_pages();
  info->shadow_bytes = pool_.bytes() + shadow_.empty_table_bytes();
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
