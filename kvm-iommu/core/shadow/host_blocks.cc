// SPDX-License-Identifier: GPL-2.0-only
//
// The shadow, see shadow.hpp: maps pages in the hosts, and notes which blocks
// these may have made of them.
#include "shadow/shadow.hpp"

namespace kiommu {

// Adds pages to what is gathered for the hosts. If they do not fit, maps that
// first; returns false if this fails: the pages are not added then.
bool Shadow::append(Workspace& workspace, uint64_t page, uint64_t pfn,
                    uint64_t pages, Rights rights) {
  const uint64_t cut = hosts_.cut_pages();
  if (workspace.host.add(page, pfn, pages, rights, cut)) return true;
  map_gathered(workspace);
  return !workspace.outcome.failed() &&
         workspace.host.add(page, pfn, pages, rights, cut);
}

// Maps what is gathered, in all hosts. If that fails, its pages are lost; no
// host has any of them, so there is nothing to unmap.
void Shadow::map_gathered(Workspace& workspace) {
  HostBatch& host = workspace.host;
  if (host.pages() == 0) return;
  auto mapped = host.map(KIOMMU_ALL_HOSTS);
  if (mapped) {
    note_blocks(workspace);
    host.clear();
    return;
  }
  const IovaPages pages{host.first(), host.first() + host.pages() - 1};
  const uint64_t count = host.pages();
  host.clear();
  forget(workspace, {pages});
  workspace.outcome.mapped -= count;
  workspace.outcome.unmapped -= count;
  workspace.outcome.lose(pages, mapped.error());
}

// Notes the blocks of what was just mapped. Single pages need no note: each was
// entered as a block of its own.
void Shadow::note_blocks(Workspace& workspace) {
  const HostBatch& host = workspace.host;
  if (host.pages() == host.run_count()) return;
  uint64_t page = host.first();
  for (uint32_t i = 0; i < host.run_count(); ++i) {
    const kiommu_run& run = host.run(i);
    const uint64_t count = run.bytes >> kPageShift;
    if (count > 1) note_run(workspace, page, run.hpa >> kPageShift, count);
    page += count;
  }
}

// Notes in the entries of `count` pages, mapped by one call, which blocks the
// hosts may have made of them.
void Shadow::note_run(Workspace& workspace, uint64_t page, uint64_t pfn,
                      uint64_t count) {
  uint64_t done = 0;
  while (done < count) {
    unsigned order = 0;
    uint64_t block = count;  // the whole call is one block
    if (hosts_.splits_calls()) {
      order = hosts_.block_order(page + done, pfn + done, count - done);
      block = uint64_t{1} << order;
    }
    uint64_t noted = 0;
    while (noted < block) {
      const uint64_t at = page + done + noted;
      const Radix::Leaf leaf = find(workspace, at);
      if (leaf.is_run()) {
        // A run is aligned in IOVA and in host memory, so it lies in one block,
        // or all of its blocks have this order.
        leaf.set_run(ShadowEntry{leaf.run()}.in_block(order, true).word);
        noted += kLeafPages;
      } else {
        const ShadowEntry entry{leaf.at(at)};
        leaf.at(at) = entry.in_block(order, noted == 0).word;
        ++noted;
      }
    }
    done += noted;
  }
}

// Maps pages that are in the shadow already, none of them device memory, and
// notes their blocks. Adds the number of pages mapped, from range.first on, to
// *done.
Result<void> Shadow::map_existing(Workspace& workspace, uint32_t host,
                                  IovaPages range, uint64_t* done) {
  HostBatch& batch = workspace.host;
  const auto map = [&]() -> Result<void> {
    if (batch.pages() == 0) return {};
    auto mapped = batch.map(host);
    if (mapped) {
      uint64_t page = batch.first();
      for (uint32_t i = 0; i < batch.run_count(); ++i) {
        const kiommu_run& run = batch.run(i);
        note_run(workspace, page, run.hpa >> kPageShift,
                 run.bytes >> kPageShift);
        page += run.bytes >> kPageShift;
      }
      *done += batch.pages();
    }
    batch.clear();
    return mapped;
  };
  uint64_t page = range.first;
  while (page <= range.last) {
    const Radix::Leaf leaf = find(workspace, page);
    const ShadowEntry entry{leaf.is_run() ? leaf.run() : leaf.at(page)};
    // A range neither begins nor ends within a run: drop_memory() expands such
    // runs first, replay() cuts only at leaves.
    const uint64_t pages = leaf.is_run() ? kLeafPages : 1;
    const uint64_t pfn = PinTable::pfn(
        workspace.guest_memory->mapped_slot(entry.gfn()), entry.gfn());
    const uint64_t cut = hosts_.cut_pages();
    if (!batch.add(page, pfn, pages, entry.rights(), cut)) {
      KIOMMU_TRY(map());
      (void)batch.add(page, pfn, pages, entry.rights(), cut);
    }
    page += pages;
  }
  return map();
}

Result<void> Shadow::replay(Workspace& workspace, uint32_t host,
                            bool killable) {
  uint64_t page = 0;
  while (auto run =
             next_run(workspace.leaf, {page, ~uint64_t{0} >> kPageShift})) {
    // Yield, and check for a fatal signal, at each multiple of `cut`: no map
    // call crosses one, so this costs no further calls.
    const uint64_t cut = hosts_.cut_pages();
    for (page = run->first; page <= run->last && !run->mmio;) {
      if (kiommu_port_interrupted() != 0 && killable)
        return fail(Status::kInterrupted);
      const uint64_t end = page | (cut - 1);
      const uint64_t last = end < run->last ? end : run->last;
      uint64_t done = 0;
      KIOMMU_TRY(map_existing(workspace, host, {page, last}, &done));
      page = last + 1;
    }
    page = run->last + 1;
  }
  return {};
}

}  // namespace kiommu
