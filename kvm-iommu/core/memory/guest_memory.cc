// SPDX-License-Identifier: GPL-2.0-only
//
// Slot lookup and access to guest memory, see guest_memory.hpp.
#include "memory/guest_memory.hpp"

namespace kiommu {

Result<Slot*> GuestMemory::find(uint64_t gfn) {
  auto slot = slots_.find(gfn);
  if (!slot) return slot;
  if (*slot == nullptr || !(*slot)->holds(gfn)) {
    return fail(Status::kNoSlot);
  }
  if ((*slot)->may_be_private) return fail(Status::kPrivate);
  recent_[oldest_] = *slot;
  oldest_ = (oldest_ + 1) % kRecent;
  return slot;
}

template <class Transfer>
Result<void> GuestMemory::for_parts(Gpa gpa, unsigned count,
                                    Transfer transfer) {
  unsigned done = 0;
  while (done < count) {
    auto found = slot(gpa.page_number());
    if (!found) return fail(found.error());
    if ((*found)->read_only) return fail(Status::kReadOnly);
    // Up to the end of the slot: within it, guest memory is contiguous in HVA.
    const uint64_t words = (*found)->bytes_from(gpa) / sizeof(kiommu_u64);
    const unsigned n =
        words < count - done ? static_cast<unsigned>(words) : count - done;
    KIOMMU_TRY(result_of(transfer((*found)->hva_of(gpa).value, done, n)));
    gpa = gpa.plus(n * sizeof(kiommu_u64));
    done += n;
  }
  return {};
}

Result<void> GuestMemory::read_parts(Gpa gpa, kiommu_u64* entries,
                                     unsigned count) {
  return for_parts(gpa, count, [&](uint64_t hva, unsigned first, unsigned n) {
    return kiommu_port_read_entries(guest_, hva, entries + first, n);
  });
}

Result<void> GuestMemory::write_parts(Gpa gpa, const kiommu_u64* entries,
                                      unsigned count) {
  return for_parts(gpa, count, [&](uint64_t hva, unsigned first, unsigned n) {
    return kiommu_port_write_entries(guest_, hva, entries + first, n);
  });
}

Result<void> GuestMemory::check_table(Gpa gpa, uint64_t bytes) {
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
