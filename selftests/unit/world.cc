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

// How many frames the runs name, each counted once.
u64 distinct_frames(Runs runs) {
  std::sort(
      runs.begin(), runs.end(),
      [](const MappedRun& a, const MappedRun& b) { return a.pfn < b.pfn; });
  u64 frames = 0;
  u64 counted_to = 0;
  for (const MappedRun& run : runs) {
    const u64 end = run.pfn + run.pages;
    const u64 from = std::max(run.pfn, counted_to);
    if (end > from) frames += end - from;
    counted_to = std::max(counted_to, end);
  }
  return frames;
}

}  // namespace

void expect_consistent(port::Machine& machine) {
  const kiommu_core_info info = machine.info();
  EXPECT_EQ(info.pinned_pages, machine.host.pinned());
  EXPECT_EQ(info.pinned_pages, machine.host.pins());
  EXPECT_EQ(info.pinned_pages, machine.guest.accounted());
  EXPECT_LE(info.shadow_bytes, info.shadow_limit);
  if (info.mapped_pages == 0) {
    EXPECT_EQ(info.pinned_pages, 0u);
    EXPECT_EQ(info.shadow_bytes, 0u);
  }
  if (machine.iommus.size() == 0) return;
  const Runs runs = runs_of(machine.iommus[0]);
  for (std::size_t i = 0; i < machine.iommus.size(); ++i) {
    port::HostIommu& iommu = machine.iommus[i];
    EXPECT_FALSE(iommu.iotlb_may_be_stale()) << iommu.kind().name;
    EXPECT_EQ(iommu.mapped_pages(), info.mapped_pages) << iommu.kind().name;
    EXPECT_TRUE(runs_of(iommu) == runs) << iommu.kind().name << " differs";
  }
  // What is mapped is pinned, the port checks that. So equal numbers mean
  // that nothing else is.
  EXPECT_EQ(distinct_frames(runs), machine.host.pinned());
}

}  // namespace kiommu::test
