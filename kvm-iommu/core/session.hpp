// SPDX-License-Identifier: GPL-2.0-only
//
// A request on a domain that has its range of IOVA to itself.
#pragma once

#include "domain.hpp"

namespace kiommu {

// Takes a request and the leaves and blocks around a range of pages, gives
// both back at the end of the scope.
class Domain::Session {
 public:
  Session(Domain& domain, PageRange range)
      : domain_(domain), request_(domain.requests_.take(leaves_of(range))) {
    request_.begin(*domain.pins_);
    for (;;) {
      const PageRange reach = domain_.shadow_.reach(request_);
      if (request_.range.contains(reach)) break;
      // Only who has a whole block to himself changes it: with these locked,
      // it stays as it is.
      domain_.requests_.exchange(request_, leaves_of(reach));
    }
  }
  ~Session() {
    request_.end();
    domain_.requests_.give(request_);
  }
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  Request& request() { return request_; }
  // Whole leaves and blocks: the pages that the request has to itself.
  PageRange locked() const { return request_.range; }

 private:
  static PageRange leaves_of(PageRange range) {
    return {range.first & ~uint64_t{Shadow::kLeafPages - 1},
            range.last | (Shadow::kLeafPages - 1)};
  }

  Domain& domain_;
  Request& request_;
};

}  // namespace kiommu
