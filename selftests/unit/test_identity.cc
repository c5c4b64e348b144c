// SPDX-License-Identifier: GPL-2.0-only
//
// The identity format: no tables, GPA = IOVA - offset over all of the guest's
// memory; holes and MMIO are left out without an error.
#include "lib/world.hpp"

namespace kiommu::test {
namespace {

kiommu_anchor identity(u64 offset) {
  kiommu_anchor anchor{};
  anchor.rights = kRW;
  anchor.format = KVM_IOMMU_FORMAT_IDENTITY;
  anchor.offset = offset;
  return anchor;
}

class Identity : public testing::Test {
 protected:
  Identity() { faults() = {}; }
  ~Identity() override { faults() = {}; }

  void begin(u64 offset) {
    ASSERT_EQ(machine_.start(), 0);
    ASSERT_EQ(machine_.anchor(identity(offset)), 0);
  }
  RefreshOutcome refresh(u64 iova, u64 length) {
    const RefreshOutcome outcome = machine_.refresh(iova, length);
    expect_consistent(machine_);
    return outcome;
  }
  bool maps(u64 iova, u64 gpa, unsigned rights = kRW) {
    const kiommu_slot* slot = machine_.guest.slot_of(gpa);
    const u64 hva = slot->hva + gpa - slot->first_gfn * kPage;
    const HostPage want{machine_.guest.page_at(hva).pfn, rights};
    return machine_.iommus[0].device_sees(iova / kPage) == want;
  }
  bool blocked(u64 iova) {
    return !machine_.iommus[0].device_sees(iova / kPage);
  }

