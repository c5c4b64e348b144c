// SPDX-License-Identifier: GPL-2.0-only
//
// Rings: indices, the event index, status per entry, what is merged, rings that
// are broken, entries that change while they are read. And by chance: a ring
// does what refreshes, one by one, do.
#include <linux/kvm_iommu_ring.h>

#include <algorithm>
#include <bit>
#include <memory>
#include <random>

#include "world.hpp"

namespace kiommu::test {
namespace {

using Vtd = VtdSsFormat;

constexpr u64 kRingGpa = 64 * kGiB;
constexpr u32 kUnmap = KVM_IOMMU_RING_UNMAP;

template <class T>
T le(T value) {
  if constexpr (std::endian::native == std::endian::little) return value;
  T swapped;
  for (unsigned i = 0; i < sizeof(T); ++i) {
    reinterpret_cast<u8*>(&swapped)[i] =
        reinterpret_cast<u8*>(&value)[sizeof(T) - 1 - i];
  }
  return swapped;
}

// A guest with a ring; plays the driver.
template <class Format>
class RingWorld : public World<Format> {
 public:
  explicit RingWorld(u32 entries = 64, u64 gpa = kRingGpa,
                     WorldOptions options = {})
      : World<Format>(options), entries(entries), gpa(gpa) {
    ring_hva = this->guest.add_ram(
        kRingGpa, (32 * entries + 128 + kPage) / kPage + 1, port::kShuffled);
    create();
  }
  ~RingWorld() { destroy(); }

  void create() {
    EXPECT_EQ(this->shared([&](kiommu_domain*) {
      return kiommu_core_ring_create(gpa, entries, &ring);
    }),
              0);
    this->exclusive([&](kiommu_domain* domain) {
      kiommu_core_ring_begin(domain, ring);
      return 0;
    });
  }
  void destroy() {
    if (ring != nullptr) kiommu_core_ring_destroy(ring);
    ring = nullptr;
  }

  template <class T>
  T load(u64 offset) {
    T value;
    this->guest.read(gpa + offset, &value, sizeof(value));
    return le(value);
  }
  template <class T>
  void store(u64 offset, T value) {
    value = le(value);
    this->guest.write(gpa + offset, &value, sizeof(value));
  }
  static constexpr u64 kAvail = offsetof(kvm_iommu_ring, avail);
  static constexpr u64 kNotify = offsetof(kvm_iommu_ring, notify);
  u32 done() { return load<u32>(offsetof(kvm_iommu_ring, done)); }
  u32 kick() { return load<u32>(offsetof(kvm_iommu_ring, kick)); }
  u32 flags() { return load<u32>(offsetof(kvm_iommu_ring, flags)); }
  u64 entry(u32 index) const {
    return offsetof(kvm_iommu_ring, entries) +
           (index & (entries - 1)) * sizeof(kvm_iommu_ring_entry);
  }
  u32 status(u32 index) {
    return load<u32>(entry(index) + offsetof(kvm_iommu_ring_entry, status));
  }
  u64 stopped(u32 index) {
    return load<u64>(entry(index) +
                     offsetof(kvm_iommu_ring_entry, stopped_iova));
  }
  void fill(u32 index, u64 iova, u64 length, u32 flags = 0) {
    using Entry = kvm_iommu_ring_entry;
    store<u64>(entry(index) + offsetof(Entry, iova), iova);
    store<u64>(entry(index) + offsetof(Entry, length), length);
    store<u32>(entry(index) + offsetof(Entry, flags), flags);
    store<u32>(entry(index) + offsetof(Entry, status), ~0u);
  }
  void post(u64 iova, u64 length, u32 flags = 0) {
    fill(avail++, iova, length, flags);
    store<u32>(kAvail, avail);
  }
  u32 consume(kiommu_ring_large large = KIOMMU_RING_LARGE_NOW) {
    return static_cast<u32>(this->shared([&](kiommu_domain* domain) {
      return static_cast<int>(kiommu_core_ring_consume(domain, ring, large));
    }));
  }
  // Until nothing is left. Returns what all of them answered.
  u32 consume_all() {
    u32 all = 0;
    u32 answer = KIOMMU_RING_MORE;
    for (int i = 0; i < 100000 && (answer & KIOMMU_RING_MORE) != 0; ++i) {
      all |= answer = consume();
    }
    return all & ~KIOMMU_RING_MORE;
  }
  u32 drain() {
    return static_cast<u32>(this->exclusive([&](kiommu_domain* domain) {
      return static_cast<int>(kiommu_core_ring_drain(domain, ring));
    }));
  }
  u64 mapped() { return this->info().mapped_pages; }

