// SPDX-License-Identifier: GPL-2.0-only
//
// Making room: a refresh that runs short drops what the guest has given up
// further on, and goes on; RPCIT answers so that a guest that frees enough
// succeeds the next time.
#include "lib/zpci_guest.hpp"

namespace kiommu::test {
namespace {

// --- the core, for all formats ---

template <class F>
class MakeRoom : public FormatTest<F> {};
TYPED_TEST_SUITE(MakeRoom, AllFormats);

// Pages so far apart that each costs nodes of its own.
constexpr u64 kApart = 64 * kMiB;
constexpr u64 kLimit = 24 * 4096;

// On a host without tables: a host that has tables may keep them, and then what
// is given up makes no room, see test_host_tables.cc.
TYPED_TEST(MakeRoom, ShadowThatIsNoLongerWanted) {
  using W = World<TypeParam>;
  W world({.machine = {.hosts = {port::kVirtio}, .shadow_limit = kLimit}});
  const u64 all = 64 * kApart;
  u64 held = 0;  // pages that there is room for, from above
  for (u64 i = 63; i > 32; --i) {
    world.tables.map(i * kApart, world.leaf(i));
    if (world.refresh(i * kApart, W::kLeaf).error != 0) break;
    ++held;
  }
  ASSERT_GT(held, 4u);
  ASSERT_LT(held, 30u);
  // Without a refresh, all but one are given up, and others are mapped below.
  for (u64 i = 63; i > 32; --i) {
    if (i != 63) world.tables.clear(i * kApart);
  }
  const u64 wanted = held - 2;
  for (u64 i = 0; i < wanted; ++i) {
    world.tables.map(i * kApart, world.leaf(i));
  }
  const RefreshOutcome outcome = world.refresh(0, all);
  EXPECT_EQ(outcome.error, 0);
  EXPECT_EQ(outcome.result.mapped, wanted * W::kLeafPages);
  EXPECT_EQ(outcome.result.unmapped, (held - 1) * W::kLeafPages);
  EXPECT_EQ(outcome.result.stopped_iova, all);
  expect_consistent(world);
  for (u64 i = 0; i < wanted; ++i) {
    EXPECT_EQ(world.sees(i * kApart), world.frame(world.leaf(i)));
  }
  EXPECT_EQ(world.sees(63 * kApart), world.frame(world.leaf(63)));
}

TYPED_TEST(MakeRoom, IsNoReasonToTouchWhatIsWanted) {
  using W = World<TypeParam>;
  W world({.machine = {.shadow_limit = kLimit}});
  for (u64 i = 0; i < 64; ++i) {
    world.tables.map(i * kApart, world.leaf(i));
  }
  const RefreshOutcome first = world.refresh(0, 64 * kApart);
  ASSERT_EQ(first.error, -ENOSPC);
  const Snapshot before = snapshot(world.iommus[0]);
  const u64 unmaps = world.iommus.unmap_calls;
  const RefreshOutcome again = world.refresh(0, 64 * kApart);
  EXPECT_EQ(again.error, -ENOSPC);
  EXPECT_EQ(again.result.stopped_iova, first.result.stopped_iova);
  EXPECT_EQ(again.result.unmapped, 0u);
  EXPECT_EQ(world.iommus.unmap_calls, unmaps);
  EXPECT_EQ(snapshot(world.iommus[0]), before);
}

// Each way in which a mapping can become unwanted.
TYPED_TEST(MakeRoom, KnowsWhatIsWanted) {
  using W = World<TypeParam>;
  using S = Spec<TypeParam>;
  W world;
  const u64 base = W::kIova & ~(u64{1} << S::shift(1)) & ~(W::kLeaf - 1);
  const auto at = [&](u64 i) { return base + i * W::kLeaf; };
  world.tables.map_pages(base, world.leaf(0), 10);
  world.tables.map(at(10), world.leaf(10), kR);
  world.tables.map(base + kGiB, world.leaf(11));
  world.tables.map(base + 2 * kGiB, world.leaf(12));
  world.expect_refresh(base, 3 * kGiB);
  const auto seen = [&](u64 i) { return world.sees(at(i)); };
  world.tables.clear(at(1));
  world.tables.map(at(3), world.leaf(20));
  world.tables.map(at(5), world.leaf(5), kR);
  world.tables.map(at(10), world.leaf(10), kRW);
  world.tables.map(at(12), world.leaf(21));  // new
  world.tables.clear(base + kGiB, 1);
  const bool has_bad = !S::malformed(1).empty();
  if (has_bad) {
    world.tables.set(base + 2 * kGiB, 1, S::malformed(1).front().entry);
  } else {
    world.tables.clear(base + 2 * kGiB);
  }
  // Other pages follow it in the same leaf of the shadow.
  const bool has_bad_page = !S::malformed(0).empty();
  if (has_bad_page) {
    world.tables.set(at(6), 0, S::malformed(0).front().entry);
  }
  // Memory runs out at the page before all of these.
  world.tables.map(base - kGiB, world.leaf(30));
  world.guest.memlock_pages = 0;
  world.expect_stops(base - kGiB, 4 * kGiB, base - kGiB, -ENOMEM,
                     KVM_IOMMU_STATUS_MEMLOCK);
  for (u64 i = 0; i < 13; ++i) {
    const bool gone =
        i == 1 || i == 3 || i == 5 || i >= 10 || (i == 6 && has_bad_page);
    EXPECT_EQ(seen(i), gone ? kBlocked : world.frame(world.leaf(i))) << i;
  }
  EXPECT_EQ(world.sees(base + kGiB), kBlocked);
  EXPECT_EQ(world.sees(base + 2 * kGiB), kBlocked);
  world.guest.memlock_pages = ~u64{0};
  if (has_bad) world.tables.clear(base + 2 * kGiB, 1);
  if (has_bad_page) world.tables.map(at(6), world.leaf(6));
  world.expect_refresh(base - kGiB, 4 * kGiB);
  EXPECT_EQ(seen(12), world.frame(world.leaf(21)));
  EXPECT_EQ(seen(5), world.frame(world.leaf(5), kR));
}

// --- the core, one format ---

using V = World<VtdSsFormat>;

// The guest replaces a table by an equal one in a slot that was not met yet.
// Without memory, nobody knows that it says the same.
TEST(MakeRoomCore, WhatCannotBeReadIsNotTakenForStale) {
  using S = Spec<VtdSsFormat>;
  V world;
  const u64 iova = kGiB;
  const u64 before = iova - 2 * kMiB;
  const u64 table = 128 * kGiB;
  world.tables.map_pages(iova, world.data(1000), 16);
  world.tables.map(before, world.data(0));
  world.expect_refresh(iova, 2 * kMiB);
  world.guest.add_ram(table, 16, port::kShuffled);
  for (u64 i = 0; i < 512; ++i) {
    world.tables.write_entry(
        table + 8 * i,
        i < 16 ? S::leaf(0, world.data(1000 + i), kRW) : S::absent(0));
  }
  world.tables.set(iova, 1, S::table(1, table, kRW));
  faults().node.arm_always();
  const RefreshOutcome outcome = world.refresh(before, 4 * kMiB);
  faults() = {};
  EXPECT_EQ(outcome.result.status, unsigned{KVM_IOMMU_STATUS_NO_MEMORY});
  EXPECT_EQ(outcome.result.stopped_iova, before);
  EXPECT_EQ(world.sees(iova + kPage), world.frame(world.data(1001)));
}

TEST(MakeRoomCore, LargePagesAreTakenApart) {
  for (const auto kind : {port::kVtd, port::kAmd, port::kVirtio}) {
    V world({.machine = {.hosts = {kind}},
             .data_pages = 8192,
             .data_order = port::kContiguous2M});
    for (u64 page = 512; page < 2048; page += 512) {
      world.tables.map_pages(page * kPage, world.data(page), 512);
    }
    world.expect_refresh(0, 8 * kMiB);
    for (const u64 page : {600u, 601u, 1024u, 2047u}) {
      world.tables.clear(page * kPage);
    }
    world.tables.map(0, world.data(4096));
    world.guest.memlock_pages = 0;
    const RefreshOutcome outcome = world.refresh(0, 8 * kMiB);
    EXPECT_EQ(outcome.error, -ENOMEM);
    EXPECT_EQ(outcome.result.unmapped, 4u);
    EXPECT_EQ(world.info().mapped_pages, 3 * 512u - 4);
    EXPECT_EQ(world.sees(599 * kPage), world.frame(world.data(599)));
    EXPECT_EQ(world.sees(600 * kPage), kBlocked);
    EXPECT_EQ(world.sees(2047 * kPage), kBlocked);
    world.guest.memlock_pages = ~u64{0};
    expect_consistent(world);
  }
}

TEST(MakeRoomCore, WhatIsLostOnTheWayIsToldAndComesBack) {
  u64 lost = 0;
  for (u64 nth = 1; nth < 12; ++nth) {
    V world({.data_pages = 8192, .data_order = port::kContiguous2M});
    for (u64 page = 512; page < 2048; page += 512) {
      world.tables.map_pages(page * kPage, world.data(page), 512);
    }
    world.expect_refresh(0, 8 * kMiB);
    for (const u64 page : {600u, 1100u, 1101u}) {
      world.tables.clear(page * kPage);
    }
    world.tables.map(2 * kMiB - kPage, world.data(4096));
    // A shortage that lasts, from the n-th allocation on.
    faults().node.arm(nth, 100);
    faults().pin.arm_always();
    const RefreshOutcome outcome = world.refresh(0, 8 * kMiB);
    faults() = {};
    EXPECT_EQ(outcome.error, -ENOMEM);
    expect_consistent(world);
    for (u64 page = 0; page < outcome.result.stopped_iova / kPage; ++page) {
      EXPECT_EQ(world.sees(page * kPage), kBlocked) << page;
    }
    for (u64 page = 512; page < 2048; ++page) {
      const auto now = world.sees(page * kPage);
      EXPECT_TRUE(!now || now == world.frame(world.data(page)));
    }
    lost += world.info().mapped_pages < 3 * 512u - 3;
    const u64 at = outcome.result.stopped_iova;
    world.expect_refresh(at, 8 * kMiB - at);
    EXPECT_EQ(world.info().mapped_pages, 3 * 512u - 3 + 1);
  }
  EXPECT_GT(lost, 0u);
}

TEST(MakeRoomCore, SignalsEndIt) {
  V world;
  for (u64 i = 1; i < 20; ++i) {
    world.tables.map(i * 16 * kMiB, world.data(i));
  }
  world.expect_refresh(0, kGiB);
  for (u64 i = 1; i < 20; ++i) world.tables.clear(i * 16 * kMiB);
  world.tables.map(0, world.data(0));
  world.guest.memlock_pages = 0;
  // Signals are checked for each table that is read.
  faults().interrupt.arm(20);
  world.expect_stops(0, kGiB, 0, -EINTR, KVM_IOMMU_STATUS_INTERRUPTED);
  EXPECT_GT(world.info().mapped_pages, 0u);
  EXPECT_LT(world.info().mapped_pages, 19u);
  world.expect_stops(0, kGiB, 0, -ENOMEM, KVM_IOMMU_STATUS_MEMLOCK);
  EXPECT_EQ(world.info().mapped_pages, 0u);
}

// --- RPCIT ---

// What Linux does when a map needs room: it answers status 16 with an RPCIT
// over all of the DMA space, which must not fail if there is room by then.
Answered map_as_linux(ZpciGuest& guest, u64 iova, u64 length) {
  const Answered answer = guest.rpcit(iova, length);
  if (answer != kInsufficient) return answer;
  return guest.rpcit(0, ZpciGuest::kReach);
}

TEST(RpcitRoom, IdlePinsAreGivenUpFirst) {
  ZpciGuest guest(
      {.machine = {.idle_limit = 1000}, .data_order = port::kShuffled});
  guest.guest.memlock_pages = 100;
  guest.tables.map_pages(0, guest.data(0), 80);
  ASSERT_EQ(guest.rpcit(0, kMiB), kCc0);
  guest.tables.clear(0, 1);
  ASSERT_EQ(guest.rpcit(0, kMiB), kCc0);
  ASSERT_EQ(guest.info().idle_pages, 80u);
  guest.tables.map_pages(kGiB, guest.data(100), 100);
  EXPECT_EQ(guest.rpcit(kGiB, kMiB), kCc0);
  EXPECT_EQ(guest.function.trims, 1u);
  EXPECT_EQ(guest.mapped(), 100u);
}

TEST(RpcitRoom, MemlockThatIsFreedInSilence) {
  for (const u64 idle_limit : {0, 1000}) {
    ZpciGuest guest(
        {.machine = {.idle_limit = idle_limit}, .data_order = port::kShuffled});
    guest.guest.memlock_pages = 100;
    // Given up without an RPCIT, above and below what is new.
    guest.tables.map_pages(0, guest.data(0), 50);
    guest.tables.map_pages(3 * kGiB, guest.data(50), 50);
    ASSERT_EQ(guest.rpcit(0, 4 * kGiB), kCc0);
    guest.tables.clear(0, 1);
    guest.tables.clear(3 * kGiB, 2);
    guest.tables.map_pages(kGiB, guest.data(100), 100);
    EXPECT_EQ(guest.rpcit(kGiB, kMiB), kInsufficient);
    EXPECT_EQ(guest.function.f.state, u32{KIOMMU_ZPCI_ENABLED});
    EXPECT_EQ(guest.rpcit(0, ZpciGuest::kReach), kCc0);
    EXPECT_EQ(guest.mapped(), 100u);
  }
}

TEST(RpcitRoom, ShadowThatIsFreedInSilence) {
  ZpciGuest guest(
      {.machine = {.hosts = {port::kVirtio}, .shadow_limit = kLimit}});
  u64 held = 0;
  for (u64 i = 63; i > 32; --i) {
    guest.tables.map(i * kApart, guest.data(i));
    if (guest.rpcit(i * kApart, kPage) != kCc0) break;
    ++held;
  }
  ASSERT_LT(held, 30u);
  for (u64 i = 63; i > 32; --i) guest.tables.clear(i * kApart);
  for (u64 i = 0; i < held; ++i) {
    guest.tables.map(i * kApart, guest.data(i));
    EXPECT_EQ(map_as_linux(guest, i * kApart, kPage), kCc0) << i;
  }
  EXPECT_EQ(guest.mapped(), held);
}

TEST(RpcitRoom, NotEnoughIsToldEachTimeAndNothingStaleIsLeft) {
  ZpciGuest guest({.data_order = port::kShuffled});
  guest.guest.memlock_pages = 100;
  guest.tables.map_pages(3 * kGiB, guest.data(0), 100);
  ASSERT_EQ(guest.rpcit(0, 4 * kGiB), kCc0);
  guest.tables.clear(3 * kGiB, 2);
  guest.tables.map_pages(0, guest.data(100), 101);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(map_as_linux(guest, 0, kMiB), kInsufficient);
    EXPECT_EQ(guest.mapped(), 100u);
    EXPECT_EQ(guest.sees(3 * kGiB), kBlocked);
  }
  guest.tables.clear(0);
  EXPECT_EQ(map_as_linux(guest, 0, kMiB), kCc0);
  EXPECT_EQ(guest.mapped(), 100u);
}

TEST(RpcitRoom, OtherFunctionsOfTheGuestMayHoldIt) {
  ZpciGuest guest({.data_order = port::kShuffled});
  port::DmaDomain other(guest.host, guest.pins, guest.ledger);
  ASSERT_EQ(other.start(), 0);
  Function second(other, kHandle + 1);
  // One segment table is enough for it.
  using S = Spec<ZpciFormat>;
  const u64 segments = guest.tables.new_table(1);
  const u64 pages = guest.tables.new_table(0);
  guest.tables.write_entry(segments, S::table(1, pages, kRW));
  for (u64 i = 0; i < 60; ++i) {
    guest.tables.write_entry(pages + 8 * i, S::leaf(0, guest.data(i), kRW));
  }
  ASSERT_EQ(second.reg(segments | 0x800, 0, kGiB - 1), 0);
  ASSERT_EQ(second.rpcit(guest.pins, 0, kMiB, kHandle + 1), kCc0);
  guest.guest.memlock_pages = 100;
  guest.tables.map_pages(0, guest.data(60), 60);
  kiommu_rpcit& last = guest.function.last;
  EXPECT_EQ(guest.function.rpcit(guest.pins, 0, kMiB, kHandle), kInsufficient);
  EXPECT_EQ(last.made_room, 0u);  // there was nothing to trim
  EXPECT_EQ(guest.mapped(), 40u);
  second.reset();
  EXPECT_EQ(guest.function.rpcit(guest.pins, 0, kMiB, kHandle), kCc0);
  expect_consistent(guest, {&guest, &other});
}

TEST(RpcitRoom, IsAskedForOnceAnInstruction) {
  ZpciGuest guest(
      {.machine = {.idle_limit = 1000}, .data_order = port::kShuffled});
  port::DmaDomain other(guest.host, guest.pins, guest.ledger);
  ASSERT_EQ(other.start(), 0);
  ASSERT_EQ(other.anchor(guest.tables.anchor()), 0);
  guest.tables.map_pages(0, guest.data(0), 101);
  guest.guest.memlock_pages = 100;
  // Another function of the guest leaves a pin behind, each time.
  u64 left = 0;
  guest.function.between_rounds = [&] {
    guest.guest.memlock_pages = 101;
    EXPECT_EQ(other.refresh(100 * kPage, kPage).error, 0);
    EXPECT_EQ(other.unmap(100 * kPage, kPage), 0);
    guest.guest.memlock_pages = 100;
    guest.tables.map(100 * kPage, guest.data(200 + ++left));
  };
  guest.tables.map_pages(kGiB, guest.data(150), 1);
  ASSERT_EQ(other.refresh(kGiB, kPage).error, 0);
  ASSERT_EQ(other.unmap(kGiB, kPage), 0);
  ASSERT_EQ(guest.info().idle_pages, 1u);
  EXPECT_EQ(guest.function.rpcit(guest.pins, 0, 101 * kPage, kHandle),
            kInsufficient);
  EXPECT_EQ(guest.function.trims, 1u);
  EXPECT_EQ(guest.function.rounds, 2u);
  EXPECT_GT(guest.info().idle_pages, 0u);
}

TEST(RpcitRoom, KernelMemoryThatIsShortOnce) {
  u64 failures = 0;
  for (u64 nth = 1;; ++nth) {
    ZpciGuest guest;
    guest.tables.map_pages(0, guest.data(0), 100);
    faults().node.arm(nth);
    const Answered answer = guest.rpcit(0, kMiB);
    const u64 fired = faults().node.fired();
    faults() = {};
    if (fired == 0) break;
    failures += answer == kInsufficient;
    EXPECT_TRUE(answer == kCc0 || answer == kInsufficient);
    EXPECT_EQ(guest.rpcit(0, ZpciGuest::kReach), kCc0);
    EXPECT_EQ(guest.mapped(), 100u);
  }
  EXPECT_GT(failures, 0u);
}

}  // namespace
}  // namespace kiommu::test
