// SPDX-License-Identifier: GPL-2.0-only
//
// The workspaces of a domain: those in use by operations, and free ones. The
// first one exists from the beginning, for operations that must not allocate;
// more are created when operations run in parallel, and kept.
//
// This is the range lock, too: an operation has the IOVAs of its workspace to
// itself. Operations on ranges that overlap take turns, in the order of
// arrival.
#pragma once

#include "workspace/workspace.hpp"

namespace kiommu {

class WorkspacePool {
 public:
  // The number of operations that can be in progress; others wait.
  static constexpr unsigned kMost = 16;

  WorkspacePool(kiommu_hosts* hosts, kiommu_mutex* mutex, Workspace* first)
      : hosts_(hosts), mutex_(mutex), free_(first) {}
  ~WorkspacePool();
  WorkspacePool(const WorkspacePool&) = delete;
  WorkspacePool& operator=(const WorkspacePool&) = delete;

  // Waits for a workspace, if none is free and none can be created, and until
  // no earlier operation works on a page of `range`. Returns nullptr if the
  // caller is killed while it waits. With no other operation in progress it
  // does not wait.
  Workspace* take(IovaPages range);
  // Replaces the range of an operation: drops it and then locks the new one.
  // The only error is kInterrupted, with the workspace given back.
  Result<void> exchange(Workspace& workspace, IovaPages range);
  void give(Workspace& workspace);

  kiommu_hosts* hosts() const { return hosts_; }
  // Drops what the workspaces cache of the guest, which is leaving. No
  // operation may be in progress.
  void forget_guest();

 private:
  // The caller of all of these holds mutex_.
  Workspace* get();
  Workspace* pop();
  void push(Workspace& workspace);
  bool must_wait(const Workspace& workspace) const;
  Result<void> lock_range(Workspace& workspace, IovaPages range);
  void unlock_range(Workspace& workspace);

  kiommu_hosts* hosts_;
  kiommu_mutex* mutex_;
  Workspace* free_;
  Workspace* first_ = nullptr;  // in use or waiting for its range, in order
  unsigned made_ = 1;
};

}  // namespace kiommu
