// SPDX-License-Identifier: GPL-2.0-only
//
// Memory of requests, see request.hpp.
#include "request/workspace.hpp"

namespace kiommu {
namespace {

static_assert(sizeof(Request) <= KIOMMU_NODE_BYTES);
static_assert(kChunkPages * sizeof(kiommu_u64) <= KIOMMU_NODE_BYTES);
static_assert(WalkScratch::kWindow * kEntryBytes <= KIOMMU_NODE_BYTES);
static_assert(KIOMMU_MAX_RUNS * sizeof(kiommu_run) <= KIOMMU_NODE_BYTES);

// Calls f(pointer) for each node.
template <class Function>
void for_nodes(RequestMemory& memory, Function f) {
  for (kiommu_u64*& window : memory.window) f(window);
  f(memory.words);
  f(memory.run_words);
  f(memory.hpas);
  f(memory.new_pfns);
  f(memory.runs);
  f(memory.self);
}

void free_memory(RequestMemory memory) {
  if (memory.batch != nullptr) kiommu_port_batch_destroy(memory.batch);
  for_nodes(memory, [](auto* node) {
    if (node != nullptr) kiommu_port_free_node(node);
  });
}

}  // namespace

void Request::begin(Pins& pins) {
  outcome = {};
  leaf = {};
  if (!stage2 || !stage2->is_current()) {
    stage2.emplace(pins.mem(), pins.regions());
  }
  user.emplace(pins, memory.new_pfns);
}

Request* Request::create(kiommu_hosts* hosts) {
  RequestMemory memory;
  bool complete = true;
  for_nodes(memory, [&]<class T>(T*& node) {
    node = static_cast<T*>(kiommu_port_alloc_node());
    complete &= node != nullptr;
  });
  memory.batch = kiommu_port_batch_create(hosts);
  if (!complete || memory.batch == nullptr) {
    free_memory(memory);
    return nullptr;
  }
  return new (memory.self) Request(memory);
}

void Request::destroy(Request* request) {
  const RequestMemory memory = request->memory;
  request->~Request();
  free_memory(memory);
}

}  // namespace kiommu
