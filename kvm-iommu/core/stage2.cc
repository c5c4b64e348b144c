// SPDX-License-Identifier: GPL-2.0-only
//
// Memory slots, see stage2.hpp.
#include "stage2.hpp"

namespace kiommu {
namespace {

// What kiommu_port_read_entries() returns, besides a lack of memory.
constexpr int kForeignErrno = 1;  // EPERM, all architectures
constexpr int kMmioErrno = 6;     // ENXIO

}  // namespace

const Slot* Stage2::slot_or_next(uint64_t gfn) {
  if (last_.holds(gfn)) return &last_;
  kiommu_slot found;
  if (kiommu_port_find_slot(mem_, gfn, &found) != 0) return nullptr;
  last_ = {.first_gfn = found.first_gfn,
           .pages = found.pages,
           .hva = {found.hva},
           .read_only = (found.flags & KIOMMU_SLOT_READ_ONLY) != 0,
           .may_be_private = (found.flags & KIOMMU_SLOT_PRIVATE) != 0};
  return &last_;
}

Result<const Slot*> Stage2::slot(uint64_t gfn) {
  const Slot* found = slot_or_next(gfn);
  if (found == nullptr || !found->holds(gfn)) return fail(Status::kNoSlot);
  if (found->may_be_private) return fail(Status::kPrivate);
  return found;
}

Result<void> Stage2::read_entries(Gpa gpa, kiommu_u64* entries,
                                  unsigned count) {
  while (count > 0) {
    auto found = slot(gpa.page_number());
    if (!found) return fail(found.error());
    if ((*found)->read_only) return fail(Status::kReadOnly);
    // Up to the end of the slot: its memory is contiguous for the reader.
    const uint64_t offset = gpa.value & ~kPageMask;
    const uint64_t room =
        ((*found)->pages_from(gpa.page_number()) << kPageShift) - offset;
    unsigned n = count;
    if (room / sizeof(*entries) < n) {
      n = static_cast<unsigned>(room / sizeof(*entries));
    }
    const Hva hva = (*found)->hva_of(gpa.page_number()).plus(offset);
    if (int error = kiommu_port_read_entries(mem_, hva.value, entries, n)) {
      return fail(error == -kForeignErrno ? Status::kForeignProcess
                  : error == -kMmioErrno  ? Status::kMmio
                                          : Status::kUnbacked);
    }
    gpa = gpa.plus(n * sizeof(*entries));
    entries += n;
    count -= n;
  }
  return {};
}

Result<void> Stage2::check_table(Gpa gpa, uint64_t bytes) {
  uint64_t gfn = gpa.page_number();
  const uint64_t last = gpa.plus(bytes - 1).page_number();
  while (gfn <= last) {
    auto found = slot(gfn);
    if (!found) return fail(found.error());
    if ((*found)->read_only) return fail(Status::kReadOnly);
    gfn += (*found)->pages_from(gfn);
  }
  return {};
}

}  // namespace kiommu
