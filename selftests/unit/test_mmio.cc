// SPDX-License-Identifier: GPL-2.0-only
//
// Device memory that is mapped for peer-to-peer DMA of others: it is never
// pinned, and is unmapped from the hosts behind the core's back.
#include "lib/world.hpp"

namespace kiommu::test {
namespace {

using W = World<VtdSsFormat>;
constexpr u64 kIova = 0x40200000;
constexpr u64 kBar = kDataGpa + 64 * kGiB;
constexpr u64 kBarPages = 64;

class Mmio : public testing::Test {
 protected:
  explicit Mmio(std::vector<port::HostKind> hosts = {port::kVtd, port::kAmd})
      : world_({.machine = {.hosts = std::move(hosts)}}) {
    hva_ = world_.guest.add_ram(kBar, kBarPages, port::kContiguous);
    world_.guest.set_backing(hva_, kBarPages, Backing::kDevice);
  }
  std::optional<HostPage> bar(u64 page, unsigned rights = kRW) {
    return world_.frame(kBar + page * kPage, rights);
  }
  std::optional<HostPage> sees(u64 page) {
    return world_.sees(kIova + page * kPage);
  }
  void map(u64 pages, unsigned rights = kRW) {
    world_.tables.map_pages(kIova, kBar, pages, rights);
    world_.expect_refresh(kIova, pages * kPage);
  }

