// SPDX-License-Identifier: GPL-2.0-only
//
// The list of what an operation has lost: whatever is added, and in which
// order, no page is left out, and the list names more than was lost only where
// there is no room.
#include <random>
#include <set>

#include "lib/spec.hpp"
#include "workspace/outcome.hpp"

namespace kiommu::test {
namespace {

constexpr u64 kPages = 200;

bool has(const Outcome& outcome, u64 page) {
  return outcome.first_lost({page, page}).has_value();
}

TEST(OutcomeList, NeighboursAreOne) {
  Outcome outcome;
  for (u64 page : {10, 12, 11, 9, 13}) {
    outcome.lose({page, page}, Status::kNoMemory);
  }
  ASSERT_EQ(outcome.count(), 1u);
  EXPECT_EQ(outcome.lost(0).first, 9u);
  EXPECT_EQ(outcome.lost(0).last, 13u);
}

TEST(OutcomeList, MoreThanThereIsRoomFor) {
  Outcome outcome;
  for (u64 i = 0; i < 3 * Outcome::kMost; ++i) {
    outcome.lose({10 * i, 10 * i}, Status::kNoMemory);
    EXPECT_LE(outcome.count(), Outcome::kMost);
    for (u64 j = 0; j <= i; ++j) EXPECT_TRUE(has(outcome, 10 * j)) << j;
  }
  EXPECT_TRUE(outcome.failed());
}

// The nearest range is widened; the others stay exact.
TEST(OutcomeList, WithoutRoomTheNearestIsWidened) {
  Outcome outcome;
  for (u64 i = 0; i < Outcome::kMost; ++i) {
    outcome.lose({100 * i, 100 * i}, Status::kNoMemory);
  }
  outcome.lose({303, 304}, Status::kNoMemory);
  EXPECT_EQ(outcome.count(), Outcome::kMost);
  EXPECT_TRUE(has(outcome, 302));
  EXPECT_FALSE(has(outcome, 305));
  for (u64 i = 0; i < Outcome::kMost; ++i) {
    EXPECT_TRUE(has(outcome, 100 * i));
    EXPECT_FALSE(has(outcome, 100 * i + 50));
  }
}

TEST(OutcomeList, WhatIsRedoneIsTakenOut) {
  Outcome outcome;
  outcome.lose({10, 29}, Status::kMemlock);
  EXPECT_EQ(outcome.why(), Status::kMemlock);
  outcome.redo({15, 19});
  EXPECT_EQ(outcome.count(), 2u);
  for (u64 page = 5; page < 35; ++page) {
    const bool lost = page >= 10 && page < 30 && (page < 15 || page >= 20);
    EXPECT_EQ(has(outcome, page), lost) << page;
  }
  EXPECT_TRUE(outcome.lost_only_in({10, 29}));
  EXPECT_FALSE(outcome.lost_only_in({11, 29}));
  EXPECT_FALSE(outcome.lost_only_in({10, 28}));
  outcome.redo({0, 14});
  outcome.redo({20, 40});
  EXPECT_FALSE(outcome.failed());
}

// Random ranges against a set. The list may name more than was lost once it was
// full.
TEST(OutcomeList, AgreesWithASet) {
  std::mt19937_64 random(3);
  for (unsigned round = 0; round < 500; ++round) {
    Outcome outcome;
    std::set<u64> lost;
    bool exact = true;
    for (unsigned step = 0; step < 40; ++step) {
      const u64 first = random() % kPages;
      const u64 last = std::min(kPages - 1, first + random() % 6);
      const bool redone = random() % 3 == 0;
      exact &= outcome.count() < Outcome::kMost;
      if (redone) {
        outcome.redo({first, last});
      } else {
        outcome.lose({first, last}, Status::kNoMemory);
      }
      for (u64 page = first; page <= last; ++page) {
        redone ? (void)lost.erase(page) : (void)lost.insert(page);
      }
      for (u64 page = 0; page < kPages; ++page) {
        const bool said = has(outcome, page);
        ASSERT_TRUE(said || !lost.contains(page)) << page;
        ASSERT_TRUE(!exact || said == lost.contains(page)) << page;
      }
      ASSERT_TRUE(outcome.failed() || lost.empty());
    }
  }
}

}  // namespace
}  // namespace kiommu::test
