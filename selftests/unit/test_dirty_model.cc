// SPDX-License-Identifier: GPL-2.0-only
//
// The dirty log against a plain set of pages, compared at random moments, with
// several domains of one guest, slots that come and go, and faults.
#include <algorithm>
#include <map>
#include <random>

#include "lib/dirty_world.hpp"

namespace kiommu::test {
namespace {

using namespace dirty;

// Two domains of one guest, with random edits, refreshes, unmaps, slot changes
// and reads, against a plain set.
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

  // Changes a domain, and notes what it can no longer write.
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
            // What the call maps and loses again is not seen here.
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
  Gfns maybe_;  // may be dirty as well
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

}  // namespace
}  // namespace kiommu::test
