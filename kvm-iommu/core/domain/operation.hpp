// SPDX-License-Identifier: GPL-2.0-only
//
// A request on a domain that has its range of IOVA to itself.
#pragma once

#include "domain/domain.hpp"

namespace kiommu {

// Takes a request and the leaves and blocks around a range of pages, gives
// both back at the end of the scope, and sees to it that nothing that the
// request has cost goes unsaid. Who waits for others can be killed: then it has
// not begun, and nothing but begun() may be called. Calls that are exclusive
// have nobody to wait for.
class Domain::Session {
 public:
  Session(Domain& domain, PageRange range);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  bool begun() const { return request_ != nullptr; }
  Request& request() { return *request_; }

  // Ends what was done so far: hosts and IOTLBs are up to date, and what it
  // cost is told: by the faults, but for pages of `told`, which the caller
  // tells; and by pages of tables that go out of sync, where stores are
  // tracked. The end of the scope does the same for what nobody has asked for.
  Outcome finish(std::optional<PageRange> told = {});

 private:
  Domain& domain_;
  Request* request_;
};

template <class Wants>
void Domain::unmap_where(Wants& wants) {
  Session session(*this, {0, ~uint64_t{0} >> kPageShift});
  shadow_.unmap_where(session.request(), wants);
}

}  // namespace kiommu
