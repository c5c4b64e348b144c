// SPDX-License-Identifier: GPL-2.0-only
//
// Calls in parallel: on disjoint and on overlapping ranges of one domain, on
// two domains of one guest, with trims, slots, anchors and hosts that change
// in between. The port watches each step, the thread sanitizer each access;
// at the end each page is as the tables say.
#include <atomic>
#include <random>
#include <thread>

#include "lib/world.hpp"

namespace kiommu::test {
namespace {

using W = World<VtdSsFormat>;
constexpr u64 kBase = kGiB;   // first IOVA
constexpr u64 kPages = 2048;  // of IOVA that the threads work on
constexpr u64 kData = 4096;   // pages of memory
constexpr unsigned kThreads = 3;
constexpr int kSteps = 150;

class Parallel : public testing::TestWithParam<port::HostKind> {
 protected:
  explicit Parallel(u64 idle_limit = 64)
      : world_({.machine = {.hosts = {GetParam()}, .idle_limit = idle_limit},
                .data_pages = kData,
                .data_order = port::kContiguous2M}) {
    // All tables exist before the threads start.
    for (u64 i = 0; i < kPages; ++i) world_.tables.clear(iova(i));
  }

  static u64 iova(u64 page) { return kBase + page * kPage; }

  // Runs f(number, random) on each thread.
  template <class Function>
  void run(unsigned threads, Function f) {
    std::vector<std::thread> running;
    for (unsigned i = 0; i < threads; ++i) {
      running.emplace_back([&f, i] {
        faults() = {};
        std::mt19937_64 random(i + 1);
        f(i, random);
      });
    }
    for (std::thread& thread : running) thread.join();
  }

  // Edits the tables of pages [first, first + count), each thread its own.
  void edit(std::mt19937_64& random, u64 first, u64 count) {
    const u64 from = random() % kData;
    for (u64 i = 0; i < count; ++i) {
      if (random() % 16 == 0) {
        world_.tables.clear(iova(first + i));
      } else {
        world_.tables.map(iova(first + i),
                          world_.data((from + first + i) % kData),
                          random() % 8 == 0 ? kR : kRW);
      }
    }
  }
  // What the tables say of a page.
  std::optional<HostPage> wanted(u64 page) {
    const auto read = [&](u64 gpa, u8* bytes) -> unsigned {
      world_.guest.read(gpa, bytes, 8);
      return KVM_IOMMU_STATUS_OK;
    };
    const Answer answer =
        Spec<VtdSsFormat>::translate(read, world_.tables.anchor(), iova(page));
    if (answer.status != KVM_IOMMU_STATUS_OK) return kBlocked;
    return world_.frame(answer.gpa, answer.rights);
  }
  void expect_as_tables(u64 first, u64 count) {
    for (u64 i = first; i < first + count; ++i) {
      ASSERT_EQ(world_.sees(iova(i)), wanted(i)) << "page " << i;
    }
  }
  // Each page that is mapped is memory of the guest, whatever happened.
  void expect_memory_of_the_guest(port::DmaDomain& domain) {
    const u64 first = world_.frame(world_.data(0))->pfn & ~u64{0x3ffff};
    for (const auto& [page, to] : snapshot(domain.iommus[0])) {
      ASSERT_LT(to.pfn - first, u64{1} << 18);
    }
  }
  void settle() {
    world_.expect_refresh(kBase, kPages * kPage);
    expect_as_tables(0, kPages);
  }

