// SPDX-License-Identifier: GPL-2.0-only
//
// The reader of a domain's faults: the lock of port.h, how often it was taken,
// and how often the reader was woken.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>

#include "port.h"

struct kiommu_fault_reader {
  std::mutex mutex;
  std::uint64_t locks = 0;
  std::atomic<std::uint64_t> woken{0};
};

namespace kiommu::port {

// Whether this thread has locked the faults of a domain.
bool holds_faults();

}  // namespace kiommu::port
