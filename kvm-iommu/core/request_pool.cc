// SPDX-License-Identifier: GPL-2.0-only
//
// Requests that are not in use, see request_pool.hpp.
#include "request_pool.hpp"

#include "monitor.hpp"

namespace kiommu {

RequestPool::~RequestPool() {
  while (free_ != nullptr) Request::destroy(pop());
}

Request* RequestPool::pop() {
  Request* request = free_;
  free_ = request->next;
  return request;
}

Request* RequestPool::take() {
  bool may_make = false;
  {
    const Locked locked(monitor_);
    if (free_ != nullptr) return pop();
    may_make = made_ < kMost;
    if (may_make) ++made_;
  }
  if (may_make) {
    if (Request* request = Request::create(hosts_)) return request;
  }
  const Locked locked(monitor_);
  if (may_make) --made_;
  while (free_ == nullptr) kiommu_port_wait(monitor_);
  return pop();
}

void RequestPool::give(Request& request) {
  const Locked locked(monitor_);
  request.next = free_;
  free_ = &request;
  kiommu_port_wake(monitor_);
}

}  // namespace kiommu
