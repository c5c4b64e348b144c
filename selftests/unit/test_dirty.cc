// SPDX-License-Identifier: GPL-2.0-only
//
// The dirty log: compared, at random moments, with a plain set of pages; over
// several domains of one guest, slots that come and go, faults, and threads.
#include <algorithm>
#include <atomic>
#include <random>
#include <set>
#include <thread>

#include "world.hpp"

namespace kiommu::test {
namespace {

using W = World<VtdSsFormat>;
using Bits = std::vector<kiommu_u64>;
using Gfns = std::set<u64>;

constexpr u64 kBase = kGiB;          // first IOVA
constexpr u64 kPages = 2048;         // of IOVA
constexpr u64 kAll = kPages + 1024;  // and those of large pages in the model
constexpr u64 kData = 4096;          // pages of memory
constexpr u64 kLarge = 2048;         // more of it, for large pages in the model
// A slot that comes and goes, with odd ends.
constexpr u64 kOther = kDataGpa + kGiB + 5 * kPage;
constexpr u64 kOtherPages = 700;
// All of the memory that devices use, and what is around it.
constexpr u64 kFirst = kDataGpa - 3 * kPage;
constexpr u64 kLength = kOther + (kOtherPages + 77) * kPage - kFirst;

u64 iova(u64 page) { return kBase + page * kPage; }

Gfns gfns_of(const Bits& bits, u64 gpa, u64 length) {
  Gfns found;
  for (u64 i = 0; i < bits.size() * 64; ++i) {
    if ((bits[i / 64] >> (i % 64) & 1) == 0) continue;
    EXPECT_LT(i, length / kPage) << "a bit beyond the range";
    found.insert(gpa / kPage + i);
  }
  return found;
}

Gfns read(port::PinTable& pins, u64 gpa = kFirst, u64 length = kLength,
          u64 part = 1 << 15) {
  Bits bits;
  EXPECT_EQ(pins.read_dirty(gpa, length, &bits, part), 0);
  return gfns_of(bits, gpa, length);
}

// The pages from GPA `gpa` on.
Gfns pages(u64 gpa, u64 count) {
  Gfns all;
  for (u64 i = 0; i < count; ++i) all.insert(gpa / kPage + i);
  return all;
}

WorldOptions small(unsigned order = port::kShuffled) {
  return {.data_pages = kData, .data_order = order};
}

TEST(DirtyLog, TellsWhatIsWritableAndWhatWas) {
  W world(small());
  world.tables.map_pages(iova(0), world.data(0), 8);
  world.tables.map_pages(iova(8), world.data(8), 8, kR);
  world.expect_refresh(iova(0), 16 * kPage);
  ASSERT_EQ(world.pins.start_dirty(), 0);
  // Mapped before, and writable now: each time.
  EXPECT_EQ(read(world.pins), pages(world.data(0), 8));
  EXPECT_EQ(read(world.pins), pages(world.data(0), 8));
  ASSERT_EQ(world.unmap(iova(0), 4 * kPage), 0);
  EXPECT_EQ(read(world.pins), pages(world.data(0), 8));
  // What was unmapped: once.
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
  ASSERT_EQ(world.unmap(iova(0), 8 * kPage), 0);
  EXPECT_EQ(read(world.pins), pages(world.data(4), 4));
}

TEST(DirtyLog, LargePages) {
  W world(small(port::kContiguous2M));
  ASSERT_EQ(world.pins.start_dirty(), 0);
  world.tables.map(iova(0), world.data(512), kRW, 1);
  world.expect_refresh(iova(0), 512 * kPage);
  EXPECT_EQ(read(world.pins), pages(world.data(512), 512));
  // A part of it goes, then the rest as a whole.
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
  // From before the slot, a chunk at a time, at any distance from the words.
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
  EXPECT_EQ(world.pins.read_dirty(world.data(0), 0, &bits), -EDOM);
  EXPECT_EQ(world.pins.read_dirty(world.data(0) + 1, kPage, &bits), -EDOM);
  EXPECT_EQ(world.pins.read_dirty(world.data(0), kPage + 1, &bits), -EDOM);
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
  // A slot that is gone meanwhile takes its bits with it.
  world.pins.put_dirty_back(kFirst, kLength, bits);
  world.guest.remove_slot(kOther);
  world.pins.put_dirty_back(kFirst, kLength, bits);
  EXPECT_EQ(read(world.pins), pages(world.data(0), 100));
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
  // A region that is learnt later brings its bitmap, or cannot be used.
  world.guest.add_ram(kOther, kOtherPages, port::kShuffled);
  world.tables.map(iova(1), kOther);
  faults().node.arm(2);
  world.expect_stops(iova(1), kPage, iova(1), -ENOMEM,
                     KVM_IOMMU_STATUS_NO_MEMORY);
  EXPECT_EQ(faults().node.fired(), 1u);
  faults() = {};
  world.expect_refresh(iova(1), kPage);
  // What unmaps and reads never allocates.
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
  EXPECT_EQ(world.unmap_writable(iova(0), kPage + 1, &bits, &unmapped), -EDOM);
  world.tables.map(iova(0), world.data(0), kRW, 1);
  world.tables.map_pages(iova(520), world.data(600), 4, kR);
  world.tables.map_pages(iova(530), world.data(700), 2);
  world.expect_refresh(iova(0), 1024 * kPage);
  // All that is mapped, and only what was asked for.
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

// Two domains of one guest, edits, refreshes, unmaps, slots, reads at random:
// the log against a plain set.
class DirtyModel {
 public:
  DirtyModel(u32 seed, bool with_faults)
      : random_(seed),
        with_faults_(with_faults),
        world_({.machine = {.hosts = {seed % 2 ? port::kVtd : port::kVirtio},
                            .idle_limit = seed % 3 * 64},
                .data_pages = kData + kLarge,
                .data_order =
                    seed % 4 < 2 ? port::kContiguous2M : port::kShuffled}),
        second_(world_.host, world_.pins, world_.ledger,
                {.hosts = {port::kAmd}}) {
    EXPECT_EQ(second_.start(), 0);
    EXPECT_EQ(second_.anchor(world_.tables.anchor()), 0);
    other_hva_ = world_.guest.add_ram(kOther, kOtherPages, port::kShuffled);
  }

  void run(int steps) {
    ASSERT_EQ(world_.pins.start_dirty(), 0);
    for (int step = 0; step < steps; ++step) {
      SCOPED_TRACE(testing::Message() << "step " << step);
      this->step();
      if (testing::Test::HasFailure()) return;
    }
  }

 private:
  // What a domain can write: IOVA page and GFN.
  using Writable = std::set<std::pair<u64, u64>>;

  u64 pick(u64 below) { return random_() % below; }

  Writable writable(port::DmaDomain& domain) {
    Writable pages;
    for (const auto& [page, to] : snapshot(domain.iommus[0])) {
      if ((to.rights & kW) == 0) continue;
      const auto gfn = gfn_of_pfn_.find(to.pfn);
      EXPECT_NE(gfn, gfn_of_pfn_.end());
      pages.insert({page, gfn->second});
    }
    return pages;
  }

  void learn(u64 gpa, u64 hva, u64 count) {
    for (u64 i = 0; i < count; ++i) {
      gfn_of_pfn_[world_.guest.page_at(hva + i * kPage).pfn] = gpa / kPage + i;
    }
  }

  void edit() {
    const u64 page = pick(kPages);
    const u64 count = 1 + pick(pick(4) == 0 ? 600 : 8);
    const unsigned rights = pick(4) == 0 ? kR : kRW;
    const u64 from = pick(kData);
    switch (pick(8)) {
      case 0: {
        const u64 at = iova(kPages + pick(2) * 512);
        world_.tables.map(at, world_.data(kData + pick(kLarge / 512) * 512),
                          rights, 1);
        if (pick(3) == 0) world_.tables.clear(at, 1);
        return;
      }
      case 1:
        if (pick(2) == 0) world_.tables.link(iova(page), 1);
        return;
      default:
        break;
    }
    world_.tables.link(iova(page), 1);
    for (u64 i = page; i < std::min(kPages, page + count); ++i) {
      if (i % 512 == 0) world_.tables.link(iova(i), 1);
      const bool other = from % 5 == 0;
      const u64 gpa = other ? kOther + (from + i) % kOtherPages * kPage
                            : world_.data((from + i) % kData);
      if (rights == kR && from % 2 == 0) {
        world_.tables.clear(iova(i));
      } else {
        world_.tables.map(iova(i), gpa, rights);
      }
    }
  }

  // Does something to a domain, and notes what it can write no more.
  template <class Function>
  void change(port::DmaDomain& domain, Function function) {
    learn(kDataGpa, world_.data_hva, kData + kLarge);
    learn(kOther, other_hva_, kOtherPages);
    const Writable before[] = {writable(world_), writable(second_)};
    function(domain);
    faults() = {};
    const Writable after[] = {writable(world_), writable(second_)};
    for (unsigned i = 0; i < 2; ++i) {
      for (const auto& page : before[i]) {
        if (after[i].count(page) == 0) dirty_.insert(page.second);
      }
    }
  }

  void change_slot() {
    change(world_, [&](port::DmaDomain&) {
      world_.guest.remove_slot(kOther);
      world_.pins.slots_changed();
    });
    world_.guest.add_slot(kOther, kOtherPages, other_hva_);
    for (u64 gfn : pages(kOther, kOtherPages)) {
      dirty_.erase(gfn);
      maybe_.erase(gfn);
    }
  }

  void step() {
    for (u64 edits = pick(5); edits > 0; --edits) edit();
    port::DmaDomain& domain = pick(2) == 0 ? world_ : second_;
    const u64 page = pick(kAll);
    const u64 count = 1 + pick(kAll - page);
    switch (pick(10)) {
      case 0:
        return change(domain, [&](port::DmaDomain& d) {
          EXPECT_EQ(d.unanchor(), 0);
          EXPECT_EQ(d.anchor(world_.tables.anchor()), 0);
        });
      case 1:
        return change_slot();
      case 2:
      case 3:
        return change(domain, [&](port::DmaDomain& d) {
          EXPECT_EQ(d.unmap(iova(page), count * kPage), 0);
        });
      case 4:
        if (pick(4) == 0) {
          EXPECT_EQ(world_.pins.stop_dirty(), 0);
          EXPECT_EQ(world_.pins.start_dirty(), 0);
          dirty_.clear();
          maybe_.clear();
        }
        return;
      case 5:
        return check(kFirst, kLength);
      case 6:
        return check(kDataGpa + pick(kData) * kPage - 100 * kPage,
                     (1 + pick(300)) * kPage);
      default:
        return change(domain, [&](port::DmaDomain& d) {
          if (with_faults_ && pick(2) == 0) {
            // What the call may map before it loses it is not seen here.
            faults().map.arm(1 + pick(3));
            maybe_.merge(pages(kDataGpa, kData + kLarge));
            maybe_.merge(pages(kOther, kOtherPages));
          }
          const int error = d.refresh(iova(page), count * kPage).error;
          EXPECT_TRUE(error == 0 || with_faults_) << error;
        });
    }
  }

  void check(u64 gpa, u64 length) {
    learn(kDataGpa, world_.data_hva, kData + kLarge);
    learn(kOther, other_hva_, kOtherPages);
    Gfns want = dirty_;
    for (port::DmaDomain* domain : {(port::DmaDomain*)&world_, &second_}) {
      for (const auto& page : writable(*domain)) want.insert(page.second);
    }
    const u64 first = gpa / kPage;
    const u64 end = first + length / kPage;
    std::erase_if(want, [&](u64 gfn) { return gfn < first || gfn >= end; });
    Bits bits;
    ASSERT_EQ(world_.pins.read_dirty(gpa, length, &bits, 64 * (1 + pick(40))),
              0);
    const Gfns got = gfns_of(bits, gpa, length);
    for (u64 gfn : want) ASSERT_TRUE(got.count(gfn)) << "lost: " << gfn;
    for (u64 gfn : got) {
      ASSERT_TRUE(want.count(gfn) || maybe_.count(gfn)) << "clean: " << gfn;
    }
    const auto gone = [&](u64 gfn) { return gfn >= first && gfn < end; };
    std::erase_if(dirty_, gone);
    std::erase_if(maybe_, gone);
    if (pick(4) > 0) return;
    world_.pins.put_dirty_back(gpa, length, bits);
    dirty_.insert(got.begin(), got.end());
  }

  std::mt19937_64 random_;
  bool with_faults_;
  W world_;
  port::DmaDomain second_;
  u64 other_hva_ = 0;
  std::map<u64, u64> gfn_of_pfn_;
  Gfns dirty_;  // and not read since
  Gfns maybe_;  // may be so as well
};

TEST(DirtyLog, AgreesWithAPlainSet) {
  for (u32 seed = 1; seed <= 16 && !testing::Test::HasFailure(); ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    DirtyModel(seed, false).run(80);
  }
}

TEST(DirtyLog, LosesNothingUnderFaults) {
  for (u32 seed = 1; seed <= 8 && !testing::Test::HasFailure(); ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    DirtyModel(seed, true).run(80);
  }
}

// Threads map and unmap while another one reads: what was writable at any time
// is read at some time.
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
