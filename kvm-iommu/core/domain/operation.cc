// SPDX-License-Identifier: GPL-2.0-only
//
// Begins and ends an operation, see operation.hpp.
#include "domain/operation.hpp"

namespace kiommu {
namespace {

IovaPages leaves_of(IovaPages range) {
  return {range.first & ~uint64_t{Shadow::kLeafPages - 1},
          range.last | (Shadow::kLeafPages - 1)};
}

}  // namespace

Domain::Operation::Operation(Domain& domain, IovaPages range)
    : domain_(domain), workspace_(domain.workspaces_.take(leaves_of(range))) {
  if (workspace_ == nullptr) return;
  const uint64_t pages = range.last - range.first + 1;
  workspace_->begin(*domain.pins_, pages);
  for (;;) {
    const IovaPages reach = domain_.shadow_.reach(*workspace_);
    if (workspace_->range.contains(reach)) break;
    // Lock the whole blocks and look again, because they may change until then.
    // Once locked they do not: only an operation that has locked all of a block
    // changes it.
    workspace_->end();
    if (!domain_.workspaces_.exchange(*workspace_, leaves_of(reach))) {
      workspace_ = nullptr;
      return;
    }
    workspace_->begin(*domain.pins_, pages);
  }
}

Domain::Operation::~Operation() {
  if (workspace_ == nullptr) return;
  if (!finished_) {
    [[maybe_unused]] const Outcome told = finish();
  }
  workspace_->end();
  domain_.workspaces_.give(*workspace_);
}

Outcome Domain::Operation::finish(std::optional<IovaPages> told) {
  finished_ = true;
  domain_.shadow_.settle(*workspace_);
  const Outcome outcome = workspace_->outcome;
  domain_.shadow_.count(outcome);
  if (outcome.failed()) domain_.tell_lost(outcome, told);
  return outcome;
}

}  // namespace kiommu
