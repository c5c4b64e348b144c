// SPDX-License-Identifier: GPL-2.0-only
//
// The workspaces of a domain: those of operations under way, and those that are
// not in use. One is there from the beginning, so that what must not allocate
// need not; more are made when operations run in parallel, and kept.
//
// Who has a workspace has a range of IOVA to himself: operations on ranges that
// overlap take turns, in the order in which they came.
#pragma once

#include "workspace/workspace.hpp"

namespace kiommu {

class WorkspacePool {
 public:
  // As many as can be under way: what comes then waits.
  static constexpr unsigned kMost = 16;

  WorkspacePool(kiommu_hosts* hosts, kiommu_mutex* mutex, Workspace* first)
      : hosts_(hosts), mutex_(mutex), free_(first) {}
  ~WorkspacePool();
  WorkspacePool(const WorkspacePool&) = delete;
  WorkspacePool& operator=(const WorkspacePool&) = delete;

  // Waits until nobody who came earlier works on a page of `range`, and for a
  // workspace, if there is none and no memory for one. nullptr: who waits is
  // killed. With no other operation under way there is nothing to wait for.
  Workspace* take(IovaPages range);
  // Another range in place of the one that the operation has. The error is
  // kInterrupted: the workspace is given back.
  Result<void> exchange(Workspace& workspace, IovaPages range);
  void give(Workspace& workspace);

  kiommu_hosts* hosts() const { return hosts_; }
  // None is under way: what they remember of a guest is not true any more.
  void forget_guest();

 private:
  // The caller of all of these holds the mutex.
  Workspace* get();
  Workspace* pop();
  void push(Workspace& workspace);
  bool must_wait(const Workspace& workspace) const;
  Result<void> lock_range(Workspace& workspace, IovaPages range);
  void unlock_range(Workspace& workspace);

  kiommu_hosts* hosts_;
  kiommu_mutex* mutex_;
  Workspace* free_;
  Workspace* first_ = nullptr;  // under way, in the order of arrival
  unsigned made_ = 1;
};

}  // namespace kiommu
