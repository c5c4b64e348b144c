// SPDX-License-Identifier: GPL-2.0-only
//
// Large blocks of the hosts (4 MiB and more on AMD, 1 GiB on VT-d, intervals of
// virtio) are split while hosts refuse to map and memory runs out, at each
// place in turn: by refreshes, unmaps, rings, stores, and changes of the
// guest's memory. After each, what is mapped is pinned (the port watches), what
// a call reported as done is done, and what else was lost was reported: by an
// error, by a fault, and in mode TRACKED by pages that are out of sync. Then
// everything comes back.
#include "lib/ring_world.hpp"

namespace kiommu::test {
namespace {

using port::Fault;
using port::Faults;

constexpr u64 kLarge = 512;    // pages of a leaf
constexpr u32 kFaultLost = 9;  // KVM_IOMMU_FAULT_LOST

struct Place {
  const char* name;
  port::HostKind host;
  u64 base;   // first IOVA; the page before it is absent
  u64 pages;  // mapped to contiguous memory
};

// Blocks of 4 and 8 MiB; one of 1 GiB; one interval.
const Place kPlaces[] = {
    {"amd", port::kAmd, 4 * kMiB, 12 * kMiB / kPage},
    {"vtd1G", port::kVtd, kGiB, kGiB / kPage},
    {"virtio", port::kVirtio, 4 * kMiB, 12 * kMiB / kPage},
};

void PrintTo(const Place& place, std::ostream* out) { *out << place.name; }

enum class Way : u8 {
  kRefresh,
  kUnmap,
  kRing,
  kRingUnmap,
  kStore,           // mode TRACKED
  kTrackedRefresh,  // of a page that is out of sync
  kTrackedUnmap,
  kDiscard,  // of memory
  kTrackedDiscard,
};

enum class Edit : u8 {
  kPage,        // one page of a leaf is replaced
  kWholeLeaf,   // all of a leaf is replaced
  kBeginsLate,  // a new page before the block, whose first leaf is replaced
};

struct Case {
  Way way;
  Edit edit;
  const char* name;
};

void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

const Case kCases[] = {
    {Way::kRefresh, Edit::kPage, "RefreshOfAPage"},
    {Way::kRefresh, Edit::kWholeLeaf, "RefreshOfALeaf"},
    {Way::kRefresh, Edit::kBeginsLate, "RefreshFromBefore"},
    {Way::kUnmap, Edit::kPage, "UnmapOfAPage"},
    {Way::kUnmap, Edit::kWholeLeaf, "UnmapOfALeaf"},
    {Way::kRing, Edit::kPage, "RingOfAPage"},
    {Way::kRing, Edit::kWholeLeaf, "RingOfALeaf"},
    {Way::kRing, Edit::kBeginsLate, "RingFromBefore"},
    {Way::kRingUnmap, Edit::kPage, "RingUnmapOfAPage"},
    {Way::kStore, Edit::kPage, "StoreOfAPage"},
    {Way::kStore, Edit::kWholeLeaf, "StoreOfALeaf"},
    {Way::kTrackedRefresh, Edit::kPage, "TrackedRefreshOfAPage"},
    {Way::kTrackedUnmap, Edit::kPage, "TrackedUnmapOfAPage"},
    {Way::kDiscard, Edit::kPage, "DiscardOfAPage"},
    {Way::kTrackedDiscard, Edit::kPage, "TrackedDiscardOfAPage"},
};

// The first two kinds are those by which blocks are lost; the others would only
// repeat themselves in a block of 1 GiB.
struct Kind {
  const char* name;
  Fault Faults::*fault;
  bool of_each_place;
};

const Kind kKinds[] = {{"map", &Faults::map, true},
                       {"node", &Faults::node, true},
                       {"pin", &Faults::pin, false},
                       {"account", &Faults::account, false},
                       {"track", &Faults::track, false}};

bool is_tracked(Way way) {
  return way == Way::kStore || way == Way::kTrackedRefresh ||
         way == Way::kTrackedUnmap || way == Way::kTrackedDiscard;
}

class LostWorld : public RingWorld<VtdSsFormat> {
 public:
  explicit LostWorld(const Place& place)
      : RingWorld(64, kRingGpa,
                  {.machine = {.hosts = {place.host}, .idle_limit = 1 << 20},
                   .data_pages = place.pages + 2 * kLarge}),
        place_(place) {
    // The leaf that changes is mapped by pages, because part of it may change.
    tables.map_pages(leaf_iova(), data(leaf()), kLarge);
    tables.clear(place.base - kPage);
    EXPECT_EQ(open_faults(), 0);
  }
  ~LostWorld() { unfollow(); }

