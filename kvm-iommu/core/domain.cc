// SPDX-License-Identifier: GPL-2.0-only
//
// A domain, see domain.hpp.
#include "domain.hpp"

#include "anchor.hpp"
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

}  // namespace

Domain::Domain(kiommu_hosts* hosts, uint64_t shadow_limit,
               void* const (&scratch)[kScratchNodes])
    : pool_(shadow_limit),
      hosts_(hosts),
      pins_(pool_),
      shadow_(pool_, pins_, hosts_,
              {static_cast<kiommu_u64*>(scratch[kMaxLevels]),
               static_cast<Rights*>(scratch[kMaxLevels + 1])}) {
  static_assert(Pins::kBatch * sizeof(kiommu_u64) <= KIOMMU_NODE_BYTES);
  static_assert(WalkScratch::kWindow * kEntryBytes <= KIOMMU_NODE_BYTES);
  for (unsigned i = 0; i < kScratchNodes; ++i) nodes_[i] = scratch[i];
  for (unsigned i = 0; i < kMaxLevels; ++i) {
    walk_scratch_.window[i] = static_cast<kiommu_u64*>(scratch[i]);
  }
}

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

Result<void> Domain::start(kiommu_mem* mem) {
  if (mem_ != nullptr) return fail(Status::kKvmBusy);
  mem_ = mem;
  return {};
}

// Removes every mapping and every pin.
void Domain::clear() {
  shadow_.begin();
  // Nothing is split here, for nothing is left: this cannot fail.
  (void)shadow_.unmap({0, kLastPage});
  (void)shadow_.finish(mem_);
}

Result<void> Domain::stop() {
  if (mem_ == nullptr) return fail(Status::kNoKvm);
  clear();
  stage1_.reset();
  mem_ = nullptr;
  return {};
}

Result<void> Domain::register_ioat(const kiommu_anchor& anchor) {
  if (mem_ == nullptr) return fail(Status::kNoKvm);
  if (stage1_) return fail(Status::kAnchorBusy);
  Stage2 stage2(mem_);
  auto stage1 = check_anchor(anchor, stage2);
  if (!stage1) return fail(stage1.error());
  stage1_ = *stage1;
  return {};
}

Result<void> Domain::unregister_ioat() {
  KIOMMU_TRY(require_anchor());
  clear();
  stage1_.reset();
  return {};
}

Result<void> Domain::require_anchor() const {
  if (mem_ == nullptr) return fail(Status::kNoKvm);
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
  if (!hosts_.aperture().contains(range) || !stage1_->window.contains(range)) {
    return fail(Status::kOutOfRange);
  }
  return range;
}

Result<void> Domain::refresh(uint64_t iova, uint64_t length,
                             kiommu_refresh_result* result) {
  auto range = checked_range(iova, length);
  if (!range) return fail(range.error());
  Stage2 stage2(mem_);
  shadow_.begin();
  Refresh refresh(stage2, shadow_, hosts_);
  const bool identity = stage1_->anchor.format == kIdentityFormatId;
  auto done = refresh.finish(
      identity ? refresh.identity(*range, stage1_->anchor.offset)
               : walk_tables(*stage1_, stage2, walk_scratch_, refresh, *range));
  const Iova stopped_at = refresh.stopped_at();  // may be below the range
  result->stopped_iova = done                        ? range->last.value + 1
                         : stopped_at < range->first ? range->first.value
                                                     : stopped_at.value;
  result->mapped = shadow_.mapped_now();
  result->unmapped = shadow_.unmapped_now();
  return done;
}

Result<void> Domain::unmap_range(IovaRange range, uint64_t* unmapped) {
  shadow_.begin();
  auto done = shadow_.unmap({range.first_page(), range.last_page()});
  (void)shadow_.finish(mem_);  // nothing was mapped: nothing can be refused
  *unmapped = shadow_.unmapped_now();
  return done;
}

Result<void> Domain::unmap(uint64_t iova, uint64_t length, uint64_t* unmapped) {
  auto range = checked_range(iova, length);
  if (!range) return fail(range.error());
  return unmap_range(*range, unmapped);
}

Result<void> Domain::unmap_all(uint64_t* unmapped) {
  KIOMMU_TRY(require_anchor());
  return unmap_range({{0}, {~uint64_t{0}}}, unmapped);
}

Result<void> Domain::check_iova(Iova iova) const {
  auto range = checked_range(iova.page().value, kPageBytes);
  return range ? Result<void>{} : fail(range.error());
}

Result<Translation> Domain::translate(Iova iova) {
  KIOMMU_TRY(check_iova(iova));
  Stage2 stage2(mem_);
  const uint64_t page = iova.page_number();
  FindLeaf sink;
  if (stage1_->anchor.format == kIdentityFormatId) {
    (void)sink.leaf({.iova = iova.page(),
                     .gpa = {iova.page().value - stage1_->anchor.offset},
                     .pages = 1,
                     .rights = kReadWrite,
                     .shift = kPageShift});
  } else {
    KIOMMU_TRY(walk_tables(*stage1_, stage2, walk_scratch_, sink,
                           IovaRange::of_pages(page, page)));
  }
  Translation found = sink.found;
  auto slot = stage2.slot(found.gpa.page_number());
  if (!slot) return fail(slot.error());
  found.rights = found.rights & (*slot)->rights();
  if (!found.rights.any()) return fail(Status::kReadOnly);
  found.gpa = found.gpa.plus(iova.value & ~kPageMask);
  return found;
}

void Domain::get_info(kiommu_core_info* info) const {
  *info = {};
  info->state = mem_ == nullptr ? 0 : !stage1_ ? 1 : 2;
  if (stage1_) info->anchor = stage1_->anchor;
  info->formats = FormatList::kBitmap | uint64_t{1} << kIdentityFormatId;
  info->mapped_pages = shadow_.mapped_pages();
  info->pinned_pages = pins_.pinned();
  info->shadow_bytes = pool_.bytes();
  info->shadow_limit = pool_.limit_bytes();
}

}  // namespace kiommu
