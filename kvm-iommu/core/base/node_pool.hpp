// SPDX-License-Identifier: GPL-2.0-only
//
// The nodes of one page each that a domain's tables are kept in, up to a limit.
#pragma once

#include "base/types.hpp"
#include "port.h"

namespace kiommu {

// Hands out nodes and bounds how many there are. What may become a node later,
// without a limit in its way, is reserved.
class NodePool {
 public:
  explicit NodePool(uint64_t limit_bytes) : limit_bytes_(limit_bytes) {}
  NodePool(const NodePool&) = delete;
  NodePool& operator=(const NodePool&) = delete;

  Result<uint64_t*> allocate();
  void free(uint64_t* node);
  Result<void> reserve();
  void unreserve() {
    __atomic_fetch_sub(&held_, KIOMMU_NODE_BYTES, __ATOMIC_RELAXED);
  }
  // What was reserved; the error is kNoMemory, and it stays reserved.
  Result<uint64_t*> allocate_reserved();
  // The node goes, what was reserved for it stays.
  void free_reserved(uint64_t* node);

  uint64_t bytes() const { return __atomic_load_n(&bytes_, __ATOMIC_RELAXED); }
  uint64_t limit_bytes() const { return limit_bytes_; }

 private:
  uint64_t bytes_ = 0;
  uint64_t held_ = 0;  // nodes and what is reserved
  uint64_t limit_bytes_;
};

}  // namespace kiommu
