// SPDX-License-Identifier: GPL-2.0-only
//
// The sparse array that holds shadow and pins, against std::map.
#include "../../kvm-iommu/core/radix.hpp"

#include <map>
#include <random>
#include <set>

#include "../port/nodes.hpp"
#include "world.hpp"

namespace kiommu::test {
namespace {

constexpr u64 kKeyBits = 52;
constexpr u64 kLastKey = (u64{1} << kKeyBits) - 1;

class RadixTest : public testing::Test {
 protected:
  RadixTest() { faults() = {}; }
  ~RadixTest() override { faults() = {}; }

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
};

TEST_F(RadixTest, BehavesAsAMap) {
  for (u32 seed = 1; seed <= 20; ++seed) {
    std::mt19937_64 random(seed);
    Radix tree(pool_);
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
  Radix tree(pool_);
  ASSERT_TRUE(put(tree, 5000, 1));
  EXPECT_FALSE(tree.next(0, 4607));
  EXPECT_TRUE(tree.next(0, 4608));
  EXPECT_TRUE(tree.next(5119, 5119));
  EXPECT_FALSE(tree.next(5120, kLastKey));
  EXPECT_FALSE(tree.next(6000, 5999));
}

TEST_F(RadixTest, EndsOfTheKeySpace) {
  Radix tree(pool_);
  ASSERT_TRUE(put(tree, 0, 1));
  ASSERT_TRUE(put(tree, kLastKey, 2));
  EXPECT_EQ(tree.find(0).at(0), 1u);
  EXPECT_EQ(tree.find(kLastKey).at(kLastKey), 2u);
  EXPECT_EQ(tree.next(512, kLastKey).last_key(), kLastKey);
}

TEST_F(RadixTest, EachAllocationThatFailsLeavesAllAsItWas) {
  for (u64 nth = 1;; ++nth) {
    Radix tree(pool_);
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
  Radix tree(pool);
  ASSERT_TRUE(put(tree, 0, 1));    // a top and a leaf
  ASSERT_TRUE(put(tree, 512, 1));  // a leaf
  EXPECT_FALSE(put(tree, 1024, 1));
  EXPECT_EQ(pool.bytes(), 3u * 4096);
  erase(tree, 512);
  EXPECT_TRUE(put(tree, 1024, 1));
}

TEST_F(RadixTest, MarksAreTakenOnceEach) {
  std::mt19937_64 random(7);
  Radix tree(pool_);
  std::set<u64> marked;
  for (int i = 0; i < 300; ++i) {
    const u64 key = random() & kLastKey >> (random() % 40);
    ASSERT_TRUE(put(tree, key, 1));
    if (i % 3 == 0) {
      tree.mark(key);
      marked.insert(key & ~u64{511});
    }
  }
  while (const Radix::Leaf leaf = tree.take_marked()) {
    EXPECT_EQ(marked.erase(leaf.base), 1u);
  }
  EXPECT_TRUE(marked.empty());
}

TEST_F(RadixTest, MarksOutliveGrowthAndPruning) {
  Radix tree(pool_);
  ASSERT_TRUE(put(tree, 1, 1));
  tree.mark(1);
  ASSERT_TRUE(put(tree, kLastKey, 1));  // grows
  ASSERT_TRUE(put(tree, 600, 1));
  tree.mark(600);
  erase(tree, 600);  // a marked leaf is pruned
  EXPECT_EQ(tree.take_marked().base, 0u);
  EXPECT_FALSE(tree.take_marked());
}

TEST_F(RadixTest, EndFreesWhatIsLeft) {
  const std::int64_t nodes = port::live_nodes();
  {
    Radix tree(pool_);
    for (u64 i = 0; i < 50; ++i) ASSERT_TRUE(put(tree, i * 7919 * 7919, 1));
  }
  EXPECT_EQ(port::live_nodes(), nodes);
  EXPECT_EQ(pool_.bytes(), 0u);
}

}  // namespace
}  // namespace kiommu::test
