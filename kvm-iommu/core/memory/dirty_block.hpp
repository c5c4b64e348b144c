// SPDX-License-Identifier: GPL-2.0-only
//
// The dirty log of 64 pages, see dirty_log.hpp.
#pragma once

#include "base/types.hpp"

namespace kiommu {

// 64 consecutive pages in the dirty log. The first GFN is a multiple of 64.
struct DirtyBlock {
  static constexpr uint64_t kPages = 64;
  static constexpr unsigned kLanes = 8;  // counters in a word

  uint64_t unmapped;  // bit per page: was writable, was unmapped
  // A byte per page: the number of shadow entries that let a device write it.
  // It saturates at kMany.
  uint64_t writers[kPages / kLanes];

  static constexpr unsigned kMany = 0xff;
};

}  // namespace kiommu
