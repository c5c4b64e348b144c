// SPDX-License-Identifier: GPL-2.0-only
//
// The requests of a domain that are under way: those on ranges that overlap
// take turns, in the order in which they came. Who calls holds the monitor.
#pragma once

#include "request/workspace.hpp"

namespace kiommu {

class RangeLock {
 public:
  explicit RangeLock(kiommu_monitor* monitor) : monitor_(monitor) {}
  RangeLock(const RangeLock&) = delete;
  RangeLock& operator=(const RangeLock&) = delete;

  // Waits until nobody who came earlier works on a page of `range`. The error
  // is kInterrupted: the range is not locked.
  Result<void> lock(Request& request, PageRange range);
  void unlock(Request& request);

 private:
  bool is_blocked(const Request& request) const;

  kiommu_monitor* monitor_;
  Request* first_ = nullptr;  // the list, in the order of arrival
};

}  // namespace kiommu
