// SPDX-License-Identifier: GPL-2.0-only
//
// The caller's side of the rules of core.h: the locks D and P, and the calls
// that are made under them. A function of the port that is called outside of a
// call, with a monitor held, or where sleeping is forbidden, reports a
// violation.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>

#include "allocations.hpp"

namespace kiommu::port {

// A reader-writer lock. As in the kernel, a waiting writer keeps new readers
// out.
class CallerLock {
 public:
  void lock();
  void unlock();
  void lock_shared();
  void unlock_shared();

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  unsigned readers_ = 0;
  unsigned writers_waiting_ = 0;
  bool written_ = false;
};

// The locks that core.h asks for.
enum class Locks : std::uint8_t {
  kNone,       // an object that nobody else knows: create and destroy
  kShared,     // D and P for reading
  kExclusive,  // both for writing
  kPins,       // P for writing
};

// A call into the core on this thread, for the lifetime of the scope. Takes D,
// then P; either is nullptr if there is none.
class CallScope {
 public:
  CallScope(Ledger& ledger, Locks locks, CallerLock* d, CallerLock* p,
            bool never_allocates = false);
  // P is only known once D is held.
  CallScope(Ledger& ledger, Locks locks, CallerLock* d,
            CallerLock* (*find_p)(void*), void* argument,
            bool never_allocates = false);
  ~CallScope();
  CallScope(const CallScope&) = delete;
  CallScope& operator=(const CallScope&) = delete;

  // The number of the call that this thread is in; 0: none.
  static std::uint64_t number();
  static Locks locks();
  static bool forbids_allocation();

 private:
  Ledger* ledger_before_;
  Locks locks_;
  CallerLock* d_;
  CallerLock* p_ = nullptr;
};

// A context that may not sleep, such as an interrupt, for the lifetime of the
// scope; within a call or outside of one.
class AtomicScope {
 public:
  AtomicScope();
  ~AtomicScope();
  AtomicScope(const AtomicScope&) = delete;
  AtomicScope& operator=(const AtomicScope&) = delete;
};

// Checks that this thread may sleep.
void may_sleep(const char* what);

// Counts kiommu_port_yield() and kiommu_port_interrupted() on this thread: a
// measure of the work in the core's loops.
std::uint64_t& yields();

// Whether this thread holds a monitor of the port, and whether it has unmapped
// something that is not flushed yet.
bool holds_monitor();
bool waits_for_flush();

// Checks that a function of the port may be called: within a call, with no
// monitor held, and where sleeping is allowed.
void entered(const char* function);

}  // namespace kiommu::port
