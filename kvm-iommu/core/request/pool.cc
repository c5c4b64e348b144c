// SPDX-License-Identifier: GPL-2.0-only
//
// Requests in use and not, see request_pool.hpp.
#include "request/pool.hpp"

#include "base/scoped_lock.hpp"

namespace kiommu {

RequestPool::~RequestPool() {
  while (free_ != nullptr) Request::destroy(pop());
}

Request* RequestPool::pop() {
  Request* request = free_;
  free_ = request->next;
  return request;
}

// With the monitor, which it may let go of for a while.
Request* RequestPool::get() {
  if (free_ == nullptr && made_ < kMost) {
    ++made_;
    kiommu_port_unlock(monitor_);
    Request* request = Request::create(hosts_);
    kiommu_port_lock(monitor_);
    if (request != nullptr) return request;
    --made_;
  }
  while (free_ == nullptr) kiommu_port_wait(monitor_);
  return pop();
}

Request& RequestPool::take(PageRange range) {
  const Locked locked(monitor_);
  Request& request = *get();
  locks_.lock(request, range);
  return request;
}

void RequestPool::exchange(Request& request, PageRange range) {
  const Locked locked(monitor_);
  locks_.unlock(request);
  locks_.lock(request, range);
}

void RequestPool::give(Request& request) {
  const Locked locked(monitor_);
  locks_.unlock(request);
  request.next = free_;
  free_ = &request;
}

void RequestPool::forget_guest() {
  for (Request* r = free_; r != nullptr; r = r->next) r->stage2.reset();
}

}  // namespace kiommu
