// SPDX-License-Identifier: GPL-2.0-only
//
// The core's allocations through the port: nodes, arrays, monitors, batches.
// Each is recorded with its kind, so that a leak, a double free and a free of
// the wrong kind show.
#pragma once

#include <atomic>
#include <cstdint>

namespace kiommu::port {

enum class Kind : std::uint8_t { kNode, kArray, kMonitor, kBatch };

// Counts live allocations: those of the calls of one machine, or those of a
// thread outside of any call.
struct Ledger {
  std::atomic<std::int64_t> live{0};
};

// The ledger of the call that this thread is in, else the thread's own.
Ledger& ledger();
// Replaces it; nullptr selects the thread's own. Returns the previous one.
Ledger* use_ledger(Ledger* ledger);

// Allocations that are alive in ledger().
inline std::int64_t live_allocations() { return ledger().live; }

// Bytes of arrays that were touched, by whole pages: how much of the data that
// grows with the guest's memory the core has accessed.
std::uint64_t touched_arrays();

// Returns zeroed memory, or nullptr if Faults::node fires.
void* allocate(Kind kind, std::uint64_t bytes, std::uint64_t alignment);
// Checks that an allocation is allowed here, and returns whether it fails. For
// objects that are created by `new`.
bool allocation_fails(const char* what);
void note_allocation(Kind kind, void* what, std::uint64_t bytes);
// Forgets the allocation. Returns false, after a violation, if there is none of
// this kind.
bool note_free(Kind kind, void* what, std::uint64_t* bytes = nullptr);

}  // namespace kiommu::port
