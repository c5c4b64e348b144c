// SPDX-License-Identifier: GPL-2.0-only
//
// Fault injection. Each kind of fault counts its occasions; a test arms it for
// the n-th one from now, or for all. Faults are per thread, because domains on
// different threads are independent.
#pragma once

#include <cstdint>

namespace kiommu::port {

class Fault {
 public:
  // Fires at the n-th occasion from now on (1 is the next) and at those that
  // follow it, `times` in all.
  void arm(std::uint64_t nth, std::uint64_t times = 1) {
    left_ = nth, more_ = times - 1, always_ = false;
  }
  // Fires at each occasion.
  void arm_always() { always_ = true; }
  void disarm() { left_ = more_ = 0, always_ = false; }

  // Counts an occasion and returns whether it fails.
  bool fires() {
    ++occasions_;
    const bool now = always_ || (left_ > 0 && --left_ == 0);
    if (now && more_ > 0) --more_, left_ = 1;
    fired_ += now;
    return now;
  }

  std::uint64_t occasions() const { return occasions_; }
  std::uint64_t fired() const { return fired_; }

 private:
  std::uint64_t left_ = 0;
  std::uint64_t more_ = 0;
  bool always_ = false;
  std::uint64_t occasions_ = 0;
  std::uint64_t fired_ = 0;
};

struct Faults {
  Fault node;       // an allocation: node, array, monitor or batch
  Fault pin;        // kiommu_port_pin() fails with GuestMemory::pin_failure
  Fault account;    // RLIMIT_MEMLOCK is reached
  Fault map;        // a host refuses, with HostIommus::map_error
  Fault mmio;       // the same for device memory
  Fault track;      // a page cannot be tracked
  Fault interrupt;  // a fatal signal is pending
  Fault look_up;    // kiommu_port_look_up() has no answer now
};

inline Faults& faults() {
  static thread_local Faults instance;
  return instance;
}

}  // namespace kiommu::port
