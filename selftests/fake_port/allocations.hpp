// SPDX-License-Identifier: GPL-2.0-only
//
// What the core has allocated through the port: nodes, arrays, monitors,
// batches. Each allocation is known, with its kind, so that a leak, a second
// free and a free of something else show.
#pragma once

#include <atomic>
#include <cstdint>

namespace kiommu::port {

enum class Kind : std::uint8_t { kNode, kArray, kMonitor, kBatch };

// What the calls of one machine have allocated and not freed; or what a thread
// has, outside of any call.
struct Ledger {
  std::atomic<std::int64_t> live{0};
};

// The ledger of the call that this thread is in.
Ledger& ledger();
// Makes it another one; nullptr: the thread's own. Returns the one before.
Ledger* use_ledger(Ledger* ledger);

// Allocations that are alive in ledger().
inline std::int64_t live_allocations() { return ledger().live; }

// Bytes of arrays of several pages that were looked at, by the page: how much
// of what grows with the guest's memory the core has been at.
std::uint64_t touched_arrays();

// Each returns nullptr if Faults::node says so. Zeroed.
void* allocate(Kind kind, std::uint64_t bytes, std::uint64_t alignment);
// Whether an allocation of this kind may fail now, and fails: for objects.
bool allocation_fails(const char* what);
void note_allocation(Kind kind, void* what, std::uint64_t bytes);
// Forgets it; returns false, after a violation, if there is no such thing.
bool note_free(Kind kind, void* what, std::uint64_t* bytes = nullptr);

}  // namespace kiommu::port
