// SPDX-License-Identifier: GPL-2.0-only
//
// What a range of IOVA translates to, see range_report.hpp.
#include "sync/range_report.hpp"

namespace kiommu {
namespace {

constexpr uint64_t kEndGfn = uint64_t{1} << (64 - kPageShift);

// Whether `next` continues `last`, so that one record is enough for both.
bool continues(const kiommu_range_record& last,
               const kiommu_range_record& next) {
  const uint64_t gpa = last.status == 0 ? last.gpa + last.length : 0;
  return next.iova == last.iova + last.length && next.gpa == gpa &&
         next.status == last.status && next.page_size == last.page_size &&
         next.rights == last.rights && next.shadow_rights == last.shadow_rights;
}

}  // namespace

// Extends the last record or adds one; stops the walk if there is no room.
Result<void> RangeReport::add(const Answer& answer, IovaPages pages,
                              Rights shadow) {
  const bool nothing = answer.why == Status::kNotMapped ||
                       (holes_ && answer.why == Status::kNoSlot);
  if (nothing && !shadow.any()) return {};
  kiommu_range_record record{
      .iova = pages.first << kPageShift,
      .gpa = 0,
      .length = (pages.last - pages.first + 1) << kPageShift,
      .page_size = 0,
      .rights = answer.rights.bits,
      .shadow_rights = shadow.bits,
      .status = answer.why ? status_code(*answer.why) : 0,
      .reserved = 0};
  if (!answer.why) {
    record.gpa =
        answer.gpa.value + ((pages.first - answer.pages.first) << kPageShift);
    record.page_size = uint64_t{1} << answer.shift;
  }
  if (count_ > 0 && continues(records_[count_ - 1], record)) {
    records_[count_ - 1].length += record.length;
    return {};
  }
  if (count_ == capacity_) {
    return stopped(Iova::of_page(pages.first), Status::kBudget);
  }
  records_[count_++] = record;
  return {};
}

// Splits an answer where the rights in the shadow change.
Result<void> RangeReport::tell(const Answer& answer) {
  for (uint64_t page = answer.pages.first; page <= answer.pages.last;) {
    const Shadow::Span span =
        shadow_.span_at(workspace_, page, answer.pages.last);
    KIOMMU_TRY(add(answer, {page, span.last}, span.rights));
    page = span.last + 1;
    if (page % Shadow::kLeafPages == 0 && kiommu_port_interrupted() != 0) {
      return stopped(Iova::of_page(page), Status::kInterrupted);
    }
  }
  return {};
}

Result<void> RangeReport::absent(IovaRange range) {
  return tell({.pages = range.pages(), .why = Status::kNotMapped});
}

Result<void> RangeReport::bad(IovaRange range, Status why, const Blame&) {
  // Without memory, or while slots change, what the tables say is unknown.
  if (!is_guest_mistake(why)) return stopped(range.first, why);
  return tell({.pages = range.pages(), .why = why});
}

Result<void> RangeReport::stopped(Iova at, Status why) {
  stopped_at_ = at;
  return fail(why);
}

// Splits a page, or a part of it, at the ends of slots.
Result<void> RangeReport::leaf(const Leaf& leaf) {
  const uint64_t page = leaf.iova.page_number();
  for (uint64_t done = 0; done < leaf.pages;) {
    const Gpa gpa = leaf.gpa.plus(done << kPageShift);
    const uint64_t gfn = gpa.page_number();
    Answer answer{.gpa = gpa, .shift = leaf.shift};
    uint64_t count = kEndGfn - gfn;
    if (const Slot* slot = workspace_.guest_memory->recent(gfn)) {
      count = slot->pages_from(gfn);
      answer.rights = leaf.rights & slot->rights();
      if (!answer.rights.any()) answer.why = Status::kReadOnly;
    } else if (auto found = workspace_.guest_memory->slot(gfn); found) {
      continue;  // it is cached now
    } else {
      answer.why = found.error();
      auto next = workspace_.guest_memory->slot_or_next(gfn);
      if (!next) return stopped(Iova::of_page(page + done), next.error());
      if (*next != nullptr) {
        count = (*next)->holds(gfn) ? (*next)->pages_from(gfn)
                                    : (*next)->first_gfn - gfn;
      }
    }
    if (count > leaf.pages - done) count = leaf.pages - done;
    answer.pages = {page + done, page + done + count - 1};
    KIOMMU_TRY(tell(answer));
    done += count;
  }
  return {};
}

Result<void> RangeReport::pages(Iova at, const kiommu_u64* words, unsigned n) {
  for (unsigned i = 0; i < n;) {
    const uint64_t word = words[i];
    const uint64_t step = word == PageWord::kAbsent ? 0 : kPageBytes;
    unsigned end = i + 1;
    while (end < n && words[end] == word + (end - i) * step) ++end;
    const Iova iova = at.plus(uint64_t{i} << kPageShift);
    if (word == PageWord::kAbsent) {
      KIOMMU_TRY(absent(IovaRange::of_pages(
          iova.page_number(), iova.page_number() + (end - i) - 1)));
    } else {
      KIOMMU_TRY(leaf({.iova = iova,
                       .gpa = Gpa::of_page(PageWord::gfn(word)),
                       .pages = end - i,
                       .rights = PageWord::rights(word),
                       .shift = kPageShift}));
    }
    i = end;
  }
  return {};
}

}  // namespace kiommu
