// SPDX-License-Identifier: GPL-2.0-only
//
// Several host IOMMUs in one domain, and hosts that come and go.
#include "lib/world.hpp"

namespace kiommu::test {
namespace {

using W = World<VtdSsFormat>;

W make_world(std::vector<port::HostKind> hosts) {
  return W({.machine = {.hosts = std::move(hosts)},
            .data_pages = 8192,
            .data_order = port::kContiguous2M});
}

void map_a_few(W& world) {
  world.tables.map(0, world.data(0), kRW, 1);
  world.tables.map_pages(2 * kMiB, world.data(600), 300, kR);
  world.tables.map_pages(8 * kMiB + kPage, world.data(2048), 70);
  world.expect_refresh(0, 16 * kMiB);
}

TEST(Hosts, EachHostHoldsTheSame) {
  W world = make_world({port::kVtd, port::kAmd, port::kVtd4K});
  map_a_few(world);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(world.sees(5 * kPage, i), world.frame(world.data(5)));
  }
  EXPECT_EQ(world.host.pinned(), 882u);
}

TEST(Hosts, ReplayFillsAHostThatJoins) {
  for (port::HostKind joins : {port::kVtd, port::kAmd, port::kVtd4K}) {
    W world = make_world({port::kVtd});
    map_a_few(world);
    const u32 index = world.iommus.add(joins);
    ASSERT_EQ(world.set_caps(), 0);
    ASSERT_EQ(world.replay(index), 0);
    expect_consistent(world);
    // Blocks of both are known: any part can be unmapped.
    for (u64 page : {3, 513, 700, 2060}) {
      EXPECT_EQ(world.unmap(page * kPage, kPage), 0);
      expect_consistent(world);
    }
  }
}

TEST(Hosts, ReplayMergesRunsThatWereMappedApart) {
  for (port::HostKind kind : {port::kVtd, port::kAmd, port::kVirtio}) {
    W world = make_world({kind});
    // Contiguous, but mapped by many calls in an odd order.
    for (u64 i = 0; i < 512; ++i) {
      const u64 page = i * 171 % 512;
      world.tables.map(page * kPage, world.data(page));
      EXPECT_EQ(world.refresh(page * kPage, kPage).error, 0);
    }
    const u32 index = world.iommus.add(kind);
    ASSERT_EQ(world.set_caps(), 0);
    ASSERT_EQ(world.replay(index), 0);
    expect_consistent(world);
    EXPECT_LT(world.iommus[1].blocks().size(), 512u);
    for (u64 page = 0; page < 512; page += 3) {
      EXPECT_EQ(world.unmap(page * kPage, kPage), 0);
    }
    expect_consistent(world);
  }
}

TEST(Hosts, FailedReplayLeavesTheOthersAsTheyWere) {
  W world = make_world({port::kAmd});
  map_a_few(world);
  const u64 mapped = world.info().mapped_pages;
  const u32 index = world.iommus.add(port::kAmd);
  ASSERT_EQ(world.set_caps(), 0);
  faults().map.arm(2);
  EXPECT_EQ(world.replay(index), -ENOMEM);
  world.iommus.drop_last();
  faults() = {};
  EXPECT_EQ(world.info().mapped_pages, mapped);
  ASSERT_EQ(world.set_caps(), 0);
  expect_consistent(world);
  EXPECT_EQ(world.unmap(100 * kPage, kPage), 0);
  expect_consistent(world);
}

// A process that waits for a group to join can be killed.
TEST(Hosts, ReplayCanBeKilled) {
  W world = make_world({port::kAmd});
  map_a_few(world);
  const u64 mapped = world.info().mapped_pages;
  const u32 index = world.iommus.add(port::kAmd);
  ASSERT_EQ(world.set_caps(), 0);
  faults().interrupt.arm(2);
  EXPECT_EQ(world.replay(index), -EINTR);
  EXPECT_LT(world.iommus[1].blocks().size(), world.iommus[0].blocks().size());
  world.iommus.drop_last();
  faults() = {};
  EXPECT_EQ(world.info().mapped_pages, mapped);
  ASSERT_EQ(world.set_caps(), 0);
  expect_consistent(world);
}

// What has to be done whatever happens is done, even by a process that was
// killed.
TEST(Hosts, ReplayNeedNotBeKillable) {
  W world = make_world({port::kAmd});
  map_a_few(world);
  const u32 index = world.iommus.add(port::kAmd);
  ASSERT_EQ(world.set_caps(), 0);
  faults().interrupt.arm(1);
  EXPECT_EQ(world.replay(index, false), 0);
  faults() = {};
  EXPECT_EQ(world.iommus[1].blocks().size(), world.iommus[0].blocks().size());
  expect_consistent(world);
}

// It gives up the CPU all the same: a domain can map any amount.
TEST(Hosts, ReplayYieldsEvenIfItCannotBeKilled) {
  const auto yields_of = [](u64 leaves) {
    W world = make_world({port::kAmd});
    for (u64 i = 0; i < leaves; ++i) {
      world.tables.map(i * 2 * kMiB, world.data(i), kRW);
    }
    world.expect_refresh(0, 2 * kMiB * leaves);
    const u32 index = world.iommus.add(port::kAmd);
    EXPECT_EQ(world.set_caps(), 0);
    const u64 before = port::yields();
    EXPECT_EQ(world.replay(index, false), 0);
    return port::yields() - before;
  };
  EXPECT_GE(yields_of(200), yields_of(100) + 100);
}

TEST(Hosts, ReplayOfNothingIsNothing) {
  W world = make_world({port::kVtd});
  const u32 index = world.iommus.add(port::kVtd);
  ASSERT_EQ(world.set_caps(), 0);
  EXPECT_EQ(world.replay(index), 0);
  EXPECT_EQ(world.iommus.map_calls, 0u);
}

TEST(Hosts, CapsThatForbidWhatIsMappedAreRefused) {
  W world = make_world({port::kVtd});
  map_a_few(world);
  const u64 end = ~u64{0};
  EXPECT_EQ(world.set_caps({kPage, end}, {}), -EINVAL);
  EXPECT_EQ(world.set_caps({0, 8 * kMiB - 1}, {}), -EINVAL);
  EXPECT_EQ(world.set_caps({0, end}, {{8 * kMiB + kPage, 8 * kMiB + 0x1fff}}),
            -EINVAL);
  // This host cannot split map calls: its blocks would have to be known.
  world.iommus.add(port::kVirtio);
  EXPECT_EQ(world.set_caps(), -EINVAL);
  world.iommus.drop_last();
  // The refused capabilities are not in use: this range is still legal.
  world.expect_refresh(0, 16 * kMiB);
  EXPECT_EQ(
      world.set_caps({0, 16 * kMiB - 1}, {{15 * kMiB, 15 * kMiB + 0xfff}}), 0);
  EXPECT_EQ(world.refresh(0, 32 * kMiB).error, -EINVAL);
  world.tables.map(15 * kMiB, world.data(1));
  world.expect_stops(15 * kMiB, kPage, 15 * kMiB, -EIO,
                     KVM_IOMMU_STATUS_RESERVED_IOVA);
}

// A domain may be filled before its first device comes, and stays filled when
// the last one leaves, whatever the kind of their hosts.
TEST(Hosts, WithoutAnyTheShadowIsKept) {
  W world = make_world({});
  map_a_few(world);
  const u64 mapped = world.info().mapped_pages;
  EXPECT_EQ(mapped, 882u);
  const port::HostKind kinds[] = {port::kVirtio, port::kAmd, port::kVirtio,
                                  port::kVtd, port::kVtd4K};
  u64 gone = 0;
  for (const port::HostKind& kind : kinds) {
    const u32 index = world.iommus.add(kind);
    ASSERT_EQ(world.set_caps(), 0) << kind.name;
    ASSERT_EQ(world.replay(index), 0) << kind.name;
    expect_consistent(world);
    EXPECT_EQ(world.sees(5 * kPage), world.frame(world.data(5))) << kind.name;
    // Its blocks are known: any part can be unmapped.
    for (u64 page : {3, 513, 700, 2060}) {
      EXPECT_EQ(world.unmap((page + gone) * kPage, kPage), 0);
      expect_consistent(world);
    }
    world.expect_refresh(0, 16 * kMiB);
    world.iommus.drop_last();
    ASSERT_EQ(world.set_caps(), 0) << kind.name;
    EXPECT_EQ(world.info().mapped_pages, mapped) << kind.name;
    // What changes meanwhile is not forgotten.
    EXPECT_EQ(world.unmap(gone * kPage, kPage), 0);
    world.expect_refresh(0, 16 * kMiB);
    expect_consistent(world);
    ++gone;
  }
}

TEST(Hosts, FirstOneThatCannotBeFilledLeavesTheShadow) {
  for (const port::HostKind& kind : {port::kAmd, port::kVirtio}) {
    W world = make_world({});
    map_a_few(world);
    const u64 mapped = world.info().mapped_pages;
    const u32 index = world.iommus.add(kind);
    ASSERT_EQ(world.set_caps(), 0);
    faults().map.arm(2);
    EXPECT_EQ(world.replay(index), -ENOMEM);
    faults() = {};
    world.iommus.drop_last();
    ASSERT_EQ(world.set_caps(), 0);
    EXPECT_EQ(world.info().mapped_pages, mapped);
    EXPECT_EQ(world.unmap(100 * kPage, kPage), 0);
    expect_consistent(world);
    const u32 again = world.iommus.add(port::kVtd);
    ASSERT_EQ(world.set_caps(), 0);
    EXPECT_EQ(world.replay(again), 0);
    expect_consistent(world);
  }
}

TEST(Hosts, RefusedRunAfterOthersAreMapped) {
  W world = make_world({port::kVtd, port::kAmd});
  // Runs of one page, more than one call takes.
  const u64 lists = KIOMMU_MAX_RUNS;
  for (u64 i = 0; i < 300; ++i) {
    world.tables.map(i * kPage, world.data(i * 3));
  }
  faults().map.arm(lists + 8);
  world.iommus.map_error = -EIO;
  world.expect_stops(0, 300 * kPage, lists * kPage, -EIO,
                     KVM_IOMMU_STATUS_HOST);
  EXPECT_EQ(world.info().mapped_pages, lists);
  world.expect_refresh(lists * kPage, (300 - lists) * kPage);
  EXPECT_EQ(world.info().mapped_pages, 300u);
}

}  // namespace
}  // namespace kiommu::test
