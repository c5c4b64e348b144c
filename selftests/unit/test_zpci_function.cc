// SPDX-License-Identifier: GPL-2.0-only
//
// The life of a zPCI function: registration of its tables, states, handle,
// functions that share a domain; see arch/s390/zpci_function.hpp.
#include <atomic>
#include <thread>

#include "lib/zpci_guest.hpp"

namespace kiommu::test {
namespace {

constexpr u64 kReach = ZpciGuest::kReach;

class ZpciRegister : public testing::Test {
 protected:
  ZpciRegister() { EXPECT_EQ(guest.function.dereg(), 0); }

  ZpciGuest guest;
};

TEST_F(ZpciRegister, TablesWithinTheAperture) {
  EXPECT_EQ(guest.info().state, u32{KVM_IOMMU_STATE_STARTED});
  EXPECT_EQ(guest.reg(kGiB, 2 * kGiB - 1), 0);
  const kiommu_core_info info = guest.info();
  EXPECT_EQ(info.state, u32{KVM_IOMMU_STATE_ANCHORED});
  EXPECT_EQ(info.anchor.format, u32{KVM_IOMMU_FORMAT_ZPCI});
  EXPECT_EQ(info.anchor.iota, guest.iota());
  EXPECT_EQ(info.anchor.first, kGiB);
  EXPECT_EQ(info.anchor.last, 2 * kGiB - 1);
  EXPECT_EQ(guest.function.f.ioat.pba, kGiB);
}

TEST_F(ZpciRegister, LowBitsOfTheBoundsHaveNoMeaning) {
  EXPECT_EQ(guest.reg(kGiB + 0xabc, 2 * kGiB), 0);
  EXPECT_EQ(guest.info().anchor.first, kGiB);
  EXPECT_EQ(guest.info().anchor.last, 2 * kGiB + 0xfff);
}

TEST_F(ZpciRegister, OnePage) {
  EXPECT_EQ(guest.reg(0, 0), 0);
  EXPECT_EQ(guest.info().anchor.last, 0xfffu);
  guest.tables.map_pages(0, guest.data(0), 2);
  EXPECT_EQ(guest.rpcit(0, 2 * kPage), kCc0);
  EXPECT_EQ(guest.mapped(), 1u);
}

TEST_F(ZpciRegister, BadBounds) {
  guest.function.f.sdma = kGiB;
  ASSERT_EQ(guest.set_caps({kGiB, 8 * kGiB - 1}, {}), 0);
  EXPECT_EQ(guest.reg(3 * kGiB, 2 * kGiB), -EINVAL);
  EXPECT_EQ(guest.reg(2 * kGiB, 2 * kGiB - 1), -EINVAL);
  EXPECT_EQ(guest.reg(kGiB - kPage, 2 * kGiB), -EINVAL);  // below SDMA
  EXPECT_EQ(guest.reg(kGiB, 8 * kGiB), -EINVAL);  // above the host's aperture
  ASSERT_EQ(guest.set_caps({0, 8 * kGiB - 1}, {}), 0);
  EXPECT_EQ(guest.reg(kGiB - kPage, 2 * kGiB), -EINVAL);
  guest.function.f.sdma = 0;
  ASSERT_EQ(guest.set_caps({kGiB, 8 * kGiB - 1}, {}), 0);
  EXPECT_EQ(guest.reg(kGiB - kPage, 2 * kGiB), -EINVAL);
  EXPECT_EQ(guest.info().state, u32{KVM_IOMMU_STATE_STARTED});
  EXPECT_EQ(guest.reg(kGiB, 8 * kGiB - 1), 0);
}

TEST_F(ZpciRegister, TablesEndWhereTheyDo) {
  EXPECT_EQ(guest.reg(kReach, kReach + kGiB), -EINVAL);
  EXPECT_EQ(guest.reg(kReach - kPage, kReach + kGiB), 0);
  EXPECT_EQ(guest.info().anchor.last, kReach - 1);
}

TEST_F(ZpciRegister, BadIotas) {
  for (const BadAnchor& bad :
       Spec<ZpciFormat>::bad_anchors(guest.tables.root())) {
    if (bad.anchor.levels != 0 || bad.anchor.offset != 0) continue;
    if ((bad.anchor.iota & 0x800) == 0) continue;  // T = 0 is another matter
    EXPECT_EQ(guest.function.reg(bad.anchor.iota, 0, kReach - 1), -EINVAL)
        << bad.what;
  }
  EXPECT_EQ(guest.function.reg(guest.iota() + (u64{1} << 40), 0, kReach - 1),
            -EIO);
  EXPECT_EQ(guest.info().state, u32{KVM_IOMMU_STATE_STARTED});
  EXPECT_EQ(guest.function.f.anchor, 0u);
  EXPECT_EQ(guest.rpcit(0, kPage), kInError);
  guest.function.expect_event(1, 0);
}

TEST_F(ZpciRegister, Sequence) {
  EXPECT_EQ(guest.function.dereg(), -EPROTO);
  ASSERT_EQ(guest.reg(), 0);
  EXPECT_EQ(guest.reg(), -EPROTO);
  EXPECT_EQ(guest.reg(kGiB), -EPROTO);
  ASSERT_EQ(guest.function.dereg(), 0);
  EXPECT_EQ(guest.function.dereg(), -EPROTO);
  ASSERT_EQ(guest.stop(), 0);
  EXPECT_EQ(guest.reg(), -ENODEV);
}

TEST_F(ZpciRegister, StatesInWhichItCanBe) {
  const u32 states[] = {KIOMMU_ZPCI_ERROR, KIOMMU_ZPCI_BLOCKED,
                        KIOMMU_ZPCI_ENABLED};
  for (const u32 state : states) {
    ASSERT_EQ(guest.function.set_state(state), 0);
    EXPECT_EQ(guest.reg(), 0) << state;
    EXPECT_EQ(guest.function.dereg(), 0) << state;
  }
  ASSERT_EQ(guest.function.set_state(KIOMMU_ZPCI_DISABLED), 0);
  EXPECT_EQ(guest.reg(), -ESHUTDOWN);
}

TEST_F(ZpciRegister, AfterUserSpaceTookTheAnchorAway) {
  ASSERT_EQ(guest.reg(), 0);
  ASSERT_EQ(guest.unanchor(), 0);
  EXPECT_EQ(guest.function.dereg(), -EPROTO);
  ASSERT_EQ(guest.reg(), 0);
  ASSERT_EQ(guest.unanchor(), 0);
  EXPECT_EQ(guest.reg(), 0);  // it is as if deregistered
  // An anchor of somebody else is not taken away.
  ASSERT_EQ(guest.unanchor(), 0);
  ASSERT_EQ(guest.anchor(guest.tables.anchor()), 0);
  EXPECT_EQ(guest.function.dereg(), -EPROTO);
  EXPECT_EQ(guest.info().state, u32{KVM_IOMMU_STATE_ANCHORED});
}

TEST(V4Defect, D12_DeregCostsWhatIsMapped) {
  ZpciGuest guest;
  guest.tables.map(0, guest.data(0));
  guest.tables.map(kReach - kPage, guest.data(1));
  ASSERT_EQ(guest.rpcit(0, kReach), kCc0);
  const u64 reads = guest.guest.read_calls;
  ASSERT_EQ(guest.function.dereg(), 0);  // must not allocate: the port checks
  EXPECT_EQ(guest.guest.read_calls, reads);
  EXPECT_EQ(guest.host.pinned(), 0u);
}

TEST(V4Defect, D16_SecondFunctionOfADomain) {
  ZpciGuest guest;
  guest.tables.map(0, guest.data(0));
  Function second(guest, kHandle + 1);
  EXPECT_EQ(second.reg(guest.iota(), kPage, kReach - 1), -EEXIST);
  EXPECT_EQ(second.reg(guest.iota() | 0x200, 0, kReach - 1), -EEXIST);
  EXPECT_EQ(second.reg(0, 0, kReach - 1), -EEXIST);
  // A function without tables gets an error, not a crash.
  EXPECT_EQ(second.rpcit(guest.pins, 0, kPage, kHandle + 1), kInError);
  second.expect_event(1, 0);
  EXPECT_EQ(guest.function.f.state, u32{KIOMMU_ZPCI_ENABLED});
  ASSERT_EQ(second.set_state(KIOMMU_ZPCI_ENABLED), 0);
  ASSERT_EQ(second.reg(guest.iota(), 0, kReach - 1), 0);
  EXPECT_EQ(second.rpcit(guest.pins, 0, kPage, kHandle + 1), kCc0);
  EXPECT_EQ(guest.mapped(), 1u);
  // The error of one is not the other's.
  guest.tables.map(kPage, 0x5000);
  EXPECT_EQ(guest.rpcit(kPage, kPage), kInError);
  EXPECT_EQ(second.rpcit(guest.pins, 0, kPage, kHandle + 1), kCc0);
  // The anchor goes with the last function.
  ASSERT_EQ(guest.function.dereg(), 0);
  EXPECT_EQ(guest.mapped(), 1u);
  EXPECT_EQ(second.rpcit(guest.pins, 0, kPage, kHandle + 1), kCc0);
  second.reset();
  EXPECT_EQ(guest.mapped(), 0u);
  EXPECT_EQ(guest.info().state, u32{KVM_IOMMU_STATE_STARTED});
  // No registration outlives it.
  ASSERT_EQ(guest.anchor(guest.tables.anchor()), 0);
  EXPECT_EQ(guest.function.dereg(), -EPROTO);
  EXPECT_EQ(guest.info().state, u32{KVM_IOMMU_STATE_ANCHORED});
  ASSERT_EQ(guest.function.set_state(KIOMMU_ZPCI_ENABLED), 0);
  EXPECT_EQ(guest.rpcit(0, kPage), kInError);
}

TEST(ZpciLife, RegisteringAnewLeavesNothingOld) {
  ZpciGuest guest;
  guest.tables.map_pages(0, guest.data(0), 100);
  ASSERT_EQ(guest.rpcit(0, kMiB), kCc0);
  const u64 segments = guest.tables.new_table(1);
  ASSERT_EQ(guest.function.dereg(), 0);
  EXPECT_EQ(guest.mapped(), 0u);
  EXPECT_EQ(guest.host.pinned(), 0u);
  EXPECT_FALSE(guest.iommus[0].iotlb_may_be_stale());
  // Other tables, which hold nothing.
  ASSERT_EQ(guest.function.reg(segments | 0x800, 0, kGiB - 1), 0);
  EXPECT_EQ(guest.sees(0), kBlocked);
  EXPECT_EQ(guest.rpcit(0, kGiB), kCc0);
  EXPECT_EQ(guest.sees(0), kBlocked);
  EXPECT_EQ(guest.mapped(), 0u);
}

TEST(ZpciLife, Transitions) {
  constexpr u32 kD = KIOMMU_ZPCI_DISABLED, kE = KIOMMU_ZPCI_ENABLED,
                kB = KIOMMU_ZPCI_BLOCKED, kX = KIOMMU_ZPCI_ERROR;
  const u32 legal[][2] = {{kD, kE}, {kX, kE}, {kB, kE}, {kX, kB}, {kE, kX},
                          {kB, kX}, {kE, kD}, {kB, kD}, {kX, kD}};
  ZpciGuest guest;
  for (u32 from = 0; from < 4; ++from) {
    for (u32 to = 0; to < 4; ++to) {
      bool is_legal = false;
      for (const auto& pair : legal) {
        is_legal |= pair[0] == from && pair[1] == to;
      }
      guest.function.f.state = from;
      EXPECT_EQ(guest.function.set_state(to), is_legal ? 0 : -EPROTO)
          << from << " to " << to;
      EXPECT_EQ(guest.function.f.state, is_legal ? to : from);
    }
    guest.function.f.state = from;
    EXPECT_EQ(guest.function.set_state(4), -EINVAL);
    EXPECT_EQ(guest.function.set_state(~0u), -EINVAL);
    EXPECT_EQ(guest.function.f.state, from);
  }
}

TEST(ZpciLife, DisableAndResetTakeTheTablesAway) {
  for (const bool reset : {false, true}) {
    ZpciGuest guest;
    guest.tables.map_pages(0, guest.data(0), 10);
    ASSERT_EQ(guest.rpcit(0, kMiB), kCc0);
    if (reset) {
      guest.function.reset();
    } else {
      ASSERT_EQ(guest.function.set_state(KIOMMU_ZPCI_DISABLED), 0);
    }
    EXPECT_EQ(guest.function.f.state, u32{KIOMMU_ZPCI_DISABLED});
    EXPECT_EQ(guest.mapped(), 0u);
    EXPECT_EQ(guest.host.pinned(), 0u);
    EXPECT_EQ(guest.info().state, u32{KVM_IOMMU_STATE_STARTED});
    guest.function.reset();  // a second reset changes nothing
    ASSERT_EQ(guest.function.set_state(KIOMMU_ZPCI_ENABLED), 0);
    EXPECT_EQ(guest.rpcit(0, kPage), kInError);
    guest.function.expect_event(1, 0);
  }
}

TEST(ZpciLife, RecoveryKeepsTheTables) {
  ZpciGuest guest;
  guest.tables.map(0, guest.data(0));
  ASSERT_EQ(guest.rpcit(0, kPage), kCc0);
  const u32 states[] = {KIOMMU_ZPCI_ERROR, KIOMMU_ZPCI_BLOCKED,
                        KIOMMU_ZPCI_ENABLED};
  for (const u32 state : states) {
    ASSERT_EQ(guest.function.set_state(state), 0);
    EXPECT_EQ(guest.mapped(), 1u);
  }
  EXPECT_EQ(guest.rpcit(0, kPage), kCc0);
}

TEST(Relative, HandlesGoStaleAcrossAReset) {
  ZpciGuest guest;
  guest.tables.map(0, guest.data(0));
  guest.function.reset();
  guest.function.set_handle(kHandle + (1u << 24));
  ASSERT_EQ(guest.function.set_state(KIOMMU_ZPCI_ENABLED), 0);
  ASSERT_EQ(guest.reg(), 0);
  EXPECT_NE(guest.rpcit(0, kPage), kCc0);
  EXPECT_EQ(guest.mapped(), 0u);
  EXPECT_EQ(guest.rpcit(0, kPage, kHandle + (1u << 24)), kCc0);
  EXPECT_EQ(guest.mapped(), 1u);
}

// --- what is in the tables already ---

TEST(ZpciShadow, TablesThatAreFilledBeforeTheyAreRegistered) {
  ZpciGuest guest;
  guest.tables.map(0, guest.data(0));
  guest.tables.map(kReach - kPage, guest.data(1));
  EXPECT_EQ(guest.function.shadow(), 0);
  EXPECT_EQ(guest.mapped(), 2u);
  EXPECT_EQ(guest.sees(kReach - kPage), guest.frame(guest.data(1)));
  ASSERT_EQ(guest.function.dereg(), 0);
  EXPECT_EQ(guest.function.shadow(), -ENXIO);
  ASSERT_EQ(guest.reg(kGiB), 0);
  EXPECT_EQ(guest.function.shadow(), 0);
  EXPECT_EQ(guest.mapped(), 1u);  // not what is below PBA
  expect_consistent(guest);
}

TEST(ZpciShadow, BadEntriesAreLeftToRpcit) {
  ZpciGuest guest;
  guest.tables.map(0, guest.data(0));
  guest.tables.map(kPage, 0x5000);
  EXPECT_EQ(guest.function.shadow(), 0);
  EXPECT_EQ(guest.mapped(), 1u);
  EXPECT_EQ(guest.function.f.state, u32{KIOMMU_ZPCI_ENABLED});
  EXPECT_EQ(guest.rpcit(0, 2 * kPage), kInError);
}

TEST(ZpciShadow, ShortageIsAnError) {
  ZpciGuest guest;
  guest.tables.map_pages(0, guest.data(0), 4);
  guest.guest.memlock_pages = 3;
  EXPECT_EQ(guest.function.shadow(), -ENOMEM);
  guest.guest.memlock_pages = 4;
  EXPECT_EQ(guest.function.shadow(), 0);
  EXPECT_EQ(guest.mapped(), 4u);
}

TEST(ZpciShadow, RoundsOfGiganticTables) {
  ZpciGuest guest;
  make_gigantic(guest, 0, 17);
  guest.tables.map(20 * kRegion, guest.data(0));
  EXPECT_EQ(guest.function.shadow(), 0);
  EXPECT_EQ(guest.mapped(), 1u);
}

// --- T = 0 ---

TEST(ZpciDirect, MemoryAtAnOffset) {
  constexpr u64 kSdma = u64{1} << 36;
  ZpciGuest guest;
  ASSERT_EQ(guest.function.dereg(), 0);
  guest.function.f.sdma = kSdma;
  EXPECT_EQ(guest.function.reg(0, 0, kReach - 1), -EINVAL);
  // Bits other than T have no meaning, even those of a bad designation.
  ASSERT_EQ(guest.function.reg(0x1234'5000'0000'07ff, kSdma, kReach - 1), 0);
  EXPECT_EQ(guest.info().anchor.format, u32{KVM_IOMMU_FORMAT_IDENTITY});
  EXPECT_EQ(guest.info().anchor.offset, kSdma);
  EXPECT_EQ(guest.mapped(), 0u);
  EXPECT_EQ(guest.function.shadow(), 0);
  EXPECT_EQ(guest.sees(kSdma + kDataGpa), guest.frame(kDataGpa));
  EXPECT_EQ(guest.sees(kSdma + kTablesGpa), guest.frame(kTablesGpa));
  EXPECT_EQ(guest.sees(kSdma), kBlocked);  // a hole between slots
  EXPECT_EQ(guest.rpcit(kSdma, kReach - kSdma), kCc0);
  expect_consistent(guest);
  // A slot that is added is mapped when it is asked for.
  guest.guest.add_ram(0, 16, port::kShuffled);
  EXPECT_EQ(guest.function.shadow(), 0);
  EXPECT_EQ(guest.sees(kSdma), guest.frame(0));
  ASSERT_EQ(guest.function.dereg(), 0);
  EXPECT_EQ(guest.mapped(), 0u);
}

TEST(ZpciDirect, IsBoundedByPbaAndPal) {
  constexpr u64 kSdma = u64{1} << 36;
  ZpciGuest guest;
  ASSERT_EQ(guest.function.dereg(), 0);
  guest.function.f.sdma = kSdma;
  const u64 pba = kSdma + kDataGpa + 16 * kPage;
  ASSERT_EQ(guest.function.reg(0, pba, pba + 4 * kPage - 1), 0);
  EXPECT_EQ(guest.function.shadow(), 0);
  EXPECT_EQ(guest.mapped(), 4u);
  EXPECT_EQ(guest.sees(pba), guest.frame(guest.data(16)));
  EXPECT_EQ(guest.rpcit(pba - kPage, kPage), kInError);
}

TEST(ZpciDirect, OffsetOfWholePages) {
  ZpciGuest guest;
  ASSERT_EQ(guest.function.dereg(), 0);
  guest.function.f.sdma = kGiB + 0x800;
  EXPECT_EQ(guest.function.reg(0, 2 * kGiB, 3 * kGiB), -EINVAL);
}

TEST(ZpciDirect, WhatCannotBeMappedIsAnError) {
  ZpciGuest guest;
  ASSERT_EQ(guest.function.dereg(), 0);
  ASSERT_EQ(guest.function.reg(0, 0, kReach - 1), 0);
  guest.guest.memlock_pages = 100;
  EXPECT_EQ(guest.function.shadow(), -ENOMEM);
  guest.guest.memlock_pages = ~u64{0};
  guest.guest.set_backing(guest.data_hva, 1, Backing::kUnbacked);
  EXPECT_EQ(guest.function.shadow(), -EIO);
  ASSERT_EQ(guest.function.dereg(), 0);
  expect_consistent(guest);
}

// One round of an RPCIT, by any thread.
kiommu_rpcit execute(ZpciGuest& guest, u64 iova, u64 length) {
  kiommu_rpcit rpcit{};
  rpcit.r2 = 4;
  rpcit.gprs[0] = u64{kHandle} << 32;
  rpcit.gprs[1] = iova;
  rpcit.gprs[2] = length;
  kiommu_rpcit_decode(&rpcit);
  guest.shared([&](kiommu_domain* domain) {
    kiommu_rpcit_step(&rpcit, &guest.function.f, domain);
    return 0;
  });
  return rpcit;
}

void on_cpus(const std::function<void(u64 cpu)>& function) {
  std::vector<std::thread> cpus;
  for (u64 cpu = 0; cpu < 4; ++cpu) cpus.emplace_back(function, cpu);
  for (std::thread& cpu : cpus) cpu.join();
}

TEST(ZpciLife, RpcitsOfSeveralCpusAtOnce) {
  ZpciGuest guest;
  guest.tables.map_pages(0, guest.data(0), 2048);
  guest.tables.map(kGiB, 0x5000);
  on_cpus([&](u64 cpu) {
    for (u64 i = 0; i < 32; ++i) {
      const u64 page = (i * 4 + cpu) * 16;
      EXPECT_EQ(execute(guest, page * kPage, 16 * kPage).cc, 0u);
    }
  });
  EXPECT_EQ(guest.mapped(), 2048u);
  std::atomic<u32> events{0};
  on_cpus([&](u64) {
    const kiommu_rpcit rpcit = execute(guest, kGiB, kPage);
    EXPECT_EQ(rpcit.cc, 1u);
    if (rpcit.event.pec != 0) ++events;
  });
  EXPECT_EQ(events, 1u);
  expect_consistent(guest);
}

}  // namespace
}  // namespace kiommu::test
