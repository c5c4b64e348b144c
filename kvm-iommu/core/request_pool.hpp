// SPDX-License-Identifier: GPL-2.0-only
//
// Requests that are not in use. One is there from the beginning, so that what
// must not allocate need not; more are made when requests run in parallel, and
// kept.
#pragma once

#include "request.hpp"

namespace kiommu {

class RequestPool {
 public:
  // As many as can be under way: what comes then waits.
  static constexpr unsigned kMost = 16;

  RequestPool(kiommu_hosts* hosts, kiommu_monitor* monitor, Request* first)
      : hosts_(hosts), monitor_(monitor), free_(first) {}
  ~RequestPool();
  RequestPool(const RequestPool&) = delete;
  RequestPool& operator=(const RequestPool&) = delete;

  // Never fails; waits if there is none and no memory for one.
  Request* take();
  void give(Request& request);

 private:
  Request* pop();

  kiommu_hosts* hosts_;
  kiommu_monitor* monitor_;
  Request* free_;
  unsigned made_ = 1;
};

}  // namespace kiommu
