// SPDX-License-Identifier: GPL-2.0-only
//
// Workspaces in use and free, see pool.hpp. At most kMost are in use, so linear
// lists are good enough.
#include "workspace/pool.hpp"

#include "base/scoped_lock.hpp"

namespace kiommu {

WorkspacePool::~WorkspacePool() {
  while (free_ != nullptr) Workspace::destroy(pop());
}

Workspace* WorkspacePool::pop() {
  Workspace* workspace = free_;
  free_ = workspace->next;
  return workspace;
}

void WorkspacePool::push(Workspace& workspace) {
  workspace.next = free_;
  free_ = &workspace;
}

// Drops the mutex while it creates a workspace, or waits for one. Returns
// nullptr if the caller is killed.
Workspace* WorkspacePool::get() {
  if (free_ == nullptr && made_ < kMost) {
    ++made_;
    kiommu_port_unlock(mutex_);
    Workspace* workspace = Workspace::create(hosts_);
    kiommu_port_lock(mutex_);
    if (workspace != nullptr) return workspace;
    --made_;
  }
  while (free_ == nullptr) {
    if (kiommu_port_wait(mutex_) != 0) return nullptr;
  }
  return pop();
}

bool WorkspacePool::must_wait(const Workspace& workspace) const {
  for (const Workspace* w = first_; w != &workspace; w = w->next) {
    if (w->range.overlaps(workspace.range)) return true;
  }
  return false;
}

Result<void> WorkspacePool::lock_range(Workspace& workspace, IovaPages range) {
  workspace.range = range;
  workspace.next = nullptr;
  Workspace** end = &first_;
  while (*end != nullptr) end = &(*end)->next;
  *end = &workspace;
  while (must_wait(workspace)) {
    if (kiommu_port_wait(mutex_) == 0) continue;
    unlock_range(workspace);
    return fail(Status::kInterrupted);
  }
  return {};
}

void WorkspacePool::unlock_range(Workspace& workspace) {
  Workspace** at = &first_;
  while (*at != &workspace) at = &(*at)->next;
  *at = workspace.next;
  kiommu_port_wake(mutex_);
}

Workspace* WorkspacePool::take(IovaPages range) {
  const ScopedLock locked(mutex_);
  Workspace* workspace = get();
  if (workspace == nullptr || lock_range(*workspace, range)) return workspace;
  push(*workspace);
  // Others may be waiting for a workspace.
  kiommu_port_wake(mutex_);
  return nullptr;
}

Result<void> WorkspacePool::exchange(Workspace& workspace, IovaPages range) {
  const ScopedLock locked(mutex_);
  unlock_range(workspace);
  auto locked_anew = lock_range(workspace, range);
  if (!locked_anew) {
    push(workspace);
    kiommu_port_wake(mutex_);
  }
  return locked_anew;
}

void WorkspacePool::give(Workspace& workspace) {
  const ScopedLock locked(mutex_);
  unlock_range(workspace);
  push(workspace);
}

void WorkspacePool::forget_guest() {
  for (Workspace* w = free_; w != nullptr; w = w->next) {
    w->guest_memory.reset();
  }
}

}  // namespace kiommu
