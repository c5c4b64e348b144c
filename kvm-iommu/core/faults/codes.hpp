// SPDX-License-Identifier: GPL-2.0-only
//
// Maps a Status to the fields of a fault record: to the reason, which is the
// same for all formats, and to the fault code of the guest's architecture, by
// the tables in arch/.
#pragma once

#include "arch/s390/zpci_events.hpp"
#include "arch/s390/zpci_format.hpp"
#include "arch/x86/vtd_faults.hpp"
#include "arch/x86/vtd_ss_format.hpp"
#include "faults/queue.hpp"

namespace kiommu {

constexpr FaultReason fault_reason(Status status) {
  if (is_guest_mistake(status)) return FaultReason::kEntry;
  switch (status) {
    case Status::kNoMemory:
    case Status::kShadowLimit:
    case Status::kMemlock:
    case Status::kBudget:
    case Status::kInterrupted:
      return FaultReason::kResources;
    case Status::kHost:
      return FaultReason::kHost;
    case Status::kMisaligned:
    case Status::kOverflow:
    case Status::kOutOfRange:
      return FaultReason::kRange;
    default:
      return FaultReason::kState;
  }
}

// `access`: what a device tried, kNoRights if no access failed. Returns 0 if
// the architecture has no code for the status, or there is no table for the
// format.
constexpr uint32_t fault_code(uint32_t format, Status status, Rights access) {
  switch (format) {
    case ZpciFormat::kId:
      return zpci_event_code(status, access);
    case VtdSsFormat::kId:
      return vtd_fault_reason(status, access);
    default:
      return 0;
  }
}

}  // namespace kiommu
