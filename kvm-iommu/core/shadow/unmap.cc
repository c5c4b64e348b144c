// SPDX-License-Identifier: GPL-2.0-only
//
// The shadow, see shadow.hpp: unmaps pages, whole host blocks at a time.
#include "shadow/dirty_entries.hpp"
#include "shadow/shadow.hpp"

namespace kiommu {

// Returns the entry of a page, zero if it is absent.
ShadowEntry Shadow::entry_at(uint64_t page) const {
  const Radix::Leaf leaf = tree_.find(page);
  if (!leaf) return {};
  if (!leaf.is_run()) return {leaf.at(page)};
  return ShadowEntry{leaf.run()}.page_of_run(
      static_cast<unsigned>(page - leaf.base));
}

// Returns the first consecutive mapped pages in `within`, all memory or all
// device memory. `leaf` caches the leaf of the last lookup.
std::optional<Shadow::Run> Shadow::next_run(Radix::Leaf& leaf,
                                            IovaPages within) const {
  uint64_t page = within.first;
  std::optional<Run> run;
  const auto extends = [&](uint64_t first, uint64_t last, bool mmio) {
    if (run && run->mmio != mmio) return false;
    if (!run) run = {{first, last}, mmio};
    run->last = last;
    return true;
  };
  while (page <= within.last) {
    if (!leaf.holds(page)) {
      leaf = run ? tree_.find(page) : tree_.next(page, within.last);
    }
    if (!leaf) return run;
    if (page < leaf.base) page = leaf.base;
    const uint64_t last =
        leaf.last_key() < within.last ? leaf.last_key() : within.last;
    if (leaf.is_run()) {
      if (!extends(page, last, false)) return run;
    } else {
      uint64_t at = page;
      while (at <= last) {
        const ShadowEntry first{leaf.at(at)};
        if (first.word == 0) {
          if (run) return run;
          ++at;
          continue;
        }
        // Extend by pages of the same kind.
        uint64_t end = at;
        while (end < last && leaf.at(end + 1) != 0 &&
               ShadowEntry{leaf.at(end + 1)}.is_mmio() == first.is_mmio()) {
          ++end;
        }
        if (!extends(at, end, first.is_mmio())) return run;
        at = end + 1;
      }
    }
    page = last + 1;
  }
  return run;
}

// Returns the block of a page that is mapped: the pages that a host may hold as
// a unit with it.
IovaPages Shadow::block_of(const Radix::Leaf& leaf, uint64_t page) const {
  const ShadowEntry entry{leaf.is_run() ? leaf.run() : leaf.at(page)};
  if (hosts_.splits_calls()) {
    const uint64_t mask = (uint64_t{1} << entry.block_order()) - 1;
    return {page & ~mask, page | mask};
  }
  // Map calls are cut at the ends of leaves, so a block stays within one.
  if (leaf.is_run()) return {leaf.base, leaf.last_key()};
  IovaPages block{page, page};
  while (!ShadowEntry{leaf.at(block.first)}.begins_block()) --block.first;
  while (block.last < leaf.last_key()) {
    const ShadowEntry next{leaf.at(block.last + 1)};
    if (next.word == 0 || next.begins_block()) break;
    ++block.last;
  }
  return block;
}

IovaPages Shadow::reach(Workspace& workspace) const {
  IovaPages reach = workspace.range;
  const auto include = [&](const Radix::Leaf& leaf, uint64_t page) {
    if (!leaf || (!leaf.is_run() && leaf.at(page) == 0)) return;
    const IovaPages block = block_of(leaf, page);
    if (block.first < reach.first) reach.first = block.first;
    if (block.last > reach.last) reach.last = block.last;
  };
  const auto [first, last] = workspace.range;
  workspace.leaf = tree_.find(first);
  include(workspace.leaf, first);
  include(workspace.leaf.holds(last) ? workspace.leaf : tree_.find(last), last);
  return reach;
}

// Turns a run into a leaf with the same entries.
Result<Radix::Leaf> Shadow::expand(Workspace& workspace,
                                   const Radix::Leaf& run) {
  const ShadowEntry entry{run.run()};
  auto leaf = tree_.expand(run);
  if (!leaf) return leaf;
  workspace.leaf = *leaf;
  for (unsigned i = 0; i < kLeafPages; ++i) {
    leaf->words[i] =
        entry.page_of_run(i).in_block(entry.block_order(), i == 0).word;
  }
  return leaf;
}

void Shadow::unmap(Workspace& workspace, IovaPages within) {
  while (auto run = next_run(workspace.leaf, within)) {
    drop(workspace, *run);
    if (run->last >= within.last) break;
    within.first = run->last + 1;
  }
}

void Shadow::unmap_different(Workspace& workspace, uint64_t page,
                             const kiommu_u64* want, unsigned n) {
  unsigned first = 0;
  while (first < n) {
    const Radix::Leaf leaf = find(workspace, page);
    if (!leaf) break;
    const auto differs = [&](unsigned i) {
      const uint64_t have =
          leaf.is_run() ? leaf.run() + ((page + i - leaf.base) << kPageShift)
                        : leaf.at(page + i);
      return have != 0 && ((have ^ want[i]) & ShadowEntry::kSame) != 0;
    };
    while (first < n && !differs(first)) ++first;
    if (first == n) break;
    unsigned end = first + 1;
    while (end < n && differs(end)) ++end;
    // This may replace the leaf: look it up again.
    unmap(workspace, {page + first, page + end - 1});
    first = end;
  }
}

std::optional<IovaPages> Shadow::next_leaf(IovaPages within) const {
  const Radix::Leaf leaf = tree_.next(within.first, within.last);
  if (!leaf) return std::nullopt;
  return IovaPages{
      leaf.base > within.first ? leaf.base : within.first,
      leaf.last_key() < within.last ? leaf.last_key() : within.last};
}

void Shadow::drop(Workspace& workspace, Run run) {
  if (!run.mmio) {
    drop_memory(workspace, run);
    return;
  }
  kiommu_port_mmio_unmap(workspace.host.port(), workspace.guest_memory->guest(),
                         run.first << kPageShift,
                         (run.last - run.first + 1) << kPageShift);
  forget(workspace, run);
}

// Expands runs of which only a part is to be unmapped. Without memory for that,
// the whole run must go: its other pages are lost. Returns the pages to unmap.
IovaPages Shadow::expand_ends(Workspace& workspace, IovaPages run) {
  for (const uint64_t end : {run.first, run.last}) {
    const Radix::Leaf leaf = find(workspace, end);
    const IovaPages all{leaf.base, leaf.last_key()};
    if (!leaf.is_run() || run.contains(all)) continue;
    auto expanded = expand(workspace, leaf);
    if (expanded) continue;
    if (all.first < run.first) {
      workspace.outcome.lose({all.first, run.first - 1}, expanded.error());
      run.first = all.first;
    }
    if (all.last > run.last) {
      workspace.outcome.lose({run.last + 1, all.last}, expanded.error());
      run.last = all.last;
    }
  }
  return run;
}

// Unmaps consecutive pages, all of them mapped memory: unmaps each block that
// they touch as a whole, then maps again what lies outside of `run`.
void Shadow::drop_memory(Workspace& workspace, IovaPages run) {
  const Radix::Leaf& leaf = find(workspace, run.first);
  if (leaf.is_run() || !leaf.holds(run.last)) run = expand_ends(workspace, run);
  const IovaPages blocks{block_of(find(workspace, run.first), run.first).first,
                         block_of(find(workspace, run.last), run.last).last};
  // restore() needs an empty batch. The pages must go even if this fails.
  if (!run.contains(blocks)) map_gathered(workspace);
  workspace.host.unmap(blocks.first, blocks.last);
  forget(workspace, {run});
  if (blocks.first < run.first) {
    restore(workspace, {blocks.first, run.first - 1});
  }
  if (run.last < blocks.last) restore(workspace, {run.last + 1, blocks.last});
}

// Removes pages, all of them mapped, from the shadow and puts their holds. A
// run is removed as a whole.
void Shadow::forget(Workspace& workspace, Run run) {
  OperationPins& pins = *workspace.pins;
  uint64_t page = run.first;
  while (page <= run.last) {
    const Radix::Leaf leaf = find(workspace, page);
    if (leaf.is_run()) {
      const uint64_t gfn = ShadowEntry{leaf.run()}.gfn();
      const Slot& slot = workspace.guest_memory->mapped_slot(gfn);
      if (slot.dirty != nullptr) note_unmapped_run(slot, {leaf.run()});
      pins.put_chunk(slot, gfn);
      page = leaf.last_key() + 1;
      prune(workspace, leaf.base);
    } else {
      const uint64_t last =
          leaf.last_key() < run.last ? leaf.last_key() : run.last;
      const auto count = static_cast<unsigned>(last - page + 1);
      uint64_t* have = &leaf.at(page);
      for (unsigned done = 0; !run.mmio && done < count;) {
        const Slot& slot =
            workspace.guest_memory->mapped_slot(ShadowEntry{have[done]}.gfn());
        const unsigned put = pins.put(slot, have + done, count - done);
        if (slot.dirty != nullptr) note_unmapped(slot, have + done, put);
        done += put;
      }
      for (unsigned i = 0; i < count; ++i) have[i] = 0;
      page = last + 1;
      leaf.sub_used(count);
      if (leaf.empty()) prune(workspace, leaf.base);
    }
    kiommu_port_yield();
  }
  workspace.outcome.unmapped += run.last - run.first + 1;
}

// Maps the rest of a block again. What cannot be mapped is lost.
void Shadow::restore(Workspace& workspace, IovaPages run) {
  uint64_t done = 0;
  auto mapped = map_existing(workspace, KIOMMU_ALL_HOSTS, run, &done);
  if (mapped) return;
  const IovaPages lost{run.first + done, run.last};
  forget(workspace, {lost});
  workspace.outcome.lose(lost, mapped.error());
}

}  // namespace kiommu
