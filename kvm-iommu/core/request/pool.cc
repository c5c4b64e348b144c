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

void RequestPool::push(Request& request) {
  request.next = free_;
  free_ = &request;
}

// With the monitor, which it may let go of for a while. nullptr: killed.
Request* RequestPool::get() {
  if (free_ == nullptr && made_ < kMost) {
    ++made_;
    kiommu_port_unlock(monitor_);
    Request* request = Request::create(hosts_);
    kiommu_port_lock(monitor_);
    if (request != nullptr) return request;
    --made_;
  }
  while (free_ == nullptr) {
    if (kiommu_port_wait(monitor_) != 0) return nullptr;
  }
  return pop();
}

Request* RequestPool::take(PageRange range) {
  const Locked locked(monitor_);
  Request* request = get();
  if (request == nullptr || locks_.lock(*request, range)) return request;
  push(*request);
  // Others may wait for one.
  kiommu_port_wake(monitor_);
  return nullptr;
}

Result<void> RequestPool::exchange(Request& request, PageRange range) {
  const Locked locked(monitor_);
  locks_.unlock(request);
  auto locked_anew = locks_.lock(request, range);
  if (!locked_anew) {
    push(request);
    kiommu_port_wake(monitor_);
  }
  return locked_anew;
}

void RequestPool::give(Request& request) {
  const Locked locked(monitor_);
  locks_.unlock(request);
  push(request);
}

void RequestPool::forget_guest() {
  for (Request* r = free_; r != nullptr; r = r->next) r->stage2.reset();
}

}  // namespace kiommu
