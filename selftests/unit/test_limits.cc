// SPDX-License-Identifier: GPL-2.0-only
//
// Limits and failures: each allocation, pin, charge and map call fails once.
// After each failure what is left is consistent, the answer tells how far the
// call got, and calling again from there converges.
#include "lib/world.hpp"

namespace kiommu::test {
namespace {

using W = World<VtdSsFormat>;
using port::Fault;
using port::Faults;

struct FaultKind {
  const char* name;
  Fault Faults::*fault;
  int error;
  unsigned status;
  bool may_lose_rest;  // of a large page that was split
};

const FaultKind kFaultKinds[] = {
    {"node", &Faults::node, -ENOMEM, KVM_IOMMU_STATUS_NO_MEMORY, true},
    {"pin", &Faults::pin, -ENOMEM, KVM_IOMMU_STATUS_NO_MEMORY, false},
    // One refused charge is tried again with fewer pages.
    {"account", &Faults::account, -ENOMEM, KVM_IOMMU_STATUS_MEMLOCK, false},
    {"map", &Faults::map, -ENOMEM, KVM_IOMMU_STATUS_NO_MEMORY, true},
    {"interrupt", &Faults::interrupt, -EINTR, KVM_IOMMU_STATUS_INTERRUPTED,
     false},
};

constexpr u64 kPages = 2 * 512;
constexpr u64 kFirst = 100;  // of the range that is refreshed
constexpr u64 kCount = 700;

// What page i shows before, and after a refresh.
struct Page {
  std::optional<HostPage> before;
  std::optional<HostPage> after;
};

class FaultRun {
 public:
  explicit FaultRun(port::HostKind kind)
      : world({.machine = {.hosts = {kind}},
               .data_pages = 8192,
               .data_order = port::kContiguous2M}) {
    // Two large blocks, mapped.
    for (u64 page = 0; page < kPages; page += 512) {
      world.tables.map_pages(page * kPage, world.data(page), 512);
    }
    world.expect_refresh(0, kPages * kPage);
    remember(&Page::before);
    // Some are unmapped, some replaced, some lose rights.
    for (u64 i = 0; i < kPages; ++i) after_.push_back(edit(i));
  }

  void remember(std::optional<HostPage> Page::*where) {
    pages.resize(kPages);
    for (u64 i = 0; i < kPages; ++i) pages[i].*where = world.sees(i * kPage);
  }
  void expect_after(u64 first, u64 end) {
    for (u64 i = first; i < end; ++i) {
      ASSERT_EQ(world.sees(i * kPage), after_[i]) << "page " << i;
    }
  }
  // Old, or gone: never anything else.
  void expect_old_or_gone(u64 first, u64 end) {
    for (u64 i = first; i < end; ++i) {
      const auto now = world.sees(i * kPage);
      ASSERT_TRUE(!now || now == pages[i].before) << "page " << i;
    }
  }
  void expect_old(u64 first, u64 end) {
    for (u64 i = first; i < end; ++i) {
      ASSERT_EQ(world.sees(i * kPage), pages[i].before) << "page " << i;
    }
  }

  W world;
  std::vector<Page> pages;

 private:
  std::optional<HostPage> edit(u64 i) {
    const u64 iova = i * kPage;
    if (i % 97 < 5) {
      world.tables.clear(iova);
      return kBlocked;
    }
    if (i % 50 == 20) {
      world.tables.map(iova, world.data(i), kR);
      return world.frame(world.data(i), kR);
    }
    if (i % 131 < 30) {
      world.tables.map(iova, world.data(4096 + i));
      return world.frame(world.data(4096 + i));
    }
    return pages[i].before;
  }

