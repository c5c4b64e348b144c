// SPDX-License-Identifier: GPL-2.0-only
//
// The shadow, see shadow.hpp: taking it apart, whole host blocks at a time.
#include "shadow.hpp"
#include "shadow_entry.hpp"

namespace kiommu {

// The first run of neighbouring mapped pages within [within.first, .last].
std::optional<Shadow::Run> Shadow::next_run(Run within) const {
  uint64_t page = within.first;
  std::optional<Run> run;
  while (page <= within.last) {
    const Radix::Leaf leaf =
        run ? tree_.find(page) : tree_.next(page, within.last);
    if (!leaf) return run;
    if (page < leaf.base) page = leaf.base;
    for (; page <= within.last && page <= leaf.last_key(); ++page) {
      if (leaf.at(page) != 0) {
        if (!run) run = {page, page};
        run->last = page;
      } else if (run) {
        return run;
      }
    }
  }
  return run;
}

// The pages that hosts may hold as one with this one, which is mapped.
Shadow::Run Shadow::block_of(uint64_t page) const {
  const Radix::Leaf leaf = tree_.find(page);
  const ShadowEntry entry{leaf.at(page)};
  if (hosts_.splits_calls()) {
    const uint64_t mask = (uint64_t{1} << entry.block_order()) - 1;
    return {page & ~mask, page | mask};
  }
  // Calls are cut at the ends of leaves.
  Run block{page, page};
  while (!ShadowEntry{leaf.at(block.first)}.begins_block()) --block.first;
  while (block.last < leaf.last_key()) {
    const ShadowEntry next{leaf.at(block.last + 1)};
    if (next.word == 0 || next.begins_block()) break;
    ++block.last;
  }
  return block;
}

Result<void> Shadow::unmap(Run within) {
  Result<void> result;
  while (auto run = next_run(within)) {
    if (auto dropped = drop(*run); !dropped) result = dropped;
    if (run->last >= within.last) break;
    within.first = run->last + 1;
  }
  return result;
}

// Unmaps neighbouring pages, all of them mapped: the blocks that they touch
// as a whole, then maps again what those have outside of the run.
Result<void> Shadow::drop(Run run) {
  const uint64_t first = block_of(run.first).first;
  const uint64_t last = block_of(run.last).last;
  hosts_.unmap(first, last);
  forget(run);
  Result<void> result;
  if (first < run.first) result = restore({first, run.first - 1});
  if (run.last < last) {
    auto restored = restore({run.last + 1, last});
    if (!restored) result = restored;
  }
  return result;
}

// Takes pages, all of them mapped, out of the shadow and gives their pins
// back.
void Shadow::forget(Run run) {
  const uint64_t count = run.last - run.first + 1;
  uint64_t page = run.first;
  while (page <= run.last) {
    const Radix::Leaf leaf = tree_.find(page);
    unsigned in_leaf = 0;
    for (; page <= run.last && page <= leaf.last_key(); ++page) {
      pins_.put(ShadowEntry{leaf.at(page)}.hva());
      leaf.at(page) = 0;
      ++in_leaf;
    }
    leaf.sub_used(in_leaf);
    tree_.prune(leaf.base);
    kiommu_port_yield();
  }
  mapped_ -= count;
  unmapped_now_ += count;
}

// Maps the rest of a block again. What a host has no memory for is forgotten.
Result<void> Shadow::restore(Run run) {
  uint64_t done = 0;
  auto mapped = map_existing(KIOMMU_ALL_HOSTS, run, &done);
  if (!mapped) {
    const uint64_t first = run.first + done;
    if (!lost_ || first < *lost_) lost_ = first;
    forget({first, run.last});
  }
  return mapped;
}

}  // namespace kiommu
