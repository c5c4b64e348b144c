// SPDX-License-Identifier: GPL-2.0-only
//
// Holds a mutex of port.h for the duration of a scope.
#pragma once

#include "port.h"

namespace kiommu {

class ScopedLock {
 public:
  explicit ScopedLock(kiommu_mutex* mutex) : mutex_(mutex) {
    kiommu_port_lock(mutex_);
  }
  ~ScopedLock() { kiommu_port_unlock(mutex_); }
  ScopedLock(const ScopedLock&) = delete;
  ScopedLock& operator=(const ScopedLock&) = delete;

 private:
  kiommu_mutex* mutex_;
};

}  // namespace kiommu
