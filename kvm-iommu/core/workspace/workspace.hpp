// SPDX-License-Identifier: GPL-2.0-only
//
// The state of an operation in progress on a domain: the IOVAs that it has to
// itself, its scratch buffers, what it gathered and what it did. Operations run
// in parallel, each with a workspace of its own.
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

// The memory of a workspace: one node each, but for the batch.
struct WorkspaceMemory {
  void* self = nullptr;
  kiommu_u64* window[kMaxLevels] = {};
  kiommu_u64* words = nullptr;      // page words of a window
  kiommu_u64* run_words = nullptr;  // page words of consecutive pages
  kiommu_u64* hpas = nullptr;       // HPA | rights of pages that are held
  kiommu_u64* new_pfns = nullptr;   // of pages that were just pinned
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

  // Returns nullptr if there is no memory.
  static Workspace* create(kiommu_hosts* hosts);
  static void destroy(Workspace* workspace);

  // Begin and end an operation on the guest's memory, for up to `pages` pages.
  void begin(PinTable& table, uint64_t pages);
  void end() {
    pins->finish();
    pins.reset();
  }

  WorkspaceMemory memory;
  WalkScratch scratch{};
  HostBatch host;
  // Kept for the next operation: its cache stays valid until a slot is removed.
  std::optional<GuestMemory> guest_memory;
  std::optional<OperationPins> pins;

  // What the operation did and lost, until it ends.
  Outcome outcome;

  // The leaf of the shadow that was looked up last, see Shadow::find().
  Radix::Leaf leaf;

  // The locked range and the link in the pool's lists. Protected by the pool's
  // mutex.
  IovaPages range{};
  Workspace* next = nullptr;
};

}  // namespace kiommu
