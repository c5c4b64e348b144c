// SPDX-License-Identifier: GPL-2.0-only
//
// See fault_reader.hpp. The lock is also taken in interrupts, so its holder may
// neither sleep nor call another part of the port.
#include "fault_reader.hpp"

#include <optional>

#include "caller.hpp"
#include "violation.hpp"

namespace kiommu::port {
namespace {

thread_local kiommu_fault_reader* locked = nullptr;
thread_local std::optional<AtomicScope> atomic;

}  // namespace

bool holds_faults() { return locked != nullptr; }

}  // namespace kiommu::port

using kiommu::port::atomic;
using kiommu::port::locked;
using kiommu::port::violation;

void kiommu_port_faults_lock(kiommu_fault_reader* reader) {
  if (locked != nullptr) violation("faults are locked twice");
  reader->mutex.lock();
  ++reader->locks;
  locked = reader;
  atomic.emplace();
}

void kiommu_port_faults_unlock(kiommu_fault_reader* reader) {
  if (locked != reader) violation("unlock of faults that are not locked");
  atomic.reset();
  locked = nullptr;
  reader->mutex.unlock();
}

void kiommu_port_faults_ready(kiommu_fault_reader* reader) {
  if (locked != nullptr) violation("a reader is woken with the faults locked");
  ++reader->woken;
}
