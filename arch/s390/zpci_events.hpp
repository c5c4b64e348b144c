// SPDX-License-Identifier: GPL-2.0-only
//
// PCI event codes (PEC) of zPCI error events, as far as address translation
// raises them. They have no public architecture document; the sources are Linux
// (arch/s390/pci/pci_event.c) and QEMU (hw/s390x).
#pragma once

#include "base/types.hpp"

namespace kiommu {

enum class ZpciEvent : uint32_t {
  kNone = 0,
  kInvalidAddressSpace = 1,  // no tables are registered
  kOutOfRange = 2,           // outside of [PBA, PAL]
  kTableFormat = 3,
  kTranslationProtection = 4,  // DMA: no right, or nothing is mapped
  kAccessProtection = 5,
  kKey = 6,
  kInvalidEntry = 7,
  kEntryLength = 8,
  kEntryType = 9,
};

// An RPCIT raises 1, 2, 7, 8 and 9, a DMA 2 and 4. `access`: that of the DMA,
// kNoRights for an RPCIT. A lack of memory is not an event: RPCIT has a status
// for it.
constexpr ZpciEvent zpci_event(Status status, Rights access) {
  switch (status) {
    case Status::kNoKvm:
    case Status::kNoAnchor:
      return ZpciEvent::kInvalidAddressSpace;
    case Status::kOutOfRange:
    case Status::kOverflow:
    case Status::kReservedIova:
      return ZpciEvent::kOutOfRange;
    case Status::kEntryLength:
      return access.any() ? ZpciEvent::kTranslationProtection
                          : ZpciEvent::kEntryLength;
    case Status::kEntryType:
      return access.any() ? ZpciEvent::kTranslationProtection
                          : ZpciEvent::kEntryType;
    case Status::kEntryReserved:
    case Status::kNoSlot:
    case Status::kUnbacked:
    case Status::kReadOnly:
    case Status::kMmio:
    case Status::kPrivate:
    case Status::kPinRefused:
      return access.any() ? ZpciEvent::kTranslationProtection
                          : ZpciEvent::kInvalidEntry;
    case Status::kNotMapped:
      // An RPCIT for an absent entry is not a mistake.
      return access.any() ? ZpciEvent::kTranslationProtection
                          : ZpciEvent::kNone;
    default:
      return ZpciEvent::kNone;
  }
}

constexpr uint32_t zpci_event_code(Status status, Rights access) {
  return static_cast<uint32_t>(zpci_event(status, access));
}

}  // namespace kiommu
