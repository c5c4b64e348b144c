// SPDX-License-Identifier: GPL-2.0-only
//
// Broken rings, entries that change while they are read, entries that are too
// large for one call, and a guest that never stops.
#include <memory>

#include "lib/ring_world.hpp"

namespace kiommu::test {
namespace {

using Guest = RingWorld<VtdSsFormat>;

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
    // It stays broken.
    w.store<u32>(w.kAvail, 1);
    EXPECT_EQ(w.consume(), 0u);
    EXPECT_EQ(w.drain(), 0u);
    EXPECT_EQ(w.mapped(), 0u);
    // Another ring in its place works.
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
}

// All entries of a table name one table: this is more than one call can walk.
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
  // The core uses its copy of the entry.
  w.fill(0, 1, 1, ~0u);
  EXPECT_EQ(w.consume(), u32{KIOMMU_RING_NOTIFY});
  EXPECT_EQ(w.done(), 1u);
  EXPECT_EQ(w.status(0), 0u);
  EXPECT_EQ(w.stopped(0), kGiBs << 30);
}

// The caller handles slots that change meanwhile: until then an entry has no
// status, and then it has the right one.
TEST(Ring, EntriesWaitForSlotsThatChanged) {
  Guest w;
  w.tables.map_pages(w.kIova, w.data(0), 8);
  w.post(w.kIova, 8 * kPage);
  w.pins.notices_slots = false;
  const kiommu_slot slot = *w.guest.slot_of(w.data(0));
  w.expect_refresh(w.kIova, kPage);  // the slot is known
  w.guest.remove_slot(w.data(0));
  w.guest.add_slot(w.data(0) - kPage, slot.pages + 1,
                   w.guest.add_area(slot.pages + 1, port::kShuffled));
  w.tables.map_pages(w.kIova, w.data(0) - kPage, 8);
  EXPECT_NE(w.consume() & KIOMMU_RING_MORE, 0u);
  EXPECT_EQ(w.done(), 0u);
  EXPECT_EQ(w.status(0), ~0u);
  w.pins.notices_slots = true;
  w.consume();
  EXPECT_EQ(w.done(), 1u);
  EXPECT_EQ(w.status(0), 0u);
  EXPECT_EQ(w.mapped(), 8u);
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

// If a mode cannot be set, the ring stays, and is drained again later.
TEST(Ring, DrainsAgain) {
  Guest w;
  w.tables.map_pages(w.kIova, w.data(0), 512);
  for (unsigned round = 1; round <= 3; ++round) {
    for (u64 i = 0; i < 20; ++i) w.post(w.kIova + i * kPage, kPage);
    w.drain();
    EXPECT_EQ(w.done(), 20 * round);
  }
}

// Each drain goes as far as the guest had come when the drain began.
TEST(Ring, TwoDrainsDoNotDisturbEachOther) {
  Guest w(1024);
  w.tables.map_pages(w.kIova, w.data(0), 512);
  for (u64 i = 0; i < 300; ++i) w.post(w.kIova + i * kPage, kPage);
  kiommu_ring_drain first{};
  EXPECT_NE(w.drain_some(first) & KIOMMU_RING_MORE, 0u);
  EXPECT_LT(w.done(), 300u);
  for (u64 i = 300; i < 500; ++i) w.post(w.kIova + i * kPage, kPage);
  w.drain();
  EXPECT_EQ(w.done(), 500u);
  EXPECT_EQ(w.drain_some(first), 0u);
}

// The anchor is unset and set again while a large entry is under way: what was
// mapped for the first anchor is gone.
TEST(Ring, LargeEntryBeginsAnewWithAnotherAnchor) {
  using S = Spec<VtdSsFormat>;
  constexpr u64 kGiBs = 80;
  Guest w;
  const u64 table = w.tables.new_table(0);
  const u64 middle = w.tables.new_table(1);
  for (u64 i = 0; i < 512; ++i) {
    w.tables.write_entry(middle + 8 * i, S::table(1, table, kRW));
  }
  w.tables.map(w.kIova, w.data(7));
  for (u64 i = 0; i < kGiBs; ++i) {
    if (i != w.kIova >> 30) {
      w.tables.set(i << 30, 2, S::table(2, middle, kRW));
    }
  }
  w.post(0, kGiBs << 30);
  EXPECT_EQ(w.consume(), u32{KIOMMU_RING_MORE});
  ASSERT_EQ(w.unanchor(), 0);
  ASSERT_EQ(w.anchor(w.tables.anchor()), 0);
  w.consume_all();
  EXPECT_EQ(w.done(), 1u);
  EXPECT_EQ(w.status(0), 0u);
  EXPECT_EQ(w.sees(w.kIova), w.frame(w.data(7)));
}

// Makes the core forget the slot of the ring.
void renew_slot(Guest& w) {
  const kiommu_slot slot = *w.guest.slot_of(kRingGpa);
  w.guest.remove_slot(kRingGpa);
  w.pins.slots_changed();
  w.guest.add_slot(kRingGpa, slot.pages, slot.hva);
}

// The core meets the slot of the ring again, and has no memory for that at
// first.
TEST(Ring, IsNotGivenUpForALackOfMemory) {
  for (const bool drains : {false, true}) {
    Guest w;
    ASSERT_EQ(w.open_faults(), 0);
    w.tables.map_pages(w.kIova, w.data(0), 8);
    renew_slot(w);
    w.post(w.kIova, 8 * kPage);
    faults().node.arm(1);
    if (drains) {
      w.drain();
    } else {
      EXPECT_EQ(w.consume(), u32{KIOMMU_RING_MORE});
      w.consume_all();
    }
    faults() = {};
    EXPECT_EQ(w.flags(), 0u);
    EXPECT_EQ(w.done(), 1u);
    EXPECT_TRUE(w.read_faults(128).empty());
  }
}

// The ring's memory goes while an entry is done: a guest that waits for the
// entry is notified.
TEST(Ring, GuestIsToldWhenItIsGivenUp) {
  Guest w;
  ASSERT_EQ(w.open_faults(), 0);
  w.tables.map_pages(w.kIova, w.data(0), 8);
  w.post(w.kIova, 8 * kPage);
  unsigned reads = 0;
  w.guest.before_read = [&](u64 gpa) {
    // The core reads the indices, the entry, the indices again.
    if (gpa >= kRingGpa && ++reads == 3) {
      w.guest.set_backing(w.ring_hva, 1, Backing::kUnbacked);
    }
  };
  EXPECT_EQ(w.consume(), u32{KIOMMU_RING_NOTIFY});
  w.guest.before_read = {};
  EXPECT_EQ(w.read_faults(2).size(), 1u);
  w.guest.set_backing(w.ring_hva, 1, Backing::kRam);
  EXPECT_EQ(w.consume(), 0u);
}

// The guest's indices are in one slot, done and kick in another one, for which
// there is no memory when kick is to be written: it is written later.
TEST(Ring, KickIsToldWhenThereIsMemoryAgain) {
  Guest w(256, kRingGpa + kPage - KVM_IOMMU_RING_ALIGN);
  for (unsigned i = 0; i < 130; ++i) w.post(w.kIova, kPage);
  EXPECT_NE(w.consume() & KIOMMU_RING_MORE, 0u);
  ASSERT_EQ(w.done(), 128u);
  ASSERT_NE(w.kick(), 128u);
  // The guest takes two back: only kick is left to write.
  w.store<u32>(w.kAvail, 128);
  const kiommu_slot slot = *w.guest.slot_of(kRingGpa);
  w.guest.remove_slot(kRingGpa);
  w.pins.slots_changed();
  w.guest.add_slot(kRingGpa, 1, slot.hva);
  w.guest.add_slot(kRingGpa + kPage, slot.pages - 1, slot.hva + kPage);
  faults().node.arm(2);
  EXPECT_EQ(w.consume(), u32{KIOMMU_RING_MORE});
  EXPECT_EQ(faults().node.fired(), 1u);
  faults() = {};
  EXPECT_NE(w.kick(), 128u);
  w.consume_all();
  EXPECT_EQ(w.kick(), 128u);
}

// Entries that the guest posts meanwhile are left to the doorbell.
TEST(Ring, DrainGoesNoFurtherThanTheGuestHadCome) {
  Guest w(1024);
  w.tables.map_pages(w.kIova, w.data(0), 512);
  for (u64 i = 0; i < 300; ++i) w.post(w.kIova + i * kPage, kPage);
  kiommu_ring_drain until{};
  ASSERT_NE(w.drain_some(until) & KIOMMU_RING_MORE, 0u);
  for (u64 i = 0; i < 600; ++i) w.post(w.kIova, kPage);
  for (unsigned i = 0; i < 100 && w.drain_some(until) != 0; ++i) continue;
  EXPECT_GE(w.done(), 300u);
  EXPECT_LT(w.done(), 700u);
}

// The guest never stops, but the drain does.
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

// At an odd offset, in two slots, with indices that wrap in the middle of a
// batch.
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

// A ring does not begin while there is no memory for its slot. When it has
// begun, nothing is left of the ring before it.
TEST(Ring, BeginsWhenThereIsMemory) {
  Guest w;
  ASSERT_EQ(w.open_faults(), 0);
  w.tables.map_pages(w.kIova, w.data(0), 8);
  for (unsigned i = 0; i < 5; ++i) w.post(w.kIova, kPage);
  w.consume_all();
  ASSERT_EQ(w.done(), 5u);
  w.store<u32>(offsetof(kvm_iommu_ring, flags), KVM_IOMMU_RING_BROKEN);
  renew_slot(w);
  w.store<u32>(w.kAvail, 0);
  w.avail = 0;
  kiommu_core_ring_destroy(w.ring);
  kiommu_u32 status = 0;
  ASSERT_EQ(kiommu_core_ring_create(kRingGpa, w.entries, &w.ring, &status), 0);
  faults().node.arm(1);
  EXPECT_EQ(w.begin(), -ENOMEM);
  EXPECT_EQ(faults().node.fired(), 1u);
  faults() = {};
  EXPECT_EQ(w.done(), 5u);
  EXPECT_EQ(w.begin(), 0);
  EXPECT_EQ(w.done(), 0u);
  EXPECT_EQ(w.kick(), 0u);
  EXPECT_EQ(w.flags(), 0u);
  w.post(w.kIova, 8 * kPage);
  w.consume_all();
  EXPECT_EQ(w.done(), 1u);
  EXPECT_TRUE(w.read_faults(128).empty());
}

// A ring whose memory cannot be used is given up, but its beginning succeeds.
TEST(Ring, BeginsWithoutMemoryThatIsOrdinary) {
  Guest w;
  ASSERT_EQ(w.open_faults(), 0);
  w.guest.set_backing(w.ring_hva, 1, Backing::kReadOnlyRam);
  EXPECT_EQ(w.begin(), 0);
  EXPECT_EQ(w.read_faults(2).size(), 1u);
  w.guest.set_backing(w.ring_hva, 1, Backing::kRam);
  w.post(w.kIova, kPage);
  EXPECT_EQ(w.consume(), 0u);
  EXPECT_EQ(w.done(), 0u);
}

// A killed process no longer has its memory: that is not the ring's fault.
TEST(Ring, IsNotGivenUpForAKilledProcess) {
  Guest w;
  ASSERT_EQ(w.open_faults(), 0);
  w.tables.map_pages(w.kIova, w.data(0), 8);
  w.post(w.kIova, 8 * kPage);
  w.guest.set_backing(w.ring_hva, 1, Backing::kUnbacked);
  faults().interrupt.arm_always();
  EXPECT_EQ(w.begin(), -EINTR);
  EXPECT_EQ(w.consume(), 0u);
  faults() = {};
  w.guest.set_backing(w.ring_hva, 1, Backing::kRam);
  EXPECT_TRUE(w.read_faults(2).empty());
  w.consume_all();
  EXPECT_EQ(w.done(), 1u);
}

}  // namespace
}  // namespace kiommu::test
