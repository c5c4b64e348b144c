// SPDX-License-Identifier: GPL-2.0-only
//
// The dirty log: what it reports, what it refuses, its memory, and threads.
#include <algorithm>
#include <atomic>
#include <random>
#include <thread>

#include "lib/dirty_world.hpp"

namespace kiommu::test {
namespace {

using namespace dirty;

TEST(DirtyLog, TellsWhatIsWritableAndWhatWas) {
  W world(small());
  world.tables.map_pages(iova(0), world.data(0), 8);
  world.tables.map_pages(iova(8), world.data(8), 8, kR);
  world.expect_refresh(iova(0), 16 * kPage);
  ASSERT_EQ(world.pins.start_dirty(), 0);
  // Pages that were mapped before and are writable now are dirty at each read.
  EXPECT_EQ(read(world.pins), pages(world.data(0), 8));
  EXPECT_EQ(read(world.pins), pages(world.data(0), 8));
  ASSERT_EQ(world.unmap(iova(0), 4 * kPage), 0);
  EXPECT_EQ(read(world.pins), pages(world.data(0), 8));
  // Pages that were unmapped are dirty once.
  EXPECT_EQ(read(world.pins), pages(world.data(4), 4));
  // The right to write is taken away.
  world.tables.map_pages(iova(4), world.data(4), 4, kR);
  world.expect_refresh(iova(4), 4 * kPage);
  EXPECT_EQ(read(world.pins), pages(world.data(4), 4));
  EXPECT_EQ(read(world.pins), Gfns{});
  // Mapped and unmapped between two reads; read-only pages never count.
  world.tables.map_pages(iova(0), world.data(100), 4, kW);
  world.expect_refresh(iova(0), 16 * kPage);
  ASSERT_EQ(world.unanchor(), 0);
  EXPECT_EQ(read(world.pins), pages(world.data(100), 4));
  EXPECT_EQ(read(world.pins), Gfns{});
}

TEST(DirtyLog, RightsThatAreWithheldDoNotCount) {
  W world(small());
  world.guest.add_ram(kOther, 64, port::kShuffled, KIOMMU_SLOT_READ_ONLY);
  world.guest.set_backing(world.data_hva, 2, Backing::kReadOnlyRam);
  ASSERT_EQ(world.pins.start_dirty(), 0);
  world.tables.map_pages(iova(0), world.data(0), 4);
  world.tables.map_pages(iova(4), kOther, 4);
  world.expect_refresh(iova(0), 8 * kPage);
  EXPECT_EQ(read(world.pins), pages(world.data(2), 2));
  ASSERT_EQ(world.unmap(iova(0), 8 * kPage), 0);
  EXPECT_EQ(read(world.pins), pages(world.data(2), 2));
}

TEST(DirtyLog, DeviceMemoryIsNotLogged) {
  W world(small());
  world.guest.set_backing(world.data_hva, 4, Backing::kDevice);
  ASSERT_EQ(world.pins.start_dirty(), 0);
  world.tables.map_pages(iova(0), world.data(0), 8);
  world.expect_refresh(iova(0), 8 * kPage);
  EXPECT_EQ(read(world.pins), pages(world.data(4), 4));
  const Bits writable = world.writable_pages(iova(0), 8);
  EXPECT_EQ(writable, Bits{0xf0});
  // Nor do they count if they were mapped before the log started.
  ASSERT_EQ(world.pins.stop_dirty(), 0);
  ASSERT_EQ(world.pins.start_dirty(), 0);
  EXPECT_EQ(read(world.pins), pages(world.data(4), 4));
  ASSERT_EQ(world.unmap(iova(0), 8 * kPage), 0);
  EXPECT_EQ(read(world.pins), pages(world.data(4), 4));
}

TEST(DirtyLog, LargePages) {
  W world(small(port::kContiguous2M));
  ASSERT_EQ(world.pins.start_dirty(), 0);
  world.tables.map(iova(0), world.data(512), kRW, 1);
  world.expect_refresh(iova(0), 512 * kPage);
  EXPECT_EQ(read(world.pins), pages(world.data(512), 512));
  // Unmap a part of it, then all of the rest.
  ASSERT_EQ(world.unmap(iova(100), kPage), 0);
  EXPECT_EQ(read(world.pins), pages(world.data(512), 512));
  Gfns rest = pages(world.data(512), 512);
  rest.erase(world.data(612) / kPage);
  EXPECT_EQ(read(world.pins), rest);
  ASSERT_EQ(world.unmap(iova(0), 512 * kPage), 0);
  EXPECT_EQ(read(world.pins), rest);
  // A run that was never split.
  world.tables.map(iova(512), world.data(1024), kRW, 1);
  world.expect_refresh(iova(512), 512 * kPage);
  ASSERT_EQ(world.unmap(iova(512), 512 * kPage), 0);
  EXPECT_EQ(read(world.pins), pages(world.data(1024), 512));
  EXPECT_EQ(read(world.pins), Gfns{});
}

TEST(DirtyLog, CountsHowOftenAPageIsMapped) {
  W world(small(port::kContiguous2M));
  port::DmaDomain second(world.host, world.pins, world.ledger,
                         {.hosts = {port::kAmd}});
  ASSERT_EQ(second.start(), 0);
  ASSERT_EQ(second.anchor(world.tables.anchor()), 0);
  // A large page, and one of its pages by itself, with its neighbours out of
  // order: some are mapped before the log starts, some after.
  world.tables.map(iova(0), world.data(512), kRW, 1);
  world.tables.map(iova(512), world.data(515));
  world.expect_refresh(iova(0), 513 * kPage);
  ASSERT_EQ(world.pins.start_dirty(), 0);
  world.tables.map(iova(513), world.data(515));
  world.tables.map(iova(514), world.data(514), kR);
  world.tables.map(iova(515), world.data(513));
  world.expect_refresh(iova(512), 4 * kPage);
  EXPECT_EQ(second.refresh(iova(0), 516 * kPage).error, 0);

  const Gfns all = pages(world.data(512), 512);
  EXPECT_EQ(read(world.pins), all);
  ASSERT_EQ(world.unmap(iova(0), 512 * kPage), 0);
  EXPECT_EQ(read(world.pins), all);
  ASSERT_EQ(second.unmap(iova(0), 512 * kPage), 0);
  EXPECT_EQ(read(world.pins), all);
  Gfns left = pages(world.data(515), 1);
  left.merge(pages(world.data(513), 1));
  EXPECT_EQ(read(world.pins), left);
  ASSERT_EQ(world.unmap(iova(512), 4 * kPage), 0);
  EXPECT_EQ(read(world.pins), left);
  EXPECT_EQ(read(world.pins), left);
  ASSERT_EQ(second.unmap(iova(513), 3 * kPage), 0);
  EXPECT_EQ(read(world.pins), left);
  left = pages(world.data(515), 1);
  EXPECT_EQ(read(world.pins), left);
  ASSERT_EQ(second.stop(), 0);
  EXPECT_EQ(read(world.pins), left);
  EXPECT_EQ(read(world.pins), Gfns{});
}

TEST(DirtyLog, PageThatIsMappedTooOftenStaysDirty) {
  W world(small());
  ASSERT_EQ(world.pins.start_dirty(), 0);
  const Gfns page = pages(world.data(8), 1);
  for (const u64 times : {254, 255, 256, 300}) {
    for (u64 i = 0; i < times; ++i) {
      world.tables.map(iova(i), world.data(8));
    }
    // Its neighbours are counted as usual.
    world.tables.map(iova(400), world.data(7));
    world.tables.map(iova(401), world.data(9));
    world.expect_refresh(iova(0), 402 * kPage);
    EXPECT_EQ(read(world.pins), pages(world.data(7), 3));
    ASSERT_EQ(world.unmap(iova(0), 402 * kPage), 0);
    EXPECT_EQ(read(world.pins), pages(world.data(7), 3));
    EXPECT_EQ(read(world.pins), times == 254 ? Gfns{} : page) << times;
  }
  ASSERT_EQ(world.pins.stop_dirty(), 0);
  ASSERT_EQ(world.pins.start_dirty(), 0);
  EXPECT_EQ(read(world.pins), Gfns{});
}

// The cost does not depend on what is mapped, nor in how many domains.
TEST(DirtyLog, ReadCostsWhatIsAskedFor) {
  W world(small());
  port::DmaDomain second(world.host, world.pins, world.ledger,
                         {.hosts = {port::kAmd}});
  ASSERT_EQ(second.start(), 0);
  ASSERT_EQ(second.anchor(world.tables.anchor()), 0);
  ASSERT_EQ(world.pins.start_dirty(), 0);
  const auto cost = [&] {
    const u64 before = port::yields();
    EXPECT_EQ(read(world.pins, world.data(0), kPage), pages(world.data(0), 1));
    return port::yields() - before;
  };
  world.tables.map(iova(0), world.data(0));
  world.expect_refresh(iova(0), kPage);
  const u64 least = cost();
  for (u64 i = 0; i < 64; ++i) {
    world.tables.map(iova(i * 512), world.data(i));
  }
  world.expect_refresh(iova(0), 64 * 512 * kPage);
  EXPECT_EQ(second.refresh(iova(0), 64 * 512 * kPage).error, 0);
  EXPECT_EQ(cost(), least);
}

// START can be killed at each point of its work.
TEST(DirtyLog, StartCanBeKilled) {
  W world(small(port::kContiguous2M));
  world.tables.map(iova(0), world.data(512), kRW, 1);
  world.tables.map_pages(iova(512), world.data(0), 512);
  world.expect_refresh(iova(0), 1024 * kPage);
  const u64 bytes = world.info().pin_bytes;
  faults() = {};
  ASSERT_EQ(world.pins.start_dirty(), 0);
  const u64 occasions = faults().interrupt.occasions();
  EXPECT_GT(occasions, 2u);
  ASSERT_EQ(world.pins.stop_dirty(), 0);
  for (u64 nth = 1; nth <= occasions; ++nth) {
    faults().interrupt.arm(nth);
    EXPECT_EQ(world.pins.start_dirty(), -EINTR);
    faults() = {};
    EXPECT_EQ(world.pins.stop_dirty(), -ENOENT);
    EXPECT_EQ(world.info().pin_bytes, bytes);
  }
  ASSERT_EQ(world.pins.start_dirty(), 0);
  Gfns want = pages(world.data(0), 1024);
  EXPECT_EQ(read(world.pins), want);
  ASSERT_EQ(world.unmap(iova(0), 1024 * kPage), 0);
  EXPECT_EQ(read(world.pins), want);
  EXPECT_EQ(read(world.pins), Gfns{});
}

TEST(DirtyLog, ReadsWhatIsAskedForAndNoMore) {
  W world(small());
  ASSERT_EQ(world.pins.start_dirty(), 0);
  world.tables.map_pages(iova(0), world.data(0), 300);
  world.expect_refresh(iova(0), 300 * kPage);
  ASSERT_EQ(world.unmap(iova(0), 300 * kPage), 0);
  EXPECT_EQ(read(world.pins, world.data(63), 2 * kPage),
            pages(world.data(63), 2));
  EXPECT_EQ(read(world.pins, world.data(63), 2 * kPage), Gfns{});
  EXPECT_EQ(read(world.pins, world.data(70), kPage), pages(world.data(70), 1));
  // Read from before the slot, 64 pages at a time, at an odd distance from the
  // words of the log.
  Gfns want = pages(world.data(0), 300);
  for (u64 gone : {63, 64, 70}) want.erase(world.data(gone) / kPage);
  EXPECT_EQ(read(world.pins, kFirst, 512 * kPage, 64), want);
  EXPECT_EQ(read(world.pins), Gfns{});
}

TEST(DirtyLog, RefusedCallsChangeNothing) {
  W world(small());
  Bits bits;
  EXPECT_EQ(world.pins.read_dirty(0, kPage, &bits), -ENOENT);
  EXPECT_EQ(world.pins.stop_dirty(), -ENOENT);
  ASSERT_EQ(world.pins.start_dirty(), 0);
  EXPECT_EQ(world.pins.start_dirty(), -EEXIST);
  world.tables.map(iova(0), world.data(0));
  world.expect_refresh(iova(0), kPage);
  ASSERT_EQ(world.unmap(iova(0), kPage), 0);
  EXPECT_EQ(world.pins.read_dirty(world.data(0), 0, &bits), -EINVAL);
  EXPECT_EQ(world.pins.read_dirty(world.data(0) + 1, kPage, &bits), -EINVAL);
  EXPECT_EQ(world.pins.read_dirty(world.data(0), kPage + 1, &bits), -EINVAL);
  EXPECT_EQ(world.pins.read_dirty(~u64{0xfff}, 2 * kPage, &bits), -EOVERFLOW);
  EXPECT_EQ(read(world.pins, ~u64{0xffff}, 0x10000), Gfns{});
  EXPECT_EQ(read(world.pins), pages(world.data(0), 1));
  ASSERT_EQ(world.pins.stop_dirty(), 0);
  EXPECT_EQ(world.pins.read_dirty(0, kPage, &bits), -ENOENT);
}

TEST(DirtyLog, StopForgetsAndFreesAll) {
  W world(small());
  world.tables.map_pages(iova(0), world.data(0), 300);
  world.expect_refresh(iova(0), 300 * kPage);
  const u64 bytes = world.info().pin_bytes;
  ASSERT_EQ(world.pins.start_dirty(), 0);
  EXPECT_GE(world.info().pin_bytes, bytes + (kData + kTablesPages) / 8);
  ASSERT_EQ(world.unmap(iova(0), 300 * kPage), 0);
  ASSERT_EQ(world.pins.stop_dirty(), 0);
  ASSERT_EQ(world.pins.start_dirty(), 0);
  EXPECT_EQ(read(world.pins), Gfns{});
  ASSERT_EQ(world.pins.stop_dirty(), 0);
  world.expect_refresh(iova(0), 300 * kPage);
  EXPECT_EQ(world.info().pin_bytes, bytes);
}

TEST(DirtyLog, BitsThatArePutBackAreReadAgain) {
  W world(small());
  ASSERT_EQ(world.pins.start_dirty(), 0);
  world.guest.add_ram(kOther, kOtherPages, port::kShuffled);
  world.tables.map_pages(iova(0), world.data(0), 100);
  world.tables.map_pages(iova(100), kOther, 100);
  world.expect_refresh(iova(0), 200 * kPage);
  ASSERT_EQ(world.unmap(iova(0), 200 * kPage), 0);
  Gfns want = pages(world.data(0), 100);
  want.merge(pages(kOther, 100));
  Bits bits;
  ASSERT_EQ(world.pins.read_dirty(kFirst, kLength, &bits), 0);
  ASSERT_EQ(gfns_of(bits, kFirst, kLength), want);
  EXPECT_EQ(read(world.pins), Gfns{});
  world.pins.put_dirty_back(kFirst, kLength, bits);
  EXPECT_EQ(read(world.pins), want);
  // A slot that was removed meanwhile takes its bits with it.
  world.pins.put_dirty_back(kFirst, kLength, bits);
  world.guest.remove_slot(kOther);
  world.pins.put_dirty_back(kFirst, kLength, bits);
  EXPECT_EQ(read(world.pins), pages(world.data(0), 100));
  // As does a log that has ended.
  ASSERT_EQ(world.pins.stop_dirty(), 0);
  world.pins.put_dirty_back(kFirst, kLength, bits);
}

TEST(DirtyLog, WithoutMemory) {
  W world(small());
  world.tables.map(iova(0), world.data(0));
  world.expect_refresh(iova(0), kPage);
  for (u64 nth = 1; nth <= 2; ++nth) {
    faults().node.arm(nth);
    EXPECT_EQ(world.pins.start_dirty(), -ENOMEM);
    faults() = {};
    EXPECT_EQ(world.pins.stop_dirty(), -ENOENT);
  }
  ASSERT_EQ(world.pins.start_dirty(), 0);
  // A slot that is met later gets its bitmap, or cannot be used.
  world.guest.add_ram(kOther, kOtherPages, port::kShuffled);
  world.tables.map(iova(1), kOther);
  faults().node.arm(2);
  world.expect_stops(iova(1), kPage, iova(1), -ENOMEM,
                     KVM_IOMMU_STATUS_NO_MEMORY);
  EXPECT_EQ(faults().node.fired(), 1u);
  faults() = {};
  world.expect_refresh(iova(1), kPage);
  // Unmapping and reading never allocate.
  faults() = {};
  faults().node.arm_always();
  ASSERT_EQ(world.unmap(iova(1), kPage), 0);
  Gfns want = pages(world.data(0), 1);
  want.merge(pages(kOther, 1));
  EXPECT_EQ(read(world.pins), want);
  ASSERT_EQ(world.unanchor(), 0);
  EXPECT_EQ(read(world.pins), pages(world.data(0), 1));
  ASSERT_EQ(world.pins.stop_dirty(), 0);
  EXPECT_EQ(faults().node.occasions(), 0u);
  faults() = {};
}

TEST(DirtyLog, UnmapTellsWhatWasWritable) {
  W world(small(port::kContiguous2M));
  Bits bits;
  u64 unmapped = 0;
  EXPECT_EQ(world.unmap_writable(iova(0), kPage + 1, &bits, &unmapped),
            -EINVAL);
  world.tables.map(iova(0), world.data(0), kRW, 1);
  world.tables.map_pages(iova(520), world.data(600), 4, kR);
  world.tables.map_pages(iova(530), world.data(700), 2);
  world.expect_refresh(iova(0), 1024 * kPage);
  // All that is writable, and only what was asked for.
  const Bits all = world.writable_pages(iova(500), 64);
  EXPECT_EQ(all, Bits{0xfff | u64{3} << 30});
  ASSERT_EQ(world.unmap_writable(iova(500), 64 * kPage, &bits, &unmapped), 0);
  EXPECT_EQ(bits, all);
  EXPECT_EQ(unmapped, 18u);
  EXPECT_EQ(world.writable_pages(iova(500), 64), Bits{0});
  EXPECT_EQ(world.writable_pages(iova(436), 64), Bits{~u64{0}});
  ASSERT_EQ(world.stop(), 0);
  EXPECT_EQ(world.writable_pages(0, 64), Bits{0});
}

// Threads map and unmap while another one reads: each page that was writable at
// some time is reported at some time.
TEST(DirtyLog, LosesNothingToThreads) {
  constexpr u64 kThreads = 2;
  constexpr u64 kEach = 1024;
  W world(small(port::kContiguous2M));
  for (u64 i = 0; i < kThreads * kEach; ++i) world.tables.clear(iova(i));
  ASSERT_EQ(world.pins.start_dirty(), 0);
  std::atomic<u64> working{kThreads};
  Gfns ever[kThreads];
  std::vector<std::thread> threads;
  for (u64 t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937_64 random(t);
      for (int i = 0; i < 100; ++i) {
        const u64 page = t * kEach + random() % kEach;
        const u64 n = 1 + random() % std::min<u64>(64, (t + 1) * kEach - page);
        const u64 from = random() % (kData - n);
        world.tables.map_pages(iova(page), world.data(from), n);
        EXPECT_EQ(world.refresh(iova(page), n * kPage).error, 0);
        ever[t].merge(pages(world.data(from), n));
        if (random() % 2 == 0) {
          EXPECT_EQ(world.unmap(iova(page), n * kPage), 0);
        }
      }
      --working;
    });
  }
  Gfns told;
  while (working > 0) told.merge(read(world.pins));
  for (std::thread& thread : threads) thread.join();
  told.merge(read(world.pins));
  Gfns want;
  for (Gfns& gfns : ever) want.merge(gfns);
  EXPECT_EQ(told, want);
}

}  // namespace
}  // namespace kiommu::test
