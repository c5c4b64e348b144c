// SPDX-License-Identifier: GPL-2.0-only
//
// An operation on a domain, with its range of IOVA locked.
#pragma once

#include "domain/domain.hpp"

namespace kiommu {

// Takes a workspace and locks the leaves and blocks around a range of pages.
// The destructor gives both back, and reports whatever the operation has lost.
// A fatal signal can end the wait for other operations: begun() then returns
// false, and no other function may be called. Exclusive calls have nothing to
// wait for.
class Domain::Operation {
 public:
  Operation(Domain& domain, IovaPages range);
  ~Operation();
  Operation(const Operation&) = delete;
  Operation& operator=(const Operation&) = delete;

  bool begun() const { return workspace_ != nullptr; }
  Workspace& workspace() { return *workspace_; }

  // Completes what was done so far: the hosts and IOTLBs are up to date. Lost
  // pages are reported by faults, except for those in `told`, which the caller
  // reports; in mode TRACKED, pages of tables that map them go out of sync. The
  // destructor does it otherwise. Nothing may be done after it.
  Outcome finish(std::optional<IovaPages> told = {});

 private:
  Domain& domain_;
  Workspace* workspace_;
  bool finished_ = false;
};

template <class Wants>
void Domain::unmap_where(Wants& wants) {
  Operation operation(*this, {0, ~uint64_t{0} >> kPageShift});
  shadow_.unmap_where(operation.workspace(), wants);
}

}  // namespace kiommu
