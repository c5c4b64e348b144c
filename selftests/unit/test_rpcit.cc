// SPDX-License-Identifier: GPL-2.0-only
//
// RPCIT: operands, handles, ranges, states, and which failure gets which
// answer: the table of arch/s390/rpcit.hpp, row by row.
#include "lib/zpci_guest.hpp"

namespace kiommu::test {
namespace {

kiommu_rpcit decoded(u64 handle, u32 r2 = 4, u32 problem_state = 0) {
  kiommu_rpcit rpcit{};
  rpcit.problem_state = problem_state;
  rpcit.r1 = 3;
  rpcit.r2 = r2;
  rpcit.gprs[0] = handle << 32;
  kiommu_rpcit_decode(&rpcit);
  return rpcit;
}

TEST(RpcitOperands, ProblemStateIsAPrivilegedOperationException) {
  // This comes before all other checks.
  for (const u64 handle : {u64{kHandle}, u64{0}, u64{0x80010000}}) {
    for (const u32 r2 : {4u, 5u}) {
      const kiommu_rpcit rpcit = decoded(handle, r2, 1);
      EXPECT_EQ(rpcit.outcome, u32{KIOMMU_RPCIT_PROGRAM});
      EXPECT_EQ(rpcit.program_code, 0x02u);
    }
  }
}

TEST(RpcitOperands, OddRegisterPairIsASpecificationException) {
  for (u32 r2 = 0; r2 < 16; ++r2) {
    const kiommu_rpcit rpcit = decoded(0x00010000, r2);
    if (r2 % 2 == 0) {
      EXPECT_EQ(rpcit.outcome, u32{KIOMMU_RPCIT_USER_SPACE}) << r2;
    } else {
      EXPECT_EQ(rpcit.outcome, u32{KIOMMU_RPCIT_PROGRAM}) << r2;
      EXPECT_EQ(rpcit.program_code, 0x06u);
    }
  }
}

TEST(RpcitOperands, EnabledHandlesAreLookedUp) {
  // Those with SHM bits are, too: a host that is itself a guest has them in its
  // handles.
  for (unsigned bit = 0; bit < 32; ++bit) {
    const u64 handle = 0x80000000u | u64{1} << bit;
    EXPECT_EQ(decoded(handle).outcome, u32{KIOMMU_RPCIT_LOOK_UP}) << bit;
    EXPECT_EQ(decoded(handle).fh, handle);
  }
}

TEST(RpcitOperands, OthersWithShmBitsAreTheVmms) {
  for (unsigned bit = 0; bit < 31; ++bit) {
    const bool shm = bit >= 16 && bit < 24;
    EXPECT_EQ(decoded(u64{1} << bit).outcome,
              u32{shm ? KIOMMU_RPCIT_USER_SPACE : KIOMMU_RPCIT_DONE})
        << bit;
  }
}

TEST(RpcitOperands, HandleThatIsNotEnabledIsInvalid) {
  const kiommu_rpcit rpcit = decoded(kHandle & 0x7fffffff);
  EXPECT_EQ(rpcit.outcome, u32{KIOMMU_RPCIT_DONE});
  EXPECT_EQ(rpcit.cc, 3u);
}

TEST(RpcitOperands, UnknownHandleIsForTheVmmToKnow) {
  ZpciGuest guest;
  EXPECT_EQ(guest.rpcit(0, kPage, kHandle + 1).outcome,
            u32{KIOMMU_RPCIT_USER_SPACE});
}

TEST(RpcitOperands, HandleThatChangedAfterTheLookUpIsInvalid) {
  ZpciGuest guest;
  guest.tables.map(0, guest.data(0));
  kiommu_rpcit rpcit = decoded(kHandle);
  rpcit.gprs[2] = kPage;
  guest.function.set_handle(kHandle + 1);
  guest.shared([&](kiommu_domain* domain) {
    kiommu_rpcit_step(&rpcit, &guest.function.f, domain);
    return 0;
  });
  EXPECT_EQ(rpcit.cc, 3u);
  EXPECT_EQ(guest.mapped(), 0u);
  EXPECT_EQ(guest.rpcit(0, kPage, kHandle + 1), kCc0);
  EXPECT_EQ(guest.mapped(), 1u);
}

TEST(RpcitRange, PagesAreBroughtUpToDate) {
  ZpciGuest guest;
  guest.tables.map_pages(kGiB, guest.data(0), 100);
  EXPECT_EQ(guest.rpcit(kGiB, 50 * kPage), kCc0);
  EXPECT_EQ(guest.mapped(), 50u);
  EXPECT_EQ(guest.sees(kGiB), guest.frame(guest.data(0)));
  EXPECT_EQ(guest.sees(kGiB + 50 * kPage), kBlocked);
  guest.tables.clear(kGiB, 1);
  EXPECT_EQ(guest.rpcit(kGiB, 100 * kPage), kCc0);
  EXPECT_EQ(guest.mapped(), 0u);
  EXPECT_EQ(guest.function.rounds, 1u);
  guest.function.expect_event(0, 0);
}

TEST(V4Defect, D11_UnalignedOperandsAreWholePages) {
  struct {
    u64 iova;
    u64 length;
    u64 first;  // page that is refreshed
    u64 pages;
  } const cases[] = {
      {kGiB + 1, 1, 0, 1},
      {kGiB + 0xfff, 1, 0, 1},
      {kGiB + 0xfff, 2, 0, 2},
      {kGiB + 0x800, kPage, 0, 2},
      {kGiB + 0x123, 0x1000 - 0x123, 0, 1},
      {kGiB, kPage + 1, 0, 2},
      {kGiB + kPage, 2 * kPage - 1, 1, 2},
  };
  for (const auto& c : cases) {
    ZpciGuest guest;
    guest.tables.map_pages(kGiB - kPage, guest.data(0), 6);
    EXPECT_EQ(guest.rpcit(c.iova, c.length), kCc0);
    EXPECT_EQ(guest.mapped(), c.pages) << c.iova << " " << c.length;
    EXPECT_NE(guest.sees(kGiB + c.first * kPage), kBlocked);
  }
}

TEST(RpcitRange, LengthZeroIsNothing) {
  ZpciGuest guest;
  guest.tables.map(0, guest.data(0));
  EXPECT_EQ(guest.rpcit(0, 0), kCc0);
  EXPECT_EQ(guest.rpcit(~u64{0}, 0), kCc0);
  EXPECT_EQ(guest.mapped(), 0u);
}

TEST(RpcitRange, OutOfTheDmaSpaceIsAnError) {
  constexpr u64 kPba = 4 * kGiB;
  constexpr u64 kPal = 6 * kGiB - 1;
  struct {
    u64 iova;
    u64 length;
  } const cases[] = {
      {0, kPage},
      {kPba - kPage, kPage},
      {0, kPba},
      {kPal + 1, kPage},
      {kPal + 1, ~u64{0} - kPal},
      {~u64{0}, 1},
      {~u64{0}, 2},                   // above 2^64
      {kPba, ~u64{0}},                // likewise, though it begins inside
      {kPba + kPage, u64(0) - kPba},  // likewise, by one page
  };
  for (const auto& c : cases) {
    ZpciGuest guest;
    ASSERT_EQ(guest.function.dereg(), 0);
    ASSERT_EQ(guest.reg(kPba, kPal), 0);
    guest.tables.map(0, guest.data(0));
    guest.tables.map(kPba, guest.data(1));
    EXPECT_EQ(guest.rpcit(c.iova, c.length), kInError) << c.iova;
    guest.function.expect_event(2, c.iova);
    EXPECT_EQ(guest.mapped(), 0u);
    EXPECT_EQ(guest.function.f.state, u32{KIOMMU_ZPCI_ERROR});
  }
}

TEST(RpcitRange, ThatWrapsIsOutOfADmaSpaceFromZeroToo) {
  ZpciGuest guest;
  guest.tables.map(0, guest.data(0));
  EXPECT_EQ(guest.rpcit(kGiB, ~u64{0}), kInError);
  guest.function.expect_event(2, kGiB);
  EXPECT_EQ(guest.mapped(), 0u);
}

TEST(RpcitRange, PartsOutsideOfTheDmaSpaceAreLeftOut) {
  constexpr u64 kPba = 4 * kGiB;
  constexpr u64 kPal = 6 * kGiB - 1;
  ZpciGuest guest;
  ASSERT_EQ(guest.function.dereg(), 0);
  // The low bits of both have no meaning.
  ASSERT_EQ(guest.reg(kPba | 0x123, kPal & ~u64{0xfff}), 0);
  for (const u64 iova : {kPba - kPage, kPba, kPal - 0xfff, kPal + 1}) {
    guest.tables.map(iova, guest.data(iova / kGiB));
  }
  EXPECT_EQ(guest.rpcit(0, ~u64{0}), kCc0);
  EXPECT_EQ(guest.mapped(), 2u);
  EXPECT_EQ(guest.sees(kPba), guest.frame(guest.data(4)));
  EXPECT_EQ(guest.sees(kPal - 0xfff), guest.frame(guest.data(5)));
  // Up to 2^64: that does not wrap.
  EXPECT_EQ(guest.rpcit(kPal, u64(0) - kPal), kCc0);
  EXPECT_EQ(guest.rpcit(kPba - 1, 2), kCc0);
}

TEST(RpcitRange, BeyondTheTablesThereIsNothing) {
  ZpciGuest guest;
  ASSERT_EQ(guest.function.dereg(), 0);
  ASSERT_EQ(guest.reg(0, ~u64{0}), 0);
  guest.tables.map(0, guest.data(0));
  EXPECT_EQ(guest.rpcit(ZpciGuest::kReach, kGiB), kCc0);
  EXPECT_EQ(guest.mapped(), 0u);  // defect 10: no alias
  EXPECT_EQ(guest.rpcit(0, ~u64{0}), kCc0);
  EXPECT_EQ(guest.mapped(), 1u);
}

TEST(RpcitRange, AllOfSixtyFourBits) {
  ZpciGuest guest({.top = 4});
  ASSERT_EQ(guest.function.dereg(), 0);
  ASSERT_EQ(guest.reg(0, ~u64{0}), 0);
  guest.tables.map(u64(0) - kPage, guest.data(0));
  EXPECT_EQ(guest.rpcit(1, ~u64{0}), kCc0);
  EXPECT_EQ(guest.mapped(), 1u);
}

TEST(RpcitState, DisabledHandlesAreInvalid) {
  ZpciGuest guest;
  guest.function.f.state = KIOMMU_ZPCI_DISABLED;
  EXPECT_EQ(guest.rpcit(0, kPage), kCc3);
}

TEST(RpcitState, ErrorMustBeRecoveredFrom) {
  ZpciGuest guest;
  guest.tables.map(0, guest.data(0));
  ASSERT_EQ(guest.function.set_state(KIOMMU_ZPCI_ERROR), 0);
  for (const u64 length : {u64{0}, kPage, ~u64{0}}) {
    EXPECT_EQ(guest.rpcit(0, length), kRecover);
    guest.function.expect_event(0, 0);
  }
  EXPECT_EQ(guest.mapped(), 0u);
  ASSERT_EQ(guest.function.set_state(KIOMMU_ZPCI_BLOCKED), 0);
  EXPECT_EQ(guest.rpcit(0, kPage), kCc0);
  ASSERT_EQ(guest.function.set_state(KIOMMU_ZPCI_ENABLED), 0);
  EXPECT_EQ(guest.rpcit(0, kPage), kCc0);
  EXPECT_EQ(guest.mapped(), 1u);
}

TEST(RpcitState, ErrorsOfBlockedFunctionsAreErrorsToo) {
  ZpciGuest guest;
  guest.tables.map(0, 0x5000);
  ASSERT_EQ(guest.function.set_state(KIOMMU_ZPCI_ERROR), 0);
  ASSERT_EQ(guest.function.set_state(KIOMMU_ZPCI_BLOCKED), 0);
  EXPECT_EQ(guest.rpcit(0, kPage), kInError);
  EXPECT_EQ(guest.function.f.state, u32{KIOMMU_ZPCI_ERROR});
}

TEST(RpcitState, WithoutAnIoatTheAddressSpaceIsInvalid) {
  for (int how = 0; how < 4; ++how) {
    ZpciGuest guest;
    switch (how) {
      case 0:
        ASSERT_EQ(guest.function.dereg(), 0);
        break;
      case 1:  // the VMM
        ASSERT_EQ(guest.unanchor(), 0);
        break;
      case 2:
        ASSERT_EQ(guest.unanchor(), 0);
        ASSERT_EQ(guest.anchor(guest.tables.anchor()), 0);
        break;
      default:
        ASSERT_EQ(guest.stop(), 0);
    }
    EXPECT_EQ(guest.rpcit(0x1234, kPage), kInError) << how;
    guest.function.expect_event(1, 0x1234);
    EXPECT_EQ(guest.rpcit(0x1234, kPage), kRecover);
    guest.function.expect_event(0, 0);
  }
}

TEST(RpcitState, ErrorIsToldOnceThoughTwoMeetIt) {
  ZpciGuest guest;
  guest.tables.map(0, 0x5000);
  Function& function = guest.function;
  // Another CPU enters ERROR while this one reads the tables.
  guest.guest.before_read = [&](u64) { function.f.state = KIOMMU_ZPCI_ERROR; };
  EXPECT_EQ(guest.rpcit(0, kPage), kRecover);
  function.expect_event(0, 0);
}

// --- results of a refresh ---

constexpr u64 kAt = 3 * kGiB + 7 * kPage;

struct Refusal {
  const char* name;
  Answered answer;
  u32 pec;
  u32 status;
  std::function<void(ZpciGuest&)> cause;  // at kAt
  u64 address = kAt;
};

void unbacked(ZpciGuest& guest, Backing backing) {
  guest.tables.map(kAt, guest.data(9));
  guest.guest.set_backing(guest.data_hva + 9 * kPage, 1, backing);
}
void bad_entry(ZpciGuest& guest, unsigned status) {
  for (const BadEntry& bad : Spec<ZpciFormat>::malformed(2)) {
    if (bad.status == status) guest.tables.set(kAt, 2, bad.entry);
  }
}
void table_at(ZpciGuest& guest, u64 gpa) {
  guest.tables.set(kAt, 1, Spec<ZpciFormat>::table(1, gpa, kRW));
}
constexpr u64 kOther = 100 * kGiB;  // GPA of another slot

const Refusal kRefusals[] = {
    {"EntryType", kInError, 9, KVM_IOMMU_STATUS_ENTRY_TYPE,
     [](ZpciGuest& g) { bad_entry(g, KVM_IOMMU_STATUS_ENTRY_TYPE); }, kRegion},
    {"EntryLength", kInError, 8, KVM_IOMMU_STATUS_ENTRY_LENGTH,
     [](ZpciGuest& g) { bad_entry(g, KVM_IOMMU_STATUS_ENTRY_LENGTH); },
     kRegion},
    {"PageInNoSlot", kInError, 7, KVM_IOMMU_STATUS_NO_SLOT,
     [](ZpciGuest& g) { g.tables.map(kAt, 0x5000); }},
    {"TableInNoSlot", kInError, 7, KVM_IOMMU_STATUS_NO_SLOT,
     [](ZpciGuest& g) { table_at(g, 0x5000); }, 3 * kGiB},
    {"TableInReadOnlySlot", kInError, 7, KVM_IOMMU_STATUS_READ_ONLY,
     [](ZpciGuest& g) {
       g.guest.add_ram(kOther, 4, port::kShuffled, KIOMMU_SLOT_READ_ONLY);
       table_at(g, kOther);
     },
     3 * kGiB},
    {"Mmio", kInError, 7, KVM_IOMMU_STATUS_MMIO,
     [](ZpciGuest& g) { unbacked(g, Backing::kMmio); }},
    {"Private", kInError, 7, KVM_IOMMU_STATUS_PRIVATE,
     [](ZpciGuest& g) {
       g.guest.add_ram(kOther, 4, port::kShuffled, KIOMMU_SLOT_PRIVATE);
       g.tables.map(kAt, kOther);
     }},
    {"ReservedIova", kInError, 2, KVM_IOMMU_STATUS_RESERVED_IOVA,
     [](ZpciGuest& g) {
       ASSERT_EQ(g.set_caps({0, ~u64{0}}, {{kAt, kAt + kPage - 1}}), 0);
       g.tables.map(kAt, g.data(9));
     }},
    {"Unbacked", kInsufficient, 0, 0,
     [](ZpciGuest& g) { unbacked(g, Backing::kUnbacked); }},
    {"PinRefused", kInsufficient, 0, 0,
     [](ZpciGuest& g) { unbacked(g, Backing::kRefused); }},
    {"NoMemory", kInsufficient, 0, 0,
     [](ZpciGuest& g) {
       g.tables.map(kAt, g.data(9));
       faults().pin.arm_always();
     }},
    {"Memlock", kInsufficient, 0, 0,
     [](ZpciGuest& g) {
       g.tables.map(kAt, g.data(9));
       g.guest.memlock_pages = 4;
     }},
    {"Host", kInsufficient, 0, 0,
     [](ZpciGuest& g) {
       g.tables.map(kAt, g.data(9));
       g.iommus.map_error = -EINVAL;
       // The four pages below are in the same call.
       faults().map.arm_always();
     }},
};

class RpcitRefusal : public testing::TestWithParam<Refusal> {};

// Below the failing page everything is done. Above it nothing new is mapped,
// and what the guest has given up is gone.
TEST_P(RpcitRefusal, HasItsAnswer) {
  const Refusal& refusal = GetParam();
  ZpciGuest guest;
  guest.tables.map_pages(kGiB, guest.data(0), 4);
  guest.tables.map(5 * kGiB, guest.data(4));
  guest.tables.map(6 * kGiB, guest.data(5));
  ASSERT_EQ(guest.rpcit(0, 8 * kGiB), kCc0);
  guest.tables.clear(5 * kGiB);
  guest.tables.map(6 * kGiB, guest.data(6));
  guest.tables.map(7 * kGiB, guest.data(7));
  guest.tables.map_pages(kGiB, guest.data(10), 2);
  refusal.cause(guest);
  EXPECT_EQ(guest.rpcit(0, 8 * kGiB), refusal.answer);
  faults() = {};
  const bool is_error = refusal.pec != 0;
  guest.function.expect_event(refusal.pec, refusal.address, refusal.status);
  EXPECT_EQ(guest.function.f.state,
            u32{is_error ? KIOMMU_ZPCI_ERROR : KIOMMU_ZPCI_ENABLED});
  EXPECT_EQ(guest.sees(kAt), kBlocked);
  EXPECT_EQ(guest.sees(5 * kGiB), kBlocked);
  EXPECT_EQ(guest.sees(6 * kGiB), kBlocked);
  EXPECT_EQ(guest.sees(7 * kGiB), kBlocked);
  for (u64 i = 0; i < 2; ++i) {
    const auto seen = guest.sees(kGiB + i * kPage);
    EXPECT_TRUE(!seen || seen == guest.frame(guest.data(10 + i)));
  }
  EXPECT_EQ(guest.sees(kGiB + 2 * kPage), guest.frame(guest.data(2)));
}

INSTANTIATE_TEST_SUITE_P(Rows, RpcitRefusal, testing::ValuesIn(kRefusals),
                         [](const auto& info) {
                           return std::string(info.param.name);
                         });

TEST(RpcitRefused, ShadowLimit) {
  ZpciGuest guest({.machine = {.shadow_limit = 16 * 4096}});
  for (u64 i = 0; i < 64; ++i) guest.tables.map(i * kGiB, guest.data(i));
  EXPECT_EQ(guest.rpcit(0, 64 * kGiB), kInsufficient);
  guest.function.expect_event(0, 0);
  EXPECT_EQ(guest.sees(0), guest.frame(guest.data(0)));
}

TEST(RpcitRefused, ApertureThatBecameSmallerIsNotForThisGuest) {
  ZpciGuest guest;
  guest.tables.map(0, guest.data(0));
  ASSERT_EQ(guest.set_caps({0, kGiB - 1}, {}), 0);
  EXPECT_EQ(guest.rpcit(kGiB, kGiB), kInError);
  guest.function.expect_event(2, kGiB);
}

TEST(RpcitRefused, ForeignProcessIsNoMistakeOfTheGuest) {
  ZpciGuest guest;
  guest.tables.map(0, guest.data(0));
  guest.guest.foreign_process = true;
  EXPECT_EQ(guest.rpcit(0, kPage), kInsufficient);
  EXPECT_EQ(guest.function.f.state, u32{KIOMMU_ZPCI_ENABLED});
}

TEST(RpcitRefused, EventNamesTheEntry) {
  ZpciGuest guest;
  guest.tables.map(kAt, 0x5000);
  EXPECT_EQ(guest.rpcit(kAt, kPage), kInError);
  const kiommu_zpci_event& event = guest.function.last.event;
  EXPECT_EQ(event.level, 1u);
  EXPECT_EQ(event.has_gpa, 1u);
  EXPECT_EQ(event.gpa, 0x5000u);
}

TEST(RpcitRefused, SignalsExecuteTheInstructionAnew) {
  ZpciGuest guest;
  guest.tables.map_pages(0, guest.data(0), 2);
  faults().interrupt.arm(1);
  EXPECT_EQ(guest.rpcit(0, 2 * kPage).outcome, u32{KIOMMU_RPCIT_RETRY});
  guest.function.expect_event(0, 0);
  EXPECT_EQ(guest.rpcit(0, 2 * kPage), kCc0);
  EXPECT_EQ(guest.mapped(), 2u);
}

TEST(RpcitRefused, RecoveredGuestConverges) {
  ZpciGuest guest;
  guest.tables.map_pages(0, guest.data(0), 20);
  guest.tables.map(5 * kPage, 0x5000);
  EXPECT_EQ(guest.rpcit(0, 20 * kPage), kInError);
  EXPECT_EQ(guest.mapped(), 5u);
  // What was mapped stays for a guest that recovers.
  ASSERT_EQ(guest.function.set_state(KIOMMU_ZPCI_BLOCKED), 0);
  ASSERT_EQ(guest.function.set_state(KIOMMU_ZPCI_ENABLED), 0);
  EXPECT_EQ(guest.mapped(), 5u);
  EXPECT_EQ(guest.rpcit(0, 20 * kPage), kInError);  // still bad
  guest.tables.map(5 * kPage, guest.data(5));
  ASSERT_EQ(guest.function.set_state(KIOMMU_ZPCI_ENABLED), 0);
  EXPECT_EQ(guest.rpcit(0, 20 * kPage), kCc0);
  EXPECT_EQ(guest.mapped(), 20u);
}

// --- rounds ---

TEST(RpcitRounds, GoOnWhereTheLastOneStopped) {
  ZpciGuest guest;
  make_gigantic(guest, 1, 34);
  guest.tables.map(0, guest.data(0));
  guest.tables.map(34 * kRegion, guest.data(1));
  EXPECT_EQ(guest.rpcit(0, ZpciGuest::kReach), kCc0);
  EXPECT_EQ(guest.function.rounds, 3u);
  EXPECT_EQ(guest.mapped(), 2u);
}

TEST(RpcitRounds, ThatChangeNothingNeverEndBusy) {
  ZpciGuest guest;
  make_gigantic(guest, 0, 33);
  EXPECT_EQ(guest.rpcit(0, ZpciGuest::kReach), kCc0);
  EXPECT_EQ(guest.function.rounds, 3u);
}

TEST(RpcitRounds, ThatChangeMuchEndBusyAndRepetitionsComeToAnEnd) {
  ZpciGuest guest({.data_pages = kRegion / kPage});
  for (u64 i = 0; i < 3; ++i) {
    guest.tables.map(i * kRegion, guest.data(0), kRW, 2);
    guest.tables.map((20 + i) * kRegion, guest.data(0), kRW, 2);
  }
  make_gigantic(guest, 3, 20);
  make_gigantic(guest, 23, 40);
  EXPECT_EQ(guest.rpcit(0, ZpciGuest::kReach), kCc2);
  EXPECT_EQ(guest.function.rounds, 1u);
  EXPECT_EQ(guest.mapped(), 3 * kRegion / kPage);
  EXPECT_EQ(guest.rpcit(0, ZpciGuest::kReach), kCc2);
  EXPECT_EQ(guest.mapped(), 6 * kRegion / kPage);
  EXPECT_EQ(guest.rpcit(0, ZpciGuest::kReach), kCc0);
  EXPECT_EQ(guest.function.rounds, 3u);
}

TEST(RpcitRounds, NoticeWhatHappensBetweenThem) {
  struct {
    const char* what;
    Answered answer;
    u32 pec;
    std::function<void(ZpciGuest&)> between;
  } const cases[] = {
      {"dereg", kInError, 1, [](ZpciGuest& g) { g.function.dereg(); }},
      {"reset", kCc3, 0, [](ZpciGuest& g) { g.function.reset(); }},
      {"handle", kCc3, 0, [](ZpciGuest& g) { g.function.set_handle(1); }},
      {"error", kRecover, 0,
       [](ZpciGuest& g) { g.function.set_state(KIOMMU_ZPCI_ERROR); }},
      {"stop", kInError, 1, [](ZpciGuest& g) { g.stop(); }},
      {"anchor", kInError, 1, [](ZpciGuest& g) { g.unanchor(); }},
      {"smaller", kCc0, 0,
       [](ZpciGuest& g) {
         g.function.dereg();
         g.reg(0, kGiB - 1);
       }},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.what);
    ZpciGuest guest;
    make_gigantic(guest, 0, 17);
    guest.function.between_rounds = [&] {
      c.between(guest);
      guest.function.between_rounds = nullptr;
    };
    EXPECT_EQ(guest.rpcit(0, ZpciGuest::kReach), c.answer);
    EXPECT_EQ(guest.function.last.event.pec, c.pec);
    EXPECT_EQ(guest.function.rounds, 2u);
  }
}

}  // namespace
}  // namespace kiommu::test
