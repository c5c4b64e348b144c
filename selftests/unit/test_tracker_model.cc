// SPDX-License-Identifier: GPL-2.0-only
//
// Mode TRACKED against a fresh domain after each store: a guest stores at
// random, whole entries and parts of them, to tables that are linked at random,
// below each other and below themselves.
#include <cstdlib>
#include <random>
#include <type_traits>

#include "lib/tracked_world.hpp"

namespace kiommu::test {
namespace {

template <class Format>
class TrackerModel {
 public:
  using S = Spec<Format>;

  explicit TrackerModel(u32 seed) : random_(seed) {
    for (unsigned level = 0; level < world_.tables.top(); ++level) {
      for (int i = 0; i < 3; ++i) {
        tables_.push_back({level, world_.tables.new_table(level)});
      }
    }
    tables_.push_back({world_.tables.top(), world_.tables.root()});
    EXPECT_EQ(world_.follow(pick(2) ? 0 : 5), 0);
  }

  void run(int steps) {
    for (int i = 0; i < steps && !testing::Test::HasFailure(); ++i) {
      SCOPED_TRACE(testing::Message() << "step " << i);
      store_something();
      if (pick(25) == 0) move_slot();
      if (world_.info().unsynced_pages > 0) {
        refresh_all();
        // A page that is used in too many places stays out of sync.
        if (world_.info().unsynced_pages > 0) {
          expect_same_shadow();
          continue;
        }
      }
      world_.expect_tracked();
    }
  }

 private:
  struct Table {
    unsigned level;
    u64 gpa;
  };

  u64 pick(u64 below) { return random_() % below; }

  u64 some_entry(unsigned level) {
    const u64 kind = pick(10);
    if (kind < 2) return S::absent(level);
    if (kind < 8 && level > 0) {
      // One in eight is a table of any level, even the table itself.
      const bool any = pick(8) == 0;
      for (;;) {
        const Table& below = tables_[pick(tables_.size())];
        if (any || below.level + 1 == level) {
          return S::table(level, below.gpa, pick(4) ? kRW : kR);
        }
      }
    }
    if (kind == 8) {
      const auto bad = S::malformed(level);
      if (!bad.empty()) return bad[pick(bad.size())].entry;
    }
    if (level > 1 || !S::has_leaf(level)) return S::absent(level);
    const u64 bytes = u64{1} << S::shift(level);
    return S::leaf(level, kDataGpa + pick(4) * bytes, pick(3) ? kRW : kR);
  }

  void store_something() {
    const Table& table = tables_[pick(tables_.size())];
    const u64 indexes[] = {0, 1, 2, S::entries(table.level) - 1};
    const u64 at = table.gpa + 8 * indexes[pick(4)];
    u8 bytes[16];
    world_.guest.read(at, bytes, 8);
    S::store(some_entry(table.level), bytes);
    switch (pick(4)) {
      case 0: {
        const unsigned half = pick(2) * 4;
        world_.store_bytes(at + half, bytes + half, 4);
        break;
      }
      case 1: {
        const unsigned i = pick(8);
        world_.store_bytes(at + i, bytes + i, 1);
        break;
      }
      case 2:
        if (at % 16 == 0) {
          S::store(some_entry(table.level), bytes + 8);
          world_.store_bytes(at, bytes, 16);
          break;
        }
        [[fallthrough]];
      default:
        world_.store_bytes(at, bytes, 8);
    }
  }

  void refresh_all() {
    // Bad entries stop a refresh; how much they span is not known here.
    const u64 reach = world_.tables.reach();
    const u64 end = reach != 0 ? reach : u64{1} << 63;
    u64 iova = 0;
    u64 step = kPage;
    while (iova < end) {
      const RefreshOutcome outcome = world_.refresh(iova, end - iova);
      if (outcome.error == 0) break;
      const u64 stopped = outcome.result.stopped_iova;
      step = stopped == iova ? 2 * step : kPage;
      iova = (stopped & ~(step - 1)) + step;
    }
  }

  // The slot of the tables or that of the data goes, and comes back.
  void move_slot() {
    const u64 gpa = pick(2) ? kTablesGpa : kDataGpa;
    const kiommu_slot slot = *world_.guest.slot_of(gpa);
    world_.guest.remove_slot(gpa);
    world_.pins.slots_changed();
    if (gpa == kTablesGpa) {
      EXPECT_EQ(world_.info().tracked_pages, 0u);
      EXPECT_EQ(world_.info().mapped_pages, 0u);
    }
    world_.guest.add_slot(gpa, slot.pages, slot.hva);
    // This is up to the VMM: nothing reports memory that is added.
    world_.unfollow();
    EXPECT_EQ(world_.follow(pick(2) ? 0 : 5), 0);
  }

  void expect_same_shadow() {
    port::DmaDomain fresh(world_.host, world_.pins, world_.ledger);
    EXPECT_EQ(fresh.start(), 0);
    EXPECT_EQ(fresh.anchor(world_.tables.anchor()), 0);
    EXPECT_EQ(fresh.follow(), 0);
    EXPECT_TRUE(snapshot(fresh.iommus[0]) == snapshot(world_.iommus[0]));
    EXPECT_EQ(fresh.stop(), 0);
  }

  std::mt19937_64 random_;
  TrackedWorld<Format> world_;
  std::vector<Table> tables_;
};

// Where tables of all levels can be linked anywhere, there is more to map.
template <class Format>
u32 seeds() {
  const char* asked = std::getenv("KIOMMU_SEEDS");
  if (asked != nullptr) return static_cast<u32>(std::atoi(asked));
  return std::is_same_v<Format, VtdSsFormat> ||
                 std::is_same_v<Format, X86FsFormat>
             ? 60
             : 12;
}

template <class F>
class TrackerModelTest : public FormatTest<F> {};
using X86Formats =
    testing::Types<VtdSsFormat, AmdV1Format, X86FsFormat, ZpciFormat>;
TYPED_TEST_SUITE(TrackerModelTest, X86Formats);

TYPED_TEST(TrackerModelTest, SameAsOneThatBeginsAnew) {
  for (u32 seed = 1; seed <= seeds<TypeParam>(); ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    TrackerModel<TypeParam>(seed).run(60);
    if (testing::Test::HasFailure()) break;
  }
}

}  // namespace
}  // namespace kiommu::test