  std::vector<std::optional<HostPage>> after_;
};

class EachFault
    : public testing::TestWithParam<std::tuple<FaultKind, port::HostKind>> {};

TEST_P(EachFault, IsConsistentAndConverges) {
  const auto& [kind, host] = GetParam();
  u64 failures = 0;
  u64 nth = 0;
  // After one failure a refresh may make room and try again. The second try can
  // fail, too.
  u64 times = 1;
  for (;;) {
    ++nth;
    SCOPED_TRACE(testing::Message() << kind.name << " number " << nth << ", "
                                    << times << " times");
    FaultRun run(host);
    (faults().*kind.fault).arm(nth, times);
    const RefreshOutcome outcome =
        run.world.refresh(kFirst * kPage, kCount * kPage);
    const bool fired = (faults().*kind.fault).fired() > 0;
    faults() = {};
    expect_consistent(run.world);
    if (!kind.may_lose_rest || outcome.error == 0) {  // never in silence
      run.expect_old(0, kFirst);
      run.expect_old(kFirst + kCount, kPages);
    } else {
      run.expect_old_or_gone(0, kFirst);
      run.expect_old_or_gone(kFirst + kCount, kPages);
    }
    u64 from = kFirst;
    if (outcome.error != 0) {
      ++failures;
      EXPECT_EQ(outcome.error, kind.error);
      EXPECT_EQ(outcome.result.status, kind.status);
      from = outcome.result.stopped_iova / kPage;
      ASSERT_GE(from, kFirst);
      ASSERT_LT(from, kFirst + kCount);
      run.expect_after(kFirst, from);
      run.expect_old_or_gone(from, kFirst + kCount);
      run.world.expect_refresh(from * kPage, (kFirst + kCount - from) * kPage);
    }
    run.expect_after(kFirst, kFirst + kCount);
    if (testing::Test::HasFailure()) break;
    if (fired) continue;
    if (times == 2) break;
    times = 2;
    nth = 0;
  }
  EXPECT_TRUE(failures > 0 || kind.error == -ENOMEM);
}

TEST_P(EachFault, UnmapConverges) {
  const auto& [kind, host] = GetParam();
  for (u64 nth = 1; nth < 10; ++nth) {
    FaultRun run(host);
    (faults().*kind.fault).arm(nth);
    u64 unmapped = 0;
    const int error =
        run.world.unmap(kFirst * kPage, kCount * kPage, &unmapped);
    faults() = {};
    expect_consistent(run.world);
    EXPECT_EQ(unmapped, kPages - run.world.info().mapped_pages);
    for (u64 i = kFirst; i < kFirst + kCount; ++i) {
      EXPECT_EQ(run.world.sees(i * kPage), kBlocked);
    }
    run.expect_old_or_gone(0, kFirst);
    run.expect_old_or_gone(kFirst + kCount, kPages);
    if (error == 0) {
      EXPECT_EQ(unmapped, kCount);
    } else {
      EXPECT_TRUE(kind.may_lose_rest);
      EXPECT_EQ(error, -ENOMEM);
      EXPECT_GT(unmapped, kCount);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Hosts, EachFault,
    testing::Combine(testing::ValuesIn(kFaultKinds),
                     testing::Values(port::kVtd, port::kAmd, port::kVirtio)),
    [](const auto& info) {
      return std::string(std::get<0>(info.param).name) + "_" +
             std::get<1>(info.param).name;
    });

TEST(Limits, HostRefusalHasAnErrorOfItsOwn) {
  W world;
  world.tables.map_pages(0, world.data(0), 10);
  world.iommus.map_error = -EINVAL;
  faults().map.arm(1);
  world.expect_stops(0, 10 * kPage, 0, -EIO, KVM_IOMMU_STATUS_HOST);
  world.expect_refresh(0, 10 * kPage);
}

TEST(Limits, MemlockStopsAtTheLastPageAndGoesOnWhenItIsRaised) {
  W world;
  world.guest.memlock_pages = 700;
  world.tables.map(0, world.data(0), kRW, 1);
  world.tables.map(2 * kMiB, world.data(512), kRW, 1);
  world.expect_stops(0, 4 * kMiB, 700 * kPage, -ENOMEM,
                     KVM_IOMMU_STATUS_MEMLOCK);
  EXPECT_EQ(world.guest.accounted(), 700u);
  EXPECT_EQ(world.info().mapped_pages, 700u);
  world.guest.memlock_pages = 1024;
  world.expect_refresh(700 * kPage, 4 * kMiB - 700 * kPage);
  EXPECT_EQ(world.info().mapped_pages, 1024u);
}

TEST(Limits, RoomThatIsMadeIsRoomForOthers) {
  W world;
  world.guest.memlock_pages = 4;
  world.tables.map_pages(0, world.data(0), 8);
  world.expect_stops(0, 8 * kPage, 4 * kPage, -ENOMEM,
                     KVM_IOMMU_STATUS_MEMLOCK);
  for (u64 i = 0; i < 4; ++i) world.tables.clear(i * kPage);
  world.expect_refresh(0, 4 * kPage);
  world.expect_refresh(4 * kPage, 4 * kPage);
}

TEST(Limits, ShadowLimitIsKeptAndTold) {
  // Room for few nodes; each page below needs some of its own.
  W world({.machine = {.shadow_limit = 16 * 4096}, .data_pages = 1 << 20});
  for (u64 i = 0; i < 64; ++i) {
    world.tables.map(i * 64 * kMiB, world.data(i * 10000));
  }
  const RefreshOutcome outcome = world.refresh(0, 64 * 64 * kMiB);
  EXPECT_EQ(outcome.error, -ENOSPC);
  EXPECT_EQ(outcome.result.status, unsigned{KVM_IOMMU_STATUS_SHADOW_LIMIT});
  EXPECT_LE(world.info().shadow_bytes, 16u * 4096);
  EXPECT_GT(world.info().mapped_pages, 0u);
  expect_consistent(world);
  // Give up what is mapped, with the tables that the host keeps: then there is
  // room for the next pages.
  const u64 at = outcome.result.stopped_iova;
  ASSERT_EQ(world.unanchor(), 0);
  ASSERT_EQ(world.anchor(world.tables.anchor()), 0);
  const RefreshOutcome next = world.refresh(at, 64 * 64 * kMiB - at);
  EXPECT_GT(next.result.mapped, 0u);
  expect_consistent(world);
}

TEST(Limits, StateIsEightBytesAPage) {
  W world({.data_pages = 1 << 18, .data_order = port::kShuffled});
  world.tables.map(0, world.data(0), kRW, 2);
  world.expect_refresh(0, kGiB);
  // Inner nodes come on top; for pins, 16 bytes for each 2 MiB of the slots.
  EXPECT_LE(world.info().shadow_bytes, kGiB / kPage * 8 + 8 * 4096);
  EXPECT_LE(world.info().pin_bytes, kGiB / kPage * 8 + 8 * 4096);
}

TEST(Limits, NoMemoryForTheDomainItself) {
  for (u64 nth = 1;; ++nth) {
    faults() = {};
    faults().node.arm(nth);
    port::Machine machine;
    faults().node.disarm();
    if (machine.complete()) break;
    EXPECT_EQ(faults().node.fired(), 1u);
  }
}

// A process that is killed while it waits to be charged has met no limit. The
// check for that signal is the last occasion of a call that cannot be charged.
TEST(Limits, KilledWhileCharged) {
  for (const bool killed : {false, true}) {
    static u64 occasions;
    W world;
    world.tables.map_pages(0, world.data(0), 20);
    world.expect_refresh(0, 10 * kPage);
    faults() = {};
    faults().account.arm_always();
    if (killed) faults().interrupt.arm(occasions);
    const auto outcome = world.refresh(0, 20 * kPage);
    occasions = faults().interrupt.occasions();
    EXPECT_GT(faults().account.occasions(), 0u);
    faults() = {};
    EXPECT_EQ(outcome.error, killed ? -EINTR : -ENOMEM);
    EXPECT_EQ(outcome.result.status,
              unsigned{killed ? KVM_IOMMU_STATUS_INTERRUPTED
                              : KVM_IOMMU_STATUS_MEMLOCK});
    EXPECT_EQ(outcome.result.stopped_iova, 10 * kPage);
    EXPECT_EQ(world.info().mapped_pages, 10u);
    world.expect_refresh(0, 20 * kPage);
  }
}

TEST(Limits, TeardownNeverAllocates) {
  W world({.data_order = port::kShuffled});
  world.tables.map_pages(0, world.data(0), 2000);
  world.expect_refresh(0, 2000 * kPage);
  faults() = {};
  faults().node.arm_always();
  faults().map.arm_always();
  faults().pin.arm_always();
  faults().account.arm_always();
  faults().interrupt.arm_always();
  EXPECT_EQ(world.unmap(0, 100 * kPage), 0);
  EXPECT_EQ(world.info().mapped_pages, 1900u);
  EXPECT_EQ(world.unanchor(), 0);
  EXPECT_EQ(world.stop(), 0);
  EXPECT_EQ(faults().node.occasions(), 0u);
  EXPECT_EQ(faults().map.occasions(), 0u);
  EXPECT_EQ(world.info().shadow_bytes, 0u);
}

}  // namespace
}  // namespace kiommu::test
