// SPDX-License-Identifier: GPL-2.0-only
//
// An anchor's rights bound what devices may do, whatever the tables say: for
// each format, and without tables.
#include "domain/domain.hpp"
#include "lib/world.hpp"

namespace kiommu::test {
namespace {

constexpr unsigned kAll[] = {kR, kW, kRW};

kiommu_anchor identity(unsigned rights) {
  kiommu_anchor anchor{};
  anchor.format = KVM_IOMMU_FORMAT_IDENTITY;
  anchor.rights = rights;
  return anchor;
}

template <class F>
class AnchorRights : public FormatTest<F> {};
TYPED_TEST_SUITE(AnchorRights, AllFormats);

TYPED_TEST(AnchorRights, BoundWhatDevicesCanDo) {
  for (const unsigned rights : kAll) {
    World<TypeParam> world;
    world.tables.map_pages(world.kIova, world.leaf(0), 2);
    ASSERT_EQ(world.unanchor(), 0);
    kiommu_anchor anchor = world.tables.anchor();
    anchor.rights = rights;
    ASSERT_EQ(world.anchor(anchor), 0);
    EXPECT_EQ(world.info().anchor.rights, rights);
    world.expect_refresh(world.kIova, 2 * world.kLeaf);
    EXPECT_EQ(world.sees(world.kIova), world.frame(world.leaf(0), rights));
    const kiommu_translation one = world.translate(world.kIova);
    EXPECT_EQ(one.rights, rights);
    EXPECT_EQ(one.shadow_rights, rights);
    const auto told = world.translate_range(world.kIova, world.kLeaf);
    ASSERT_EQ(told.records.size(), 1u);
    EXPECT_EQ(told.records[0].rights, rights);
    EXPECT_EQ(told.records[0].shadow_rights, rights);
  }
}

TYPED_TEST(AnchorRights, NeverAddAny) {
  World<TypeParam> world;
  ASSERT_EQ(world.unanchor(), 0);
  kiommu_anchor anchor = world.tables.anchor();
  anchor.rights = kW;
  ASSERT_EQ(world.anchor(anchor), 0);
  world.tables.map(world.kIova, world.leaf(0), kR);
  world.expect_refresh(world.kIova, world.kLeaf);
  EXPECT_EQ(world.sees(world.kIova), kBlocked);
  EXPECT_EQ(world.translate(world.kIova).status,
            unsigned{KVM_IOMMU_STATUS_NOT_MAPPED});
}

TYPED_TEST(AnchorRights, HoldForStoresThatAreTracked) {
  World<TypeParam> world;
  ASSERT_EQ(world.unanchor(), 0);
  kiommu_anchor anchor = world.tables.anchor();
  anchor.rights = kR;
  ASSERT_EQ(world.anchor(anchor), 0);
  ASSERT_EQ(world.follow(), 0);
  world.tables.map_pages(world.kIova, world.leaf(0), 1);
  world.expect_refresh(world.kIova, world.kLeaf);
  world.tables.map_pages(world.kIova + world.kLeaf, world.leaf(1), 1);
  const u64 entry = world.tables.entry_gpa(world.kIova + world.kLeaf, 0);
  ASSERT_EQ(world.stored(entry, 8), 0);
  EXPECT_EQ(world.sees(world.kIova + world.kLeaf),
            world.frame(world.leaf(1), kR));
  world.unfollow();
}

TYPED_TEST(AnchorRights, NoneOrUnknownOnesAreRefused) {
  World<TypeParam> world;
  ASSERT_EQ(world.unanchor(), 0);
  kiommu_anchor anchor = world.tables.anchor();
  for (const unsigned rights : {0u, 4u, kRW | 4u, kRW | 1u << 31}) {
    anchor.rights = rights;
    kiommu_u32 status = 0;
    EXPECT_EQ(world.anchor(anchor, &status), -EINVAL) << rights;
    EXPECT_EQ(status, unsigned{KVM_IOMMU_STATUS_RIGHTS}) << rights;
    EXPECT_EQ(world.info().state, unsigned{KVM_IOMMU_STATE_STARTED});
  }
}

TEST(AnchorRightsIdentity, BoundWhatDevicesCanDo) {
  for (const unsigned rights : kAll) {
    port::Machine machine;
    const u64 hva = machine.guest.add_ram(0, 256, port::kContiguous);
    ASSERT_EQ(machine.start(), 0);
    ASSERT_EQ(machine.anchor(identity(rights)), 0);
    ASSERT_EQ(machine.refresh(0, kMiB).error, 0);
    EXPECT_EQ(machine.iommus.device_sees(0, 1),
              (HostPage{machine.guest.page_at(hva + kPage).pfn, rights}));
    kiommu_translation one{};
    ASSERT_EQ(machine.translate(kPage, &one), 0);
    EXPECT_EQ(one.rights, rights);
    EXPECT_EQ(one.shadow_rights, rights);
    const auto told = machine.translate_range(0, kMiB);
    ASSERT_EQ(told.records.size(), 1u);
    EXPECT_EQ(told.records[0].rights, rights);
    EXPECT_EQ(told.records[0].shadow_rights, rights);
  }
}

TEST(AnchorRightsIdentity, NoneOrUnknownOnesAreRefused) {
  port::Machine machine;
  machine.guest.add_ram(0, 256, port::kContiguous);
  ASSERT_EQ(machine.start(), 0);
  for (const unsigned rights : {0u, 4u, ~0u}) {
    kiommu_u32 status = 0;
    EXPECT_EQ(machine.anchor(identity(rights), &status), -EINVAL);
    EXPECT_EQ(status, unsigned{KVM_IOMMU_STATUS_RIGHTS});
  }
}

// Devices that share a domain share its anchor; an anchor with other rights is
// another one.
TEST(AnchorRightsIdentity, BelongToWhatAnAnchorIs) {
  Stage1 a, b;
  a.anchor = identity(kRW);
  b.anchor = identity(kRW);
  EXPECT_TRUE(a.same_as(b));
  b.anchor.rights = kR;
  EXPECT_FALSE(a.same_as(b));
}

}  // namespace
}  // namespace kiommu::test
