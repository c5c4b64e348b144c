// SPDX-License-Identifier: GPL-2.0-only
//
// The functions of core.h and core_dirty.h that tell a VMM what is mapped:
// translations of a range, the dirty log, and writable pages.
#include "api/handles.hpp"
#include "core_dirty.h"
#include "domain/dirty_scan.hpp"
#include "memory/dirty_log.hpp"

namespace {

using kiommu::answer;
using kiommu::fail;
using kiommu::GfnRange;
using kiommu::Iova;
using kiommu::IovaRange;
using kiommu::kPageMask;
using kiommu::kPageShift;
using kiommu::Result;
using kiommu::Status;
using kiommu::to_errno;
using std::uint64_t;

// Whether a walk that ended early for this reason has an answer so far.
bool tells_so_far(Status why) {
  return why == Status::kBudget || why == Status::kNoMemory;
}

GfnRange gfns_of(kiommu_u64 gpa, kiommu_u64 length) {
  return {gpa >> kPageShift, (gpa + (length - 1)) >> kPageShift};
}

Result<void> check_log(kiommu_pins* pins) {
  if (!pins->pins.slots().is_logging()) return fail(Status::kNoLog);
  return {};
}

Result<void> check_gpas(kiommu_pins* pins, kiommu_u64 gpa, kiommu_u64 length) {
  if (length == 0 || ((gpa | length) & ~kPageMask) != 0) {
    return fail(Status::kMisaligned);
  }
  if (gpa + (length - 1) < gpa) return fail(Status::kOverflow);
  return check_log(pins);
}

}  // namespace

int kiommu_core_translate_range(kiommu_domain* domain, kiommu_u64 iova,
                                kiommu_u64 length, kiommu_range_record* records,
                                kiommu_u32 capacity, kiommu_u32* count,
                                kiommu_u64* next, kiommu_u32* status) {
  Iova end;
  auto told = domain->domain.translate_range(iova, length, records, capacity,
                                             count, &end);
  const int error = answer(told, status);
  if (!told && !tells_so_far(told.error())) return error;
  *next = end.value;
  return 0;
}

int kiommu_core_dirty_start(kiommu_pins* pins, kiommu_u32* status) {
  return answer(pins->pins.slots().is_logging() ? fail(Status::kLogBusy)
                                                : kiommu::start_log(pins->pins),
                status);
}

int kiommu_core_dirty_stop(kiommu_pins* pins, kiommu_u32* status) {
  auto logging = check_log(pins);
  if (logging) pins->pins.slots().stop_log();
  return answer(logging, status);
}

int kiommu_core_dirty_check(kiommu_pins* pins, kiommu_u64 gpa,
                            kiommu_u64 length, kiommu_u32* status) {
  return answer(check_gpas(pins, gpa, length), status);
}

int kiommu_core_dirty_take(kiommu_pins* pins, kiommu_u64 gpa, kiommu_u64 length,
                           kiommu_u64* bits, kiommu_u32* status) {
  auto logging = check_log(pins);
  if (logging) kiommu::take_dirty(pins->pins, gfns_of(gpa, length), bits);
  return answer(logging, status);
}

void kiommu_core_dirty_put_back(kiommu_pins* pins, kiommu_u64 gpa,
                                kiommu_u64 length, const kiommu_u64* bits) {
  kiommu::put_dirty_back(pins->pins, gfns_of(gpa, length), bits);
}

int kiommu_core_writable_pages(kiommu_domain* domain, kiommu_u64 first,
                               kiommu_u64 pages, kiommu_u64* bits) {
  const uint64_t page = first >> kPageShift;
  return to_errno(domain->domain.writable_pages(
      IovaRange::of_pages(page, page + (pages - 1)), bits));
}

int kiommu_core_unmap_writable(kiommu_domain* domain, kiommu_u64 iova,
                               kiommu_u64 length, kiommu_u64* bits,
                               kiommu_u64* unmapped) {
  uint64_t pages = 0;
  auto done = domain->domain.unmap(iova, length, &pages, bits);
  *unmapped = pages;
  return to_errno(done);
}
