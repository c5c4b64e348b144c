// SPDX-License-Identifier: GPL-2.0-only
//
// The model test: the steps of guest and VMM, and the faults, see model.hpp.
#pragma once

#include "model.hpp"

namespace kiommu::test {

// Memory of the guest in the model, beside tables and data.
inline constexpr u64 kModelPages = 4096;
inline constexpr u64 kOddGpa = kDataGpa + 64 * kGiB;
inline constexpr u64 kRomGpa = kOddGpa + kGiB;
inline constexpr u64 kPrivateGpa = kOddGpa + 2 * kGiB;
inline constexpr u64 kMovingGpa = kOddGpa + 3 * kGiB;
inline constexpr u64 kMovingPages = 256;
// IOVA pages at which hosts that have pages of 4 and 8 MiB make some.
inline constexpr u64 kModelBlocks = 2048;
inline constexpr u64 kModelBlockPages = 2048;

template <class Format>
Model<Format>::Model(u32 seed, const ModelOptions& options)
    : options_(options),
      random_(seed),
      world_({.machine = {.hosts = options.hosts,
                          .shadow_limit = 96 * 4096,
                          .reserved = {kModelReserved}},
              .data_pages = kModelPages,
              .data_order = options.order,
              .top = static_cast<int>(S::kTops[seed % S::kTops.size()])}) {
  port::GuestMemory& guest = world_.guest;
  const u64 odd = guest.add_ram(kOddGpa, 64, port::kShuffled);
  guest.set_backing(odd, 8, Backing::kMmio);
  guest.set_backing(odd + 10 * kPage, 8, Backing::kDevice);
  guest.set_backing(odd + 50 * kPage, 4, Backing::kReadOnlyDevice);
  guest.set_backing(odd + 20 * kPage, 3, Backing::kUnbacked);
  guest.set_backing(odd + 30 * kPage, 8, Backing::kReadOnlyRam);
  guest.set_backing(odd + 40 * kPage, 2, Backing::kRefused);
  guest.add_ram(kRomGpa, 64, port::kContiguous, KIOMMU_SLOT_READ_ONLY);
  guest.add_ram(kPrivateGpa, 64, port::kShuffled, KIOMMU_SLOT_PRIVATE);
  guest.add_ram(kMovingGpa, kMovingPages, port::kShuffled);
  guest.pin_batch = 1 + static_cast<u32>(pick(512));
  // At 0, across a boundary of 1 GiB, and at the end of the reach.
  regions_ = {{0, 1200}, {kGiB / kPage - 700, 1400}};
  regions_.push_back({(world_.tables.reach() - kPage) / kPage - 299, 300});
  if (options.order == port::kContiguous) {
    regions_.push_back({kModelBlocks, kModelBlockPages});
  }
}

template <class Format>
u64 Model<Format>::some_page() {
  const Region& region = regions_[pick(regions_.size())];
  return region.first + pick(region.pages);
}

template <class Format>
auto Model<Format>::some_range() -> Range {
  const Region& region = regions_[pick(regions_.size())];
  const u64 first = region.first + pick(region.pages);
  const u64 most = region.first + region.pages - first;
  if (one_in(4)) return {region.first, region.pages};
  return {first, 1 + pick(one_in(2) ? most : std::min<u64>(most, 40))};
}

// A random number of the guest's smallest pages, of about `pages` 4 KiB pages
// at most.
template <class Format>
u64 Model<Format>::some_leaves(u64 pages) {
  return 1 + pick(pages) * kPage / kLeaf;
}

template <class Format>
u64 Model<Format>::some_gpa() {
  switch (pick(40)) {
    case 0:
      return kOddGpa + pick(64) * kPage;
    case 1:
      return kRomGpa + pick(64) * kPage;
    case 2:
      return one_in(4) ? kPrivateGpa : kRomGpa;
    case 3:
    case 4:
      return kMovingGpa + pick(kMovingPages) * kPage;
    case 5:
      return one_in(4) ? u64{0x5000} : world_.data(3);  // in no slot
    default:
      return world_.data(pick(kModelPages));
  }
}

template <class Format>
void Model<Format>::edit() {
  const u64 page = some_page();
  const u64 iova = page * kPage & ~(kLeaf - 1);
  if (page - kModelBlocks < kModelBlockPages && one_in(3)) return edit_block();
  switch (pick(16)) {
    case 0:
    case 1:
      return edit_large(iova);
    case 2:
    case 3:
      return edit_upper(iova);
    case 4:
      if (one_in(6)) edit_slots();
      return;
    case 5:
    case 6:
    case 7: {  // absent pages
      const u64 leaves = some_leaves(one_in(3) ? 300 : 3);
      for (u64 i = 0; i < leaves; ++i) world_.tables.clear(iova + i * kLeaf);
      return;
    }
    case 8:
    case 9:
    case 10: {  // a contiguous run
      const u64 leaves = some_leaves(300);
      const u64 all = kModelPages * kPage / kLeaf;
      const u64 from =
          one_in(2) ? iova % (1024 * kPage) / kLeaf : pick(all - leaves);
      world_.tables.map_pages(iova, world_.leaf(from), leaves, some_rights());
      return;
    }
    default: {  // scattered pages
      const u64 leaves = 1 + pick(8);
      for (u64 i = 0; i < leaves; ++i) {
        world_.tables.map(iova + i * kLeaf, some_gpa() & ~(kLeaf - 1),
                          some_rights());
      }
    }
  }
}

// Maps a large page; one of 32 MiB or more is only partly memory.
template <class Format>
void Model<Format>::edit_large(u64 iova) {
  const unsigned level = one_in(8) && S::has_leaf(2) ? 2 : 1;
  if (level > world_.tables.top()) return;
  const u64 size = u64{1} << S::shift(level);
  const u64 offset = pick(8) * size % (kModelPages * kPage);
  world_.tables.map(iova, kDataGpa + offset, some_rights(), level);
}

// Maps 2, 4 or 8 MiB of memory at IOVAs of the same alignment, mostly by large
// entries if the format has some of 2 MiB.
template <class Format>
void Model<Format>::edit_block() {
  const u64 pages = u64{512} << pick(3);
  const u64 from = pick(kModelBlockPages / pages) * pages;
  const u64 gpa = world_.data(pick(2) * kModelBlockPages + from);
  const u64 iova = (kModelBlocks + from) * kPage;
  if (S::shift(1) == 21 && S::has_leaf(1) && !one_in(4)) {
    for (u64 done = 0; done < pages * kPage; done += 2 * kMiB) {
      world_.tables.map(iova + done, gpa + done, kRW, 1);
    }
    return;
  }
  for (u64 done = 0; done < pages * kPage; done += 2 * kMiB) {
    if (world_.tables.top() > 0) world_.tables.link(iova + done, 1);
  }
  world_.tables.map_pages(iova, gpa, pages * kPage / kLeaf);
}

// Changes an entry above the pages: to an absent, malformed or read-only one,
// to one that names memory unfit for tables, or to a loop.
template <class Format>
void Model<Format>::edit_upper(u64 iova) {
  const unsigned level = 1 + pick(world_.tables.top());
  switch (pick(one_in(3) ? 6 : 3)) {
    case 0:
      return world_.tables.clear(iova, level);
    case 1:
    case 2:
      return world_.tables.link(iova, level, one_in(3) ? kR : kRW);
    case 3: {
      const std::vector<BadEntry> bad = S::malformed(level);
      return world_.tables.set(iova, level, bad[pick(bad.size())].entry);
    }
    case 4:
      return world_.tables.set(iova, level,
                               S::table(level, world_.tables.root(), kRW));
    default: {
      const u64 nowhere[] = {0x5000, kRomGpa, kPrivateGpa, kOddGpa};
      const u64 table = nowhere[pick(4)] & ~(S::table_bytes(level - 1) - 1);
      return world_.tables.set(iova, level, S::table(level, table, kRW));
    }
  }
}

// The VMM removes a slot, or puts other memory there.
template <class Format>
void Model<Format>::edit_slots() {
  world_.guest.remove_slot(kMovingGpa);
  if (!one_in(3)) {
    const u32 flags = one_in(4) ? KIOMMU_SLOT_READ_ONLY : 0;
    world_.guest.add_ram(kMovingGpa, kMovingPages, port::kContiguous2M, flags);
  }
  world_.pins.slots_changed();
  expect_consistent(world_);
}

template <class Format>
void Model<Format>::arm_faults() {
  faults() = {};
  if (!options_.faults) return;
  if (one_in(4)) faults().node.arm(1 + pick(6));
  if (one_in(4)) faults().pin.arm(1 + pick(20));
  if (one_in(4)) faults().account.arm(1 + pick(20));
  if (one_in(4)) faults().map.arm(1 + pick(20));
  if (one_in(4)) faults().mmio.arm(1 + pick(4));
  if (one_in(4)) faults().interrupt.arm(1 + pick(20));
  world_.guest.memlock_pages = one_in(4) ? pick(1500) : ~u64{0};
  world_.iommus.map_error = one_in(3) ? -EIO : -ENOMEM;
  world_.guest.pin_failure =
      one_in(3) ? KIOMMU_PIN_INTERRUPTED : KIOMMU_PIN_NO_MEMORY;
}

template <class Format>
void Model<Format>::refresh_some() {
  const Range range = some_range();
  const Snapshot before = snapshot(world_.iommus[0]);
  arm_faults();
  const RefreshOutcome outcome =
      world_.refresh(range.first * kPage, range.pages * kPage);
  const bool lossy = faults().map.fired() + faults().node.fired() > 0;
  faults() = {};
  SCOPED_TRACE(testing::Message() << "refresh of pages " << range.first << " + "
                                  << range.pages << ": " << outcome.error);
  expect_consistent(world_);
  check_refresh(range, outcome, before, lossy);
}

template <class Format>
void Model<Format>::unmap_some() {
  const Range range = some_range();
  const Snapshot before = snapshot(world_.iommus[0]);
  const u64 mapped = world_.info().mapped_pages;
  arm_faults();
  u64 unmapped = 0;
  const int error =
      world_.unmap(range.first * kPage, range.pages * kPage, &unmapped);
  const bool refused = faults().map.fired() > 0;
  const bool lossy = refused || faults().node.fired() > 0;
  faults() = {};
  SCOPED_TRACE(testing::Message() << "unmap of pages " << range.first << " + "
                                  << range.pages << ": " << error);
  expect_consistent(world_);
  ASSERT_TRUE(error != 0 ? lossy : !refused);
  ASSERT_EQ(unmapped, mapped - world_.info().mapped_pages);
  for (u64 page = range.first; page < range.end(); ++page) {
    ASSERT_EQ(seen(page), kBlocked) << "page " << page;
  }
  check_outside(range, before, lossy && error != 0);
}

// Without faults, everything converges to what the tables say, except for bad
// entries, which are skipped.
template <class Format>
void Model<Format>::settle() {
  faults() = {};
  world_.guest.memlock_pages = ~u64{0};
  for (const Region& region : regions_) {
    u64 page = region.first;
    const u64 end = region.first + region.pages;
    while (page < end && !testing::Test::HasFatalFailure()) {
      const Snapshot before = snapshot(world_.iommus[0]);
      const Range rest{page, end - page};
      const RefreshOutcome outcome =
          world_.refresh(page * kPage, rest.pages * kPage);
      check_refresh(rest, outcome, before, false);
      if (outcome.error == 0) break;
      ASSERT_EQ(outcome.error, -EIO);
      // Go on to the next page that is not bad in the same way.
      page = outcome.result.stopped_iova / kPage;
      while (page < end && expected(page).status == outcome.result.status) {
        ++page;
      }
    }
  }
  expect_consistent(world_);
}

template <class Format>
void Model<Format>::run() {
  for (int step = 0; step < options_.steps; ++step) {
    SCOPED_TRACE(testing::Message() << "step " << step);
    for (u64 edits = 1 + pick(6); edits > 0; --edits) edit();
    if (one_in(5)) {
      unmap_some();
    } else {
      refresh_some();
    }
    check_translate(some_page());
    if (one_in(8)) {
      const Range range = some_range();
      expect_range(world_, range.first * kPage,
                   std::min<u64>(range.pages, 64) * kPage);
    }
    if (one_in(25)) {
      ASSERT_EQ(world_.unanchor(), 0);
      expect_consistent(world_);
      ASSERT_EQ(world_.info().pinned_pages, 0u);
      ASSERT_EQ(world_.anchor(world_.tables.anchor()), 0);
    }
    if (testing::Test::HasFailure()) return;
  }
  settle();
}

}  // namespace kiommu::test
