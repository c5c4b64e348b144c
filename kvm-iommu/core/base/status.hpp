// SPDX-License-Identifier: GPL-2.0-only
//
// Why something failed, in the core's own words. door.cc alone turns these
// into errno values and user-space status codes.
#pragma once

#include <cstdint>

namespace kiommu {

enum class Status : std::uint8_t {
  // The guest's tables, or the memory that they name.
  kEntryType,
  kEntryLength,
  kEntryReserved,
  kNoSlot,
  kUnbacked,
  kReadOnly,
  kMmio,
  kPrivate,
  kPinRefused,
  kReservedIova,
  kNotMapped,
  // Resources and progress.
  kNoMemory,
  kShadowLimit,
  kMemlock,
  kBudget,
  kInterrupted,
  kHost,
  // The call itself: nothing has changed.
  kNoKvm,
  kNoAnchor,
  kKvmBusy,
  kAnchorBusy,
  kForeignProcess,
  kBadRights,
  kMisaligned,
  kOverflow,
  kOutOfRange,
  kUnknownFormat,
  kBadDesignation,
  kBadTable,
  kUnusedField,
  kConflict,
  kSequence,
  kDisabled,
  kReaderBusy,
  kNoLog,
  kLogBusy,
};

// Whether the guest's tables, or what they name, are at fault.
constexpr bool is_guest_mistake(Status status) {
  return status <= Status::kNotMapped;
}

// Whether it is no failure: the call goes on from where it stopped.
constexpr bool is_progress(Status status) {
  return status == Status::kBudget || status == Status::kInterrupted;
}

// Whether it tells how far a call came, not that the call was refused.
constexpr bool is_answer(Status status) { return status <= Status::kHost; }

}  // namespace kiommu
