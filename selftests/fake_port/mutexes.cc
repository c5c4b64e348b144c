// SPDX-License-Identifier: GPL-2.0-only
//
// The monitors of port.h and their rules: a thread holds one at a time, only
// its holder unlocks, waits and wakes, and it is not held across calls of other
// parts of the port.
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "allocations.hpp"
#include "caller.hpp"
#include "faults.hpp"
#include "port.h"
#include "violation.hpp"

struct kiommu_mutex {
  std::mutex mutex;
  std::condition_variable queue;
  std::thread::id owner;      // protected by the mutex
  unsigned waits = 0;         // protected by the mutex
  std::atomic<int> users{0};  // threads that lock, hold or wait
};

namespace kiommu::port {
namespace {

// Longer than any wait in a test takes.
constexpr std::chrono::seconds kTimeout{60};
// Every third wait ends without a wake.
constexpr unsigned kSpurious = 3;

thread_local kiommu_mutex* held = nullptr;

void require_held(const kiommu_mutex* monitor, const char* what) {
  if (held != monitor) violation(what, " of a monitor that is not locked");
}

}  // namespace

bool holds_monitor() { return held != nullptr; }

}  // namespace kiommu::port

using kiommu::port::held;
using kiommu::port::Kind;
using kiommu::port::require_held;
using kiommu::port::violation;

kiommu_mutex* kiommu_port_mutex_create() {
  if (kiommu::port::allocation_fails("monitor")) return nullptr;
  auto* monitor = new kiommu_mutex;
  kiommu::port::note_allocation(Kind::kMonitor, monitor, sizeof(*monitor));
  return monitor;
}

void kiommu_port_mutex_destroy(kiommu_mutex* monitor) {
  if (!kiommu::port::note_free(Kind::kMonitor, monitor)) return;
  if (monitor->users != 0) violation("a monitor is destroyed while it is used");
  delete monitor;
}

void kiommu_port_lock(kiommu_mutex* monitor) {
  if (held != nullptr) violation("a monitor is locked while one is held");
  kiommu::port::may_sleep("a monitor is locked");
  ++monitor->users;
  monitor->mutex.lock();
  monitor->owner = std::this_thread::get_id();
  held = monitor;
}

void kiommu_port_unlock(kiommu_mutex* monitor) {
  require_held(monitor, "unlock");
  held = nullptr;
  monitor->mutex.unlock();
  --monitor->users;
}

int kiommu_port_wait(kiommu_mutex* monitor) {
  require_held(monitor, "wait");
  if (kiommu::port::faults().interrupt.fires()) return -EINTR;
  held = nullptr;
  std::unique_lock lock(monitor->mutex, std::adopt_lock);
  if (++monitor->waits % kiommu::port::kSpurious == 0) {
    lock.unlock();
    std::this_thread::yield();
    lock.lock();
  } else if (monitor->queue.wait_for(lock, kiommu::port::kTimeout) ==
             std::cv_status::timeout) {
    violation("a wait for a wake that does not come");
  }
  lock.release();
  held = monitor;
  return 0;
}

void kiommu_port_wake(kiommu_mutex* monitor) {
  require_held(monitor, "wake");
  monitor->queue.notify_all();
}
