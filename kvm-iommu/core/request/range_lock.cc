// SPDX-License-Identifier: GPL-2.0-only
//
// Requests under way, see range_lock.hpp. They are few: one for each CPU that
// works on the domain.
#include "request/range_lock.hpp"

namespace kiommu {

bool RangeLock::is_blocked(const Request& request) const {
  for (const Request* r = first_; r != &request; r = r->next) {
    if (r->range.overlaps(request.range)) return true;
  }
  return false;
}

Result<void> RangeLock::lock(Request& request, PageRange range) {
  request.range = range;
  request.next = nullptr;
  Request** end = &first_;
  while (*end != nullptr) end = &(*end)->next;
  *end = &request;
  while (is_blocked(request)) {
    if (kiommu_port_wait(monitor_) == 0) continue;
    unlock(request);
    return fail(Status::kInterrupted);
  }
  return {};
}

void RangeLock::unlock(Request& request) {
  Request** at = &first_;
  while (*at != &request) at = &(*at)->next;
  *at = request.next;
  kiommu_port_wake(monitor_);
}

}  // namespace kiommu
