// SPDX-License-Identifier: GPL-2.0-only
//
// Holds a monitor of the port for as long as a scope lasts.
#pragma once

#include "port.h"

namespace kiommu {

class Locked {
 public:
  explicit Locked(kiommu_monitor* monitor) : monitor_(monitor) {
    kiommu_port_lock(monitor_);
  }
  ~Locked() { kiommu_port_unlock(monitor_); }
  Locked(const Locked&) = delete;
  Locked& operator=(const Locked&) = delete;

 private:
  kiommu_monitor* monitor_;
};

}  // namespace kiommu
