// SPDX-License-Identifier: GPL-2.0-only
//
// The requests of a domain: those under way, and those that are not in use. One
// is there from the beginning, so that what must not allocate need not; more
// are made when requests run in parallel, and kept.
#pragma once

#include "request/range_lock.hpp"
#include "request/workspace.hpp"

namespace kiommu {

class RequestPool {
 public:
  // As many as can be under way: what comes then waits.
  static constexpr unsigned kMost = 16;

  RequestPool(kiommu_hosts* hosts, kiommu_monitor* monitor, Request* first)
      : hosts_(hosts), monitor_(monitor), locks_(monitor), free_(first) {}
  ~RequestPool();
  RequestPool(const RequestPool&) = delete;
  RequestPool& operator=(const RequestPool&) = delete;

  // Waits until nobody who came earlier works on a page of `range`, and for
  // memory, if there is no request and none for one. nullptr: who waits is
  // killed. With no other request under way there is nothing to wait for.
  Request* take(PageRange range);
  // Another range in place of the one that the request has. The error is
  // kInterrupted: the request is given back.
  Result<void> exchange(Request& request, PageRange range);
  void give(Request& request);

  kiommu_hosts* hosts() const { return hosts_; }
  // None is under way: what they remember of a guest is not true any more.
  void forget_guest();

 private:
  Request* get();
  Request* pop();
  void push(Request& request);

  kiommu_hosts* hosts_;
  kiommu_monitor* monitor_;
  RangeLock locks_;
  Request* free_;
  unsigned made_ = 1;
};

}  // namespace kiommu
