// SPDX-License-Identifier: GPL-2.0-only
//
// See allocations.hpp.
#include "allocations.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <mutex>
#include <unordered_map>
#include <utility>
#include <vector>

#include "caller.hpp"
#include "fault_reader.hpp"
#include "faults.hpp"
#include "port.h"
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

#ifndef KIOMMU_ADDRESS_SANITIZER  // which detects stale uses itself
// Quarantines a small allocation, and returns the one that was quarantined
// longest, or nullptr. Large memory is returned at once.
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

// The whole pages of [memory, memory + bytes).
struct Pages {
  Pages(void* memory, std::uint64_t bytes) {
    const auto begin = reinterpret_cast<std::uintptr_t>(memory);
    const auto size = static_cast<std::uintptr_t>(sysconf(_SC_PAGESIZE));
    const std::uintptr_t end = (begin + bytes) / size * size;
    const std::uintptr_t up = (begin + size - 1) / size * size;
    first = reinterpret_cast<void*>(up);
    length = end > up ? end - up : 0;
    count = length / size;
    page = size;
  }
  void* first;
  std::size_t length;
  std::size_t count;
  std::size_t page;
};

void free_memory(Kind kind, void* memory) {
  std::uint64_t bytes = 0;
  if (!note_free(kind, memory, &bytes)) return;
  // Poison it, so that a stale user does not find what it expects. The
  // quarantine keeps the poison for a while: memory that is freed at once is
  // soon reused, or written to by malloc().
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

std::uint64_t touched_arrays() {
  std::uint64_t bytes = 0;
  const std::lock_guard locked(known().mutex);
  for (const auto& [memory, allocation] : known().allocations) {
    if (allocation.kind != Kind::kArray) continue;
    const Pages pages(memory, allocation.bytes);
    if (pages.count == 0) continue;
    std::vector<unsigned char> in_memory(pages.count);
    if (mincore(pages.first, pages.length, in_memory.data()) != 0) {
      violation("mincore");
    }
    for (const unsigned char touched : in_memory) {
      bytes += (touched & 1) != 0 ? pages.page : 0;
    }
  }
  return bytes;
}

void* allocate(Kind kind, std::uint64_t bytes, std::uint64_t alignment) {
  if (allocation_fails("allocation")) return nullptr;
  if (bytes == 0) violation("allocation of no bytes");
  const std::uint64_t room = (bytes + alignment - 1) & ~(alignment - 1);
  void* memory = std::aligned_alloc(alignment, room);
  std::memset(memory, 0, room);
  // Give whole pages back, so that touched_arrays() sees which are touched;
  // they read as zeros then.
  const Pages pages(memory, room);
  if (kind == Kind::kArray && pages.count > 0) {
    madvise(pages.first, pages.length, MADV_DONTNEED);
  }
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
