// SPDX-License-Identifier: GPL-2.0-only
//
// One call under way on a domain: the IOVAs that it has to itself, its scratch
// space, what it gathered and what it did. Requests run in parallel.
#pragma once

#include <new>

#include "base/radix.hpp"
#include "host/batch.hpp"
#include "memory/guest_memory.hpp"
#include "memory/request_pins.hpp"
#include "request/outcome.hpp"
#include "tables/format.hpp"
#include "tables/walker.hpp"

namespace kiommu {

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
  void begin(Pins& pins);
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

  // What it did and what it cost, until it ends.
  Outcome outcome;

  // The leaf of the shadow that was met last, see Shadow::find().
  Radix::Leaf leaf;

  // In the domain's list of requests under way, see range_lock.hpp.
  PageRange range{};
  Request* next = nullptr;
};

}  // namespace kiommu
