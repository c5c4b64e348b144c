// SPDX-License-Identifier: GPL-2.0-only
//
// The shadow, see shadow.hpp: building it. Taking it apart is in unmap.cc.
#include "shadow.hpp"

#include "shadow_entry.hpp"

namespace kiommu {

Shadow::Mapped Shadow::map(kiommu_mem* mem, uint64_t page, Hva hva,
                           uint64_t count, Rights wanted, Rights slot_rights) {
  const Rights expected = wanted & slot_rights;
  uint64_t done = 0;
  while (done < count) {
    const uint64_t at = page + done;
    const Hva to = hva.plus(done << kPageShift);
    // A batch stays within one leaf of the shadow and one of the pins.
    uint64_t batch = count - done;
    const uint64_t room = Radix::kNodeWords - at % Radix::kNodeWords;
    const uint64_t pin_room =
        Radix::kNodeWords - to.page_number() % Radix::kNodeWords;
    if (room < batch) batch = room;
    if (pin_room < batch) batch = pin_room;

    unsigned same = 0;
    unsigned changed = 0;
    if (const Radix::Leaf leaf = tree_.find(at)) {
      const auto is_same = [&](unsigned i) {
        return ShadowEntry{leaf.at(at + i)}.maps(
            to.plus(uint64_t{i} << kPageShift), expected);
      };
      while (same < batch && is_same(same)) ++same;
      changed = same;
      while (changed < batch && !is_same(changed)) ++changed;
      changed -= same;
    } else {
      changed = static_cast<unsigned>(batch);
    }
    done += same;
    if (changed == 0) continue;

    const Mapped part = change(mem, page + done, hva.plus(done << kPageShift),
                               changed, wanted, slot_rights);
    done += part.count;
    if (part.count < changed) return {done, part.why, part.extent};
  }
  return {.count = done};
}

// Maps a batch of pages of which each differs, or may differ, from what is
// mapped.
Shadow::Mapped Shadow::change(kiommu_mem* mem, uint64_t page, Hva hva,
                              unsigned count, Rights wanted,
                              Rights slot_rights) {
  const Pins::Got got = pins_.get(mem, hva, count, wanted, slot_rights,
                                  scratch_.pfns, scratch_.rights);
  if (got.count > 0) {
    auto replaced = replace(page, hva, got.count);
    if (!replaced) return {.count = 0, .why = replaced.error()};
    if (*replaced < got.count) {
      return {.count = *replaced, .why = refused_->why};
    }
  }
  return {got.count, got.why, got.extent};
}

// Writes entries for pages whose pins are held and in scratch_. Returns how
// many are written: fewer if a host refused a run. On an error, and for the
// pages that were not written, the pins are given back.
Result<unsigned> Shadow::replace(uint64_t page, Hva hva, unsigned count) {
  const auto hva_of = [&](unsigned i) {
    return hva.plus(uint64_t{i} << kPageShift);
  };
  const auto give_back = [&](unsigned from) {
    for (unsigned i = from; i < count; ++i) pins_.put(hva_of(i));
  };
  // A page can turn out to be mapped as it should be: where its memory gives
  // fewer rights than its slot.
  const auto kept = [&](const Radix::Leaf& leaf, unsigned i) {
    return leaf &&
           ShadowEntry{leaf.at(page + i)}.maps(hva_of(i), scratch_.rights[i]);
  };

  Radix::Leaf leaf = tree_.find(page);
  for (unsigned i = 0; leaf && i < count; ++i) {
    if (leaf.at(page + i) == 0 || kept(leaf, i)) continue;
    const unsigned first = i;
    while (i + 1 < count && leaf.at(page + i + 1) != 0 && !kept(leaf, i + 1)) {
      ++i;
    }
    if (auto dropped = drop({page + first, page + i}); !dropped) {
      give_back(0);
      return fail(dropped.error());
    }
    leaf = tree_.find(page);
  }

  auto made = tree_.ensure(page);
  if (!made) {
    give_back(0);
    return fail(made.error());
  }
  for (unsigned i = 0; i < count; ++i) {
    if (kept(*made, i)) {
      pins_.put(hva_of(i));
      continue;
    }
    if (!append(page + i, scratch_.pfns[i], scratch_.rights[i])) {
      give_back(i);
      tree_.prune(page);
      return i;
    }
    made->at(page + i) = ShadowEntry::alone(hva_of(i), scratch_.rights[i]).word;
    made->add_used(1);
    ++mapped_;
    ++mapped_now_;
  }
  return count;
}

// Adds a page to the pending run; maps that run first if the page does not
// continue it.
Result<void> Shadow::append(uint64_t page, uint64_t pfn, Rights rights) {
  const uint64_t cut =
      hosts_.splits_calls() ? Hosts::kMaxRunPages : Radix::kNodeWords;
  const bool continues = pending_.count > 0 &&
                         page == pending_.page + pending_.count &&
                         pfn == pending_.pfn + pending_.count &&
                         rights == pending_.rights && page % cut != 0;
  if (continues) {
    ++pending_.count;
    return {};
  }
  KIOMMU_TRY(map_pending());
  pending_ = {.page = page, .pfn = pfn, .count = 1, .rights = rights};
  return {};
}

// One host call for the pending run. If it is refused, its pages are
// forgotten: they never were in a host's table.
Result<void> Shadow::map_pending() {
  const Pending run = pending_;
  pending_.count = 0;
  if (run.count == 0) return {};
  auto mapped =
      hosts_.map(KIOMMU_ALL_HOSTS, run.page, run.pfn, run.count, run.rights);
  if (!mapped) {
    forget({run.page, run.page + run.count - 1});
    mapped_now_ -= run.count;
    unmapped_now_ -= run.count;
    if (!refused_) refused_ = {run.page, mapped.error()};
    return mapped;
  }
  note_blocks(run.page, run.pfn, run.count);
  return {};
}

// Notes in the entries of a run, which one map call made, as what blocks the
// hosts may hold it.
void Shadow::note_blocks(uint64_t page, uint64_t pfn, uint64_t count) {
  Radix::Leaf leaf;
  uint64_t done = 0;
  while (done < count) {
    unsigned order = 0;
    uint64_t block = count;  // a whole call is one block
    if (hosts_.splits_calls()) {
      order = hosts_.block_order(page + done, pfn + done, count - done);
      block = uint64_t{1} << order;
    }
    for (uint64_t i = 0; i < block; ++i) {
      const uint64_t at = page + done + i;
      if (!leaf.holds(at)) leaf = tree_.find(at);
      ShadowEntry entry{leaf.at(at)};
      leaf.at(at) = entry.in_block(order, i == 0).word;
    }
    done += block;
  }
}

// Maps pages that are in the shadow already, as contiguous runs, and notes
// their blocks; *done tells how many pages from run.first are mapped.
Result<void> Shadow::map_existing(uint32_t host, Run run, uint64_t* done) {
  Radix::Leaf leaf;
  const auto look_up = [&](uint64_t page) -> Pending {
    if (!leaf.holds(page)) leaf = tree_.find(page);
    const ShadowEntry entry{leaf.at(page)};
    return {page, pins_.pfn(entry.hva()), 1, entry.rights()};
  };
  const uint64_t cut =
      hosts_.splits_calls() ? Hosts::kMaxRunPages : Radix::kNodeWords;
  uint64_t page = run.first;
  while (page <= run.last) {
    Pending part = look_up(page);
    while (part.page + part.count <= run.last &&
           (part.page + part.count) % cut != 0) {
      const Pending next = look_up(part.page + part.count);
      if (next.pfn != part.pfn + part.count || next.rights != part.rights) {
        break;
      }
      ++part.count;
    }
    KIOMMU_TRY(hosts_.map(host, part.page, part.pfn, part.count, part.rights));
    note_blocks(part.page, part.pfn, part.count);
    page += part.count;
    *done = page - run.first;
  }
  return {};
}

Result<void> Shadow::replay(uint32_t host) {
  uint64_t page = 0;
  while (auto run = next_run({page, ~uint64_t{0} >> kPageShift})) {
    uint64_t done = 0;
    KIOMMU_TRY(map_existing(host, *run, &done));
    page = run->last + 1;
  }
  return {};
}

Result<void> Shadow::finish(kiommu_mem* mem) {
  auto mapped = map_pending();
  hosts_.flush_if_due();
  pins_.release_idle(mem);
  return mapped;
}

Rights Shadow::rights_at(uint64_t page) const {
  const Radix::Leaf leaf = tree_.find(page);
  return leaf ? ShadowEntry{leaf.at(page)}.rights() : kNoRights;
}

}  // namespace kiommu
