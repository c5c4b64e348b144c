// SPDX-License-Identifier: GPL-2.0-only
//
// One call under way on a domain: the IOVAs that it has to itself, its scratch
// space, what it gathered and what it did. Operations run in parallel.
#pragma once

#include <new>

#include "base/radix.hpp"
#include "host/batch.hpp"
#include "memory/guest_memory.hpp"
#include "memory/operation_pins.hpp"
#include "tables/format.hpp"
#include "tables/walker.hpp"
#include "workspace/outcome.hpp"

namespace kiommu {

// Memory of an operation: one node each.
struct WorkspaceMemory {
  void* self = nullptr;
  kiommu_u64* window[kMaxLevels] = {};
  kiommu_u64* words = nullptr;      // of a window of the guest's tables
  kiommu_u64* run_words = nullptr;  // of neighbouring pages
  kiommu_u64* hpas = nullptr;       // of pages that are held, and rights
  kiommu_u64* new_pfns = nullptr;   // of pages that are pinned
  kiommu_run* runs = nullptr;
  kiommu_batch* batch = nullptr;
};

class Workspace {
 public:
  explicit Workspace(const WorkspaceMemory& memory)
      : memory(memory), host(memory.batch, memory.runs) {
    scratch.words = memory.words;
    for (unsigned i = 0; i < kMaxLevels; ++i) {
      scratch.window[i] = memory.window[i];
    }
  }
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;

  // nullptr if there is no memory.
  static Workspace* create(kiommu_hosts* hosts);
  static void destroy(Workspace* workspace);

  // Begins and ends the use of a guest's memory.
  void begin(PinTable& pins);
  void end() {
    user->finish();
    user.reset();
  }

  WorkspaceMemory memory;
  WalkScratch scratch{};
  HostBatch host;
  // What it remembers of a guest is good for the next operation, too.
  std::optional<GuestMemory> guest_memory;
  std::optional<OperationPins> user;

  // What it did and what it cost, until it ends.
  Outcome outcome;

  // The leaf of the shadow that was met last, see Shadow::find().
  Radix::Leaf leaf;

  // In the domain's list of operations under way, see pool.hpp.
  IovaPages range{};
  Workspace* next = nullptr;
};

}  // namespace kiommu
