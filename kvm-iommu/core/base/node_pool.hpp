// SPDX-License-Identifier: GPL-2.0-only
//
// Allocates the page-sized nodes of a domain's shadow and tracker, up to a
// limit.
#pragma once

#include "base/types.hpp"
#include "port.h"

namespace kiommu {

// Allocates nodes and enforces the limit. A reservation counts against the
// limit like a node, so that a node allocated from it later cannot exceed the
// limit.
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
  // Allocates a node from a reservation. The only error is kNoMemory; the
  // reservation then stays.
  Result<uint64_t*> allocate_reserved();
  // Frees a node but keeps its reservation.
  void free_reserved(uint64_t* node);

  uint64_t bytes() const { return __atomic_load_n(&bytes_, __ATOMIC_RELAXED); }
  uint64_t limit_bytes() const { return limit_bytes_; }

 private:
  uint64_t bytes_ = 0;
  uint64_t held_ = 0;  // bytes of nodes and reservations
  uint64_t limit_bytes_;
};

}  // namespace kiommu
