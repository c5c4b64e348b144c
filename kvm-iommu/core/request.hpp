// SPDX-License-Identifier: GPL-2.0-only
//
// One call under way on a domain: the IOVAs that it has to itself, its scratch
// space, what it gathered and what it did. Requests run in parallel.
#pragma once

#include <new>

#include "format.hpp"
#include "host_batch.hpp"
#include "pin_user.hpp"
#include "radix.hpp"
#include "stage2.hpp"
#include "walker.hpp"

namespace kiommu {

// Pages [first, last] of IOVA.
struct PageRange {
  uint64_t first;
  uint64_t last;

  constexpr bool contains(PageRange other) const {
    return first <= other.first && other.last <= last;
  }
  constexpr bool overlaps(PageRange other) const {
    return first <= other.last && other.first <= last;
  }
};

// Memory of a request: one node each.
struct RequestMemory {
  void* self = nullptr;
  kiommu_u64* window[kMaxLevels] = {};
  kiommu_u64* words = nullptr;      // of a window of the guest's tables
  kiommu_u64* run_words = nullptr;  // of neighbouring pages
  kiommu_u64* hpas = nullptr;       // of pages that are held, and rights
  kiommu_u64* new_pfns = nullptr;   // of pages that are pinned
  kiommu_run* runs = nullptr;
  kiommu_batch* batch = nullptr;
};

class Request {
 public:
  // A host refused to map: nothing from page `first` on is mapped by this
  // request.
  struct Refused {
    uint64_t first;
    Status why;
  };

  explicit Request(const RequestMemory& memory)
      : memory(memory), host(memory.batch, memory.runs) {
    scratch.words = memory.words;
    for (unsigned i = 0; i < kMaxLevels; ++i) {
      scratch.window[i] = memory.window[i];
    }
  }
  Request(const Request&) = delete;
  Request& operator=(const Request&) = delete;

  // nullptr if there is no memory.
  static Request* create(kiommu_hosts* hosts);
  static void destroy(Request* request);

  // Begins and ends the use of a guest's memory.
  void begin(Pins& pins) {
    mapped = unmapped = 0;
    refused.reset();
    lost.reset();
    leaf = {};
    if (!stage2 || !stage2->is_current()) {
      stage2.emplace(pins.mem(), pins.regions());
    }
    user.emplace(pins, memory.new_pfns);
  }
  void end() {
    user->finish();
    user.reset();
  }

  RequestMemory memory;
  WalkScratch scratch{};
  HostBatch host;
  // What it remembers of a guest is good for the next request, too.
  std::optional<Stage2> stage2;
  std::optional<PinUser> user;

  uint64_t mapped = 0;    // pages
  uint64_t unmapped = 0;  // pages
  std::optional<Refused> refused;
  // The lowest page that was lost with a block that was split, if a host had
  // no memory for its rest.
  std::optional<uint64_t> lost;

  // The leaf of the shadow that was met last, see Shadow::find().
  Radix::Leaf leaf;

  // In the domain's list of requests under way, see range_lock.hpp.
  PageRange range{};
  Request* next = nullptr;
};

}  // namespace kiommu
