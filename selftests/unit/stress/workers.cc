// SPDX-License-Identifier: GPL-2.0-only
//
// See workers.hpp.
#include "workers.hpp"

#include <chrono>
#include <thread>

namespace kiommu::test::stress {
namespace {

constexpr u64 kShadowLimit = 48 * kPage;

void rest(Random& random, u64 most_ms) {
  std::this_thread::sleep_for(std::chrono::milliseconds{random() % most_ms});
}

}  // namespace

Workers::Workers(const HostSet& hosts, bool fails)
    : hosts_(hosts),
      fails_(fails),
      world_({.machine = {.hosts = hosts.first,
                          .shadow_limit = fails ? kShadowLimit : kGiB,
                          .idle_limit = 512},
              .data_pages = kData,
              .data_order = port::kContiguous}),
      second_(world_.host, world_.pins, world_.ledger,
              {.hosts = {hosts.second}}),
      ring_(world_, second_, iova(kPages), fails) {
  slot_hva_ = world_.guest.add_ram(kSlot, kSlotPages, port::kShuffled);
  bar_hva_ = world_.guest.add_ram(kBar, kBarPages, port::kContiguous);
  world_.guest.set_backing(bar_hva_, kBarPages, Backing::kDevice);
  EXPECT_EQ(second_.start(), 0);
  EXPECT_EQ(second_.anchor(world_.tables.anchor()), 0);
  EXPECT_EQ(world_.open_faults(), 0);
  // All tables exist before the threads start.
  for (u64 i = 0; i < kPages; ++i) {
    world_.tables.map(iova(i), world_.data(i));
    if (i % 512 == 0) lowest_.push_back(world_.tables.table(iova(i), 0));
  }
  ring_.begin();
  upper_ = world_.tables.entry_gpa(kBase, 1);
  extra_ = world_.tables.new_table(0);
  lowest_.push_back(extra_);
}

Workers::~Workers() {
  ring_.end();
  second_.destroy();
}

u64 Workers::some_gpa(Random& random) const {
  switch (pick(random, 16)) {
    case 0:
      return kSlot + pick(random, kSlotPages) * kPage;
    case 1:
      return kBar + pick(random, kBarPages) * kPage;
    default:
      return world_.data(pick(random, kData));
  }
}

port::DmaDomain& Workers::some_domain(Random& random) {
  if (pick(random, 2) == 0) return world_;
  return second_;
}

void Workers::guest_stores(Random& random) {
  const u64 number = pick(random, kTables);
  const u64 entry = pick(random, 512);
  const u64 table = lowest_[pick(random, lowest_.size())];
  arm(random);
  switch (pick(random, 24)) {
    case 0:  // a large page
      store(upper_ + 8 * number,
            S::leaf(1, world_.data(512 * pick(random, kData / 512)),
                    pick(random, 3) == 0 ? kR : kRW));
      break;
    case 1:
      store(upper_ + 8 * number, S::absent(1));
      break;
    case 2:
    case 3:
    case 4:  // its own table, or one that is used in many places
      store(upper_ + 8 * number,
            S::table(1, pick(random, 6) == 0 ? extra_ : lowest_[number],
                     pick(random, 4) == 0 ? kR : kRW));
      break;
    case 5: {  // neighbours in IOVA and memory: the largest blocks of hosts
      const u64 count = u64{2} << pick(random, 3);
      const u64 first_table = number & ~(count - 1);
      const u64 from = (pick(random, 2) * kTables + first_table) * 512;
      for (u64 i = 0; i < count; ++i) {
        store(upper_ + 8 * (first_table + i),
              S::leaf(1, world_.data(from + 512 * i), kRW));
      }
      break;
    }
    case 6:
      store(table + 8 * entry, S::absent(0));
      break;
    case 7:
    case 8: {  // neighbours
      const u64 from = pick(random, kData - 512);
      const u64 count = std::min<u64>(512 - entry, 1 + pick(random, 32));
      for (u64 i = 0; i < count; ++i) {
        store(table + 8 * (entry + i), S::leaf(0, world_.data(from + i), kRW));
      }
      break;
    }
    default:
      store(table + 8 * entry,
            S::leaf(0, some_gpa(random), pick(random, 4) == 0 ? kR : kRW));
  }
  faults() = {};
}

void Workers::vmm_calls(Random& random) {
  port::DmaDomain& domain = some_domain(random);
  const u64 first = pick(random, kPages);
  const u64 most = pick(random, 3) == 0 ? kPages - first : 64;
  const u64 count = 1 + pick(random, std::min(most, kPages - first));
  arm(random);
  switch (pick(random, 16)) {
    case 0:
    case 1:
    case 2:
      domain.unmap(iova(first), count * kPage);
      break;
    case 3: {
      kiommu_translation answer;
      domain.translate(iova(first), &answer);
      break;
    }
    case 4:
      domain.translate_range(iova(first), count * kPage);
      break;
    case 5: {
      std::vector<kiommu_u64> bits;
      u64 unmapped = 0;
      domain.unmap_writable(iova(first), count * kPage, &bits, &unmapped);
      break;
    }
    case 6:
      domain.writable_pages(iova(first), count);
      break;
    case 7: {
      kiommu_u64 unmapped = 0;
      if (pick(random, 8) == 0) domain.unmap_all(&unmapped);
      break;
    }
    case 8: {
      kiommu_u64 untracked = 0;
      if (!fails_) break;
      world_.untrack(kTablesGpa, kTablesPages * kPage, &untracked);
      break;
    }
    default:
      if (fails_ && pick(random, 8) == 0) {
        faults().interrupt.arm(1 + pick(random, 40));
      }
      domain.refresh(iova(first), count * kPage);
  }
  faults() = {};
}

void Workers::memory_changes(Random& random) {
  rest(random, 4);
  const u64 count = 1 + pick(random, pick(random, 8) == 0 ? 600 : 8);
  const u64 hva = world_.data_hva + pick(random, kData - count) * kPage;
  if (fails_ && pick(random, 4) == 0) faults().node.arm(1 + pick(random, 4));
  if (fails_ && pick(random, 4) == 0) faults().map.arm(1 + pick(random, 4));
  switch (pick(random, 6)) {
    case 0:
      if (has_slot_) {
        world_.guest.remove_slot(kSlot);
        world_.pins.slots_changed();
        has_slot_ = false;
      } else {
        put_slot_back();
      }
      break;
    case 1:
      world_.iommus.revoke_mmio(bar_hva_, kBarPages);
      second_.iommus.revoke_mmio(bar_hva_, kBarPages);
      world_.pins.mmio_revoked();
      break;
    case 2:
      world_.guest.discard(hva, count);
      world_.pins.memory_changed(hva, count);
      break;
    default:
      world_.guest.exchange(hva, count);
      world_.pins.memory_changed(hva, count);
  }
  faults() = {};
}

// Adds the slot again, over the same memory.
void Workers::put_slot_back() {
  if (has_slot_) return;
  world_.guest.add_slot(kSlot, kSlotPages, slot_hva_);
  has_slot_ = true;
}

void Workers::domains_change(Random& random) {
  // These are rare, or nothing would be mapped for long.
  rest(random, 60);
  switch (pick(random, 10)) {
    case 0:
      if (anchored_) {
        EXPECT_EQ(world_.unanchor(), 0);
        anchored_ = false;
      }
      break;
    case 1:
      if (started_) {
        EXPECT_EQ(world_.stop(), 0);
        started_ = anchored_ = follows_ = false;
      }
      break;
    case 2:
      if (follows_) world_.unfollow();
      follows_ = false;
      break;
    case 3:
      if (joined_ > 0) {
        EXPECT_EQ(second_.drop_host(), 0);
        --joined_;
      } else if (second_.add_host(hosts_.second) == 0) {
        ++joined_;
      }
      break;
    case 4:
      world_.read_faults(64);
      break;
    default:
      if (!started_) {
        EXPECT_EQ(world_.start(), 0);
        started_ = true;
      }
      if (!anchored_) {
        EXPECT_EQ(world_.anchor(world_.tables.anchor()), 0);
        anchored_ = true;
      }
      if (!follows_) {
        EXPECT_EQ(world_.follow(fails_ ? pick(random, 2) * 16 : 0), 0);
        follows_ = true;
      }
  }
}

void Workers::log_and_pins(Random& random) {
  rest(random, 4);
  const u64 first = pick(random, kData);
  const u64 count = 1 + pick(random, kData - first);
  std::vector<kiommu_u64> bits;
  switch (pick(random, 8)) {
    case 0:
      world_.pins.set_idle_limit(pick(random, 2000));
      break;
    case 1:
      world_.pins.trim(pick(random, 400));
      break;
    case 2:
      world_.pins.slots_changed();
      break;
    case 3:
      world_.pins.preregister(kDataGpa, kData * kPage);
      break;
    case 4:
      world_.pins.unregister();
      break;
    case 5:
      world_.pins.start_dirty();
      break;
    case 6:
      if (world_.pins.read_dirty(world_.data(first), count * kPage, &bits) ==
              0 &&
          pick(random, 2) == 0) {
        world_.pins.put_dirty_back(world_.data(first), count * kPage, bits);
      }
      break;
    default:
      if (pick(random, 4) == 0) world_.pins.stop_dirty();
  }
}

// What the tables say, by the translator of the specification.
std::optional<HostPage> Workers::wanted(u64 page) {
  const auto read = [&](u64 gpa, u8* bytes) -> unsigned {
    world_.guest.read(gpa, bytes, 8);
    return KVM_IOMMU_STATUS_OK;
  };
  const Answer answer = S::translate(read, world_.tables.anchor(), iova(page));
  if (answer.status != KVM_IOMMU_STATUS_OK) return kBlocked;
  return world_.frame(answer.gpa, answer.rights);
}

// Where all tables are in sync, nothing but what they say is mapped. Less may
// be, because the VMM has unmapped some, and memory has come and gone.
void Workers::expect_followed() {
  if (!follows_ || world_.info().unsynced_pages > 0) return;
  for (u64 i = 0; i < kAllPages; ++i) {
    const auto seen = world_.sees(iova(i));
    if (seen) {
      ASSERT_EQ(seen, wanted(i)) << "page " << i;
    }
  }
}

void Workers::expect_as_tables_say(port::DmaDomain& domain) {
  for (std::size_t host = 0; host < domain.iommus.size(); ++host) {
    for (u64 i = 0; i < kAllPages; ++i) {
      ASSERT_EQ(domain.iommus.device_sees(host, iova(i) / kPage), wanted(i))
          << "page " << i;
    }
  }
}

void Workers::settle() {
  faults() = {};
  put_slot_back();
  world_.pins.slots_changed();
  world_.pins.unregister();
  ring_.rest();
  expect_consistent(world_, {&world_, &second_});
  expect_followed();
  if (!started_) {
    EXPECT_EQ(world_.start(), 0);
  }
  if (!anchored_) {
    EXPECT_EQ(world_.anchor(world_.tables.anchor()), 0);
  }
  const RefreshOutcome outcome = world_.refresh(kBase, kAllPages * kPage);
  EXPECT_EQ(outcome.error, 0) << "status " << outcome.result.status;
  expect_as_tables_say(world_);
  ring_.bring(kBase, kAllPages);
  expect_as_tables_say(second_);
  expect_consistent(world_, {&world_, &second_});
  world_.pins.stop_dirty();
  EXPECT_EQ(world_.stop(), 0);
  EXPECT_EQ(second_.stop(), 0);
  world_.pins.trim(0);
  EXPECT_EQ(world_.host.pins(), 0u);
  EXPECT_TRUE(world_.guest.tracked().empty());
}

}  // namespace kiommu::test::stress
