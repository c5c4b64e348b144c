// SPDX-License-Identifier: GPL-2.0-only
//
// Rings: indices, the event index, the status of each entry, merging. A random
// test compares a ring with refreshes, one by one.
#include <algorithm>
#include <memory>
#include <random>

#include "lib/ring_world.hpp"

namespace kiommu::test {
namespace {

using Guest = RingWorld<VtdSsFormat>;

TEST(Ring, CreateChecksItsArguments) {
  World<VtdSsFormat> world;
  const auto create = [&](u64 gpa, u32 entries) {
    kiommu_ring* ring = nullptr;
    const int error = world.shared([&](kiommu_domain*) {
      kiommu_u32 status;
      return kiommu_core_ring_create(gpa, entries, &ring, &status);
    });
    if (error == 0) kiommu_core_ring_destroy(ring);
    return error;
  };
  for (const u32 entries : {0u, 1u, 3u, 6u, 65u, 65536u, 0x80000000u, ~0u}) {
    EXPECT_EQ(create(0, entries), -EINVAL) << entries;
  }
  for (const u32 entries : {2u, 4u, 1024u, 32768u}) {
    EXPECT_EQ(create(64, entries), 0) << entries;
  }
  EXPECT_EQ(create(8, 2), -EINVAL);
  EXPECT_EQ(create(32, 2), -EINVAL);
  EXPECT_EQ(create(~u64{0} - 63, 2), -EOVERFLOW);
  EXPECT_EQ(create(u64{0} - 192, 2), 0);  // up to the last byte
  EXPECT_EQ(create(u64{0} - 128, 2), -EOVERFLOW);
  faults().node.arm(1);
  EXPECT_EQ(create(0, 2), -ENOMEM);
}

TEST(Ring, EntriesAreDoneInTheirOrder) {
  Guest w;
  w.tables.map_pages(w.kIova, w.data(0), 8);
  w.post(w.kIova, 2 * kPage);
  w.post(w.kIova + 4 * kPage, kPage);
  EXPECT_EQ(w.mapped(), 0u);
  EXPECT_EQ(w.consume(), u32{KIOMMU_RING_NOTIFY});  // notify is 0
  EXPECT_EQ(w.done(), 2u);
  EXPECT_EQ(w.kick(), 2u);
  EXPECT_EQ(w.status(0), unsigned{KVM_IOMMU_STATUS_OK});
  EXPECT_EQ(w.stopped(0), w.kIova + 2 * kPage);
  EXPECT_EQ(w.stopped(1), w.kIova + 5 * kPage);
  EXPECT_EQ(w.mapped(), 3u);
  EXPECT_EQ(w.sees(w.kIova), w.frame(w.data(0)));
  EXPECT_EQ(w.sees(w.kIova + 2 * kPage), kBlocked);
  EXPECT_EQ(w.consume(), 0u);
  EXPECT_EQ(w.done(), 2u);
}

TEST(Ring, ABatchIsOneFlush) {
  Guest w;
  w.tables.map_pages(w.kIova, w.data(0), 64);
  for (u64 i = 0; i < 32; ++i) w.post(w.kIova + 2 * i * kPage, kPage);
  w.consume();
  EXPECT_EQ(w.mapped(), 32u);
  for (u64 i = 0; i < 64; ++i) w.tables.clear(w.kIova + i * kPage);
  for (u64 i = 0; i < 16; ++i) {
    w.post(w.kIova + 4 * i * kPage, kPage);
    w.post(w.kIova + (4 * i + 2) * kPage, kPage, kUnmap);
  }
  const u64 before = w.iommus.flush_calls;
  w.consume();
  EXPECT_EQ(w.iommus.flush_calls, before + 1);
  EXPECT_EQ(w.mapped(), 0u);
}

// Tables are not walked for an entry that unmaps.
TEST(Ring, UnmapDoesNotReadTables) {
  Guest w;
  w.tables.map_pages(w.kIova, w.data(0), 4);
  w.post(w.kIova, 4 * kPage);
  w.consume();
  std::vector<u64> read;
  w.guest.before_read = [&](u64 gpa) { read.push_back(gpa); };
  w.post(w.kIova, 4 * kPage, kUnmap);
  w.consume();
  EXPECT_EQ(w.mapped(), 0u);  // whatever the tables say
  for (const u64 gpa : read) EXPECT_GE(gpa, kRingGpa);
  // Where another entry overlaps it, the tables are read.
  w.post(w.kIova, 4 * kPage, kUnmap);
  w.post(w.kIova + kPage, kPage);
  w.consume();
  EXPECT_EQ(w.mapped(), 4u);
  w.guest.before_read = {};
}

TEST(Ring, IndicesGoRoundAtTheEndOfTheRing) {
  Guest w(4);
  w.tables.map_pages(w.kIova, w.data(0), 8);
  u64 expected = 0;
  for (u32 round = 0; round < 40; ++round) {
    const u32 n = round % 4 + 1;
    for (u32 i = 0; i < n; ++i) {
      w.post(w.kIova + (round + i) % 8 * kPage, kPage,
             round % 3 == 0 ? kUnmap : 0);
    }
    w.consume();
    expected += n;
    EXPECT_EQ(w.done(), static_cast<u32>(expected));
    for (u32 i = 1; i <= n; ++i) EXPECT_EQ(w.status(w.avail - i), 0u);
  }
}

TEST(Ring, PassedIsTheEventIndexOfVirtio) {
  for (const u32 base : {0u, 5u, 0x7fffffffu, 0x80000000u, 0xfffffffau}) {
    for (u32 from = 0; from < 8; ++from) {
      for (u32 to = from; to < 8; ++to) {
        for (u32 event = 0; event < 8; ++event) {
          EXPECT_EQ(kvm_iommu_ring_passed(base + event, base + to, base + from),
                    from <= event && event < to)
              << base << " " << event << " " << to << " " << from;
        }
      }
    }
  }
}

TEST(Ring, NotifiesWhenDonePassesTheIndex) {
  Guest w;
  w.post(w.kIova, kPage);
  w.consume();  // past 0
  for (u32 notify = 0; notify < 8; ++notify) {
    const u32 before = w.avail;
    for (u32 i = 0; i < 4; ++i) w.post(w.kIova, kPage);
    w.store<u32>(w.kNotify, before - 2 + notify);
    const bool expected = notify >= 2 && notify < 6;
    EXPECT_EQ(w.consume(), expected ? u32{KIOMMU_RING_NOTIFY} : 0u) << notify;
  }
  // The index is stored while the entry is done: it is read after done was
  // written.
  w.store<u32>(w.kNotify, w.avail - 1);
  w.post(w.kIova, kPage);
  w.guest.before_write = [&](u64) { w.store<u32>(w.kNotify, w.avail - 1); };
  EXPECT_EQ(w.consume(), u32{KIOMMU_RING_NOTIFY});
  w.guest.before_write = {};
}

// Entries that the guest posts before it has seen kick are not left behind.
TEST(Ring, NoWakeUpIsLost) {
  Guest w;
  w.tables.map_pages(w.kIova, w.data(0), 8);
  bool posted = false;
  w.guest.before_write = [&](u64 gpa) {
    if (gpa != kRingGpa + 64 || posted) return;
    posted = true;  // kick is not written yet: the guest does not ring
    EXPECT_FALSE(kvm_iommu_ring_passed(w.kick(), w.avail + 1, w.avail));
    w.post(w.kIova + kPage, kPage);
  };
  w.post(w.kIova, kPage);
  EXPECT_EQ(w.consume() & KIOMMU_RING_MORE, u32{KIOMMU_RING_MORE});
  EXPECT_EQ(w.done(), 1u);
  EXPECT_EQ(w.consume(), 0u);
  EXPECT_EQ(w.done(), 2u);
  EXPECT_EQ(w.kick(), 2u);
  w.guest.before_write = {};
}

TEST(Ring, MoreThanABatch) {
  Guest w(1024);
  w.tables.map_pages(w.kIova, w.data(0), 512);
  for (u64 i = 0; i < 300; ++i) w.post(w.kIova + i * kPage, kPage);
  EXPECT_EQ(w.consume() & KIOMMU_RING_MORE, u32{KIOMMU_RING_MORE});
  EXPECT_EQ(w.done(), 128u);
  EXPECT_NE(w.kick(), 128u);  // no doorbell while it is at work
  w.consume_all();
  EXPECT_EQ(w.done(), 300u);
  EXPECT_EQ(w.kick(), 300u);
  EXPECT_EQ(w.mapped(), 300u);
}

TEST(Ring, EachEntryHasItsStatus) {
  Guest w;
  ASSERT_EQ(w.open_faults(), 0);
  w.tables.map_pages(w.kIova, w.data(0), 8);
  w.tables.map(w.kIova + 2 * kPage, 128 * kGiB);  // in no slot
  w.post(w.kIova, 4 * kPage);
  w.post(w.kIova + 4 * kPage, kPage);
  w.post(w.kIova + 1, kPage);
  w.post(w.kIova, 0);
  w.post(~u64{0} & ~(kPage - 1), 2 * kPage);
  w.post(w.kIova, kPage, 2);
  w.post(w.kIova + 6 * kPage, 2 * kPage);
  w.consume();
  EXPECT_EQ(w.status(0), unsigned{KVM_IOMMU_STATUS_NO_SLOT});
  EXPECT_EQ(w.stopped(0), w.kIova + 2 * kPage);
  EXPECT_EQ(w.status(1), 0u);
  EXPECT_EQ(w.status(2), unsigned{KVM_IOMMU_STATUS_MISALIGNED});
  EXPECT_EQ(w.stopped(2), w.kIova + 1);
  EXPECT_EQ(w.status(3), unsigned{KVM_IOMMU_STATUS_MISALIGNED});
  EXPECT_EQ(w.status(4), unsigned{KVM_IOMMU_STATUS_OVERFLOW});
  EXPECT_EQ(w.status(5), unsigned{KVM_IOMMU_STATUS_FLAGS});
  EXPECT_EQ(w.status(6), 0u);
  EXPECT_EQ(w.mapped(), 5u);
  const auto faults = w.read_faults(16);
  ASSERT_EQ(faults.size(), 4u);  // two are on the same page
  EXPECT_EQ(faults[0].reason, unsigned{KVM_IOMMU_FAULT_ENTRY});
  EXPECT_EQ(faults[0].iova, w.kIova + 2 * kPage);
  EXPECT_EQ(faults[0].format, unsigned{KVM_IOMMU_FORMAT_VTD_SS});
  EXPECT_EQ(faults[0].level, 1u);
  EXPECT_TRUE(faults[0].flags & KVM_IOMMU_FAULT_HAS_GPA);
  EXPECT_EQ(faults[0].gpa, 128 * kGiB);
  EXPECT_EQ(faults[1].reason, unsigned{KVM_IOMMU_FAULT_RANGE});
  EXPECT_EQ(faults[1].count, 2u);
  EXPECT_EQ(faults[3].reason, unsigned{KVM_IOMMU_FAULT_RING});
  EXPECT_EQ(faults[3].gpa, kRingGpa);
  ASSERT_EQ(w.unanchor(), 0);
  w.post(w.kIova, kPage);
  w.consume();
  EXPECT_EQ(w.status(7), unsigned{KVM_IOMMU_STATUS_NO_ANCHOR});
  EXPECT_EQ(w.stopped(7), w.kIova);
}

TEST(Ring, ResourcesRunOutForOneEntryAlone) {
  Guest w;
  w.tables.map_pages(w.kIova, w.data(0), 8);
  w.guest.memlock_pages = 2;
  w.post(w.kIova, 2 * kPage);
  w.post(w.kIova + 4 * kPage, kPage);
  w.post(w.kIova + 2 * kPage, kPage, kUnmap);
  w.consume();
  EXPECT_EQ(w.status(0), 0u);
  EXPECT_EQ(w.status(1), unsigned{KVM_IOMMU_STATUS_MEMLOCK});
  EXPECT_EQ(w.stopped(1), w.kIova + 4 * kPage);
  EXPECT_EQ(w.status(2), 0u);
  EXPECT_EQ(w.mapped(), 2u);
}

template <class Format>
class RingModel : public testing::Test {};
TYPED_TEST_SUITE(RingModel, AllFormats);

// Two guests do the same; one by a ring, one by refreshes.
TYPED_TEST(RingModel, DoesWhatRefreshesDo) {
  RingWorld<TypeParam> w(64);
  World<TypeParam> other;
  std::mt19937_64 random(7);
  constexpr u64 kLeaf = RingWorld<TypeParam>::kLeaf;
  constexpr u64 kLeaves = 600;
  const u64 base = w.kIova;
  for (unsigned round = 0; round < 300; ++round) {
    const unsigned n = 1 + random() % 40;
    for (unsigned i = 0; i < n; ++i) {
      const u64 first = random() % kLeaves;
      const u64 count = 1 + random() % std::min<u64>(kLeaves - first, 20);
      bool unmap = false;
      const u64 kind = random() % 4;
      for (u64 leaf = first; leaf < first + count; ++leaf) {
        const u64 iova = base + leaf * kLeaf;
        if (kind == 0) {
          w.tables.clear(iova);
          other.tables.clear(iova);
          unmap = true;
        } else {
          const u64 to = kind == 1 ? random() % 400 : leaf;
          // Some of it is in no slot.
          const u64 gpa = random() % 200 != 0 ? w.leaf(to) : 32 * kGiB;
          w.tables.map(iova, gpa);
          other.tables.map(iova, gpa);
        }
      }
      w.post(base + first * kLeaf, count * kLeaf,
             unmap && random() % 2 != 0 ? kUnmap : 0);
    }
    w.consume_all();
    for (u32 i = w.avail - n; i != w.avail; ++i) {
      const u64 iova = w.template load<u64>(w.entry(i));
      const u64 length = w.template load<u64>(w.entry(i) + 8);
      if (w.template load<u32>(w.entry(i) + 16) != 0) {
        EXPECT_EQ(other.unmap(iova, length), 0);
        EXPECT_EQ(w.status(i), 0u);
      } else {
        const RefreshOutcome outcome = other.refresh(iova, length);
        EXPECT_EQ(outcome.result.status, w.status(i));
        EXPECT_EQ(outcome.result.stopped_iova, w.stopped(i));
      }
    }
    ASSERT_TRUE(runs_of(w.iommus[0]) == runs_of(other.iommus[0])) << round;
  }
}

}  // namespace
}  // namespace kiommu::test
