// SPDX-License-Identifier: GPL-2.0-only
//
// Pins: shared by the domains of a guest, kept while idle, trimmed,
// preregistered.
#include <atomic>
#include <chrono>
#include <thread>
#include <utility>

#include "lib/world.hpp"

namespace kiommu::test {
namespace {

using W = World<VtdSsFormat>;
constexpr u64 kIova = 0x40201000;

W with_idle(u64 limit) {
  return W({.machine = {.idle_limit = limit},
            .data_pages = 4096,
            .data_order = port::kShuffled});
}

// Expects that what is over the limit is gone, and not much more.
void expect_trimmed_to(const W& world, u64 limit) {
  const u64 idle = world.info().idle_pages;
  EXPECT_LE(idle, limit);
  EXPECT_GE(idle, limit * 3 / 4);
}

// Two domains of one guest, with the same tables.
struct Two {
  explicit Two(u64 idle_limit = 0) : world(with_idle(idle_limit)) {
    EXPECT_EQ(second.start(), 0);
    EXPECT_EQ(second.anchor(world.tables.anchor()), 0);
  }
  void check() { expect_consistent(world, {&world, &second}); }

  W world;
  port::DmaDomain second{
      world.host, world.pins, world.ledger, {.hosts = {port::kAmd}}};
};

TEST(SharedPins, PageOfTwoDomainsIsPinnedAndChargedOnce) {
  Two two;
  two.world.tables.map_pages(kIova, two.world.data(0), 100);
  two.world.expect_refresh(kIova, 100 * kPage);
  const u64 pins = two.world.guest.pin_calls;
  EXPECT_EQ(two.second.refresh(kIova, 100 * kPage).error, 0);
  two.check();
  EXPECT_EQ(two.world.guest.pin_calls, pins);
  EXPECT_EQ(two.world.host.pins(), 100u);
  EXPECT_EQ(two.world.guest.accounted(), 100u);
  EXPECT_EQ(two.second.info().pinned_pages, 100u);
  // A page stays pinned until the last domain leaves it.
  EXPECT_EQ(two.world.unmap(kIova, 100 * kPage), 0);
  two.check();
  EXPECT_EQ(two.world.host.pins(), 100u);
  EXPECT_EQ(two.second.unmap(kIova, 60 * kPage), 0);
  two.check();
  EXPECT_EQ(two.world.host.pins(), 40u);
  EXPECT_EQ(two.second.stop(), 0);
  EXPECT_EQ(two.world.host.pins(), 0u);
}

TEST(SharedPins, DomainThatLeavesLeavesTheOthersPins) {
  Two two(1000);
  two.world.tables.map_pages(kIova, two.world.data(0), 100);
  two.world.expect_refresh(kIova, 100 * kPage);
  EXPECT_EQ(two.second.refresh(kIova + 50 * kPage, 50 * kPage).error, 0);
  EXPECT_EQ(two.world.unanchor(), 0);
  two.check();
  EXPECT_EQ(two.world.host.pins(), 50u);  // idle ones go with an anchor
  two.second.destroy();
  EXPECT_EQ(two.world.host.pins(), 0u);
}

// A page of memory that has two GPAs is charged for each.
TEST(SharedPins, SlotsOverTheSameMemoryCountEach) {
  W world;
  const u64 again = kDataGpa + 64 * kGiB;
  world.guest.add_slot(again, 16, world.data_hva);
  world.tables.map_pages(kIova, world.data(0), 4);
  world.tables.map_pages(kIova + kMiB, again, 4);
  world.expect_refresh(kIova, 2 * kMiB);
  EXPECT_EQ(world.sees(kIova), world.sees(kIova + kMiB));
  EXPECT_EQ(world.info().pinned_pages, 8u);
  EXPECT_EQ(world.guest.accounted(), 8u);
  EXPECT_EQ(world.unmap(kIova, 4 * kPage), 0);
  EXPECT_EQ(world.guest.accounted(), 4u);
}

TEST(IdlePins, MappingAgainCostsNoPinAndNoCharge) {
  W world = with_idle(1000);
  world.tables.map_pages(kIova, world.data(0), 64);
  world.expect_refresh(kIova, 64 * kPage);
  const u64 pins = world.guest.pin_calls;
  const u64 charges = world.guest.account_calls;
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(world.unmap(kIova, 64 * kPage), 0);
    expect_consistent(world);
    EXPECT_EQ(world.info().idle_pages, 64u);
    EXPECT_EQ(world.host.pins(), 64u);
    world.expect_refresh(kIova, 64 * kPage);
    EXPECT_EQ(world.info().idle_pages, 0u);
  }
  EXPECT_EQ(world.guest.pin_calls, pins);
  EXPECT_EQ(world.guest.account_calls, charges);
}

TEST(IdlePins, LimitBoundsThemAndHeldPagesStay) {
  W world = with_idle(100);
  world.tables.map_pages(kIova, world.data(0), 300);
  world.expect_refresh(kIova, 300 * kPage);
  EXPECT_EQ(world.info().pinned_pages, 300u);
  EXPECT_EQ(world.unmap(kIova, 90 * kPage), 0);
  expect_consistent(world);
  EXPECT_EQ(world.info().idle_pages, 90u);
  EXPECT_EQ(world.unmap(kIova + 90 * kPage, 160 * kPage), 0);
  expect_consistent(world);
  expect_trimmed_to(world, 100);
  EXPECT_EQ(world.info().pinned_pages, 50 + world.info().idle_pages);
  for (u64 i = 250; i < 300; ++i) {
    EXPECT_EQ(world.sees(kIova + i * kPage), world.frame(world.data(i)));
  }
  world.pins.set_idle_limit(10);
  expect_consistent(world);
  EXPECT_EQ(world.info().idle_limit, 10u);
  expect_trimmed_to(world, 10);
  EXPECT_EQ(world.info().pinned_pages, 50 + world.info().idle_pages);
  world.pins.set_idle_limit(0);
  EXPECT_EQ(world.info().pinned_pages, 50u);
}

TEST(IdlePins, TrimTellsHowManyAndKeepsWhatItIsTold) {
  W world = with_idle(~u64{0});
  world.tables.map_pages(kIova, world.data(0), 1500);
  world.expect_refresh(kIova, 1500 * kPage);
  EXPECT_EQ(world.pins.trim(0), 0u);
  EXPECT_EQ(world.unmap(kIova, 1000 * kPage), 0);
  EXPECT_EQ(world.pins.trim(1000), 0u);
  EXPECT_EQ(world.pins.trim(999), 1u);
  EXPECT_EQ(world.pins.trim(300), 699u);
  expect_consistent(world);
  EXPECT_EQ(world.info().idle_pages, 300u);
  EXPECT_EQ(world.pins.trim(0), 300u);
  expect_consistent(world);
  EXPECT_EQ(world.info().pinned_pages, 500u);
  // What was trimmed is pinned anew.
  world.expect_refresh(kIova, 1500 * kPage);
  EXPECT_EQ(world.info().pinned_pages, 1500u);
}

TEST(IdlePins, OfSeveralSlotsGoAsWell) {
  W world = with_idle(1000);
  for (u64 slot = 0; slot < 5; ++slot) {
    const u64 gpa = kDataGpa + (64 + slot) * kGiB;
    world.guest.add_ram(gpa, 40, port::kShuffled);
    world.tables.map_pages(kIova + slot * kMiB, gpa, 40);
  }
  world.expect_refresh(kIova, 5 * kMiB);
  EXPECT_EQ(world.unmap(kIova, 5 * kMiB), 0);
  EXPECT_EQ(world.pins.trim(90), 110u);
  expect_consistent(world);
  EXPECT_EQ(world.pins.trim(0), 90u);
  EXPECT_EQ(world.host.pins(), 0u);
}

// However large a slot is, only chunks that may have idle pages are looked at.
TEST(IdlePins, TrimLooksAtWhatMayBeIdleAlone) {
  W world = with_idle(0);
  constexpr u64 kSlot = kDataGpa + 64 * kGiB;
  constexpr u64 kPages = 1 << 22;  // 16 GiB, chunks: 128 KiB
  const u64 hva = world.guest.add_area(kPages, port::kShuffled);
  world.guest.add_slot(kSlot, kPages, hva);
  const u64 before = port::touched_arrays();
  for (u64 i = 1; i < 4; ++i) {
    // Far from the first chunk, and from what shares a page with its end.
    world.tables.map(kIova, kSlot + (kPages / 4 * 3 + i) * kPage);
    world.expect_refresh(kIova, kPage);
    EXPECT_EQ(world.unmap(kIova, kPage), 0);
    EXPECT_EQ(world.info().pinned_pages, 0u);
  }
  EXPECT_EQ(world.pins.trim(0), 0u);
  const u64 touched = port::touched_arrays() - before;
  EXPECT_GT(touched, 0u);
  EXPECT_LE(touched, 4 * kPage);
}

// Chunks that are held ever since they were pinned are not looked at, either.
TEST(IdlePins, TrimLooksAtNothingThatWasHeldAllTheTime) {
  W world = with_idle(~u64{0});
  for (u64 chunk = 0; chunk < 8; ++chunk) {
    world.tables.map_pages(kIova + chunk * 2 * kMiB, world.data(chunk * 512),
                           4);
  }
  world.expect_refresh(kIova, 16 * kMiB);
  const auto trim = [&] {
    const u64 before = port::yields();
    world.pins.trim(0);
    return port::yields() - before;
  };
  EXPECT_EQ(trim(), 0u);
  EXPECT_EQ(world.unmap(kIova + 6 * kMiB, 4 * kPage), 0);
  EXPECT_EQ(trim(), 1u);
  EXPECT_EQ(world.info().idle_pages, 0u);
  EXPECT_EQ(world.info().pinned_pages, 28u);
}

// First come, first trimmed: a chunk that was idle before others and was used
// again meanwhile keeps its place.
TEST(IdlePins, GoInTheOrderInWhichTheirChunksCame) {
  W world = with_idle(~u64{0});
  // Page 0 of each of four chunks; the third one first.
  constexpr u64 kOrder[] = {2, 0, 3, 1};
  for (const u64 chunk : kOrder) {
    const u64 iova = kIova + chunk * 2 * kMiB;
    world.tables.map_pages(iova, world.data(chunk * 512), 4);
    world.expect_refresh(iova, 4 * kPage);
  }
  for (const u64 chunk : kOrder) {
    EXPECT_EQ(world.unmap(kIova + chunk * 2 * kMiB, 4 * kPage), 0);
  }
  // Held again, and given back, the first one is still the first.
  world.expect_refresh(kIova + 4 * kMiB, 4 * kPage);
  EXPECT_EQ(world.unmap(kIova + 4 * kMiB, 4 * kPage), 0);
  const auto idle = [&] {
    std::vector<u64> found;
    for (u64 chunk = 0; chunk < 4; ++chunk) {
      const auto page =
          world.guest.page_at(world.data_hva + chunk * 512 * kPage);
      if (world.host.is_pinned(page.pfn)) found.push_back(chunk);
    }
    return found;
  };
  EXPECT_EQ(idle(), (std::vector<u64>{0, 1, 2, 3}));
  EXPECT_EQ(world.pins.trim(12), 4u);
  EXPECT_EQ(idle(), (std::vector<u64>{0, 1, 3}));
  EXPECT_EQ(world.pins.trim(6), 6u);
  EXPECT_EQ(world.info().idle_pages, 6u);
  // One of those that were trimmed comes back, behind the others.
  world.expect_refresh(kIova + 4 * kMiB, 4 * kPage);
  EXPECT_EQ(world.unmap(kIova + 4 * kMiB, 4 * kPage), 0);
  EXPECT_EQ(world.pins.trim(4), 6u);
  EXPECT_EQ(idle(), (std::vector<u64>{2}));
  expect_consistent(world);
  EXPECT_EQ(world.pins.trim(0), 4u);
  EXPECT_EQ(world.host.pins(), 0u);
}

// A removed slot is not looked at any more, while the others are, wherever it
// was among them, also if its chunks were queued but not idle.
TEST(IdlePins, OfSlotsThatGo) {
  for (u64 gone = 0; gone < 3; ++gone) {
    W world = with_idle(10000);
    const auto gpa = [](u64 slot) { return kDataGpa + (64 + slot) * kGiB; };
    for (u64 slot = 0; slot < 3; ++slot) {
      world.guest.add_ram(gpa(slot), 1024, port::kShuffled);
      world.tables.map_pages(kIova + slot * 4 * kMiB, gpa(slot) + kMiB, 400);
    }
    world.expect_refresh(kIova, 12 * kMiB);
    EXPECT_EQ(world.unmap(kIova, 12 * kMiB), 0);
    // Held again.
    world.expect_refresh(kIova + gone * 4 * kMiB, kMiB);
    world.guest.remove_slot(gpa(gone));
    world.pins.slots_changed();
    EXPECT_EQ(world.info().idle_pages, 800u);
    EXPECT_EQ(world.pins.trim(700), 100u);
    EXPECT_EQ(world.pins.trim(0), 700u);
    EXPECT_EQ(world.host.pins(), 0u);
    // The slot in its place is trimmed, too.
    world.guest.add_ram(gpa(gone), 1024, port::kShuffled);
    world.expect_refresh(kIova + gone * 4 * kMiB, 4 * kMiB);
    EXPECT_EQ(world.unmap(kIova + gone * 4 * kMiB, 4 * kMiB), 0);
    EXPECT_EQ(world.pins.trim(0), 400u);
  }
}

// Chunks that change their form: huge, broken, empty.
TEST(IdlePins, OfChunksThatAreExchanged) {
  const auto iova_of = [](u64 page) { return kGiB + page * kPage; };
  W world({.machine = {.idle_limit = 10000},
           .data_pages = 4096,
           .data_order = port::kContiguous2M});
  world.tables.map(iova_of(0), world.data(0), kRW, 1);
  world.tables.map(iova_of(512), world.data(512), kRW, 1);
  world.expect_refresh(iova_of(0), 4 * kMiB);
  EXPECT_EQ(world.unmap(iova_of(0), 2 * kMiB), 0);
  // Break an idle chunk, and one that is held in part.
  world.guest.exchange(world.data_hva + 3 * kPage, 1);
  world.pins.memory_changed(world.data_hva + 3 * kPage, 1);
  EXPECT_EQ(world.info().idle_pages, 511u);
  EXPECT_EQ(world.unmap(iova_of(520), 8 * kPage), 0);
  world.guest.exchange(world.data_hva + 515 * kPage, 1);
  world.pins.memory_changed(world.data_hva + 515 * kPage, 1);
  EXPECT_EQ(world.info().idle_pages, 519u);
  EXPECT_EQ(world.pins.trim(515), 4u);
  // All pages of the first chunk go while it is first in the queue.
  world.guest.exchange(world.data_hva, 512);
  world.pins.memory_changed(world.data_hva, 512);
  EXPECT_EQ(world.info().idle_pages, 8u);
  EXPECT_EQ(world.pins.trim(0), 8u);
  expect_consistent(world);
  // Huge again.
  world.expect_refresh(iova_of(0), 4 * kMiB);
  EXPECT_EQ(world.unmap(iova_of(0), 4 * kMiB), 0);
  EXPECT_EQ(world.info().idle_pages, 1024u);
  EXPECT_EQ(world.pins.trim(0), 1024u);
  EXPECT_EQ(world.host.pins(), 0u);
}

TEST(IdlePins, AreGoneWithAnchorAndWithTheGuest) {
  for (const bool stop : {false, true}) {
    W world = with_idle(1000);
    world.tables.map_pages(kIova, world.data(0), 64);
    world.expect_refresh(kIova, 64 * kPage);
    EXPECT_EQ(world.unmap(kIova, 32 * kPage), 0);
    EXPECT_EQ(stop ? world.stop() : world.unanchor(), 0);
    EXPECT_EQ(world.host.pins(), 0u);
    EXPECT_EQ(world.guest.accounted(), 0u);
  }
}

// Two operations pin the same pages at once: one of them is first, the other
// gives back its pins.
TEST(SharedPins, PinsThatRaceAreOne) {
  const struct {
    u64 first, count;              // pages that one operation maps
    u64 other_first, other_count;  // that the other one maps meanwhile
  } cases[] = {
      {0, 1, 0, 1},   {0, 16, 4, 3},    {0, 512, 7, 1},
      {7, 1, 0, 512}, {0, 512, 0, 512},
  };
  for (const auto& one : cases) {
    SCOPED_TRACE(testing::Message() << one.count << ", " << one.other_count);
    W world({.data_order = port::kContiguous});
    port::DmaDomain second{
        world.host, world.pins, world.ledger, {.hosts = {port::kAmd}}};
    ASSERT_EQ(second.start(), 0);
    ASSERT_EQ(second.anchor(world.tables.anchor()), 0);
    world.tables.map_pages(0, world.data(0), 512);
    bool raced = false;
    world.guest.before_pin = [&] {
      if (std::exchange(raced, true)) return;
      std::thread other([&] {
        EXPECT_EQ(
            second.refresh(one.other_first * kPage, one.other_count * kPage)
                .error,
            0);
      });
      other.join();
    };
    EXPECT_EQ(world.refresh(one.first * kPage, one.count * kPage).error, 0);
    world.guest.before_pin = nullptr;
    EXPECT_TRUE(raced);
    expect_consistent(world, {&world, &second});
    for (u64 i = one.first; i < one.first + one.count; ++i) {
      EXPECT_EQ(world.sees(i * kPage), world.frame(world.data(i)));
    }
    second.destroy();
    EXPECT_EQ(world.unmap(0, 2 * kMiB), 0);
    EXPECT_EQ(world.host.pins(), 0u);
  }
}

// A page is unmapped but not flushed: its operation is under way, and the trim
// waits for it. The port fails the test if the page is unpinned before.
TEST(IdlePins, TrimWaitsForTheFlush) {
  W world = with_idle(1000);
  world.tables.map(kIova, world.data(0));
  const u64 far = kIova + 4 * kGiB;
  world.tables.map(far, world.data(1));
  world.expect_refresh(kIova, kPage);
  world.tables.clear(kIova);
  std::atomic<bool> trimmed{false};
  std::thread trimmer;
  const u64 last = world.tables.entry_gpa(far, 0);
  world.guest.before_read = [&](u64 gpa) {
    if (gpa / kPage != last / kPage || trimmer.joinable()) return;
    EXPECT_TRUE(world.iommus[0].iotlb_may_be_stale());
    trimmer = std::thread([&] {
      EXPECT_EQ(world.pins.trim(0), 1u);
      trimmed = true;
    });
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    EXPECT_FALSE(trimmed);
  };
  world.expect_refresh(kIova, far + kPage - kIova);
  ASSERT_TRUE(trimmer.joinable());
  trimmer.join();
  EXPECT_TRUE(trimmed);
}

TEST(Preregistered, CostNoPinAndNoChargeAndStay) {
  W world = with_idle(0);
  ASSERT_EQ(world.pins.preregister(kDataGpa, 4096 * kPage), 0);
  EXPECT_EQ(world.info().pinned_pages, 4096u);
  EXPECT_EQ(world.guest.accounted(), 4096u);
  EXPECT_EQ(world.info().idle_pages, 0u);
  const u64 pins = world.guest.pin_calls;
  const u64 charges = world.guest.account_calls;
  const u64 unpins = world.guest.unpin_calls;
  world.tables.map_pages(kIova, world.data(7), 600);
  for (int i = 0; i < 2; ++i) {
    world.expect_refresh(kIova, 600 * kPage);
    EXPECT_EQ(world.sees(kIova), world.frame(world.data(7)));
    EXPECT_EQ(world.unmap(kIova, 600 * kPage), 0);
    EXPECT_EQ(world.pins.trim(0), 0u);
  }
  // Nor do they go when a domain's anchor is unset, or when the domain is
  // stopped.
  EXPECT_EQ(world.unanchor(), 0);
  EXPECT_EQ(world.anchor(world.tables.anchor()), 0);
  EXPECT_EQ(world.stop(), 0);
  EXPECT_EQ(world.start(), 0);
  EXPECT_EQ(world.guest.pin_calls, pins);
  EXPECT_EQ(world.guest.unpin_calls, unpins);
  EXPECT_EQ(world.guest.account_calls, charges);
  EXPECT_EQ(world.info().pinned_pages, 4096u);
  // A second call changes nothing.
  EXPECT_EQ(world.pins.preregister(kDataGpa, 4096 * kPage), 0);
  EXPECT_EQ(world.info().pinned_pages, 4096u);
}

TEST(Preregistered, BecomeOrdinaryAgain) {
  W world = with_idle(100);
  world.tables.map_pages(kIova, world.data(0), 50);
  world.expect_refresh(kIova, 50 * kPage);
  ASSERT_EQ(world.pins.preregister(), 0);
  EXPECT_EQ(world.info().pinned_pages, 4096 + kTablesPages);
  expect_consistent(world);
  ASSERT_EQ(world.pins.unregister(), 0);
  expect_consistent(world);
  expect_trimmed_to(world, 100);
  EXPECT_EQ(world.info().pinned_pages, 50 + world.info().idle_pages);
  EXPECT_EQ(world.unmap(kIova, 50 * kPage), 0);
  world.pins.trim(0);
  EXPECT_EQ(world.host.pins(), 0u);
}

TEST(Preregistered, IdlePagesCeaseToCountAsSuch) {
  W world = with_idle(1000);
  world.tables.map_pages(kIova, world.data(0), 50);
  world.expect_refresh(kIova, 50 * kPage);
  EXPECT_EQ(world.unmap(kIova, 50 * kPage), 0);
  EXPECT_EQ(world.info().idle_pages, 50u);
  ASSERT_EQ(world.pins.preregister(kDataGpa, 4096 * kPage), 0);
  EXPECT_EQ(world.info().idle_pages, 0u);
  EXPECT_EQ(world.pins.trim(0), 0u);
  EXPECT_EQ(world.info().pinned_pages, 4096u);
}

// Preregistered and unregistered several times, beside a slot that is not.
TEST(Preregistered, IdlePagesCountAgainWhenItIsOver) {
  W world = with_idle(10000);
  world.guest.add_ram(kDataGpa + 64 * kGiB, 600, port::kShuffled);
  for (int round = 0; round < 3; ++round) {
    world.tables.map_pages(kIova, world.data(0), 50);
    world.tables.map_pages(kIova + kMiB, kDataGpa + 64 * kGiB, 20);
    world.expect_refresh(kIova, 2 * kMiB);
    EXPECT_EQ(world.unmap(kIova, 2 * kMiB), 0);
    EXPECT_EQ(world.info().idle_pages, 70u);
    ASSERT_EQ(world.pins.preregister(kDataGpa, 4096 * kPage), 0);
    EXPECT_EQ(world.info().idle_pages, 20u);
    world.expect_refresh(kIova, kMiB);
    EXPECT_EQ(world.unmap(kIova, 30 * kPage), 0);
    EXPECT_EQ(world.pins.trim(15), 5u);
    ASSERT_EQ(world.pins.unregister(kDataGpa, 4096 * kPage), 0);
    EXPECT_EQ(world.info().idle_pages, 4096u - 20 + 15);
    EXPECT_EQ(world.pins.trim(0), 4096u - 20 + 15);
    expect_consistent(world);
    EXPECT_EQ(world.unmap(kIova, kMiB), 0);
    EXPECT_EQ(world.pins.trim(0), 20u);
    EXPECT_EQ(world.host.pins(), 0u);
  }
}

TEST(Preregistered, AreNotTrimmedWithOthers) {
  W world = with_idle(1000);
  world.tables.map_pages(kIova, world.data(0), 200);
  world.expect_refresh(kIova, 200 * kPage);
  EXPECT_EQ(world.unmap(kIova, 200 * kPage), 0);
  ASSERT_EQ(world.pins.preregister(kTablesGpa, kTablesPages * kPage), 0);
  EXPECT_EQ(world.info().idle_pages, 200u);
  EXPECT_EQ(world.pins.trim(50), 150u);
  EXPECT_EQ(world.pins.trim(0), 50u);
  EXPECT_EQ(world.host.pins(), kTablesPages);
}

TEST(Preregistered, RangesAreWholeSlots) {
  W world = with_idle(0);
  const u64 bytes = 4096 * kPage;
  const struct {
    u64 gpa, length;
    int error;
  } cases[] = {
      {kDataGpa + 1, bytes, -EINVAL},
      {kDataGpa, bytes + 1, -EINVAL},
      {kDataGpa, 0, -EINVAL},
      {~u64{0xfff}, 2 * kPage, -EOVERFLOW},
      {kDataGpa, bytes - kPage, -EINVAL},
      {kDataGpa + kPage, bytes - kPage, -EINVAL},
      {0, kMiB, -EINVAL},
      {kDataGpa + bytes, bytes, -EINVAL},
      // From a whole slot into a part of another.
      {kTablesGpa, kDataGpa - kTablesGpa + kPage, -EINVAL},
  };
  for (const auto& one : cases) {
    EXPECT_EQ(world.pins.preregister(one.gpa, one.length), one.error)
        << one.gpa << " + " << one.length;
    EXPECT_EQ(world.pins.unregister(one.gpa, one.length), one.error);
    EXPECT_EQ(world.host.pins(), 0u);
  }
  // Holes around and between slots do not matter.
  EXPECT_EQ(world.pins.preregister(kPage, 8 * kGiB), 0);
  EXPECT_EQ(world.host.pins(), 4096 + kTablesPages);
  EXPECT_EQ(world.pins.unregister(kDataGpa, bytes), 0);
  EXPECT_EQ(world.host.pins(), kTablesPages);
}

TEST(Preregistered, DeviceMemoryAndReadOnlyMemoryOfASlot) {
  W world;
  const u64 gpa = kDataGpa + 64 * kGiB;
  const u64 hva = world.guest.add_ram(gpa, 64, port::kShuffled);
  world.guest.set_backing(hva + 10 * kPage, 20, Backing::kDevice);
  world.guest.set_backing(hva + 40 * kPage, 2, Backing::kReadOnlyRam);
  ASSERT_EQ(world.pins.preregister(gpa, 64 * kPage), 0);
  EXPECT_EQ(world.host.pins(), 44u);
  world.tables.map_pages(kIova, gpa, 64);
  world.expect_refresh(kIova, 64 * kPage);
  EXPECT_EQ(world.sees(kIova + 40 * kPage), world.frame(gpa + 40 * kPage, kR));
  EXPECT_EQ(world.sees(kIova + 10 * kPage), world.frame(gpa + 10 * kPage));
}

// Each way to fail, at each place: what was pinned by the call is given back,
// what was there before stays.
TEST(Preregistered, FailureIsUndone) {
  const struct {
    port::Fault port::Faults::*fault;
    int error;
  } kinds[] = {
      {&port::Faults::node, -ENOMEM},
      {&port::Faults::pin, -ENOMEM},
      {&port::Faults::interrupt, -EINTR},
  };
  for (const auto& kind : kinds) {
    u64 failures = 0;
    for (u64 nth = 1;; ++nth) {
      W world = with_idle(100);
      world.tables.map_pages(kIova, world.data(300), 30);
      world.expect_refresh(kIova, 30 * kPage);
      (faults().*kind.fault).arm(nth);
      const int error = world.pins.preregister();
      const bool fired = (faults().*kind.fault).fired() > 0;
      faults() = {};
      if (error == 0) {
        EXPECT_EQ(world.host.pins(), 4096 + kTablesPages);
        if (!fired) break;
        continue;
      }
      ++failures;
      EXPECT_EQ(error, kind.error);
      expect_consistent(world);
      EXPECT_EQ(world.info().idle_pages, 0u);
      EXPECT_EQ(world.guest.accounted(), 30u);
      EXPECT_EQ(world.unmap(kIova, 30 * kPage), 0);
      EXPECT_EQ(world.info().idle_pages, 30u);
    }
    EXPECT_GT(failures, 3u);
  }
}

TEST(Preregistered, LimitAndMissingMemoryAreTold) {
  W world = with_idle(0);
  world.guest.memlock_pages = 3000;
  EXPECT_EQ(world.pins.preregister(kDataGpa, 4096 * kPage), -ENOMEM);
  EXPECT_EQ(world.guest.accounted(), 0u);
  world.guest.memlock_pages = 4096;
  world.guest.set_backing(world.data_hva + 4000 * kPage, 1, Backing::kUnbacked);
  EXPECT_EQ(world.pins.preregister(kDataGpa, 4096 * kPage), -EIO);
  EXPECT_EQ(world.guest.accounted(), 0u);
  world.guest.set_backing(world.data_hva + 4000 * kPage, 1, Backing::kRam);
  EXPECT_EQ(world.pins.preregister(kDataGpa, 4096 * kPage), 0);
}

}  // namespace
}  // namespace kiommu::test