  const u32 entries;
  const u64 gpa;
  u64 ring_hva = 0;
  u32 avail = 0;
  kiommu_ring* ring = nullptr;
};

using Guest = RingWorld<Vtd>;

TEST(Ring, CreateChecksItsArguments) {
  World<Vtd> world;
  const auto create = [&](u64 gpa, u32 entries) {
    kiommu_ring* ring = nullptr;
    const int error = world.shared([&](kiommu_domain*) {
      return kiommu_core_ring_create(gpa, entries, &ring);
    });
    if (error == 0) kiommu_core_ring_destroy(ring);
    return error;
  };
  for (const u32 entries : {0u, 1u, 3u, 6u, 65u, 65536u, 0x80000000u, ~0u}) {
    EXPECT_EQ(create(0, entries), -ERANGE) << entries;
  }
  for (const u32 entries : {2u, 4u, 1024u, 32768u}) {
    EXPECT_EQ(create(64, entries), 0) << entries;
  }
  EXPECT_EQ(create(8, 2), -EDOM);
  EXPECT_EQ(create(32, 2), -EDOM);
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

// What is unmapped is not walked.
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
  // Where another entry overlaps it, they are asked.
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
  // Stored while the entry is being done: it is looked at after done.
  w.store<u32>(w.kNotify, w.avail - 1);
  w.post(w.kIova, kPage);
  w.guest.before_write = [&](u64) { w.store<u32>(w.kNotify, w.avail - 1); };
  EXPECT_EQ(w.consume(), u32{KIOMMU_RING_NOTIFY});
  w.guest.before_write = {};
}

// What the guest puts in until it has seen kick is not left lying.
TEST(Ring, NoWakeUpIsLost) {
  Guest w;
  w.tables.map_pages(w.kIova, w.data(0), 8);
  bool posted = false;
  w.guest.before_write = [&](u64 gpa) {
    if (gpa != kRingGpa + 64 || posted) return;
    posted = true;  // kick is not told yet: the guest does not ring
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
  EXPECT_EQ(w.status(2), unsigned{KVM_IOMMU_STATUS_RANGE});
  EXPECT_EQ(w.stopped(2), w.kIova + 1);
  EXPECT_EQ(w.status(3), unsigned{KVM_IOMMU_STATUS_RANGE});
  EXPECT_EQ(w.status(4), unsigned{KVM_IOMMU_STATUS_RANGE});
  EXPECT_EQ(w.status(5), unsigned{KVM_IOMMU_STATUS_FLAGS});
  EXPECT_EQ(w.status(6), 0u);
  EXPECT_EQ(w.mapped(), 5u);
  const auto faults = w.read_faults(16);
  ASSERT_EQ(faults.size(), 4u);  // two are on the same page
  EXPECT_EQ(faults[0].reason, unsigned{KVM_IOMMU_FAULT_ENTRY});
  EXPECT_EQ(faults[0].iova, w.kIova + 2 * kPage);
  EXPECT_EQ(faults[0].format, unsigned{KVM_IOMMU_FORMAT_VTD_SS});
  EXPECT_EQ(faults[1].reason, unsigned{KVM_IOMMU_FAULT_RANGE});
  EXPECT_EQ(faults[1].count, 2u);
  EXPECT_EQ(faults[3].reason, unsigned{KVM_IOMMU_FAULT_RING});
  EXPECT_EQ(faults[3].gpa, kRingGpa);
  ASSERT_EQ(w.unanchor(), 0);
  w.post(w.kIova, kPage);
  w.consume();
  EXPECT_EQ(w.status(7), unsigned{KVM_IOMMU_STATUS_STATE});
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

TEST(Ring, TooManyEntriesBreakIt) {
  for (const u32 avail : {65u, 0x80000000u, ~0u}) {
    Guest w(64);
    ASSERT_EQ(w.open_faults(), 0);
    w.tables.map_pages(w.kIova, w.data(0), 8);
    w.fill(0, w.kIova, kPage);
    w.store<u32>(w.kAvail, avail);
    EXPECT_EQ(w.consume(), 0u);
    EXPECT_EQ(w.flags(), unsigned{KVM_IOMMU_RING_BROKEN});
    EXPECT_EQ(w.done(), 0u);
    const auto faults = w.read_faults(2);
    ASSERT_EQ(faults.size(), 1u);
    EXPECT_EQ(faults[0].reason, unsigned{KVM_IOMMU_FAULT_RING});
    EXPECT_EQ(faults[0].gpa, kRingGpa);
    EXPECT_EQ(faults[0].flags, unsigned{KVM_IOMMU_FAULT_HAS_GPA});
    // For ever.
    w.store<u32>(w.kAvail, 1);
    EXPECT_EQ(w.consume(), 0u);
    EXPECT_EQ(w.drain(), 0u);
    EXPECT_EQ(w.mapped(), 0u);
    // But not for another one in its place.
    w.destroy();
    w.create();
    EXPECT_EQ(w.flags(), 0u);
    w.consume();
    EXPECT_EQ(w.mapped(), 1u);
  }
}

TEST(Ring, MemoryThatIsNotOrdinaryBreaksIt) {
  for (const Backing backing : {Backing::kUnbacked, Backing::kMmio,
                                Backing::kDevice, Backing::kReadOnlyRam}) {
    Guest w;
    ASSERT_EQ(w.open_faults(), 0);
    w.tables.map_pages(w.kIova, w.data(0), 8);
    w.post(w.kIova, kPage);
    w.guest.set_backing(w.ring_hva, 1, backing);
    EXPECT_EQ(w.consume(), 0u);
    ASSERT_EQ(w.read_faults(2).size(), 1u);
    w.guest.set_backing(w.ring_hva, 1, Backing::kRam);
    EXPECT_EQ(w.consume(), 0u);
    EXPECT_EQ(w.done(), 0u);
  }
  Guest w;
  ASSERT_EQ(w.open_faults(), 0);
  w.guest.remove_slot(kRingGpa);
  EXPECT_EQ(w.consume(), 0u);
  EXPECT_EQ(w.read_faults(2).size(), 1u);
}

// Each word is read once: what is checked is what is used.
TEST(Ring, EntriesThatChangeWhileTheyAreRead) {
  Guest w;
  w.tables.map_pages(w.kIova, w.data(0), 8);
  w.post(w.kIova, kPage);
  unsigned reads = 0;
  w.guest.before_read = [&](u64 gpa) {
    // After the entry was read, before the tables are.
    if (gpa < kRingGpa && reads++ == 0) {
      w.fill(0, w.kIova + 5, ~u64{0}, ~0u);
      w.store<u32>(w.kAvail, 7000);
    }
  };
  EXPECT_EQ(w.consume(),
            0u | (w.flags() != 0 ? 0u : KIOMMU_RING_NOTIFY | KIOMMU_RING_MORE));
  w.guest.before_read = {};
  EXPECT_GT(reads, 0u);
  EXPECT_EQ(w.mapped(), 1u);
  EXPECT_EQ(w.status(0), 0u);
  EXPECT_EQ(w.stopped(0), w.kIova + kPage);
  EXPECT_EQ(w.consume(), 0u);  // broken by now
  EXPECT_EQ(w.flags(), unsigned{KVM_IOMMU_RING_BROKEN});
}

TEST(Ring, LargeEntriesAreDoneAlone) {
  Guest w;
  w.tables.map_pages(w.kIova, w.data(0), 8);
  w.post(w.kIova, kPage);
  w.post(w.kIova, kGiB);
  w.post(w.kIova + 4 * kPage, kPage, kUnmap);
  EXPECT_NE(w.consume(KIOMMU_RING_LARGE_LATER) & KIOMMU_RING_MORE, 0u);
  EXPECT_EQ(w.done(), 1u);
  EXPECT_NE(w.consume(KIOMMU_RING_LARGE_LATER) & KIOMMU_RING_MORE, 0u);
  EXPECT_EQ(w.done(), 1u);
  EXPECT_NE(w.consume() & KIOMMU_RING_MORE, 0u);
  EXPECT_EQ(w.done(), 2u);
  EXPECT_EQ(w.stopped(1), w.kIova + kGiB);
  EXPECT_EQ(w.mapped(), 8u);
  EXPECT_EQ(w.consume(), 0u);
  EXPECT_EQ(w.mapped(), 7u);
  w.post(w.kIova, kGiB);
  w.consume(KIOMMU_RING_LARGE_NEVER);
  EXPECT_EQ(w.status(3), unsigned{KVM_IOMMU_STATUS_BUDGET});
  EXPECT_EQ(w.stopped(3), w.kIova);
}

// A table that all entries of a table name: more than a call has patience for.
TEST(Ring, LargeEntriesGoOnWhereABudgetEnds) {
  constexpr u64 kGiBs = 80;
  Guest w;
  const u64 table = w.tables.new_table(0);
  for (u64 i = 0; i < 512; ++i) {
    w.tables.set(i << 21, 1, Guest::S::table(1, table, kRW));
  }
  const u64 middle = w.tables.table(0, 1);
  for (u64 i = 0; i < kGiBs; ++i) {
    w.tables.set(i << 30, 2, Guest::S::table(2, middle, kRW));
  }
  w.post(0, kGiBs << 30);
  EXPECT_EQ(w.consume(), u32{KIOMMU_RING_MORE});
  EXPECT_EQ(w.done(), 0u);
  // The copy is what counts.
  w.fill(0, 1, 1, ~0u);
  EXPECT_EQ(w.consume(), u32{KIOMMU_RING_NOTIFY});
  EXPECT_EQ(w.done(), 1u);
  EXPECT_EQ(w.status(0), 0u);
  EXPECT_EQ(w.stopped(0), kGiBs << 30);
}

TEST(Ring, DrainDoesWhatIsThere) {
  Guest w(1024);
  w.tables.map_pages(w.kIova, w.data(0), 512);
  for (u64 i = 0; i < 500; ++i) w.post(w.kIova + i * kPage, kPage);
  w.post(w.kIova, kGiB);
  w.drain();
  EXPECT_EQ(w.done(), 501u);
  EXPECT_EQ(w.mapped(), 512u);
}

// A guest that is never done: the host is.
TEST(Ring, DrainEnds) {
  Guest w;
  for (u64 i = 0; i < 64; ++i) w.post(w.kIova, kPage);
  w.guest.before_write = [&](u64) {
    while (w.avail - w.done() < 64) w.post(w.kIova, kPage);
  };
  w.drain();
  w.guest.before_write = {};
  EXPECT_GE(w.done(), 64u);
  EXPECT_LE(w.done(), 256u);
}

// At an odd place, in two slots, going round in the middle of a batch.
TEST(Ring, SpansSlots) {
  Guest w(128, kRingGpa + 0xf80);
  const u64 rest = w.guest.slot_of(kRingGpa)->pages - 1;
  const u64 hva = w.ring_hva;
  w.guest.remove_slot(kRingGpa);
  w.guest.add_slot(kRingGpa, 1, hva);
  w.guest.add_slot(kRingGpa + kPage, rest, hva + kPage);
  w.tables.map_pages(w.kIova, w.data(0), 128);
  for (u64 round = 0; round < 7; ++round) {
    for (u64 i = 0; i < 100; ++i) w.post(w.kIova + i * kPage, kPage);
    w.consume_all();
    EXPECT_EQ(w.done(), w.avail);
    for (u32 i = 1; i <= 100; ++i) ASSERT_EQ(w.status(w.avail - i), 0u);
  }
  EXPECT_EQ(w.mapped(), 100u);
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
