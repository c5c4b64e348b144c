// SPDX-License-Identifier: GPL-2.0-only
//
// The sparse array that holds the shadow, against std::map.
#include "base/radix.hpp"

#include <map>
#include <random>
#include <set>

#include "fake_port/allocations.hpp"
#include "lib/world.hpp"

namespace kiommu::test {
namespace {

constexpr u64 kKeyBits = 52;
constexpr u64 kLastKey = (u64{1} << kKeyBits) - 1;

class RadixTest : public testing::Test {
 protected:
  RadixTest() {
    faults() = {};
    monitor_ = kiommu_port_mutex_create();
  }
  ~RadixTest() override {
    faults() = {};
    kiommu_port_mutex_destroy(monitor_);
  }

  bool put(Radix& tree, u64 key, u64 word) {
    auto leaf = tree.ensure(key);
    if (!leaf) return false;
    if (leaf->at(key) == 0) leaf->add_used(1);
    leaf->at(key) = word;
    return true;
  }
  void erase(Radix& tree, u64 key) {
    const Radix::Leaf leaf = tree.find(key);
    leaf.at(key) = 0;
    leaf.sub_used(1);
    tree.prune(key);
  }

  NodePool pool_{u64{1} << 30};
  kiommu_mutex* monitor_;
};

TEST_F(RadixTest, BehavesAsAMap) {
  for (u32 seed = 1; seed <= 20; ++seed) {
    std::mt19937_64 random(seed);
    Radix tree(pool_, monitor_);
    std::map<u64, u64> model;
    const auto some_key = [&] {
      // Clustered keys, of all magnitudes.
      const u64 cluster = (random() & 7) << (random() % 6 * 8 + 3);
      return (cluster + random() % 600) & kLastKey;
    };
    for (int i = 0; i < 3000; ++i) {
      const u64 key = some_key();
      if (random() % 3 != 0) {
        ASSERT_TRUE(put(tree, key, key + 1));
        model[key] = key + 1;
      } else if (model.erase(key) > 0) {
        erase(tree, key);
      }
      const u64 asked = some_key();
      const Radix::Leaf leaf = tree.find(asked);
      const auto known = model.find(asked);
      ASSERT_EQ(leaf ? leaf.at(asked) : 0,
                known == model.end() ? 0 : known->second);
    }
    // next() visits each leaf once, in order.
    std::set<u64> bases;
    for (const auto& [key, word] : model) bases.insert(key & ~u64{511});
    u64 at = 0;
    for (u64 base : bases) {
      const Radix::Leaf leaf = tree.next(at, kLastKey);
      ASSERT_TRUE(leaf);
      ASSERT_EQ(leaf.base, base);
      at = base + 512;
    }
    ASSERT_FALSE(tree.next(at, kLastKey));
    for (const auto& [key, word] : model) erase(tree, key);
    ASSERT_EQ(pool_.bytes(), 0u);
  }
}

TEST_F(RadixTest, NextStopsAtLast) {
  Radix tree(pool_, monitor_);
  ASSERT_TRUE(put(tree, 5000, 1));
  EXPECT_FALSE(tree.next(0, 4607));
  EXPECT_TRUE(tree.next(0, 4608));
  EXPECT_TRUE(tree.next(5119, 5119));
  EXPECT_FALSE(tree.next(5120, kLastKey));
  EXPECT_FALSE(tree.next(6000, 5999));
}

TEST_F(RadixTest, EndsOfTheKeySpace) {
  Radix tree(pool_, monitor_);
  ASSERT_TRUE(put(tree, 0, 1));
  ASSERT_TRUE(put(tree, kLastKey, 2));
  EXPECT_EQ(tree.find(0).at(0), 1u);
  EXPECT_EQ(tree.find(kLastKey).at(kLastKey), 2u);
  EXPECT_EQ(tree.next(512, kLastKey).last_key(), kLastKey);
}

TEST_F(RadixTest, EachAllocationThatFailsLeavesAllAsItWas) {
  for (u64 nth = 1;; ++nth) {
    Radix tree(pool_, monitor_);
    ASSERT_TRUE(put(tree, 3, 1));
    const u64 before = pool_.bytes();
    faults().node.arm(nth);
    const bool done = put(tree, kLastKey - 7, 1);
    faults().node.disarm();
    EXPECT_EQ(tree.find(3).at(3), 1u);
    if (done) {
      EXPECT_GT(nth, 5u);
      break;
    }
    EXPECT_FALSE(tree.find(kLastKey - 7));
    ASSERT_TRUE(put(tree, kLastKey - 7, 1));
    erase(tree, kLastKey - 7);
    erase(tree, 3);
    EXPECT_EQ(pool_.bytes(), 0u) << nth << ", before " << before;
  }
}

TEST_F(RadixTest, LimitIsExact) {
  NodePool pool(3 * 4096);
  Radix tree(pool, monitor_);
  ASSERT_TRUE(put(tree, 0, 1));    // a top and a leaf
  ASSERT_TRUE(put(tree, 512, 1));  // a leaf
  EXPECT_FALSE(put(tree, 1024, 1));
  EXPECT_EQ(pool.bytes(), 3u * 4096);
  erase(tree, 512);
  EXPECT_TRUE(put(tree, 1024, 1));
}

// A run is one word for 512 keys, costs no node, and becomes a leaf that the
// caller fills.
TEST_F(RadixTest, RunStandsForAWholeLeaf) {
  Radix tree(pool_, monitor_);
  ASSERT_TRUE(put(tree, 5, 1));
  const u64 before = pool_.bytes();
  ASSERT_TRUE(tree.make_run(512, 0x77000));
  EXPECT_EQ(pool_.bytes(), before);
  Radix::Leaf run = tree.find(1023);
  ASSERT_TRUE(run.is_run());
  EXPECT_EQ(run.run(), 0x77000 | Radix::kRun);
  EXPECT_EQ(run.base, 512u);
  run.set_run(0x88000);
  run = tree.next(6, 512);
  EXPECT_EQ(run.base, 0u);
  run = tree.next(512, 512);
  EXPECT_EQ(run.run(), 0x88000 | Radix::kRun);
  faults().node.arm(1);
  EXPECT_FALSE(tree.expand(run));
  EXPECT_TRUE(tree.find(600).is_run());
  const auto leaf = tree.expand(run);
  ASSERT_TRUE(leaf);
  EXPECT_FALSE(leaf->is_run());
  EXPECT_EQ(pool_.bytes(), before + 4096);
  leaf->sub_used(512);
  tree.prune(512);
  EXPECT_FALSE(tree.find(600));
  EXPECT_EQ(pool_.bytes(), before);
}

TEST_F(RadixTest, RunIsPrunedAsAWholeAndItsPathWithIt) {
  Radix tree(pool_, monitor_);
  ASSERT_TRUE(tree.make_run(kLastKey, 0x1000));
  ASSERT_TRUE(tree.make_run(u64{1} << 40, 0x1000));
  tree.prune(u64{1} << 40);
  EXPECT_FALSE(tree.find(u64{1} << 40));
  EXPECT_TRUE(tree.find(kLastKey - 511));
  tree.prune(kLastKey);
  EXPECT_EQ(pool_.bytes(), 0u);
}

TEST_F(RadixTest, EachAllocationThatFailsLeavesNoRun) {
  for (u64 nth = 1;; ++nth) {
    Radix tree(pool_, monitor_);
    faults().node.arm(nth);
    const auto run = tree.make_run(kLastKey, 0x1000);
    faults().node.disarm();
    if (run) {
      EXPECT_GT(nth, 5u);
      break;
    }
    EXPECT_FALSE(tree.find(kLastKey));
    EXPECT_EQ(pool_.bytes(), 0u) << nth;
  }
}

TEST_F(RadixTest, EndFreesWhatIsLeft) {
  const std::int64_t nodes = port::live_allocations();
  {
    Radix tree(pool_, monitor_);
    for (u64 i = 0; i < 50; ++i) ASSERT_TRUE(put(tree, i * 7919 * 7919, 1));
  }
  EXPECT_EQ(port::live_allocations(), nodes);
  EXPECT_EQ(pool_.bytes(), 0u);
}

TEST_F(RadixTest, HollowsAreFoundByNobodyAndStayReserved) {
  NodePool pool(6 * KIOMMU_NODE_BYTES);
  {
    Radix tree(pool, monitor_);
    constexpr auto kHollow = Radix::Keep::kHollow;
    // The node above, and four leaves or runs.
    for (u64 key = 0; key < 4 * 512; key += 512) {
      if (key == 512) {
        ASSERT_TRUE(tree.make_run(key, 1 << 12));
      } else {
        ASSERT_TRUE(tree.ensure(key));
      }
      tree.prune(key, kHollow);
      // Once more changes nothing.
      tree.prune(key, kHollow);
      EXPECT_FALSE(tree.find(key));
    }
    EXPECT_FALSE(tree.next(0, kLastKey));
    EXPECT_EQ(tree.hollows(), 4u);
    EXPECT_EQ(pool.bytes(), u64{KIOMMU_NODE_BYTES});
    // Room for one more.
    ASSERT_TRUE(tree.ensure(4 * 512));
    EXPECT_EQ(tree.ensure(5 * 512).error(), Status::kShadowLimit);
    EXPECT_EQ(tree.make_run(5 * 512, 1 << 12).error(), Status::kShadowLimit);
    // A hollow needs no room, whatever it was, and stays if memory is short.
    faults().node.arm(1);
    EXPECT_EQ(tree.ensure(512).error(), Status::kNoMemory);
    EXPECT_EQ(tree.hollows(), 4u);
    faults() = {};
    ASSERT_TRUE(tree.ensure(512));
    ASSERT_TRUE(tree.make_run(0, 3 << 12));
    EXPECT_EQ(tree.hollows(), 2u);
    EXPECT_EQ(tree.next(0, kLastKey).base, 0u);
    EXPECT_EQ(tree.next(512, kLastKey).base, 512u);
    EXPECT_EQ(tree.next(1024, kLastKey).base, 4u * 512);
    tree.prune(512, kHollow);
    tree.prune(4 * 512);
    // Leaves and runs stay.
    tree.drop_hollows();
    EXPECT_EQ(tree.hollows(), 0u);
    EXPECT_TRUE(tree.find(0).is_run());
    for (u64 key = 512; key < 5 * 512; key += 512) {
      EXPECT_TRUE(tree.ensure(key)) << key;
      tree.prune(key, kHollow);
    }
  }
  // All of it came back.
  EXPECT_EQ(pool.bytes(), 0u);
  for (int i = 0; i < 6; ++i) EXPECT_TRUE(pool.reserve());
  EXPECT_FALSE(pool.reserve());
}

}  // namespace
}  // namespace kiommu::test