  // Maps everything as one, in the largest blocks.
  void begin(Way way) {
    for (u64 i = 0; i < place_.pages; i += kLarge) {
      if (i != leaf()) tables.map(iova(i), data(i), kRW, 1);
    }
    tables.map_pages(leaf_iova(), data(leaf()), kLarge);
    tables.link(leaf_iova(), 1);
    tables.clear(place_.base - kPage);
    unfollow();
    EXPECT_EQ(unmap_all_pages(), 0);
    expect_refresh(place_.base - kPage, (place_.pages + 1) * kPage);
    if (is_tracked(way)) {
      ASSERT_EQ(follow(way == Way::kTrackedRefresh ? 1 : 0), 0);
    }
    read_faults(128);
    before_ = wanted();
    ASSERT_NO_FATAL_FAILURE(expect_all(before_));
  }

  // Edits, then makes a call. The range of the call, in pages from the base on,
  // may begin at -1. `arm` is called just before the call.
  template <class Arm>
  void change(const Case& c, Arm arm) {
    first_ = leaf();
    count_ = kLarge;
    if (c.edit == Edit::kPage) {
      first_ = leaf() + 100;
      count_ = 1;
    }
    const u64 at = iova(first_);
    switch (c.way) {
      case Way::kUnmap:
      case Way::kTrackedUnmap: {
        arm();
        error_ = unmap(at, count_ * kPage);
        unmapped_ = true;
        break;
      }
      case Way::kRingUnmap:
        arm();
        post(at, count_ * kPage, kUnmap);
        consume_all();
        error_ = status(avail - 1) != 0 ? -EIO : 0;
        unmapped_ = true;
        break;
      case Way::kStore:
        arm();
        if (c.edit == Edit::kPage) {
          store_entry(tables.entry_gpa(at, 0), S::leaf(0, other(0), kRW));
        } else {
          store_entry(tables.entry_gpa(at, 1), S::leaf(1, other(0), kRW));
        }
        break;
      case Way::kTrackedRefresh:
        // With a burst of 1, the first store is also the last one that is
        // followed.
        store_entry(tables.entry_gpa(at + kPage, 0),
                    S::leaf(0, data(first_ + 1), kRW));
        edit(c.edit);
        arm();
        error_ = refresh(at, kPage).error;
        break;
      case Way::kDiscard:
      case Way::kTrackedDiscard:
        guest.exchange(data_hva + first_ * kPage, 1);
        arm();
        pins.memory_changed(data_hva + first_ * kPage, 1);
        unmapped_ = true;
        break;
      case Way::kRefresh:
      case Way::kRing: {
        edit(c.edit);
        u64 from = at;
        if (c.edit == Edit::kBeginsLate) {
          from = place_.base - 2 * kMiB;
          first_ = 0;
          count_ = kLarge;
        }
        const u64 length = at + count_ * kPage - from;
        const u64 all = c.edit == Edit::kBeginsLate ? 4 * kMiB : length;
        arm();
        if (c.way == Way::kRefresh) {
          const RefreshOutcome outcome = refresh(from, all);
          error_ = outcome.error;
          EXPECT_EQ(error_ == 0, outcome.result.status == 0);
        } else {
          post(from, all);
          consume_all();
          error_ = status(avail - 1) != 0 ? -EIO : 0;
        }
        break;
      }
    }
  }

  // Checks the outcome of a change; `fired`: something failed in it.
  void check(const Case& c, bool fired) {
    expect_consistent(*this);
    const std::vector<std::optional<HostPage>> after = wanted();
    bool lost = false;    // outside of the call's range
    bool undone = false;  // within its range
    bool as_told = true;  // all is as the tables say
    for (u64 i = 0; i < place_.pages; ++i) {
      const auto now = at(i);
      const bool asked = i >= first_ && i < first_ + count_;
      if (!asked) {
        ASSERT_TRUE(!now || now == before_[i]) << "page " << i;
        lost |= now != before_[i];
      } else if (unmapped_) {
        ASSERT_EQ(now, kBlocked) << "page " << i;
      } else {
        ASSERT_TRUE(!now || now == before_[i] || now == after[i]);
        undone |= now != after[i];
      }
      if (!asked || !unmapped_) as_told &= now == after[i];
    }
    const auto faults = read_faults(128);
    if (!fired) {
      EXPECT_EQ(error_, 0);
      EXPECT_FALSE(lost || undone);
    }
    if (c.way == Way::kDiscard || c.way == Way::kTrackedDiscard) {
      bool told = false;
      for (const kiommu_fault& fault : faults)
        told |= fault.reason == kFaultLost;
      EXPECT_EQ(told, lost) << "a change of memory loses mappings in silence";
    } else if (c.way == Way::kStore) {
      EXPECT_TRUE(!(lost || undone) || !faults.empty())
          << "a store loses mappings in silence";
    } else {
      EXPECT_TRUE(error_ != 0 || !(lost || undone)) << "success is said";
    }
    if (is_tracked(c.way)) {
      EXPECT_TRUE(as_told || info().unsynced_pages > 0)
          << "what is not as the tables say is in sync";
    }
  }

