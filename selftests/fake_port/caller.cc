// SPDX-License-Identifier: GPL-2.0-only
//
// See caller.hpp.
#include "caller.hpp"

#include <atomic>

#include "violation.hpp"

namespace kiommu::port {
namespace {

struct Current {
  std::uint64_t number = 0;
  Locks locks = Locks::kNone;
  bool never_allocates = false;
};

thread_local Current current;
thread_local unsigned atomic_depth = 0;
std::atomic<std::uint64_t> calls{0};

}  // namespace

void CallerLock::lock() {
  std::unique_lock locked(mutex_);
  ++writers_waiting_;
  changed_.wait(locked, [this] { return readers_ == 0 && !written_; });
  --writers_waiting_;
  written_ = true;
}

void CallerLock::unlock() {
  const std::lock_guard locked(mutex_);
  written_ = false;
  changed_.notify_all();
}

void CallerLock::lock_shared() {
  std::unique_lock locked(mutex_);
  changed_.wait(locked, [this] { return writers_waiting_ == 0 && !written_; });
  ++readers_;
}

void CallerLock::unlock_shared() {
  const std::lock_guard locked(mutex_);
  if (--readers_ == 0) changed_.notify_all();
}

CallScope::CallScope(Ledger& ledger, Locks locks, CallerLock* d, CallerLock* p,
                     bool never_allocates)
    : CallScope(
          ledger, locks, d,
          [](void* lock) { return static_cast<CallerLock*>(lock); }, p,
          never_allocates) {}

CallScope::CallScope(Ledger& ledger, Locks locks, CallerLock* d,
                     CallerLock* (*find_p)(void*), void* argument,
                     bool never_allocates)
    : locks_(locks), d_(locks == Locks::kPins ? nullptr : d) {
  if (current.number != 0) {
    violation("a call of the core within a call");
    d_ = nullptr;
    find_p = [](void*) -> CallerLock* { return nullptr; };
  }
  if (d_ != nullptr) {
    locks_ == Locks::kShared ? d_->lock_shared() : d_->lock();
  }
  p_ = find_p(argument);
  if (p_ != nullptr) {
    locks_ == Locks::kShared ? p_->lock_shared() : p_->lock();
  }
  ledger_before_ = use_ledger(&ledger);
  current = {++calls, locks, never_allocates};
}

CallScope::~CallScope() {
  if (holds_monitor()) violation("a monitor is held at the end of a call");
  if (waits_for_flush())
    violation("an IOTLB is not flushed at the end of a call");
  current = {};
  use_ledger(ledger_before_);
  if (p_ != nullptr) {
    locks_ == Locks::kShared ? p_->unlock_shared() : p_->unlock();
  }
  if (d_ != nullptr) {
    locks_ == Locks::kShared ? d_->unlock_shared() : d_->unlock();
  }
}

AtomicScope::AtomicScope() { ++atomic_depth; }
AtomicScope::~AtomicScope() { --atomic_depth; }

void may_sleep(const char* what) {
  if (atomic_depth > 0) violation(what, " where nothing may sleep");
}

std::uint64_t& yields() {
  static thread_local std::uint64_t count = 0;
  return count;
}

std::uint64_t CallScope::number() { return current.number; }
Locks CallScope::locks() { return current.locks; }
bool CallScope::forbids_allocation() { return current.never_allocates; }

void entered(const char* function) {
  if (current.number == 0) violation(function, " outside of a call");
  if (holds_monitor()) violation(function, " with a monitor held");
  may_sleep(function);
}

}  // namespace kiommu::port
