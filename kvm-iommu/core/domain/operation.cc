// SPDX-License-Identifier: GPL-2.0-only
//
// The beginning and the end of a request, see session.hpp.
#include "domain/operation.hpp"

namespace kiommu {
namespace {

PageRange leaves_of(PageRange range) {
  return {range.first & ~uint64_t{Shadow::kLeafPages - 1},
          range.last | (Shadow::kLeafPages - 1)};
}

}  // namespace

Domain::Session::Session(Domain& domain, PageRange range)
    : domain_(domain), request_(domain.requests_.take(leaves_of(range))) {
  if (request_ == nullptr) return;
  request_->begin(*domain.pins_);
  for (;;) {
    const PageRange reach = domain_.shadow_.reach(*request_);
    if (request_->range.contains(reach)) break;
    // Only who has a whole block to himself changes it: with these locked, it
    // stays as it is.
    request_->end();
    if (!domain_.requests_.exchange(*request_, leaves_of(reach))) {
      request_ = nullptr;
      return;
    }
    request_->begin(*domain.pins_);
  }
}

Domain::Session::~Session() {
  if (request_ == nullptr) return;
  [[maybe_unused]] const Outcome told = finish();
  request_->end();
  domain_.requests_.give(*request_);
}

Outcome Domain::Session::finish(std::optional<PageRange> told) {
  domain_.shadow_.settle(*request_);
  const Outcome outcome = request_->outcome;
  request_->outcome = {};
  domain_.shadow_.count(outcome);
  if (outcome.failed()) domain_.tell_lost(outcome, told);
  return outcome;
}

}  // namespace kiommu
