// SPDX-License-Identifier: GPL-2.0-only
//
// VT-d fault reasons for requests without PASID that a second stage translates:
// Intel Virtualization Technology for Directed I/O, architecture specification
// 4.1, section 7.1.3 (conditions) and appendix A (encodings), in legacy mode.
#pragma once

#include "base/types.hpp"

namespace kiommu {

enum class VtdFault : uint32_t {
  kNone = 0,
  kContextNotPresent = 0x2,
  kBeyondWidth = 0x4,         // IOVA that the tables cannot translate
  kNoWrite = 0x5,             // a write, or an atomic operation, without W
  kNoRead = 0x6,              // a read without R
  kEntryNotAccessible = 0x7,  // paging entry that cannot be read
  kEntryReserved = 0xc,       // reserved bits in an entry with R or W
};

// `access`: that of the DMA, kNoRights if it is no DMA. VT-d has no reason for
// a page that is not memory, nor for a host that is short of memory.
constexpr VtdFault vtd_fault(Status status, Rights access) {
  switch (status) {
    case Status::kNoAnchor:
    case Status::kNoKvm:
      return VtdFault::kContextNotPresent;
    case Status::kOutOfRange:
    case Status::kOverflow:
      return VtdFault::kBeyondWidth;
    case Status::kEntryReserved:
      return VtdFault::kEntryReserved;
    case Status::kBadTable:
      return VtdFault::kEntryNotAccessible;
    case Status::kNotMapped:
    case Status::kReadOnly:
      if (access.write()) return VtdFault::kNoWrite;
      return access.any() ? VtdFault::kNoRead : VtdFault::kNone;
    default:
      return VtdFault::kNone;
  }
}

constexpr uint32_t vtd_fault_reason(Status status, Rights access) {
  return static_cast<uint32_t>(vtd_fault(status, access));
}

}  // namespace kiommu
