// SPDX-License-Identifier: GPL-2.0-only
//
// The memory of workspaces, see workspace.hpp.
#include "workspace/workspace.hpp"

namespace kiommu {
namespace {

static_assert(sizeof(Workspace) <= KIOMMU_NODE_BYTES);
static_assert(kChunkPages * sizeof(kiommu_u64) <= KIOMMU_NODE_BYTES);
static_assert(WalkScratch::kWindow * kEntryBytes <= KIOMMU_NODE_BYTES);
static_assert(KIOMMU_MAX_RUNS * sizeof(kiommu_run) <= KIOMMU_NODE_BYTES);

// Calls f(pointer) for each node.
template <class Function>
void for_nodes(WorkspaceMemory& memory, Function f) {
  for (kiommu_u64*& window : memory.window) f(window);
  f(memory.words);
  f(memory.run_words);
  f(memory.hpas);
  f(memory.new_pfns);
  f(memory.runs);
  f(memory.self);
}

void free_memory(WorkspaceMemory memory) {
  if (memory.batch != nullptr) kiommu_port_batch_destroy(memory.batch);
  for_nodes(memory, [](auto* node) {
    if (node != nullptr) kiommu_port_free_node(node);
  });
}

}  // namespace

void Workspace::begin(PinTable& table, uint64_t pages) {
  outcome.reset();
  leaf = {};
  if (!guest_memory || !guest_memory->is_current()) {
    guest_memory.emplace(table.guest(), table.slots());
  }
  pins.emplace(table, memory.new_pfns, pages);
}

Workspace* Workspace::create(kiommu_hosts* hosts) {
  WorkspaceMemory memory;
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
  return new (memory.self) Workspace(memory);
}

void Workspace::destroy(Workspace* workspace) {
  const WorkspaceMemory memory = workspace->memory;
  workspace->~Workspace();
  free_memory(memory);
}

}  // namespace kiommu