  W world_;
};

// Each thread has IOVAs of its own, and finds them as its tables say after each
// refresh; the ranges meet within nodes of the shadow's tree and large pages of
// the host.
TEST_P(Parallel, DisjointRangesDoNotDisturbEachOther) {
  constexpr u64 kShare = kPages / kThreads;
  run(kThreads, [&](unsigned number, std::mt19937_64& random) {
    const u64 share = number * kShare;
    for (int step = 0; step < kSteps; ++step) {
      const u64 first = random() % kShare;
      const u64 count = 1 + random() % (kShare - first);
      if (random() % 4 == 0) {
        EXPECT_EQ(world_.unmap(iova(share + first), count * kPage), 0);
        EXPECT_EQ(world_.sees(iova(share + first)), kBlocked);
        continue;
      }
      edit(random, share + first,
           count % 64 + 1 < count ? count % 64 + 1 : count);
      const RefreshOutcome outcome =
          world_.refresh(iova(share + first), count * kPage);
      EXPECT_EQ(outcome.error, 0);
      expect_as_tables(share + first, count);
    }
  });
  expect_consistent(world_);
  settle();
}

// A large page of the host that threads take apart and make whole again.
TEST_P(Parallel, NeighboursInOneLargePage) {
  for (u64 i = 0; i < kPages; ++i) world_.tables.map(iova(i), world_.data(i));
  constexpr u64 kShare = 512 / kThreads;
  run(kThreads, [&](unsigned number, std::mt19937_64& random) {
    const u64 share = number * kShare;
    for (int step = 0; step < kSteps; ++step) {
      const u64 first = share + random() % kShare;
      const u64 count = 1 + random() % (share + kShare - first);
      if (step % 2 == 0) {
        EXPECT_EQ(world_.unmap(iova(first), count * kPage), 0);
        EXPECT_EQ(world_.sees(iova(first)), kBlocked);
      } else {
        EXPECT_EQ(world_.refresh(iova(first), count * kPage).error, 0);
        expect_as_tables(first, count);
      }
    }
  });
  expect_consistent(world_);
  settle();
}

TEST_P(Parallel, OverlappingRangesConverge) {
  run(kThreads, [&](unsigned number, std::mt19937_64& random) {
    for (int step = 0; step < kSteps; ++step) {
      const u64 first = random() % kPages;
      const u64 count = 1 + random() % (kPages - first);
      switch (random() % 5) {
        case 0:
          EXPECT_EQ(world_.unmap(iova(first), count * kPage), 0);
          break;
        case 1: {
          kiommu_translation answer;
          EXPECT_EQ(world_.Machine::translate(iova(first), &answer) & ~1, 0);
          break;
        }
        default:
          if (first % kThreads == number) edit(random, first, 1);
          EXPECT_EQ(world_.refresh(iova(first), count * kPage).error, 0);
      }
    }
  });
  expect_consistent(world_);
  expect_memory_of_the_guest(world_);
  settle();
}

TEST_P(Parallel, AnchorComesAndGoes) {
  for (u64 i = 0; i < kPages; ++i) world_.tables.map(iova(i), world_.data(i));
  std::atomic<bool> stop{false};
  std::thread mover([&] {
    faults() = {};
    for (int i = 0; i < kSteps; ++i) {
      if (i % 3 == 0) {
        EXPECT_EQ(world_.stop(), 0);
        EXPECT_EQ(world_.start(), 0);
      } else {
        EXPECT_EQ(world_.unanchor(), 0);
      }
      EXPECT_EQ(world_.anchor(world_.tables.anchor()), 0);
      std::this_thread::yield();
    }
    stop = true;
  });
  run(kThreads - 1, [&](unsigned, std::mt19937_64& random) {
    while (!stop) {
      const u64 first = random() % kPages;
      const u64 count = 1 + random() % (kPages - first);
      const int error = random() % 4 == 0
                            ? world_.unmap(iova(first), count * kPage)
                            : world_.refresh(iova(first), count * kPage).error;
      EXPECT_TRUE(error == 0 || error == -ENXIO || error == -ENODEV) << error;
    }
  });
  mover.join();
  expect_consistent(world_);
  settle();
}

TEST_P(Parallel, HostsComeAndGo) {
  for (u64 i = 0; i < kPages; ++i) world_.tables.map(iova(i), world_.data(i));
  std::atomic<bool> stop{false};
  std::thread mover([&] {
    faults() = {};
    for (int i = 0; i < 20; ++i) {
      EXPECT_EQ(world_.add_host(GetParam()), 0);
      std::this_thread::yield();
      EXPECT_EQ(world_.drop_host(), 0);
    }
    stop = true;
  });
  run(kThreads - 1, [&](unsigned, std::mt19937_64& random) {
    while (!stop) {
      const u64 first = random() % kPages;
      const u64 count = 1 + random() % (kPages - first);
      const int error = random() % 3 == 0
                            ? world_.unmap(iova(first), count * kPage)
                            : world_.refresh(iova(first), count * kPage).error;
      EXPECT_EQ(error, 0);
    }
  });
  mover.join();
  expect_consistent(world_);
  settle();
}

// Two domains with one pin table, together with trims, exchanges of memory,
// checks of the slots, and preregistration that comes and goes.
TEST_P(Parallel, DomainsThatShareAPinTable) {
  port::DmaDomain second{
      world_.host, world_.pins, world_.ledger, {.hosts = {port::kAmd}}};
  ASSERT_EQ(second.start(), 0);
  ASSERT_EQ(second.anchor(world_.tables.anchor()), 0);
  for (u64 i = 0; i < kPages; ++i) world_.tables.map(iova(i), world_.data(i));
  std::atomic<bool> stop{false};
  std::thread changer([&] {
    faults() = {};
    std::mt19937_64 random(99);
    while (!stop) {
      switch (random() % 6) {
        case 0:
          world_.pins.set_idle_limit(random() % 1000);
          break;
        case 1:
          world_.pins.trim(random() % 200);
          break;
        case 2:
          world_.pins.slots_changed();
          break;
        case 3:
          EXPECT_EQ(world_.pins.preregister(kDataGpa, kData * kPage), 0);
          break;
        case 4:
          EXPECT_EQ(world_.pins.unregister(), 0);
          break;
        default: {
          const u64 hva = world_.data_hva + random() % (kData - 8) * kPage;
          world_.pins.memory_changed(hva, 8);
        }
      }
      std::this_thread::yield();
    }
  });
  run(kThreads, [&](unsigned number, std::mt19937_64& random) {
    port::DmaDomain& domain = number % 2 == 0 ? world_ : second;
    for (int step = 0; step < kSteps; ++step) {
      const u64 first = random() % kPages;
      const u64 count = 1 + random() % (kPages - first);
      if (random() % 3 == 0) {
        EXPECT_EQ(domain.unmap(iova(first), count * kPage), 0);
      } else {
        EXPECT_EQ(domain.refresh(iova(first), count * kPage).error, 0);
      }
    }
  });
  stop = true;
  changer.join();
  EXPECT_EQ(world_.pins.unregister(), 0);
  expect_consistent(world_, {&world_, &second});
  EXPECT_EQ(second.refresh(kBase, kPages * kPage).error, 0);
  EXPECT_EQ(world_.refresh(kBase, kPages * kPage).error, 0);
  expect_as_tables(0, kPages);
  expect_consistent(world_, {&world_, &second});
  second.destroy();
}

// Pages that were exchanged during operations are not mapped in the end.
TEST_P(Parallel, MemoryIsExchangedUnderRequests) {
  for (u64 i = 0; i < kPages; ++i) world_.tables.map(iova(i), world_.data(i));
  std::atomic<bool> stop{false};
  std::thread changer([&] {
    faults() = {};
    std::mt19937_64 random(99);
    for (int i = 0; i < kSteps; ++i) {
      const u64 count = 1 + random() % 16;
      const u64 hva = world_.data_hva + random() % (kData - count) * kPage;
      world_.guest.exchange(hva, count);
      world_.pins.memory_changed(hva, count);
    }
    stop = true;
  });
  run(kThreads - 1, [&](unsigned, std::mt19937_64& random) {
    while (!stop) {
      const u64 first = random() % kPages;
      const u64 count = 1 + random() % (kPages - first);
      if (random() % 3 == 0) {
        EXPECT_EQ(world_.unmap(iova(first), count * kPage), 0);
      } else {
        EXPECT_EQ(world_.refresh(iova(first), count * kPage).error, 0);
      }
    }
  });
  changer.join();
  expect_consistent(world_);
  for (const auto& [page, to] : snapshot(world_.iommus[0])) {
    ASSERT_EQ(to.pfn, world_.frame(world_.data(page - kBase / kPage))->pfn);
  }
  settle();
}

// Faults on one thread leave the others alone.
TEST_P(Parallel, FailuresOfOneRequest) {
  constexpr u64 kShare = kPages / kThreads;
  run(kThreads, [&](unsigned number, std::mt19937_64& random) {
    const u64 share = number * kShare;
    for (int step = 0; step < kSteps; ++step) {
      const u64 first = share + random() % kShare;
      const u64 count = 1 + random() % (share + kShare - first);
      edit(random, first, 1);
      if (number == 0) {
        faults().account.arm(1 + random() % 20);
        faults().pin.arm(1 + random() % 20);
        faults().interrupt.arm(1 + random() % 40);
      }
      const RefreshOutcome outcome = world_.refresh(iova(first), count * kPage);
      faults() = {};
      if (number != 0) {
        EXPECT_EQ(outcome.error, 0);
        expect_as_tables(first, count);
      }
      if (random() % 4 == 0) {
        EXPECT_EQ(world_.unmap(iova(first), count * kPage), 0);
      }
    }
  });
  expect_consistent(world_);
  settle();
}

// A call waits for a page, and others wait for its range: they can be killed,
// and change nothing.
TEST(Waiting, CanBeKilled) {
  W world;
  world.tables.map_pages(kBase, world.data(0), 8);
  bool first = true;
  world.guest.before_pin = [&] {
    if (!std::exchange(first, false)) return;
    std::thread([&] {
      faults() = {};
      faults().interrupt.arm_always();
      const RefreshOutcome outcome = world.refresh(kBase, 8 * kPage);
      EXPECT_EQ(outcome.error, -EINTR);
      EXPECT_EQ(outcome.result.stopped_iova, kBase);
      EXPECT_EQ(world.unmap(kBase, 8 * kPage), -EINTR);
      kiommu_translation told{};
      EXPECT_EQ(world.Machine::translate(kBase, &told), -EINTR);
      EXPECT_EQ(told.status, unsigned{KVM_IOMMU_STATUS_INTERRUPTED});
      EXPECT_EQ(world.translate_range(kBase, 8 * kPage).status,
                unsigned{KVM_IOMMU_STATUS_INTERRUPTED});
      faults() = {};
    }).join();
  };
  world.expect_refresh(kBase, 8 * kPage);
  EXPECT_FALSE(first);
  world.guest.before_pin = {};
  EXPECT_EQ(world.unmap(kBase, 8 * kPage), 0);
  expect_consistent(world);
}

// A page of the host's table spans several leaves of the shadow: the operation
// that splits it has all of it to itself.
TEST(ParallelBlocks, LargePageOverManyLeaves) {
  W world({.machine = {.hosts = {port::kAmd}, .idle_limit = kPages},
           .data_pages = kPages});
  for (u64 i = 0; i < kPages; i += 512) {
    world.tables.map(kBase + i * kPage, world.data(i), kRW, 1);
  }
  for (u64 step = 0; step < kSteps; ++step) {
    world.expect_refresh(kBase, kPages * kPage);
    std::atomic<unsigned> ready{0};
    std::vector<std::thread> threads;
    for (unsigned number = 0; number < kThreads; ++number) {
      threads.emplace_back([&, number] {
        faults() = {};
        ++ready;
        while (ready < kThreads) std::this_thread::yield();
        const u64 page = number * 512 + (step + number) % 512;
        EXPECT_EQ(world.unmap(kBase + page * kPage, kPage), 0);
      });
    }
    for (std::thread& thread : threads) thread.join();
    expect_consistent(world);
    EXPECT_EQ(world.info().mapped_pages, kPages - kThreads);
    if (testing::Test::HasFailure()) break;
    // Make it whole again.
    EXPECT_EQ(world.unmap(kBase, kPages * kPage), 0);
  }
}

INSTANTIATE_TEST_SUITE_P(Hosts, Parallel,
                         testing::Values(port::kVtd, port::kVirtio),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace kiommu::test
