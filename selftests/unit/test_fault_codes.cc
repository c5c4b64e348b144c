// SPDX-License-Identifier: GPL-2.0-only
//
// Fault reasons, and their codes in the terms of each architecture.
#include "faults/codes.hpp"
#include "lib/world.hpp"

namespace kiommu::test {
namespace {

constexpr bool same(FaultReason reason, unsigned user) {
  return static_cast<unsigned>(reason) == user;
}
static_assert(same(FaultReason::kDma, KVM_IOMMU_FAULT_DMA) &&
              same(FaultReason::kEntry, KVM_IOMMU_FAULT_ENTRY) &&
              same(FaultReason::kRange, KVM_IOMMU_FAULT_RANGE) &&
              same(FaultReason::kState, KVM_IOMMU_FAULT_STATE) &&
              same(FaultReason::kResources, KVM_IOMMU_FAULT_RESOURCES) &&
              same(FaultReason::kHost, KVM_IOMMU_FAULT_HOST));

// Each status, and the codes that each architecture has for it.
struct Expected {
  Status status;
  unsigned reason;
  unsigned zpci;      // an RPCIT
  unsigned zpci_dma;  // an access
  unsigned vtd;
  unsigned vtd_read;
  unsigned vtd_write;
};

constexpr unsigned kEntry = KVM_IOMMU_FAULT_ENTRY;
constexpr unsigned kRange = KVM_IOMMU_FAULT_RANGE;
constexpr unsigned kState = KVM_IOMMU_FAULT_STATE;
constexpr unsigned kRoom = KVM_IOMMU_FAULT_RESOURCES;

constexpr Expected kExpected[] = {
    {Status::kEntryType, kEntry, 9, 4, 0, 0, 0},
    {Status::kEntryLength, kEntry, 8, 4, 0, 0, 0},
    {Status::kEntryReserved, kEntry, 7, 4, 12, 12, 12},
    {Status::kNoSlot, kEntry, 7, 4, 0, 0, 0},
    {Status::kUnbacked, kEntry, 7, 4, 0, 0, 0},
    {Status::kReadOnly, kEntry, 7, 4, 0, 6, 5},
    {Status::kMmio, kEntry, 7, 4, 0, 0, 0},
    {Status::kPrivate, kEntry, 7, 4, 0, 0, 0},
    {Status::kPinRefused, kEntry, 7, 4, 0, 0, 0},
    {Status::kReservedIova, kEntry, 2, 2, 0, 0, 0},
    {Status::kNotMapped, kEntry, 0, 4, 0, 6, 5},
    {Status::kNoMemory, kRoom, 0, 0, 0, 0, 0},
    {Status::kShadowLimit, kRoom, 0, 0, 0, 0, 0},
    {Status::kMemlock, kRoom, 0, 0, 0, 0, 0},
    {Status::kBudget, kRoom, 0, 0, 0, 0, 0},
    {Status::kInterrupted, kRoom, 0, 0, 0, 0, 0},
    {Status::kHost, KVM_IOMMU_FAULT_HOST, 0, 0, 0, 0, 0},
    {Status::kNoKvm, kState, 1, 1, 2, 2, 2},
    {Status::kNoAnchor, kState, 1, 1, 2, 2, 2},
    {Status::kKvmBusy, kState, 0, 0, 0, 0, 0},
    {Status::kAnchorBusy, kState, 0, 0, 0, 0, 0},
    {Status::kForeignProcess, kState, 0, 0, 0, 0, 0},
    {Status::kBadRights, kState, 0, 0, 0, 0, 0},
    {Status::kMisaligned, kRange, 0, 0, 0, 0, 0},
    {Status::kOverflow, kRange, 2, 2, 4, 4, 4},
    {Status::kOutOfRange, kRange, 2, 2, 4, 4, 4},
    {Status::kUnknownFormat, kState, 0, 0, 0, 0, 0},
    {Status::kBadDesignation, kState, 0, 0, 0, 0, 0},
    {Status::kBadTable, kState, 0, 0, 7, 7, 7},
    {Status::kUnusedField, kState, 0, 0, 0, 0, 0},
    {Status::kConflict, kState, 0, 0, 0, 0, 0},
    {Status::kSequence, kState, 0, 0, 0, 0, 0},
    {Status::kDisabled, kState, 0, 0, 0, 0, 0},
};

TEST(FaultCodes, AreThoseOfEachArchitecture) {
  unsigned status = 0;
  for (const Expected& expected : kExpected) {
    SCOPED_TRACE(status);
    // No status is left out.
    ASSERT_EQ(static_cast<unsigned>(expected.status), status++);
    const auto code = [&](unsigned format, Rights access) {
      return fault_code(format, expected.status, access);
    };
    EXPECT_TRUE(same(fault_reason(expected.status), expected.reason));
    EXPECT_EQ(code(ZpciFormat::kId, kNoRights), expected.zpci);
    EXPECT_EQ(code(ZpciFormat::kId, kRead), expected.zpci_dma);
    EXPECT_EQ(code(ZpciFormat::kId, kWrite), expected.zpci_dma);
    EXPECT_EQ(code(VtdSsFormat::kId, kNoRights), expected.vtd);
    EXPECT_EQ(code(VtdSsFormat::kId, kRead), expected.vtd_read);
    EXPECT_EQ(code(VtdSsFormat::kId, kWrite), expected.vtd_write);
    for (unsigned format = 0; format < 64; ++format) {
      if (format == ZpciFormat::kId || format == VtdSsFormat::kId) continue;
      EXPECT_EQ(code(format, kWrite), 0u);
    }
  }
  EXPECT_EQ(status, static_cast<unsigned>(Status::kReaderBusy));
}

}  // namespace
}  // namespace kiommu::test
