// SPDX-License-Identifier: GPL-2.0-only
//
// The calls of one operation to the host IOMMUs: gathers consecutive IOVAs into
// one call and contiguous host memory into one run, and flushes the IOTLBs
// once.
#pragma once

#include "base/types.hpp"
#include "port.h"

namespace kiommu {

class HostBatch {
 public:
  // `runs`: scratch space for KIOMMU_MAX_RUNS.
  HostBatch(kiommu_batch* batch, kiommu_run* runs)
      : batch_(batch), runs_(runs) {}
  HostBatch(const HostBatch&) = delete;
  HostBatch& operator=(const HostBatch&) = delete;

  // The gathered IOVA pages, [first, first + pages).
  uint64_t first() const { return first_; }
  uint64_t pages() const { return pages_; }
  uint32_t run_count() const { return count_; }
  const kiommu_run& run(uint32_t i) const { return runs_[i]; }

  // Gathers pages that are contiguous in host memory. Returns false if they do
  // not fit: the caller must map() and clear() first. No call crosses a
  // multiple of `cut` pages, a power of two; the added pages must not cross one
  // either.
  bool add(uint64_t page, uint64_t pfn, uint64_t pages, Rights rights,
           uint64_t cut) {
    if (!fits(page, rights, cut)) return false;
    const uint64_t hpa = pfn << kPageShift;
    if (count_ > 0 && hpa == end_hpa_) {
      runs_[count_ - 1].bytes += pages << kPageShift;
    } else if (count_ < KIOMMU_MAX_RUNS) {
      runs_[count_++] = {hpa, pages << kPageShift};
    } else {
      return false;
    }
    end_hpa_ = hpa + (pages << kPageShift);
    pages_ += pages;
    return true;
  }

  // Gathers up to `n` consecutive pages, hpas[i] = HPA | rights, and returns
  // how many fit. They must not cross a multiple of `cut`, but may begin at
  // one.
  unsigned add_pages(uint64_t page, const kiommu_u64* hpas, unsigned n,
                     uint64_t cut) {
    const uint64_t rights = hpas[0] & kReadWrite.bits;
    if (!fits(page, {static_cast<unsigned>(rights)}, cut)) return 0;
    uint32_t count = count_;
    uint64_t next = count > 0 ? end_hpa_ | rights : 0;
    unsigned i = 0;
    for (; i < n; ++i) {
      const uint64_t hpa = hpas[i];
      if (hpa == next) {
        runs_[count - 1].bytes += kPageBytes;
      } else {
        if (((hpa ^ rights) & kReadWrite.bits) != 0) break;
        if (count == KIOMMU_MAX_RUNS) break;
        runs_[count++] = {hpa & kPageMask, kPageBytes};
      }
      next = hpa + kPageBytes;
    }
    count_ = count;
    end_hpa_ = next & kPageMask;
    pages_ += i;
    return i;
  }

  // Maps what is gathered. It stays for the caller to look at until clear().
  // The errors are kNoMemory and kHost; nothing is mapped then.
  Result<void> map(uint32_t host) {
    const int error = kiommu_port_host_map(batch_, host, first_ << kPageShift,
                                           runs_, count_, rights_.bits);
    if (error == 0) return {};
    return fail(error == -kNoMemoryErrno ? Status::kNoMemory : Status::kHost);
  }
  void clear() { count_ = 0, pages_ = 0; }

  void unmap(uint64_t first_page, uint64_t last_page) {
    kiommu_port_host_unmap(batch_, first_page << kPageShift,
                           (last_page - first_page + 1) << kPageShift);
    flush_due_ = true;
  }

  // Flushes the IOTLBs, so that no device can use what was unmapped.
  void flush_if_due() {
    if (!flush_due_) return;
    kiommu_port_host_flush(batch_);
    flush_due_ = false;
  }

  kiommu_batch* port() const { return batch_; }

 private:
  static constexpr int kNoMemoryErrno = 12;  // ENOMEM, all architectures

  // Whether `page` continues what is gathered, if anything; else begins with
  // it.
  bool fits(uint64_t page, Rights rights, uint64_t cut) {
    if (count_ == 0) {
      first_ = page;
      rights_ = rights;
      return true;
    }
    return page == first_ + pages_ && rights == rights_ &&
           (page & (cut - 1)) != 0;
  }

  kiommu_batch* batch_;
  kiommu_run* runs_;
  uint64_t first_ = 0;
  uint64_t pages_ = 0;
  uint64_t end_hpa_ = 0;
  uint32_t count_ = 0;
  Rights rights_;
  bool flush_due_ = false;
};

}  // namespace kiommu
