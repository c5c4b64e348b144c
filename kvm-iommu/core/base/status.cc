// SPDX-License-Identifier: GPL-2.0-only
//
// The errno and the user-space status of each Status, see status.hpp.
#include "base/status.hpp"

namespace kiommu {
namespace {

struct Code {
  int error;
  std::uint32_t status;  // enum kvm_iommu_status; 0: has none
};

constexpr Code code_of(Status status) {
  switch (status) {
    case Status::kEntryType:
      return {kEio, 1};
    case Status::kEntryLength:
      return {kEio, 2};
    case Status::kEntryReserved:
      return {kEio, 3};
    case Status::kNoSlot:
      return {kEio, 4};
    case Status::kUnbacked:
      return {kEio, 5};
    case Status::kReadOnly:
      return {kEio, 6};
    case Status::kMmio:
      return {kEio, 7};
    case Status::kPrivate:
      return {kEio, 8};
    case Status::kPinRefused:
      return {kEio, 9};
    case Status::kReservedIova:
      return {kEio, 10};
    case Status::kNotMapped:
      return {kEio, 11};
    case Status::kNoMemory:
      return {kEnomem, 16};
    case Status::kShadowLimit:
      return {kEnospc, 17};
    case Status::kMemlock:
      return {kEnomem, 18};
    case Status::kBudget:
      return {kEagain, 19};
    case Status::kInterrupted:
      return {kEintr, 20};
    case Status::kHost:
      return {kEio, 24};
    case Status::kNoKvm:
      return {kEnodev, 32};
    case Status::kOutOfRange:
      return {kEinval, 33};
    case Status::kNoAnchor:
      return {kEnxio, 35};
    case Status::kForeignProcess:
      return {kEperm, 36};
    case Status::kMisaligned:
      return {kEinval, 37};
    case Status::kOverflow:
      return {kEoverflow, 38};
    case Status::kUnknownFormat:
      return {kEopnotsupp, 39};
    case Status::kBadDesignation:
      return {kEinval, 40};
    case Status::kBadTable:
      return {kEinval, 41};
    case Status::kUnusedField:
      return {kEopnotsupp, 42};
    case Status::kBadRights:
      return {kEinval, 43};
    case Status::kKvmBusy:
    case Status::kReaderBusy:
      return {kEbusy, 50};
    case Status::kAnchorBusy:
    case Status::kLogBusy:
      return {kEexist, 51};
    case Status::kNoLog:
      return {kEnoent, 52};
    // Returned only if a host joins and for zPCI functions: no user-space
    // status.
    case Status::kConflict:
      return {kEinval, 0};
    case Status::kSequence:
      return {kEproto, 0};
    case Status::kDisabled:
      return {kEshutdown, 0};
  }
  return {kEinval, 0};
}

}  // namespace

int errno_code(Status status) { return code_of(status).error; }

std::uint32_t status_code(Status status) { return code_of(status).status; }

}  // namespace kiommu
