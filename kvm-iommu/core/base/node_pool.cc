// SPDX-License-Identifier: GPL-2.0-only
//
// Node allocation up to a limit, see node_pool.hpp.
#include "base/node_pool.hpp"

namespace kiommu {

Result<void> NodePool::reserve() {
  uint64_t held = __atomic_load_n(&held_, __ATOMIC_RELAXED);
  do {
    if (limit_bytes_ - held < KIOMMU_NODE_BYTES) {
      return fail(Status::kShadowLimit);
    }
  } while (!__atomic_compare_exchange_n(&held_, &held, held + KIOMMU_NODE_BYTES,
                                        true, __ATOMIC_RELAXED,
                                        __ATOMIC_RELAXED));
  return {};
}

Result<uint64_t*> NodePool::allocate() {
  KIOMMU_TRY(reserve());
  auto node = allocate_reserved();
  if (!node) unreserve();
  return node;
}

Result<uint64_t*> NodePool::allocate_reserved() {
  auto* node = static_cast<uint64_t*>(kiommu_port_alloc_node());
  if (node == nullptr) return fail(Status::kNoMemory);
  __atomic_fetch_add(&bytes_, KIOMMU_NODE_BYTES, __ATOMIC_RELAXED);
  return node;
}

void NodePool::free_reserved(uint64_t* node) {
  kiommu_port_free_node(node);
  __atomic_fetch_sub(&bytes_, KIOMMU_NODE_BYTES, __ATOMIC_RELAXED);
}

void NodePool::free(uint64_t* node) {
  free_reserved(node);
  unreserve();
}

}  // namespace kiommu