  W world_;
  u64 hva_;
};

TEST_F(Mmio, IsMappedAndNotPinned) {
  const RefreshOutcome nothing = world_.refresh(kIova, 32 * kPage);
  EXPECT_EQ(nothing.result.mapped, 0u);
  world_.tables.map_pages(kIova, kBar, 32);
  const RefreshOutcome outcome = world_.refresh(kIova, 32 * kPage);
  expect_consistent(world_);
  EXPECT_EQ(outcome.error, 0);
  EXPECT_EQ(outcome.result.mapped, 32u);
  for (u64 i = 0; i < 32; ++i) EXPECT_EQ(sees(i), bar(i));
  EXPECT_EQ(world_.host.pins(), 0u);
  EXPECT_EQ(world_.guest.accounted(), 0u);
  EXPECT_EQ(world_.info().mapped_pages, 32u);
  EXPECT_EQ(world_.translate(kIova).shadow_rights, kRW);
  // A refresh of unchanged tables costs nothing.
  const u64 calls = world_.iommus.mmio_map_calls;
  world_.expect_refresh(kIova, 32 * kPage);
  EXPECT_EQ(world_.iommus.mmio_map_calls, calls);
}

// Nothing can be locked: device memory needs no charge, and memory beside it is
// refused for want of one.
TEST_F(Mmio, NeedsNoLockedMemory) {
  world_.guest.memlock_pages = 0;
  map(kBarPages);
  for (u64 i = 0; i < kBarPages; ++i) EXPECT_EQ(sees(i), bar(i));
  const u64 calls = world_.iommus.mmio_map_calls;
  world_.tables.map_pages(kIova + kBarPages * kPage, kDataGpa, 1);
  world_.expect_stops(kIova, (kBarPages + 1) * kPage, kIova + kBarPages * kPage,
                      -ENOMEM, KVM_IOMMU_STATUS_MEMLOCK);
  EXPECT_EQ(world_.iommus.mmio_map_calls, calls + 1);
  for (u64 i = 0; i < kBarPages; ++i) EXPECT_EQ(sees(i), bar(i));
  EXPECT_EQ(world_.guest.accounted(), 0u);
}

TEST_F(Mmio, ComesInPieces) {
  world_.iommus.mmio_batch = 3;
  map(32);
  for (u64 i = 0; i < 32; ++i) EXPECT_EQ(sees(i), bar(i));
}

TEST_F(Mmio, PartIsUnmapped) {
  map(32);
  u64 unmapped = 0;
  EXPECT_EQ(world_.unmap(kIova + 5 * kPage, 3 * kPage, &unmapped), 0);
  EXPECT_EQ(unmapped, 3u);
  expect_consistent(world_);
  world_.tables.clear(kIova + 20 * kPage);
  world_.expect_refresh(kIova + 20 * kPage, kPage);
  for (u64 i = 0; i < 32; ++i) {
    const bool gone = (i >= 5 && i < 8) || i == 20;
    EXPECT_EQ(sees(i), gone ? kBlocked : bar(i)) << i;
  }
  EXPECT_EQ(world_.info().mapped_pages, 28u);
}

TEST_F(Mmio, BesideMemoryInOneRequest) {
  // Memory, device memory, memory: neighbours in IOVA.
  world_.tables.map_pages(kIova, world_.data(0), 10);
  world_.tables.map_pages(kIova + 10 * kPage, kBar, 10);
  world_.tables.map_pages(kIova + 20 * kPage, world_.data(20), 10);
  world_.expect_refresh(kIova, 30 * kPage);
  EXPECT_EQ(sees(9), world_.frame(world_.data(9)));
  EXPECT_EQ(sees(10), bar(0));
  EXPECT_EQ(sees(20), world_.frame(world_.data(20)));
  EXPECT_EQ(world_.host.pins(), 20u);
  // All in one unmap.
  u64 unmapped = 0;
  EXPECT_EQ(world_.unmap(kIova + kPage, 28 * kPage, &unmapped), 0);
  EXPECT_EQ(unmapped, 28u);
  expect_consistent(world_);
}

TEST_F(Mmio, TakesTurnsWithMemory) {
  for (int i = 0; i < 3; ++i) {
    map(8);
    EXPECT_EQ(sees(3), bar(3));
    EXPECT_EQ(world_.host.pins(), 0u);
    world_.tables.map_pages(kIova, world_.data(0), 8);
    world_.expect_refresh(kIova, 8 * kPage);
    EXPECT_EQ(sees(3), world_.frame(world_.data(3)));
    EXPECT_EQ(world_.host.pins(), 8u);
  }
}

TEST_F(Mmio, RightsFollowTheTablesAndTheSlot) {
  for (unsigned rights : {kR, kRW, kW}) {
    map(4, rights);
    EXPECT_EQ(sees(2), bar(2, rights));
  }
  world_.guest.remove_slot(kBar);
  world_.guest.add_slot(kBar, kBarPages, hva_, KIOMMU_SLOT_READ_ONLY);
  map(4, kRW);
  EXPECT_EQ(sees(2), bar(2, kR));
}

TEST_F(Mmio, ErrorsAreTold) {
  world_.tables.map_pages(kIova, kBar, 4);
  const auto stops = [&](int error, unsigned status) {
    world_.expect_stops(kIova, 4 * kPage, kIova, error, status);
    EXPECT_EQ(sees(0), kBlocked);
  };
  world_.guest.set_backing(hva_, kBarPages, Backing::kMmio);
  stops(-EIO, KVM_IOMMU_STATUS_MMIO);
  world_.guest.set_backing(hva_, kBarPages, Backing::kReadOnlyDevice);
  stops(-EIO, KVM_IOMMU_STATUS_READ_ONLY);
  world_.guest.set_backing(hva_, kBarPages, Backing::kDevice);
  world_.iommus.mmio_error = -ENOSPC;
  stops(-ENOSPC, KVM_IOMMU_STATUS_SHADOW_LIMIT);
  world_.iommus.mmio_error = -ENOMEM;
  stops(-ENOMEM, KVM_IOMMU_STATUS_NO_MEMORY);
  world_.iommus.mmio_error = -EINVAL;
  stops(-EIO, KVM_IOMMU_STATUS_HOST);
  world_.iommus.mmio_error = -EAGAIN;
  stops(-EAGAIN, KVM_IOMMU_STATUS_BUDGET);
  world_.iommus.mmio_error = -EINTR;
  stops(-EINTR, KVM_IOMMU_STATUS_INTERRUPTED);
  world_.iommus.mmio_error = 0;
  map(4);
  world_.guest.set_backing(hva_, kBarPages, Backing::kReadOnlyDevice);
  map(4, kR);
  EXPECT_EQ(sees(0), bar(0, kR));
}

// What was there before the failed refresh is not mapped any more.
TEST_F(Mmio, FailureUnmapsWhatThePageHeld) {
  world_.tables.map_pages(kIova, world_.data(0), 4);
  world_.expect_refresh(kIova, 4 * kPage);
  world_.tables.map(kIova + kPage, kBar);
  world_.iommus.mmio_error = -EINVAL;
  world_.expect_stops(kIova, 4 * kPage, kIova + kPage, -EIO,
                      KVM_IOMMU_STATUS_HOST);
  EXPECT_EQ(sees(1), kBlocked);
}

// A refresh maps nothing beyond the place where it stops.
TEST_F(Mmio, RefusedMemoryBeforeADevice) {
  world_.tables.map_pages(kIova, world_.data(0), 4);
  world_.tables.map_pages(kIova + 4 * kPage, kBar, 4);
  faults().map.arm(1);
  world_.expect_stops(kIova, 8 * kPage, kIova, -ENOMEM,
                      KVM_IOMMU_STATUS_NO_MEMORY);
  EXPECT_EQ(world_.info().mapped_pages, 0u);
  faults().mmio.arm(1);
  world_.expect_stops(kIova, 8 * kPage, kIova + 4 * kPage, -ENOMEM,
                      KVM_IOMMU_STATUS_NO_MEMORY);
  EXPECT_EQ(world_.info().mapped_pages, 4u);
}

TEST_F(Mmio, RevokedPagesAreForgotten) {
  map(32);
  EXPECT_EQ(world_.iommus.revoke_mmio(hva_ + 4 * kPage, 8), 8u);
  world_.pins.mmio_revoked();
  expect_consistent(world_);
  EXPECT_EQ(world_.info().mapped_pages, 24u);
  EXPECT_EQ(world_.translate(kIova + 4 * kPage).shadow_rights, 0u);
  EXPECT_EQ(world_.translate(kIova + 3 * kPage).shadow_rights, kRW);
  for (u64 i = 0; i < 32; ++i) {
    EXPECT_EQ(sees(i), i / 4 == 1 || i / 4 == 2 ? kBlocked : bar(i)) << i;
  }
  // A spurious report changes nothing.
  world_.pins.mmio_revoked();
  EXPECT_EQ(world_.info().mapped_pages, 24u);
}

TEST_F(Mmio, RefreshAfterRevokeMapsAgainOrTells) {
  map(8);
  world_.iommus.revoke_mmio(hva_, kBarPages);
  world_.pins.mmio_revoked();
  world_.guest.set_backing(hva_, kBarPages, Backing::kUnbacked);
  world_.expect_stops(kIova, 8 * kPage, kIova, -EIO, KVM_IOMMU_STATUS_UNBACKED);
  world_.guest.set_backing(hva_, kBarPages, Backing::kDevice);
  world_.expect_refresh(kIova, 8 * kPage);
  EXPECT_EQ(sees(7), bar(7));
}

// The core has not been told yet: it unmaps what is left.
TEST_F(Mmio, UnmapOfWhatWasRevoked) {
  map(8);
  world_.iommus.revoke_mmio(hva_ + 2 * kPage, 2);
  EXPECT_EQ(world_.unmap(kIova, 8 * kPage), 0);
  expect_consistent(world_);
  EXPECT_EQ(world_.info().mapped_pages, 0u);
  map(8);
  world_.iommus.revoke_mmio(hva_ + 2 * kPage, 2);
  EXPECT_EQ(world_.unanchor(), 0);
  EXPECT_EQ(world_.iommus.mmio_pages(), 0u);
}

TEST_F(Mmio, RevokedFromTwoDomains) {
  port::DmaDomain second{
      world_.host, world_.pins, world_.ledger, {.hosts = {port::kVtd4K}}};
  ASSERT_EQ(second.start(), 0);
  ASSERT_EQ(second.anchor(world_.tables.anchor()), 0);
  map(8);
  EXPECT_EQ(second.refresh(kIova, 4 * kPage).error, 0);
  expect_consistent(world_, {&world_, &second});
  EXPECT_EQ(world_.iommus.revoke_mmio(hva_, 2), 2u);
  EXPECT_EQ(second.iommus.revoke_mmio(hva_, 2), 2u);
  world_.pins.mmio_revoked();
  expect_consistent(world_, {&world_, &second});
  EXPECT_EQ(world_.info().mapped_pages, 6u);
  EXPECT_EQ(second.info().mapped_pages, 2u);
}

TEST_F(Mmio, GoesWithItsSlot) {
  map(8);
  world_.guest.remove_slot(kBar);
  world_.pins.slots_changed();
  expect_consistent(world_);
  EXPECT_EQ(world_.info().mapped_pages, 0u);
}

TEST_F(Mmio, IsLeftToTheAdapterWhenAHostJoins) {
  map(8);
  world_.tables.map_pages(kIova + 8 * kPage, world_.data(0), 100);
  world_.expect_refresh(kIova, 108 * kPage);
  const u32 index = world_.iommus.add(port::kVtd);
  ASSERT_EQ(world_.set_caps(), 0);
  // A second map of device memory fails the test.
  ASSERT_EQ(world_.replay(index), 0);
  expect_consistent(world_);
  EXPECT_EQ(world_.sees(kIova + 3 * kPage, index), bar(3));
  EXPECT_EQ(world_.unmap(kIova + 3 * kPage, 20 * kPage), 0);
  expect_consistent(world_);
}

TEST_F(Mmio, LargePageOverMemoryAndDevice) {
  const u64 gpa = kBar + kGiB;
  const u64 hva = world_.guest.add_ram(gpa, 512, port::kContiguous);
  world_.guest.set_backing(hva + 100 * kPage, 200, Backing::kDevice);
  world_.tables.map(kIova, gpa, kRW, 1);
  world_.expect_refresh(kIova, 2 * kMiB);
  for (u64 i = 0; i < 512; ++i) {
    EXPECT_EQ(sees(i), world_.frame(gpa + i * kPage));
  }
  EXPECT_EQ(world_.host.pins(), 312u);
}

TEST_F(Mmio, IdentityMapsDevicesAndPassesOverTheRest) {
  ASSERT_EQ(world_.unanchor(), 0);
  world_.guest.set_backing(hva_ + 20 * kPage, 10, Backing::kMmio);
  kiommu_anchor anchor{};
  anchor.rights = kRW;
  anchor.format = KVM_IOMMU_FORMAT_IDENTITY;
  ASSERT_EQ(world_.anchor(anchor), 0);
  const RefreshOutcome outcome = world_.refresh(kBar - kMiB, 2 * kMiB);
  expect_consistent(world_);
  EXPECT_EQ(outcome.error, 0);
  EXPECT_EQ(outcome.result.mapped, kBarPages - 10);
  EXPECT_EQ(world_.sees(kBar + 19 * kPage), bar(19));
  EXPECT_EQ(world_.sees(kBar + 20 * kPage), kBlocked);
  EXPECT_EQ(world_.sees(kBar + 30 * kPage), bar(30));
}

class MmioOfVirtio : public Mmio {
 protected:
  MmioOfVirtio() : Mmio({port::kVirtio}) {}
};

TEST_F(MmioOfVirtio, BetweenMemoryThatIsTakenApart) {
  world_.tables.map_pages(kIova, world_.data(0), 64);
  world_.expect_refresh(kIova, 64 * kPage);
  world_.tables.map_pages(kIova + 20 * kPage, kBar, 10);
  world_.expect_refresh(kIova + 20 * kPage, 10 * kPage);
  EXPECT_EQ(sees(19), world_.frame(world_.data(19)));
  EXPECT_EQ(sees(20), bar(0));
  EXPECT_EQ(sees(30), world_.frame(world_.data(30)));
  EXPECT_EQ(world_.unmap(kIova + 10 * kPage, 30 * kPage), 0);
  expect_consistent(world_);
}

}  // namespace
}  // namespace kiommu::test