  // Without failures everything converges to what the tables say. In mode
  // TRACKED a refresh of any page that is out of sync does that.
  void converge(const Case& c) {
    error_ = 0;
    unmapped_ = false;
    expect_refresh(place_.base - kPage, (place_.pages + 1) * kPage);
    expect_all(wanted());
    if (is_tracked(c.way)) {
      EXPECT_EQ(info().unsynced_pages, 0u);
    }
  }

 private:
  // The leaf that changes.
  u64 leaf() const { return kLarge; }
  u64 iova(u64 page) const { return place_.base + page * kPage; }
  u64 leaf_iova() const { return iova(leaf()); }
  u64 other(u64 page) const { return data(place_.pages + page); }
  std::optional<HostPage> at(u64 page) {
    return iommus[0].at(place_.base / kPage + page);
  }

  int unmap_all_pages() {
    kiommu_u64 unmapped = 0;
    return unmap_all(&unmapped);
  }

  void store_entry(u64 gpa, u64 entry) {
    u8 bytes[8];
    S::store(entry, bytes);
    guest.write(gpa, bytes, sizeof(bytes));
    if (guest.is_tracked(gpa / kPage)) stored(gpa, sizeof(bytes));
  }

  void edit(Edit edit) {
    switch (edit) {
      case Edit::kPage:
        tables.map(leaf_iova() + 100 * kPage, other(0));
        return;
      case Edit::kWholeLeaf:
        tables.map(leaf_iova(), other(0), kRW, 1);
        return;
      case Edit::kBeginsLate:
        tables.map(place_.base - kPage, other(kLarge));
        tables.map(place_.base, other(0), kRW, 1);
        return;
    }
  }

  // What the tables say, by leaves.
  std::vector<std::optional<HostPage>> wanted() {
    std::vector<std::optional<HostPage>> all(place_.pages);
    const auto read = [&](u64 gpa, u8* bytes) -> unsigned {
      guest.read(gpa, bytes, 8);
      return KVM_IOMMU_STATUS_OK;
    };
    const auto answer = [&](u64 page) {
      return Spec<VtdSsFormat>::translate(read, tables.anchor(), iova(page));
    };
    for (u64 i = 0; i < place_.pages; i += kLarge) {
      const bool whole = i != leaf();
      const Answer first = answer(i);
      for (u64 j = 0; j < kLarge; ++j) {
        const Answer one = whole ? first : answer(i + j);
        if (one.status != KVM_IOMMU_STATUS_OK) continue;
        all[i + j] = frame(one.gpa + (whole ? j * kPage : 0), one.rights);
      }
    }
    return all;
  }
  void expect_all(const std::vector<std::optional<HostPage>>& pages) {
    for (u64 i = 0; i < place_.pages; ++i) {
      ASSERT_EQ(at(i), pages[i]) << "page " << i;
    }
  }

  const Place& place_;
  std::vector<std::optional<HostPage>> before_;
  u64 first_ = 0;
  u64 count_ = 0;
  int error_ = 0;
  bool unmapped_ = false;
};

class Lost : public testing::TestWithParam<std::tuple<Place, Case>> {};

TEST_P(Lost, IsToldAndComesBack) {
  const auto& [place, c] = GetParam();
  LostWorld world(place);
  for (const Kind& kind : kKinds) {
    if (!kind.of_each_place && place.host.page_sizes != port::kAmd.page_sizes) {
      continue;
    }
    // Once, twice, and for as long as the call lasts.
    for (const u64 times : {1, 2, 1000}) {
      for (u64 nth = 1;; ++nth) {
        SCOPED_TRACE(testing::Message() << kind.name << " number " << nth
                                        << ", " << times << " times");
        faults() = {};
        ASSERT_NO_FATAL_FAILURE(world.begin(c.way));
        world.change(c, [&] { (faults().*kind.fault).arm(nth, times); });
        const bool fired = (faults().*kind.fault).fired() > 0;
        faults() = {};
        ASSERT_NO_FATAL_FAILURE(world.check(c, fired));
        world.converge(c);
        if (testing::Test::HasFailure()) return;
        if (!fired) break;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Blocks, Lost,
                         testing::Combine(testing::ValuesIn(kPlaces),
                                          testing::ValuesIn(kCases)),
                         [](const auto& info) {
                           return std::string(std::get<0>(info.param).name) +
                                  "_" + std::get<1>(info.param).name;
                         });

}  // namespace
}  // namespace kiommu::test
