// SPDX-License-Identifier: GPL-2.0-only
//
// Maps without tables: all of a range or nothing, whatever fails.
#include "lib/world.hpp"

namespace kiommu::test {
namespace {

constexpr u64 kOffset = u64{1} << 40;
constexpr u64 kAt = kOffset + kGiB;  // IOVA of GPA kGiB

class ExactMap : public testing::Test {
 protected:
  ExactMap() {
    faults() = {};
    hva_ = machine_.guest.add_ram(kGiB, kPages, port::kShuffled);
    machine_.guest.add_ram(kGiB + kPages * kPage, kPages, port::kContiguous2M);
    kiommu_anchor anchor{};
    anchor.rights = kRW;
    anchor.format = KVM_IOMMU_FORMAT_IDENTITY;
    anchor.offset = kOffset;
    EXPECT_EQ(machine_.start(), 0);
    EXPECT_EQ(machine_.anchor(anchor), 0);
  }
  ~ExactMap() override { faults() = {}; }

  // Pages are counted from kAt.
  int map(u64 first, u64 count, unsigned rights = kRW) {
    const int error =
        machine_.map(kAt + first * kPage, count * kPage, rights, &status_);
    expect_consistent(machine_);
    return error;
  }
  std::optional<unsigned> rights_at(u64 page) {
    const auto seen = machine_.iommus[0].device_sees(kAt / kPage + page);
    if (!seen) return {};
    return seen->rights;
  }
  // Nothing is mapped, pinned or charged.
  void expect_nothing() {
    EXPECT_EQ(machine_.info().mapped_pages, 0u);
    EXPECT_EQ(machine_.host.pins(), 0u);
    EXPECT_EQ(machine_.guest.accounted(), 0u);
    for (u64 page = 0; page < 2 * kPages; ++page) {
      ASSERT_FALSE(rights_at(page)) << page;
    }
  }
  // Whatever of this kind fails, nothing is left; without a failure all is
  // mapped.
  void each_may_fail(port::Fault port::Faults::*kind, int error,
                     unsigned status) {
    for (u64 nth = 1;; ++nth) {
      (faults().*kind).arm(nth);
      const u64 fired = (faults().*kind).fired();
      const int got =
          machine_.map(kAt + kPage, (2 * kPages - 2) * kPage, kRW, &status_);
      const bool failed = (faults().*kind).fired() != fired;
      faults() = {};
      expect_consistent(machine_);
      if (!failed) {
        EXPECT_EQ(got, 0);
        EXPECT_GT(nth, 1u);
        return;
      }
      // Some can be done without: a run, a charge in advance.
      if (got == 0) {
        EXPECT_EQ(machine_.unmap_all(&unmapped_), 0);
      } else {
        EXPECT_EQ(got, error) << nth;
        EXPECT_EQ(status_, status) << nth;
      }
      expect_nothing();
    }
  }

