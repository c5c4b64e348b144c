// SPDX-License-Identifier: GPL-2.0-only
//
// See world.hpp.
#include "world.hpp"

#include <algorithm>

namespace kiommu::test {
namespace {

void append(Runs& runs, const MappedRun& next) {
  if (!runs.empty()) {
    MappedRun& last = runs.back();
    if (last.page + last.pages == next.page &&
        last.pfn + last.pages == next.pfn && last.rights == next.rights) {
      last.pages += next.pages;
      return;
    }
  }
  runs.push_back(next);
}

}  // namespace

Snapshot snapshot(const port::HostIommu& iommu) {
  Snapshot pages;
  for (const auto& [page, block] : iommu.blocks()) {
    for (u64 i = 0; i < block.pages; ++i) {
      pages.emplace_hint(pages.end(), page + i,
                         HostPage{block.pfn + i, block.rights});
    }
  }
  return pages;
}

Runs runs_of(const port::HostIommu& iommu) {
  Runs runs;
  for (const auto& [page, block] : iommu.blocks()) {
    append(runs, {page, block.pages, block.pfn, block.rights});
  }
  return runs;
}

Runs runs_of(const Snapshot& snapshot) {
  Runs runs;
  for (const auto& [page, to] : snapshot) {
    append(runs, {page, 1, to.pfn, to.rights});
  }
  return runs;
}

namespace {

// Ranges of frames. distinct() returns each frame once, in sorted ranges that
// do not touch.
struct Frames {
  u64 first;
  u64 end;
};

std::vector<Frames> distinct(std::vector<Frames> all) {
  std::sort(all.begin(), all.end(),
            [](const Frames& a, const Frames& b) { return a.first < b.first; });
  std::vector<Frames> merged;
  for (const Frames& next : all) {
    if (!merged.empty() && next.first <= merged.back().end) {
      merged.back().end = std::max(merged.back().end, next.end);
    } else {
      merged.push_back(next);
    }
  }
  return merged;
}

u64 count(const std::vector<Frames>& frames) {
  u64 sum = 0;
  for (const Frames& run : frames) sum += run.end - run.first;
  return sum;
}

// Counts the frames that are pinned only because others that were pinned
// together with them are mapped: pins of 2 MiB may be kept as one.
u64 kept_with(const std::vector<Frames>& mapped, const std::set<u64>& as_one) {
  u64 kept = 0;
  for (u64 first : as_one) {
    const u64 end = first + 512;
    u64 used = 0;
    for (auto run = std::lower_bound(
             mapped.begin(), mapped.end(), first,
             [](const Frames&a, u64 pfn) { return a.end <= pfn; });
         run != mapped.end() && run->first < end; ++run) {
      used += std::min(end, run->end) - std::max(first, run->first);
    }
    if (used > 0) kept += 512 - used;
  }
  return kept;
}

// Adds the frames that the hosts of a domain map, except for device memory, and
// checks that the hosts agree with the domain.
void add_frames(port::DmaDomain& domain, std::vector<Frames>& frames) {
  const kiommu_core_info info = domain.info();
  EXPECT_LE(info.shadow_bytes, info.shadow_limit);
  const bool keeps_tables = domain.iommus.caps().keep_tables != 0;
  const bool renewed =
      info.state != KVM_IOMMU_STATE_ANCHORED && domain.iommus.renew_error == 0;
  if (info.mapped_pages + info.tracked_pages + info.unsynced_pages == 0 &&
      (renewed || !keeps_tables)) {
    EXPECT_EQ(info.shadow_bytes, 0u);
  }
  // Nodes and reservations, and the path to the root of a narrow tree.
  const u64 most_tables =
      info.shadow_bytes / KIOMMU_NODE_BYTES + info.mapped_pages / 512 + 3;
  if (domain.iommus.size() == 0) return;
  const Runs runs = runs_of(domain.iommus[0]);
  for (std::size_t i = 0; i < domain.iommus.size(); ++i) {
    port::HostIommu& iommu = domain.iommus[i];
    EXPECT_FALSE(iommu.iotlb_may_be_stale()) << iommu.kind().name;
    EXPECT_LE(iommu.tables(), most_tables) << iommu.kind().name;
    if (info.mapped_pages == 0 && renewed) {
      EXPECT_EQ(iommu.tables(), 0u) << iommu.kind().name;
    }
    EXPECT_EQ(iommu.mapped_pages(), info.mapped_pages) << iommu.kind().name;
    EXPECT_TRUE(runs_of(iommu) == runs) << iommu.kind().name << " differs";
  }
  for (const auto& [page, block] : domain.iommus[0].blocks()) {
    if (!block.mmio) frames.push_back({block.pfn, block.pfn + block.pages});
  }
}

}  // namespace

void expect_consistent(port::GuestSide& guest,
                       std::initializer_list<port::DmaDomain*> domains) {
  std::vector<Frames> all;
  bool unseen = false;  // what a domain without a host maps is in no table
  for (port::DmaDomain* domain : domains) {
    add_frames(*domain, all);
    unseen |= domain->iommus.size() == 0 && domain->info().mapped_pages > 0;
  }
  const std::vector<Frames> mapped = distinct(std::move(all));
  EXPECT_EQ(guest.host.pins(), guest.guest.accounted());
  bool started = guest.pins.preregistered();
  for (port::DmaDomain* domain : domains) {
    const kiommu_core_info info = domain->info();
    if (info.state == KVM_IOMMU_STATE_CREATED) continue;
    started = true;
    EXPECT_EQ(info.pinned_pages, guest.host.pins());
    EXPECT_LE(info.idle_pages, info.idle_limit);
    if (guest.guest.shares_memory()) continue;
    // The port checks that what is mapped is pinned, so equal numbers mean that
    // nothing else is.
    EXPECT_EQ(info.pinned_pages, guest.host.pinned());
    const u64 least = count(mapped) + info.idle_pages;
    EXPECT_GE(info.pinned_pages, least);
    if (guest.pins.preregistered() || unseen) continue;
    EXPECT_LE(info.pinned_pages,
              least + kept_with(mapped, guest.host.kept_as_one()));
  }
  if (!started) {
    EXPECT_EQ(guest.host.pins(), 0u);
  }
}

}  // namespace kiommu::test
