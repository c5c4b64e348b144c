// SPDX-License-Identifier: GPL-2.0-only
//
// See nodes.hpp.
#include "nodes.hpp"

#include <cstdlib>
#include <cstring>

#include "../../kvm-iommu/include/port.h"
#include "faults.hpp"
#include "violation.hpp"

namespace kiommu::port {
namespace {

thread_local std::int64_t live;

}  // namespace

std::int64_t live_nodes() { return live; }

}  // namespace kiommu::port

void* kiommu_port_alloc_node() {
  if (kiommu::port::faults().node.fires()) return nullptr;
  void* node = std::aligned_alloc(KIOMMU_NODE_BYTES, KIOMMU_NODE_BYTES);
  std::memset(node, 0, KIOMMU_NODE_BYTES);
  ++kiommu::port::live;
  return node;
}

void kiommu_port_free_node(void* node) {
  if (node == nullptr) {
    kiommu::port::violation("free of no node");
    return;
  }
  // A stale user of the node finds nonsense, not what it expects.
  std::memset(node, 0xdb, KIOMMU_NODE_BYTES);
  std::free(node);
  --kiommu::port::live;
}
