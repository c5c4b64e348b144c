// SPDX-License-Identifier: GPL-2.0-only
//
// The functions of core_sync.h for mode TRACKED.
#include <new>

#include "api/handles.hpp"
#include "core_sync.h"
#include "sync/tracker.hpp"

namespace {

using kiommu::answer;
using kiommu::Gpa;
using kiommu::Result;
using kiommu::Status;
using kiommu::to_errno;
using kiommu::Tracker;

static_assert(KIOMMU_TRACKING_RANGES == Tracker::kMostUses);

Result<void> check_pages(kiommu_u64 gpa, kiommu_u64 length) {
  if (length == 0 || ((gpa | length) & ~kiommu::kPageMask) != 0) {
    return kiommu::fail(Status::kMisaligned);
  }
  if (gpa + (length - 1) < gpa) return kiommu::fail(Status::kOverflow);
  return {};
}

}  // namespace

int kiommu_core_tracking_start(kiommu_domain* domain, kiommu_u32 burst) {
  kiommu_mutex* mutex = kiommu_port_mutex_create();
  void* memory =
      mutex != nullptr ? kiommu_port_alloc_array(sizeof(Tracker)) : nullptr;
  if (memory == nullptr) {
    if (mutex != nullptr) kiommu_port_mutex_destroy(mutex);
    return to_errno(kiommu::fail(Status::kNoMemory));
  }
  domain->domain.start_tracking(
      new (memory) Tracker(domain->domain.guest(), domain->domain.pool(), mutex,
                           burst, domain->domain.passes()));
  return 0;
}

void kiommu_core_tracking_stop(kiommu_domain* domain) {
  Tracker* tracker = domain->domain.stop_tracking();
  if (tracker == nullptr) return;
  kiommu_mutex* mutex = tracker->mutex();
  tracker->~Tracker();
  kiommu_port_mutex_destroy(mutex);
  kiommu_port_free_array(tracker);
}

void kiommu_core_tracking_range(kiommu_u64 first, kiommu_u64 last,
                                kiommu_tracking_work* work) {
  *work = kiommu::Domain::work_for({{first}, {last}}, KIOMMU_TRACKING_ALL);
}

void kiommu_core_tracking_store(kiommu_domain* domain, kiommu_u64 gpa,
                                kiommu_u32 bytes, kiommu_tracking_work* work) {
  domain->domain.find_changes({gpa}, bytes, work);
}

int kiommu_core_tracking_step(kiommu_domain* domain,
                              kiommu_tracking_work* work) {
  return to_errno(domain->domain.follow_stores(work));
}

int kiommu_core_untrack(kiommu_domain* domain, kiommu_u64 gpa,
                        kiommu_u64 length, kiommu_u64* count,
                        kiommu_u32* status) {
  *count = 0;
  auto good = check_pages(gpa, length);
  if (!good) return answer(good, status);
  auto untracked = domain->domain.untrack(
      Gpa{gpa}.page_number(), Gpa{gpa}.plus(length - 1).page_number());
  if (!untracked) return answer(kiommu::fail(untracked.error()), status);
  *count = *untracked;
  return 0;
}
