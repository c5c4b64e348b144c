// SPDX-License-Identifier: GPL-2.0-only
//
// Mode TRACKED: walks that come to another table than the one that is known,
// below a page that is out of sync. What such a walk has gone over in whole is
// known anew; nothing else is.
#include "tracked_world.hpp"

namespace kiommu::test {
namespace {

// A guest that links other tables in its place, and nobody is told.
template <class F>
class Relinked : public TrackedWorld<F> {
 public:
  using S = Spec<F>;

  Relinked() {
    this->tables.map(first, this->leaf(1));
    this->tables.map(last, this->leaf(2));
    EXPECT_EQ(this->follow(), 0);
    kiommu_u64 count = 0;
    EXPECT_EQ(this->untrack(above & ~(kPage - 1), kPage, &count), 0);
    EXPECT_EQ(count, 1u);
  }

  void link(u64 to) { this->store_entry(above, S::table(1, to, kRW)); }
  // A store of the whole page of the old table that its last entry is in: what
  // it spans is walked, from above.
  void store_last_page() {
    std::vector<u8> bytes(std::min<u64>(kPage, S::table_bytes(0)));
    const u64 gpa = table + S::table_bytes(0) - bytes.size();
    this->guest.read(gpa, bytes.data(), bytes.size());
    this->store_bytes(gpa, bytes.data(), static_cast<unsigned>(bytes.size()));
  }
  bool is_tracked(u64 in_table) {
    return this->guest.is_tracked((in_table + S::table_bytes(0) - 8) / kPage);
  }

  // The first and the last page of a lowest table.
  const u64 first = World<F>::kIova & ~((u64{1} << S::shift(1)) - 1);
  const u64 last = first + (u64{1} << S::shift(1)) - World<F>::kLeaf;
  const u64 table = this->tables.table(first, 0);
  const u64 above = this->tables.entry_gpa(first, 1);
};

template <class F>
class Follow : public FormatTest<F> {};
TYPED_TEST_SUITE(Follow, AllFormats);

// A walk over a part of what an entry spans says nothing of the rest: that is
// followed until it is walked.
TYPED_TEST(Follow, TableIsKnownUntilAllOfItsEntryIsWalked) {
  using S = Spec<TypeParam>;
  Relinked<TypeParam> world;
  world.link(world.tables.new_table(0));
  world.store(world.first, 0, S::leaf(0, world.leaf(3), kRW));
  EXPECT_EQ(world.sees(world.first), kBlocked);
  EXPECT_EQ(world.sees(world.last), world.frame(world.leaf(2)));
  EXPECT_TRUE(world.is_tracked(world.table));
  world.store(world.last, 0, S::leaf(0, world.leaf(4), kRW));
  EXPECT_EQ(world.sees(world.last), kBlocked);
}

TYPED_TEST(Follow, AnotherTableIsKnownInItsPlace) {
  using S = Spec<TypeParam>;
  Relinked<TypeParam> world;
  const u64 other = world.tables.new_table(0);
  const u64 entry = other + S::table_bytes(0) - 8;
  world.tables.write_entry(entry, S::leaf(0, world.leaf(5), kRW));
  world.link(other);
  world.store_last_page();
  EXPECT_EQ(world.sees(world.last), world.frame(world.leaf(5)));
  EXPECT_FALSE(world.is_tracked(world.table));
  EXPECT_TRUE(world.is_tracked(other));
  world.store_entry(entry, S::leaf(0, world.leaf(6), kRW));
  EXPECT_EQ(world.sees(world.last), world.frame(world.leaf(6)));
}

TYPED_TEST(Follow, TableThatCannotBeReadIsKnownAsNone) {
  Relinked<TypeParam> world;
  world.link(kDataGpa + 64 * kGiB);  // in no slot
  world.store_last_page();
  EXPECT_EQ(world.sees(world.last), kBlocked);
  EXPECT_FALSE(world.is_tracked(world.table));
}

}  // namespace
}  // namespace kiommu::test
