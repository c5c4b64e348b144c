// SPDX-License-Identifier: GPL-2.0-only
//
// The error codes of the core. status.cc maps each to an errno and to a status
// for user space (enum kvm_iommu_status).
#pragma once

#include <cstdint>

namespace kiommu {

enum class Status : std::uint8_t {
  // Errors in the guest's tables, or in the memory that they map. The order of
  // the three groups matters, see is_guest_mistake() and is_answer().
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
  // The call was refused: nothing has changed.
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

// Whether the guest's tables, or the memory that they map, are at fault.
constexpr bool is_guest_mistake(Status status) {
  return status <= Status::kNotMapped;
}

// Whether the call has not failed but can be continued from where it stopped.
constexpr bool is_progress(Status status) {
  return status == Status::kBudget || status == Status::kInterrupted;
}

// Whether the call ran and stopped for this reason, instead of being refused.
constexpr bool is_answer(Status status) { return status <= Status::kHost; }

// Linux errno values (asm-generic), the same on x86 and s390.
enum Errno : int {
  kEperm = 1,
  kEnoent = 2,
  kEintr = 4,
  kEio = 5,
  kEnxio = 6,
  kEagain = 11,
  kEnomem = 12,
  kEacces = 13,
  kEfault = 14,
  kEbusy = 16,
  kEexist = 17,
  kEnodev = 19,
  kEinval = 22,
  kEnospc = 28,
  kEproto = 71,
  kEoverflow = 75,
  kEopnotsupp = 95,
  kEshutdown = 108,
};

// Returns a positive errno value.
int errno_code(Status status);
// Returns a value of enum kvm_iommu_status, 0 if user space never sees this
// Status.
std::uint32_t status_code(Status status);

}  // namespace kiommu
