// SPDX-License-Identifier: GPL-2.0-only
//
// One refresh, see refresh.hpp.
#include "sync/refresh.hpp"

namespace kiommu {

Result<void> Refresh::absent(IovaRange range) {
  KIOMMU_TRY(map_gathered());
  if (absent_) {
    absent_->last = range.last;
  } else {
    absent_ = range;
  }
  return {};
}

void Refresh::unmap_absent() {
  if (!absent_) return;
  const IovaRange range = *absent_;
  absent_.reset();
  shadow_.unmap(workspace_, range.pages());
}

Result<void> Refresh::stopped(Iova at, Status why) {
  auto mapped = map_gathered();
  unmap_absent();
  KIOMMU_TRY(mapped);
  stopped_at_ = at;
  return fail(why);
}

Result<void> Refresh::bad(IovaRange range, Status why, const Blame& blame) {
  if (is_progress(why)) return stopped(range.first, why);
  KIOMMU_TRY(absent(range));
  if (!is_guest_mistake(why)) {
    // The guest's tables map it, but it is unmapped.
    workspace_.outcome.lose(range.pages(), why);
  } else if (follower_ != nullptr && follower_->follows) {
    follower_->report(range, why, blame);
    unmap_absent();
    return {};
  }
  blame_ = blame;
  return stopped(range.first, why);
}

// Maps up to `pages` pages from `iova` on: at most kStepPages, none beyond the
// end of the slot or in a reserved window.
Refresh::Step Refresh::step(Iova iova, Gpa gpa, uint64_t pages, Rights rights) {
  const uint64_t page = iova.page_number();
  if (pages > kStepPages) pages = kStepPages;
  const auto reserved =
      hosts_.first_reserved(IovaRange::of_pages(page, page + pages - 1));
  if (reserved) {
    if (reserved->first_page() <= page) {
      return {.why = Status::kReservedIova,
              .extent = reserved->last_page() - page + 1};
    }
    pages = reserved->first_page() - page;
  }
  auto slot = workspace_.guest_memory->slot(gpa.page_number());
  if (!slot) return {.why = slot.error()};
  const uint64_t in_slot = (*slot)->pages_from(gpa.page_number());
  if (in_slot < pages) pages = in_slot;
  const Shadow::Done mapped = shadow_.map(workspace_, page, gpa, pages, rights);
  return {mapped.count, mapped.why, mapped.extent};
}

// Reports a page that could not be mapped. `in_entry` is the size of its guest
// page in bytes - 1: all that the same entry maps, up to `last`, is bad, too.
// Returns how many pages that is, if the refresh goes on.
Result<uint64_t> Refresh::failed(Iova iova, uint64_t in_entry, Iova last,
                                 Status why, const Blame& blame) {
  // Anything but a guest mistake stops the refresh at this page: the pages
  // after it keep what they have.
  if (!is_guest_mistake(why)) in_entry = kPageBytes - 1;
  const Iova end{iova.value | in_entry};
  const IovaRange range{iova, end < last ? end : last};
  KIOMMU_TRY(bad(range, why, blame));
  return range.page_count();
}

Result<void> Refresh::pages(Iova at, const kiommu_u64* words, unsigned n) {
  if (reserved_) {
    // Rare: map page by page, as leaves, which avoid reserved windows.
    for (unsigned i = 0; i < n; ++i) {
      const Iova iova = at.plus(uint64_t{i} << kPageShift);
      if (words[i] == PageWord::kAbsent) {
        KIOMMU_TRY(absent({iova, iova.plus(kPageBytes - 1)}));
      } else {
        KIOMMU_TRY(leaf({.iova = iova,
                         .gpa = Gpa::of_page(PageWord::gfn(words[i])),
                         .pages = 1,
                         .rights = PageWord::rights(words[i]),
                         .shift = kPageShift,
                         .level = 1}));
      }
    }
    return {};
  }
  KIOMMU_TRY(map_gathered());
  unmap_absent();
  unsigned done = 0;
  for (;;) {
    const Shadow::Done part = shadow_.update(
        workspace_, at.page_number() + done, words + done, n - done);
    done += static_cast<unsigned>(part.count);
    if (done == n) return {};
    const Iova iova = at.plus(uint64_t{done} << kPageShift);
    auto passed =
        failed(iova, kPageBytes - 1, iova.plus(kPageBytes - 1), part.why,
               {1, Gpa::of_page(PageWord::gfn(words[done]))});
    if (!passed) return fail(passed.error());
    if (++done == n) return {};
  }
}

Result<void> Refresh::leaf(const Leaf& leaf) {
  if (gathered_ && gathered_->continued_by(leaf)) {
    gathered_->pages += leaf.pages;
    return {};
  }
  KIOMMU_TRY(map_gathered());
  unmap_absent();
  gathered_ = leaf;
  return {};
}

Result<void> Refresh::map_gathered() {
  if (!gathered_) return {};
  const Leaf leaf = *gathered_;
  gathered_.reset();
  uint64_t done = 0;
  while (done < leaf.pages) {
    const Iova iova = leaf.iova.plus(done << kPageShift);
    const Step part = step(iova, leaf.gpa.plus(done << kPageShift),
                           leaf.pages - done, leaf.rights);
    done += part.pages;
    if (part.pages == 0) {
      auto passed =
          failed(iova, (uint64_t{1} << leaf.shift) - 1,
                 leaf.iova.plus((leaf.pages << kPageShift) - 1), part.why,
                 {leaf.level, leaf.gpa.plus(done << kPageShift)});
      if (!passed) return fail(passed.error());
      done += *passed;
    }
    if (done < leaf.pages && kiommu_port_interrupted() != 0) {
      return stopped(leaf.iova.plus(done << kPageShift), Status::kInterrupted);
    }
  }
  return {};
}

Result<void> Refresh::identity(IovaRange range, uint64_t offset,
                               Rights rights) {
  const uint64_t end = range.last_page() + 1;
  uint64_t page = range.first_page();
  // Skips pages where there is nothing to map: they are unmapped.
  const auto hole = [&](uint64_t pages) {
    const uint64_t next = pages < end - page ? page + pages : end;
    auto done = absent(IovaRange::of_pages(page, next - 1));
    page = next;
    return done;
  };
  while (page < end) {
    const Iova iova = Iova::of_page(page);
    if (kiommu_port_interrupted() != 0) {
      return stopped(iova, Status::kInterrupted);
    }
    const Gpa gpa{iova.value - offset};
    const uint64_t gfn = gpa.page_number();
    auto found = workspace_.guest_memory->slot_or_next(gfn);
    if (!found) {
      return bad(IovaRange::of_pages(page, page), found.error(),
                 {.names = gpa});
    }
    const Slot* slot = *found;
    if (slot == nullptr) {
      KIOMMU_TRY(hole(end - page));
    } else if (!slot->holds(gfn)) {
      KIOMMU_TRY(hole(slot->first_gfn - gfn));
    } else if (slot->may_be_private) {
      KIOMMU_TRY(hole(slot->pages_from(gfn)));
    } else {
      unmap_absent();
      const Step part = step(iova, gpa, end - page, rights);
      page += part.pages;
      if (part.pages > 0) continue;
      if (part.why != Status::kMmio && part.why != Status::kReservedIova) {
        KIOMMU_TRY(
            bad(IovaRange::of_pages(page, page), part.why, {.names = gpa}));
        ++page;
        continue;
      }
      KIOMMU_TRY(hole(part.extent));
    }
  }
  return {};
}

Result<void> Refresh::finish(Result<void> walked) {
  if (walked) walked = map_gathered();
  unmap_absent();
  return walked;
}

}  // namespace kiommu
