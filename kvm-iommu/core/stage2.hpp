// SPDX-License-Identifier: GPL-2.0-only
//
// Stage 2 as one request sees it: the guest's memory slots, with the last
// ones that were met at hand, for those cost no search.
#pragma once

#include "regions.hpp"

namespace kiommu {

class Stage2 {
 public:
  Stage2(kiommu_mem* mem, Regions& regions)
      : mem_(mem), regions_(regions), removals_(regions.removals()) {}
  Stage2(const Stage2&) = delete;
  Stage2& operator=(const Stage2&) = delete;

  kiommu_mem* mem() const { return mem_; }
  // Whether what is at hand is still there: nothing goes during a request.
  bool is_current() const { return removals_ == regions_.removals(); }

  // The region that holds `gfn` and can be mapped for devices; the errors are
  // kNoSlot, kPrivate, and those of region_or_next().
  Result<Region*> region(uint64_t gfn) {
    if (Region* found = recent(gfn)) return found;
    return find(gfn);
  }
  // The same if it is one of the last that were met; else nullptr.
  Region* recent(uint64_t gfn) const {
    for (Region* region : recent_) {
      if (region != nullptr && region->holds(gfn)) return region;
    }
    return nullptr;
  }
  // The region that holds `gfn` or the next one above; nullptr if none is.
  // The errors are kNoMemory and kBudget.
  Result<Region*> region_or_next(uint64_t gfn) { return regions_.find(gfn); }
  // The region of a page that is mapped.
  Region& mapped_region(uint64_t gfn) {
    if (Region* found = recent(gfn)) return *found;
    return **find(gfn);
  }

  // Reads `count` entries of a table at `gpa`, a multiple of 8, as they are
  // in guest memory. Tables must be in memory that the guest can write. The
  // errors are those of region(), kReadOnly, kUnbacked, kMmio,
  // kForeignProcess.
  Result<void> read_entries(Gpa gpa, kiommu_u64* entries, unsigned count);
  // The same for one of them.
  [[gnu::always_inline]] Result<void> read_entry(Gpa gpa, kiommu_u64* entry) {
    const Region* region = recent(gpa.page_number());
    if (region == nullptr || region->read_only) {
      return read_entries(gpa, entry, 1);
    }
    if (int error = kiommu_port_read_entry(mem_, region->hva_of(gpa).value,
                                           entry)) {
      return fail(status_of(error));
    }
    return {};
  }
  // Calls transfer(hva, first, n), which returns what
  // kiommu_port_read_entries() does, for each part of `count` words at `gpa`
  // that lies in one slot. Errors: as above.
  template <class Transfer>
  Result<void> for_parts(Gpa gpa, unsigned count, Transfer transfer);
  // Whether all of [gpa, gpa + bytes) could be read as tables.
  Result<void> check_table(Gpa gpa, uint64_t bytes);

 private:
  static constexpr unsigned kRecent = 4;
  // What kiommu_port_read_entries() returns, besides a lack of memory.
  static constexpr int kForeignErrno = 1;  // EPERM, all architectures
  static constexpr int kMmioErrno = 6;     // ENXIO

  Result<Region*> find(uint64_t gfn);
  static Status status_of(int error) {
    return error == -kForeignErrno ? Status::kForeignProcess
           : error == -kMmioErrno  ? Status::kMmio
                                   : Status::kUnbacked;
  }

  kiommu_mem* mem_;
  Regions& regions_;
  const uint64_t removals_;
  // Regions that can be mapped; the next one comes in at `oldest_`.
  Region* recent_[kRecent] = {};
  unsigned oldest_ = 0;
};

template <class Transfer>
Result<void> Stage2::for_parts(Gpa gpa, unsigned count, Transfer transfer) {
  unsigned done = 0;
  while (done < count) {
    auto found = region(gpa.page_number());
    if (!found) return fail(found.error());
    if ((*found)->read_only) return fail(Status::kReadOnly);
    // Up to the end of the slot: its memory is contiguous for the process.
    const uint64_t offset = gpa.value & ~kPageMask;
    const uint64_t room =
        ((*found)->pages_from(gpa.page_number()) << kPageShift) - offset;
    unsigned n = count - done;
    if (room / sizeof(kiommu_u64) < n)
      n = static_cast<unsigned>(room / sizeof(kiommu_u64));
    if (int error = transfer((*found)->hva_of(gpa).value, done, n)) {
      return fail(status_of(error));
    }
    gpa = gpa.plus(n * sizeof(kiommu_u64));
    done += n;
  }
  return {};
}

}  // namespace kiommu