  static constexpr u64 kPages = 1024;
  port::Machine machine_{{.reserved = {{kAt + 3 * kGiB, kAt + 4 * kGiB - 1}}}};
  u64 hva_ = 0;
  kiommu_u32 status_ = 0;
  kiommu_u64 unmapped_ = 0;
};

TEST_F(ExactMap, RightsAreThoseOfTheCall) {
  EXPECT_EQ(map(0, 4, kR), 0);
  EXPECT_EQ(map(4, 4, kRW), 0);
  EXPECT_EQ(map(8, 4, KVM_IOMMU_WRITE), 0);
  EXPECT_EQ(rights_at(3), kR);
  EXPECT_EQ(rights_at(4), kRW);
  EXPECT_EQ(rights_at(8), unsigned{KVM_IOMMU_WRITE});
  EXPECT_FALSE(rights_at(12));
  EXPECT_EQ(machine_.info().mapped_pages, 12u);
}

TEST_F(ExactMap, OneFlushAndOneCallARun) {
  const u64 calls = machine_.iommus.map_calls;
  EXPECT_EQ(map(kPages, kPages), 0);
  EXPECT_EQ(machine_.iommus.map_calls - calls, 2u);
}

TEST_F(ExactMap, NothingIsLeftOut) {
  EXPECT_EQ(map(2 * kPages - 1, 2), -EIO);
  EXPECT_EQ(status_, unsigned{KVM_IOMMU_STATUS_NO_SLOT});
  expect_nothing();
  machine_.guest.set_backing(hva_ + 700 * kPage, 1, Backing::kUnbacked);
  EXPECT_EQ(map(0, kPages), -EIO);
  EXPECT_EQ(status_, unsigned{KVM_IOMMU_STATUS_UNBACKED});
  expect_nothing();
  machine_.guest.set_backing(hva_ + 700 * kPage, 1, Backing::kMmio);
  EXPECT_EQ(map(0, 2 * kPages), -EIO);
  EXPECT_EQ(status_, unsigned{KVM_IOMMU_STATUS_MMIO});
  expect_nothing();
  machine_.guest.set_backing(hva_ + 700 * kPage, 1, Backing::kDevice);
  EXPECT_EQ(map(0, 2 * kPages), 0);
  EXPECT_EQ(machine_.info().mapped_pages, 2 * kPages);
}

TEST_F(ExactMap, Refused) {
  const u64 iova = kAt + 3 * kGiB - kPage;
  EXPECT_EQ(machine_.map(iova, 2 * kPage, kRW, &status_), -EIO);
  EXPECT_EQ(status_, unsigned{KVM_IOMMU_STATUS_RESERVED_IOVA});
  EXPECT_EQ(machine_.map(kOffset - kPage, kPage, kRW, &status_), -EINVAL);
  EXPECT_EQ(status_, unsigned{KVM_IOMMU_STATUS_RANGE});
  EXPECT_EQ(machine_.map(kAt + 1, kPage, kRW, &status_), -EINVAL);
  EXPECT_EQ(status_, unsigned{KVM_IOMMU_STATUS_MISALIGNED});
  EXPECT_EQ(machine_.map(kAt, 0, kRW, &status_), -EINVAL);
  expect_nothing();
  EXPECT_EQ(machine_.unanchor(), 0);
  EXPECT_EQ(machine_.map(kAt, kPage, kRW, &status_), -ENXIO);
}

TEST(ExactMapOfTables, Refused) {
  World<VtdSsFormat> world({.data_pages = 4});
  kiommu_u32 status = 0;
  EXPECT_EQ(world.map(world.data(0), kPage, kRW, &status), -EEXIST);
  EXPECT_EQ(world.info().mapped_pages, 0u);
}

TEST_F(ExactMap, AllocationsThatFail) {
  each_may_fail(&port::Faults::node, -ENOMEM, KVM_IOMMU_STATUS_NO_MEMORY);
}
TEST_F(ExactMap, HostsThatRefuse) {
  each_may_fail(&port::Faults::map, -ENOMEM, KVM_IOMMU_STATUS_NO_MEMORY);
}
TEST_F(ExactMap, FatalSignals) {
  each_may_fail(&port::Faults::interrupt, -EINTR, KVM_IOMMU_STATUS_INTERRUPTED);
}

TEST_F(ExactMap, ShadowLimit) {
  port::Machine small({.shadow_limit = 8 * kPage});
  for (u64 i = 0; i < 64; ++i) {
    small.guest.add_ram(i * 2 * kMiB, 512, port::kShuffled);
  }
  kiommu_anchor anchor{};
  anchor.rights = kRW;
  anchor.format = KVM_IOMMU_FORMAT_IDENTITY;
  ASSERT_EQ(small.start(), 0);
  ASSERT_EQ(small.anchor(anchor), 0);
  EXPECT_EQ(small.map(0, 128 * kMiB, kRW, &status_), -ENOSPC);
  expect_consistent(small);
  EXPECT_EQ(small.info().mapped_pages, 0u);
  EXPECT_EQ(small.host.pins(), 0u);
}

// Slots without pins are forgotten and found again; others stay.
TEST_F(ExactMap, SlotsAreForgotten) {
  EXPECT_EQ(map(0, 1), 0);
  EXPECT_EQ(map(kPages, 512), 0);
  EXPECT_EQ(machine_.pins.slots(), 2u);
  machine_.pins.forget_slots();
  EXPECT_EQ(machine_.pins.slots(), 2u);
  EXPECT_EQ(machine_.unmap(kAt, kPage), 0);
  const u64 bytes = machine_.info().pin_bytes;
  machine_.pins.forget_slots();
  EXPECT_EQ(machine_.pins.slots(), 1u);
  EXPECT_LT(machine_.info().pin_bytes, bytes);
  EXPECT_EQ(map(5, 3), 0);
  EXPECT_EQ(machine_.pins.slots(), 2u);
  EXPECT_EQ(machine_.unmap_all(&unmapped_), 0);
  machine_.pins.forget_slots();
  EXPECT_EQ(machine_.pins.slots(), 0u);
  expect_nothing();
  // Those that are to stay pinned, and those with a log, are kept.
  EXPECT_EQ(machine_.pins.preregister(kGiB, kPages * kPage), 0);
  machine_.pins.forget_slots();
  EXPECT_EQ(machine_.pins.slots(), 1u);
  EXPECT_EQ(machine_.pins.unregister(kGiB, kPages * kPage), 0);
  EXPECT_EQ(machine_.pins.start_dirty(), 0);
  EXPECT_EQ(map(0, 1), 0);
  EXPECT_EQ(machine_.unmap(kAt, kPage), 0);
  machine_.pins.forget_slots();
  std::vector<kiommu_u64> bits;
  EXPECT_EQ(machine_.pins.read_dirty(kGiB, kPages * kPage, &bits), 0);
  EXPECT_EQ(bits[0], 1u);
  EXPECT_EQ(machine_.pins.stop_dirty(), 0);
}

}  // namespace
}  // namespace kiommu::test
