// SPDX-License-Identifier: GPL-2.0-only
//
// PCI event codes (PEC) of zPCI error events, as far as address translation
// raises them. The architecture has no public document of them; the source is
// what Linux (arch/s390/pci/pci_event.c) and QEMU (hw/s390x) know.
#pragma once

#include "base/types.hpp"

namespace kiommu {

enum class ZpciEvent : uint32_t {
  kNone = 0,
  kInvalidAddressSpace = 1,  // no tables are registered
  kOutOfRange = 2,           // outside of [PBA, PAL]
  kTableFormat = 3,
  kTranslationProtection = 4,  // a DMA: no right, or nothing is mapped
  kAccessProtection = 5,
  kKey = 6,
  kInvalidEntry = 7,
  kEntryLength = 8,
  kEntryType = 9,
};

// An RPCIT raises 1, 2, 7, 8 and 9, a DMA 2 and 4. `access`: of the DMA, or
// nothing. What is short of room is no event: RPCIT has a status for it.
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
      // An entry that is absent on purpose is no mistake of an RPCIT.
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