  port::Machine machine_{{.reserved = {{0xfee00000, 0xfeefffff}}}};
};

TEST_F(Identity, AllMemoryAtAnOffset) {
  machine_.guest.add_ram(0, 256, port::kContiguous);
  machine_.guest.add_ram(kGiB, 256, port::kContiguous);
  const u64 offset = u64{1} << 40;
  begin(offset);
  EXPECT_EQ(refresh(offset - kPage, kPage).error, -EINVAL);
  const RefreshOutcome outcome = refresh(offset, 2 * kGiB);
  EXPECT_EQ(outcome.error, 0);
  EXPECT_EQ(outcome.result.mapped, 512u);
  EXPECT_TRUE(maps(offset, 0));
  EXPECT_TRUE(maps(offset + kGiB + 255 * kPage, kGiB + 255 * kPage));
  EXPECT_TRUE(blocked(offset + kMiB));
  EXPECT_EQ(machine_.iommus.map_calls, 2u);
  EXPECT_EQ(machine_.guest.read_calls, 0u);
}

TEST_F(Identity, WholeAddressSpaceCostsWhatIsThere) {
  machine_.guest.add_ram(kMiB, 10, port::kContiguous);
  machine_.guest.add_ram(u64{1} << 51, 10, port::kContiguous);
  begin(0);
  EXPECT_EQ(refresh(0, u64{1} << 63).result.mapped, 20u);
  EXPECT_LT(machine_.guest.slot_lookups, 20u);
}

TEST_F(Identity, HolesMmioAndReservedWindowsAreLeftOut) {
  const u64 hva = machine_.guest.add_ram(0, 64, port::kContiguous);
  machine_.guest.set_backing(hva + 10 * kPage, 5, Backing::kMmio);
  machine_.guest.add_ram(0x100000, 4, port::kShuffled, KIOMMU_SLOT_PRIVATE);
  machine_.guest.add_ram(0xfedff000, 300, port::kShuffled);
  begin(0);
  const RefreshOutcome outcome = refresh(0, 4 * kGiB);
  EXPECT_EQ(outcome.error, 0);
  EXPECT_EQ(outcome.result.stopped_iova, 4 * kGiB);
  EXPECT_EQ(outcome.result.mapped, 59u + 300 - 256);
  EXPECT_TRUE(maps(9 * kPage, 9 * kPage));
  EXPECT_TRUE(blocked(10 * kPage));
  EXPECT_TRUE(blocked(14 * kPage));
  EXPECT_TRUE(maps(15 * kPage, 15 * kPage));
  EXPECT_TRUE(blocked(0x100000));
  EXPECT_TRUE(maps(0xfedff000, 0xfedff000));
  EXPECT_TRUE(blocked(0xfee00000));
  EXPECT_TRUE(blocked(0xfeeff000));
  EXPECT_TRUE(maps(0xfef00000, 0xfef00000));
}

TEST_F(Identity, ReadOnlySlotIsReadOnly) {
  machine_.guest.add_ram(0, 4, port::kShuffled, KIOMMU_SLOT_READ_ONLY);
  begin(0);
  EXPECT_EQ(refresh(0, kMiB).error, 0);
  EXPECT_TRUE(maps(0, 0, kR));
}

TEST_F(Identity, UnbackedMemoryIsAnErrorWithItsPlace) {
  const u64 hva = machine_.guest.add_ram(0, 8, port::kShuffled);
  machine_.guest.set_backing(hva + 5 * kPage, 1, Backing::kUnbacked);
  begin(0);
  const RefreshOutcome outcome = refresh(0, kMiB);
  EXPECT_EQ(outcome.error, -EIO);
  EXPECT_EQ(outcome.result.status, unsigned{KVM_IOMMU_STATUS_UNBACKED});
  EXPECT_EQ(outcome.result.stopped_iova, 5 * kPage);
  EXPECT_EQ(outcome.result.mapped, 5u);
}

TEST_F(Identity, SlotThatIsGoneIsUnmapped) {
  machine_.guest.add_ram(0, 8, port::kShuffled);
  machine_.guest.add_ram(kMiB, 8, port::kShuffled);
  begin(0);
  EXPECT_EQ(refresh(0, 2 * kMiB).error, 0);
  machine_.guest.remove_slot(0);
  const RefreshOutcome outcome = refresh(0, 2 * kMiB);
  EXPECT_EQ(outcome.error, 0);
  EXPECT_EQ(outcome.result.unmapped, 0u);  // it was gone before
  EXPECT_TRUE(blocked(0));
  EXPECT_TRUE(maps(kMiB, kMiB));
}

TEST_F(Identity, Translate) {
  machine_.guest.add_ram(0x10000, 4, port::kShuffled);
  machine_.guest.add_ram(0x20000, 4, port::kShuffled, KIOMMU_SLOT_READ_ONLY);
  begin(0x40000000);
  kiommu_translation answer;
  const auto translate = [&](u64 iova) {
    return machine_.translate(iova, &answer);
  };
  EXPECT_EQ(translate(0x40010123), 0);
  EXPECT_EQ(answer.gpa, 0x10123u);
  EXPECT_EQ(answer.rights, kRW);
  EXPECT_EQ(answer.page_size, kPage);
  EXPECT_EQ(answer.shadow_rights, 0u);
  EXPECT_EQ(translate(0x40020000), 0);
  EXPECT_EQ(answer.rights, kR);
  EXPECT_EQ(translate(0x40000000), 0);
  EXPECT_EQ(answer.status, unsigned{KVM_IOMMU_STATUS_NO_SLOT});
  EXPECT_EQ(answer.rights, 0u);
  EXPECT_EQ(translate(0x3ffff000), -EINVAL);
}

TEST_F(Identity, FieldsThatItDoesNotHave) {
  ASSERT_EQ(machine_.start(), 0);
  kiommu_anchor anchor = identity(0);
  anchor.iota = 0x1000;
  EXPECT_EQ(machine_.anchor(anchor), -EOPNOTSUPP);
  anchor = identity(0);
  anchor.levels = 3;
  EXPECT_EQ(machine_.anchor(anchor), -EOPNOTSUPP);
  EXPECT_EQ(machine_.anchor(identity(0x800)), -EINVAL);
  anchor = identity(0x2000);
  anchor.first = 0x1000;
  anchor.last = 0x2fff;
  EXPECT_EQ(machine_.anchor(anchor), -EINVAL);
}

TEST_F(Identity, InterruptionIsResumable) {
  machine_.guest.add_ram(0, 3 * 4096, port::kContiguous);
  begin(0);
  u64 at = 0;
  int stops = 0;
  for (;; ++stops) {
    faults().interrupt.arm(2);
    const RefreshOutcome outcome = refresh(at, kGiB - at);
    faults().interrupt.disarm();
    if (outcome.error == 0) break;
    EXPECT_EQ(outcome.error, -EINTR);
    EXPECT_GT(outcome.result.stopped_iova, at);
    at = outcome.result.stopped_iova;
    ASSERT_LT(stops, 20);
  }
  EXPECT_GT(stops, 1);
  EXPECT_EQ(machine_.info().mapped_pages, 3u * 4096);
}

TEST_F(Identity, GiveUpOnSwitchToTables) {
  machine_.guest.add_ram(0, 64, port::kShuffled);
  begin(0);
  EXPECT_EQ(refresh(0, kMiB).error, 0);
  EXPECT_EQ(machine_.unanchor(), 0);
  EXPECT_EQ(machine_.info().mapped_pages, 0u);
  EXPECT_EQ(machine_.anchor(Spec<ZpciFormat>::anchor(1, 0x4000)), 0);
}

}  // namespace
}  // namespace kiommu::test
