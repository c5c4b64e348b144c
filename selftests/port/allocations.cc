// SPDX-License-Identifier: GPL-2.0-only
//
// See allocations.hpp.
#include "allocations.hpp"

#include <cstdlib>
#include <cstring>
#include <mutex>
#include <unordered_map>
#include <utility>

#include "../../kvm-iommu/include/port.h"
#include "caller.hpp"
#include "fault_reader.hpp"
#include "faults.hpp"
#include "violation.hpp"

#if defined(__SANITIZE_ADDRESS__)
#define KIOMMU_ADDRESS_SANITIZER
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define KIOMMU_ADDRESS_SANITIZER
#endif
#endif

namespace kiommu::port {
namespace {

struct Allocation {
  Kind kind;
  std::uint64_t bytes;
  Ledger* ledger;
};

struct Known {
  std::mutex mutex;
  std::unordered_map<void*, Allocation> allocations;
};

Known& known() {
  static Known instance;
  return instance;
}

Ledger& own_ledger() {
  static thread_local Ledger instance;
  return instance;
}

thread_local Ledger* ledger_in_use = nullptr;

#ifndef KIOMMU_ADDRESS_SANITIZER  // which knows memory that was freed
// Lets small memory rest, and returns what has rested longest, or nullptr.
void* rest(void* memory, std::uint64_t bytes) {
  constexpr unsigned kResting = 256;
  static std::mutex mutex;
  static void* resting[kResting] = {};
  static unsigned next = 0;
  if (bytes > KIOMMU_NODE_BYTES) return memory;
  const std::lock_guard locked(mutex);
  void*& place = resting[next++ % kResting];
  return std::exchange(place, memory);
}
#endif

void free_memory(Kind kind, void* memory) {
  std::uint64_t bytes = 0;
  if (!note_free(kind, memory, &bytes)) return;
  // A stale user of it finds nonsense, not what it expects; for a while: memory
  // that is given back at once is soon another's, or malloc() writes to it.
  std::memset(memory, 0xdb, bytes);
#ifndef KIOMMU_ADDRESS_SANITIZER
  memory = rest(memory, bytes);
#endif
  std::free(memory);
}

}  // namespace

Ledger& ledger() {
  return ledger_in_use != nullptr ? *ledger_in_use : own_ledger();
}

Ledger* use_ledger(Ledger* ledger) {
  Ledger* before = ledger_in_use;
  ledger_in_use = ledger;
  return before;
}

bool allocation_fails(const char* what) {
  may_sleep(what);
  if (CallScope::forbids_allocation()) {
    violation(what, " in a call that never allocates");
  }
  return faults().node.fires();
}

void note_allocation(Kind kind, void* what, std::uint64_t bytes) {
  Ledger& used = ledger();
  ++used.live;
  const std::lock_guard locked(known().mutex);
  known().allocations[what] = {kind, bytes, &used};
}

bool note_free(Kind kind, void* what, std::uint64_t* bytes) {
  if (holds_faults()) violation("free with the faults locked");
  const std::lock_guard locked(known().mutex);
  const auto found = known().allocations.find(what);
  if (found == known().allocations.end() || found->second.kind != kind) {
    violation("free of what is not allocated");
    return false;
  }
  --found->second.ledger->live;
  if (bytes != nullptr) *bytes = found->second.bytes;
  known().allocations.erase(found);
  return true;
}

void* allocate(Kind kind, std::uint64_t bytes, std::uint64_t alignment) {
  if (allocation_fails("allocation")) return nullptr;
  if (bytes == 0) violation("allocation of no bytes");
  const std::uint64_t room = (bytes + alignment - 1) & ~(alignment - 1);
  void* memory = std::aligned_alloc(alignment, room);
  std::memset(memory, 0, room);
  note_allocation(kind, memory, bytes);
  return memory;
}

}  // namespace kiommu::port

using kiommu::port::Kind;

void* kiommu_port_alloc_node() {
  return kiommu::port::allocate(Kind::kNode, KIOMMU_NODE_BYTES,
                                KIOMMU_NODE_BYTES);
}

void kiommu_port_free_node(void* node) {
  kiommu::port::free_memory(Kind::kNode, node);
}

void* kiommu_port_alloc_array(kiommu_u64 bytes) {
  return kiommu::port::allocate(Kind::kArray, bytes, 16);
}

void kiommu_port_free_array(void* array) {
  kiommu::port::free_memory(Kind::kArray, array);
}
