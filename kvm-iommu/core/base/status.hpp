// SPDX-License-Identifier: GPL-2.0-only
//
// Why something failed, in the core's own words; and the one table of the errno
// and of the user-space status that each becomes (status.cc).
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

// Linux errno values that are the same on x86 and s390 (asm-generic).
enum Errno : int {
  kEperm = 1,
  kEnoent = 2,
  kEintr = 4,
  kEio = 5,
  kEnxio = 6,
  kEagain = 11,
  kEnomem = 12,
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

// An errno value, positive.
int errno_code(Status status);
// enum kvm_iommu_status; 0 if user space never sees this one.
std::uint32_t status_code(Status status);

}  // namespace kiommu
