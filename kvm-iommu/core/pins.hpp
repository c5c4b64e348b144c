// SPDX-License-Identifier: GPL-2.0-only
//
// Pins: which pages of the VMM's memory are held for devices, one pin a page
// however many IOVAs map it, charged to locked_vm once.
//
// Pins are known by HVA, not by GPA: when a memory slot changes, the same GPA
// simply has another HVA, and no pin goes stale.
//
// A page's last put() leaves it pinned but idle. release_idle() unpins, and is
// called after the host IOTLB was flushed: this is what keeps "clear, flush,
// unpin" in order.
#pragma once

#include "radix.hpp"
#include "stage2.hpp"

namespace kiommu {

class Pins {
 public:
  // The most pages that one get() takes.
  static constexpr unsigned kBatch = Radix::kNodeWords;

  explicit Pins(NodePool& pool) : tree_(pool) {}
  Pins(const Pins&) = delete;
  Pins& operator=(const Pins&) = delete;

  // What get() achieved: `count` pages from the start are held, and all of
  // them have at least `rights`; if fewer than asked for, why the next one
  // could not be, and how many pages from it on must fail the same way.
  struct Got {
    unsigned count = 0;
    Status why = Status::kNoMemory;
    uint64_t extent = 1;
  };

  // Holds `count` pages from `hva` on, at most kBatch, which lie in one slot
  // and in one leaf of the tree; `wanted` are the rights a device shall have,
  // `slot_rights` what the slot allows. pfns[i] tells the page, rights[i]
  // what is left of `wanted`. A page that is left without any right fails
  // with kReadOnly.
  Got get(kiommu_mem* mem, Hva hva, unsigned count, Rights wanted,
          Rights slot_rights, kiommu_u64* pfns, Rights* rights);

  // Gives one get() of a page back.
  void put(Hva hva);

  // The page frame of a page that is held.
  uint64_t pfn(Hva hva) const;

  // Unpins all pages that nobody holds. After a flush only.
  void release_idle(kiommu_mem* mem);

  uint64_t pinned() const { return pinned_; }

 private:
  void make_writable(kiommu_mem* mem, Hva hva, uint64_t& pin);
  Got pin_missing(kiommu_mem* mem, const Radix::Leaf& leaf, Hva hva,
                  unsigned count, Rights slot_rights, kiommu_u64* pfns);

  Radix tree_;
  uint64_t pinned_ = 0;
};

}  // namespace kiommu
