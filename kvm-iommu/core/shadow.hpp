// SPDX-License-Identifier: GPL-2.0-only
//
// The shadow: for each IOVA page what it is mapped to, and the only code that
// changes the hosts' tables. What stands here stands in each host's tables
// once a call is finished, and the other way round; each page of it holds one
// pin.
//
// Within one request: map() and unmap() in any order, then finish(), which
// maps what is pending, flushes the IOTLB once, and only then unpins.
//
// A host may have made one large page of many (or, behind virtio-iommu, keep
// a whole map call as a unit). The shadow remembers how far such blocks can
// reach, never unmaps a part of one, and maps the rest of it again.
#pragma once

#include "hosts.hpp"
#include "pins.hpp"
#include "radix.hpp"

namespace kiommu {

class Shadow {
 public:
  // Pages [first, last] of IOVA.
  struct Run {
    uint64_t first;
    uint64_t last;
  };

  // What map() achieved: `count` pages from the start are as asked for; if
  // fewer than that, why, and how many pages must fail the same way.
  struct Mapped {
    uint64_t count = 0;
    Status why = Status::kNoMemory;
    uint64_t extent = 1;
  };

  // A host refused a run: `first` is its first page, nothing from there on is
  // mapped by this request.
  struct Refused {
    uint64_t first;
    Status why;
  };

  // Buffers for kBatch pages, owned by the caller.
  struct Scratch {
    kiommu_u64* pfns;
    Rights* rights;
  };

  Shadow(NodePool& pool, Pins& pins, Hosts& hosts, Scratch scratch)
      : tree_(pool), pins_(pins), hosts_(hosts), scratch_(scratch) {}
  Shadow(const Shadow&) = delete;
  Shadow& operator=(const Shadow&) = delete;

  // Maps `count` pages from IOVA page `page` to `hva` on, which lie in one
  // slot. Pages that are mapped so already cost a comparison. Stops early
  // also when a host refuses a run: see refused().
  Mapped map(kiommu_mem* mem, uint64_t page, Hva hva, uint64_t count,
             Rights wanted, Rights slot_rights);

  // Removes what is mapped in [run.first, run.last]. Never allocates, but for
  // the rest of a block that is split: if the host has no memory for that,
  // the error is kNoMemory, and that rest is unmapped, too.
  Result<void> unmap(Run run);

  // Ends a request. The error is what a host refused, see refused().
  Result<void> finish(kiommu_mem* mem);

  // Where a host refused a run in this request, if one did.
  const std::optional<Refused>& refused() const { return refused_; }
  // The lowest page that this request lost with a block that was split, if a
  // host had no memory for its rest.
  const std::optional<uint64_t>& lost() const { return lost_; }

  // Starts a request: the counters below begin at 0.
  void begin() {
    mapped_now_ = unmapped_now_ = 0;
    refused_.reset();
    lost_.reset();
  }
  uint64_t mapped_now() const { return mapped_now_; }
  uint64_t unmapped_now() const { return unmapped_now_; }

  uint64_t mapped_pages() const { return mapped_; }
  bool anything_mapped(Run run) const { return next_run(run).has_value(); }
  // What a device can do at this page.
  Rights rights_at(uint64_t page) const;
  // Maps everything in one more host.
  Result<void> replay(uint32_t host);

 private:
  struct Pending {
    uint64_t page = 0;
    uint64_t pfn = 0;
    uint64_t count = 0;
    Rights rights;
  };

  std::optional<Run> next_run(Run within) const;
  Run block_of(uint64_t page) const;
  Mapped change(kiommu_mem* mem, uint64_t page, Hva hva, unsigned count,
                Rights wanted, Rights slot_rights);
  Result<unsigned> replace(uint64_t page, Hva hva, unsigned count);
  Result<void> append(uint64_t page, uint64_t pfn, Rights rights);
  Result<void> map_pending();
  void note_blocks(uint64_t page, uint64_t pfn, uint64_t count);
  Result<void> map_existing(uint32_t host, Run run, uint64_t* done);
  Result<void> drop(Run run);
  void forget(Run run);
  Result<void> restore(Run run);

  Radix tree_;
  Pins& pins_;
  Hosts& hosts_;
  Scratch scratch_;
  Pending pending_;
  std::optional<Refused> refused_;
  std::optional<uint64_t> lost_;
  uint64_t mapped_ = 0;
  uint64_t mapped_now_ = 0;
  uint64_t unmapped_now_ = 0;
};

}  // namespace kiommu
