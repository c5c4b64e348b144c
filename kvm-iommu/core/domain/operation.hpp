// SPDX-License-Identifier: GPL-2.0-only
//
// An operation on a domain that has its range of IOVA to itself.
#pragma once

#include "domain/domain.hpp"

namespace kiommu {

// Takes an operation and the leaves and blocks around a range of pages, gives
// both back at the end of the scope, and sees to it that nothing that the
// operation has cost goes unsaid. Who waits for others can be killed: then it
// has not begun, and nothing but begun() may be called. Calls that are
// exclusive have nobody to wait for.
class Domain::Operation {
 public:
  Operation(Domain& domain, IovaPages range);
  ~Operation();
  Operation(const Operation&) = delete;
  Operation& operator=(const Operation&) = delete;

  bool begun() const { return workspace_ != nullptr; }
  Workspace& workspace() { return *workspace_; }

  // Ends what was done so far: hosts and IOTLBs are up to date, and what it
  // cost is told: by the faults, but for pages of `told`, which the caller
  // tells; and by pages of tables that go out of sync, where stores are
  // tracked. The end of the scope does the same for what nobody has asked for.
  Outcome finish(std::optional<IovaPages> told = {});

 private:
  Domain& domain_;
  Workspace* workspace_;
};

template <class Wants>
void Domain::unmap_where(Wants& wants) {
  Operation operation(*this, {0, ~uint64_t{0} >> kPageShift});
  shadow_.unmap_where(operation.workspace(), wants);
}

}  // namespace kiommu
