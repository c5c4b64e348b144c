// SPDX-License-Identifier: GPL-2.0-only
//
// The shadow, see shadow.hpp: enters and replaces pages. Unmapping is in
// unmap.cc, mapping in the hosts in host_blocks.cc.
#include "shadow/shadow.hpp"

#include "shadow/dirty_entries.hpp"

namespace kiommu {
namespace {

// Returns the first index from `i` on at which the words need different
// mappings, or `n`.
unsigned first_difference(const uint64_t* have, const kiommu_u64* want,
                          unsigned i, unsigned n) {
  constexpr unsigned kStep = 8;
  for (; i + kStep <= n; i += kStep) {
    uint64_t difference = 0;
#pragma GCC unroll 8
    for (unsigned j = i; j < i + kStep; ++j) difference |= have[j] ^ want[j];
    if ((difference & ShadowEntry::kSame) != 0) break;
  }
  while (i < n && ((have[i] ^ want[i]) & ShadowEntry::kSame) == 0) ++i;
  return i;
}

// Pages [first, end), by index in the page words, that change: all of them are
// wanted, or all are mapped and must be unmapped.
struct Stretch {
  unsigned first = 0;
  unsigned end = 0;
  bool wanted = false;
  bool mmio = false;  // not wanted, and some are device memory
};

// Returns the next pages from index `from` on that change; `first` is `n` if
// there are none.
Stretch next_stretch(const Radix::Leaf& leaf, uint64_t page,
                     const kiommu_u64* want, unsigned from, unsigned n) {
  unsigned first = from;
  unsigned end = 0;
  if (!leaf) {
    while (first < n && want[first] == PageWord::kAbsent) ++first;
    for (end = first; end < n && want[end] != PageWord::kAbsent;) ++end;
    return {first, end, true};
  }
  const uint64_t* have = &leaf.at(page);
  first = first_difference(have, want, first, n);
  end = first;
  if (first == n) return {n, n};
  if (want[first] == PageWord::kAbsent) {
    uint64_t any = 0;
    for (; end < n && want[end] == PageWord::kAbsent && have[end] != 0; ++end) {
      any |= have[end];
    }
    return {first, end, false, ShadowEntry{any}.is_mmio()};
  }
  while (end < n && want[end] != PageWord::kAbsent &&
         ((have[end] ^ want[end]) & ShadowEntry::kSame) != 0) {
    ++end;
  }
  return {first, end, true};
}

// Whether the words are those of pages that are consecutive in GPA and have the
// same rights, the first being `word`.
bool are_neighbours(const kiommu_u64* want, unsigned n, uint64_t word) {
#pragma GCC unroll 4
  for (unsigned i = 0; i < n; ++i, word += kPageBytes) {
    if (want[i] != word) return false;
  }
  return true;
}

// Whether any of the words is what are_neighbours() would expect at its index.
bool any_same(const kiommu_u64* want, unsigned n, uint64_t word) {
  for (unsigned i = 0; i < n; ++i, word += kPageBytes) {
    if (want[i] == word) return true;
  }
  return false;
}

}  // namespace

Shadow::Done Shadow::map(Workspace& workspace, uint64_t page, Gpa gpa,
                         uint64_t count, Rights rights) {
  if (!PageWord::fits(gpa.plus((count - 1) << kPageShift))) {
    return {.why = Status::kNoSlot};
  }
  uint64_t done = 0;
  while (done < count) {
    if (workspace.outcome.failed()) return {done, workspace.outcome.why()};
    const uint64_t at = page + done;
    const uint64_t word = PageWord::of(gpa.plus(done << kPageShift), rights);
    const uint64_t room = kLeafPages - at % kLeafPages;
    const auto n =
        static_cast<unsigned>(room < count - done ? room : count - done);
    if (n == kLeafPages) {
      const Radix::Leaf leaf = find(workspace, at);
      const bool same =
          leaf.is_run() && ((leaf.run() ^ word) & ShadowEntry::kSame) == 0;
      const Tried tried = same    ? Tried::kDone
                          : !leaf ? update_run(workspace, at, word)
                                  : Tried::kNotPossible;
      if (tried == Tried::kRefused) return {done, workspace.outcome.why()};
      if (tried == Tried::kDone) {
        done += n;
        continue;
      }
    }
    kiommu_u64* words = workspace.memory.run_words;
    for (unsigned i = 0; i < n; ++i) {
      words[i] = word + (uint64_t{i} << kPageShift);
    }
    const Done part = update(workspace, at, words, n);
    done += part.count;
    if (part.count < n) return {done, part.why, part.extent};
  }
  return {.count = done};
}

Shadow::Done Shadow::update(Workspace& workspace, uint64_t page,
                            const kiommu_u64* want, unsigned n) {
  if (workspace.outcome.failed()) return {.why = workspace.outcome.why()};
  Radix::Leaf leaf = find(workspace, page);
  if (leaf.is_run()) {
    const uint64_t run = leaf.run() & ShadowEntry::kSame;
    if (are_neighbours(want, n, run + ((page - leaf.base) << kPageShift))) {
      return {.count = n};
    }
    const IovaPages all{leaf.base, leaf.last_key()};
    if (n == kLeafPages && !any_same(want, n, run)) {
      unmap(workspace, all);
      leaf = {};
    } else if (auto expanded = expand(workspace, leaf); expanded) {
      leaf = *expanded;
    } else {
      unmap(workspace, all);
      workspace.outcome.lose(all, expanded.error());
    }
    // All of the run is unmapped then, so nothing is left to do for pages that
    // are not wanted.
    if (workspace.outcome.failed()) return lost_at(workspace, page, n);
  }
  if (!leaf && n == kLeafPages && want[0] != PageWord::kAbsent &&
      are_neighbours(want, n, want[0])) {
    const Tried tried = update_run(workspace, page, want[0]);
    if (tried == Tried::kRefused) return {0, workspace.outcome.why()};
    if (tried == Tried::kDone) return {.count = n};
  }

  unsigned done = 0;
  while (done < n) {
    const Stretch next = next_stretch(leaf, page, want, done, n);
    done = next.first;
    if (done == n) break;
    const IovaPages pages{page + done, page + next.end - 1};
    if (!next.wanted) {
      if (next.mmio) {
        unmap(workspace, pages);
      } else {
        drop_memory(workspace, pages);
      }
      done = next.end;
      if (workspace.outcome.failed()) return {done, workspace.outcome.why()};
    } else {
      const unsigned count = next.end - done;
      const Done part = change(workspace, pages.first, want + done, count);
      done += static_cast<unsigned>(part.count);
      if (part.count < count) {
        // Pages are charged before it is known what they are, and device memory
        // needs no charge.
        if ((part.why != Status::kMmio && part.why != Status::kMemlock) ||
            workspace.outcome.failed()) {
          return {done, part.why, part.extent};
        }
        const Done mapped =
            map_mmio(workspace, page + done, want + done, next.end - done);
        if (mapped.count == 0) {
          const Status why =
              mapped.why == Status::kMmio ? part.why : mapped.why;
          return {done, why, part.extent};
        }
        done += static_cast<unsigned>(mapped.count);
      }
    }
    if (done < n) leaf = find(workspace, page);
  }
  return {.count = n};
}

// Maps 512 pages as a run, if they are contiguous and aligned in host memory,
// too. Their leaf must be absent. Returns kRefused if what was gathered before
// could not be mapped.
Shadow::Tried Shadow::update_run(Workspace& workspace, uint64_t page,
                                 uint64_t word) {
  const uint64_t gfn = PageWord::gfn(word);
  if (gfn % kChunkPages != 0) return Tried::kNotPossible;
  auto found = workspace.guest_memory->slot(gfn);
  if (!found || !(*found)->holds(gfn + kChunkPages - 1)) {
    return Tried::kNotPossible;
  }
  Slot& slot = **found;
  if (!slot.has_chunks() || slot.chunk(gfn).load() == 0) {
    if (workspace.pins->make(slot, gfn, kChunkPages).count == 0) {
      return Tried::kNotPossible;
    }
  }
  kiommu_u64 hpa = 0;
  if (!workspace.pins->hold_chunk(slot, word, &hpa)) return Tried::kNotPossible;
  (void)workspace.pins->take_limited();
  const Rights rights{static_cast<unsigned>(hpa & kReadWrite.bits)};
  const uint64_t pfn = hpa >> kPageShift;
  const ShadowEntry entry = ShadowEntry::alone(word, hpa);
  if (pfn % kChunkPages != 0 || !rights.any() ||
      !make_run(workspace, page, entry)) {
    workspace.pins->put_chunk(slot, gfn);
    return Tried::kNotPossible;
  }
  if (!append(workspace, page, pfn, kLeafPages, rights)) {
    prune(workspace, page);
    workspace.pins->put_chunk(slot, gfn);
    return Tried::kRefused;
  }
  if (workspace.pins->is_logging()) note_mapped_run(slot, entry);
  workspace.outcome.mapped += kLeafPages;
  return Tried::kDone;
}

// Maps pages as wanted and unmaps what they replace. At each of them, something
// else or nothing is mapped.
Shadow::Done Shadow::change(Workspace& workspace, uint64_t page,
                            const kiommu_u64* want, unsigned n) {
  const Held held = hold(workspace, want, n);
  if (held.done.count == 0) return held.done;
  const auto count = static_cast<unsigned>(held.done.count);
  drop_changed(workspace, page, count);
  if (workspace.outcome.failed()) {
    give_back(workspace, want, 0, count);
    return lost_at(workspace, page, count);
  }
  const Done entered = enter(workspace, page, want, count, held.limited);
  if (entered.count == count) return held.done;
  // What the others replace is unmapped already.
  workspace.outcome.lose({page + entered.count, page + count - 1}, entered.why);
  return entered;
}

// Takes a hold on each page and pins those that are not pinned yet. Stops at
// the first page that cannot be held, or that can be granted no rights. Sets
// workspace.memory.hpas to HPA | granted rights.
Shadow::Held Shadow::hold(Workspace& workspace, const kiommu_u64* want,
                          unsigned n) {
  OperationPins& pins = *workspace.pins;
  kiommu_u64* hpas = workspace.memory.hpas;
  const auto stop = [&](unsigned done, Status why, uint64_t extent = 1) {
    const bool limited = pins.take_limited();
    for (unsigned i = 0; limited && i < done; ++i) {
      if ((hpas[i] & kReadWrite.bits) != 0) continue;
      give_back(workspace, want, i, done);
      return Held{{i, Status::kReadOnly}, limited};
    }
    return Held{{done, why, extent}, limited};
  };
  unsigned i = 0;
  while (i < n) {
    const uint64_t gfn = PageWord::gfn(want[i]);
    auto found = workspace.guest_memory->slot(gfn);
    if (!found) return stop(i, found.error());
    Slot& slot = **found;
    i += pins.hold(slot, want + i, n - i, hpas + i);
    if (i == n) break;
    const uint64_t next = PageWord::gfn(want[i]);
    if (!slot.holds(next)) continue;
    if (OperationPins::is_full(slot, next))
      return stop(i, Status::kShadowLimit);
    // Another operation pinned it just now: try again.
    if (OperationPins::is_pinned(slot, next)) continue;
    // Not pinned yet: pin it with its neighbours in GPA, within the chunk.
    const uint64_t room = slot.chunk_last(slot.chunk_index(next)) - next;
    unsigned count = 1;
    while (i + count < n && count <= room &&
           PageWord::gfn(want[i + count]) == next + count) {
      ++count;
    }
    const OperationPins::Made made = pins.make(slot, next, count);
    if (made.count == 0) return stop(i, made.why, made.extent);
  }
  return stop(n, Status::kNoMemory);
}

void Shadow::give_back(Workspace& workspace, const kiommu_u64* want,
                       unsigned from, unsigned to) {
  while (from < to) {
    const Slot& slot =
        workspace.guest_memory->mapped_slot(PageWord::gfn(want[from]));
    from += workspace.pins->put(slot, want + from, to - from);
  }
}

// Enters pages, which are held, into the shadow and gathers them for the hosts.
// Nothing is mapped at their IOVAs. On failure, puts the holds of the pages
// that were not entered.
Shadow::Done Shadow::enter(Workspace& workspace, uint64_t page,
                           const kiommu_u64* want, unsigned n, bool limited) {
  auto made = ensure(workspace, page);
  if (!made) {
    give_back(workspace, want, 0, n);
    return {.why = made.error()};
  }
  const Radix::Leaf leaf = *made;
  uint64_t* have = &leaf.at(page);
  const kiommu_u64* hpas = workspace.memory.hpas;
  leaf.add_used(n);
  workspace.outcome.mapped += n;
  const uint64_t cut = hosts_.cut_pages();
  unsigned done = 0;
  while (done < n) {
    const unsigned first = done;
    const unsigned end = done + workspace.host.add_pages(
                                    page + done, hpas + done, n - done, cut);
    // map_gathered() needs the entries of what is gathered.
    if (limited) {
      for (; done < end; ++done) {
        have[done] = ShadowEntry::alone(want[done], hpas[done]).word;
      }
    } else {
      for (; done < end; ++done) {
        have[done] = ShadowEntry::alone(want[done]).word;
      }
    }
    if (workspace.pins->is_logging()) {
      note_mapped(*workspace.guest_memory, have + first, end - first);
    }
    if (done == n) break;
    map_gathered(workspace);
    if (workspace.outcome.failed()) {
      give_back(workspace, want, done, n);
      workspace.outcome.mapped -= n - done;
      leaf.sub_used(n - done);
      if (leaf.empty()) prune(workspace, page);
      return {done, workspace.outcome.why()};
    }
  }
  return {.count = n};
}

// Maps pages of device memory: at most as many, from the first on, as are
// consecutive in GPA and in one slot.
Shadow::Done Shadow::map_mmio(Workspace& workspace, uint64_t page,
                              const kiommu_u64* want, unsigned n) {
  const uint64_t word = want[0];
  unsigned count = 1;
  while (count < n && want[count] == word + (uint64_t{count} << kPageShift)) {
    ++count;
  }
  n = count;
  const uint64_t gfn = PageWord::gfn(word);
  auto found = workspace.guest_memory->slot(gfn);
  if (!found) return {.why = found.error()};
  const Slot& slot = **found;
  const Rights wanted = PageWord::rights(word);
  const Rights rights = wanted & slot.rights();
  if (!rights.any()) return {.why = Status::kReadOnly};
  if (n > slot.pages_from(gfn)) n = slot.pages_from(gfn);

  // Map what is gathered first: if that fails, nothing more may be mapped.
  map_gathered(workspace);
  if (workspace.outcome.failed()) return {.why = workspace.outcome.why()};
  drop_changed(workspace, page, n);
  if (workspace.outcome.failed()) return lost_at(workspace, page, n);
  auto leaf = ensure(workspace, page);
  if (!leaf) {
    workspace.outcome.lose({page, page + n - 1}, leaf.error());
    return {.why = leaf.error()};
  }
  const int mapped = kiommu_port_mmio_map(
      workspace.host.port(), workspace.guest_memory->guest(),
      page << kPageShift, slot.hva_of(gfn).value, n, rights.bits);
  if (mapped <= 0) {
    if (leaf->empty()) prune(workspace, page);
    const Status why = mapped == -kEfault   ? Status::kMmio
                       : mapped == -kEacces ? Status::kReadOnly
                       : mapped == -kEnospc ? Status::kShadowLimit
                       : mapped == -kEnomem ? Status::kNoMemory
                       : mapped == -kEagain ? Status::kBudget
                       : mapped == -kEintr  ? Status::kInterrupted
                                            : Status::kHost;
    // What they replace is gone, so they are lost. A guest mistake is reported
    // for the first page only; the caller may still map the others.
    if (!is_guest_mistake(why)) {
      workspace.outcome.lose({page, page + n - 1}, why);
    }
    return {.why = why};
  }
  leaf->add_used(mapped);
  for (int i = 0; i < mapped; ++i) {
    leaf->at(page + i) =
        ShadowEntry::mmio(word + (uint64_t(i) << kPageShift), rights.bits).word;
  }
  workspace.outcome.mapped += mapped;
  return {.count = static_cast<uint64_t>(mapped)};
}

// Unmaps what is mapped of `n` pages, all in one leaf.
void Shadow::drop_changed(Workspace& workspace, uint64_t page, unsigned n) {
  const Radix::Leaf leaf = find(workspace, page);
  if (!leaf) return;
  if (!leaf.is_run()) {
    unsigned i = 0;
    while (i < n && leaf.at(page + i) == 0) ++i;
    if (i == n) return;
  }
  unmap(workspace, {page, page + n - 1});
}

// `n` pages were unmapped to be replaced, and then the operation lost
// something: it maps nothing more, so they are lost, too.
Shadow::Done Shadow::lost_at(Workspace& workspace, uint64_t page, unsigned n) {
  const Status why = workspace.outcome.why();
  workspace.outcome.lose({page, page + n - 1}, why);
  return {.why = why};
}

void Shadow::settle(Workspace& workspace) {
  map_gathered(workspace);
  workspace.host.flush_if_due();
}

Result<Radix::Leaf> Shadow::ensure(Workspace& workspace, uint64_t page) {
  if (find(workspace, page)) return workspace.leaf;
  auto made = tree_.ensure(page);
  if (made) workspace.leaf = *made;
  return made;
}

bool Shadow::make_run(Workspace& workspace, uint64_t page, ShadowEntry entry) {
  workspace.leaf = {};
  return tree_.make_run(page, entry.word).has_value();
}

void Shadow::prune(Workspace& workspace, uint64_t page) {
  workspace.leaf = {};
  tree_.prune(page, hosts_.keep_tables() ? Radix::Keep::kHollow
                                         : Radix::Keep::kNothing);
}

void Shadow::renew_hosts(kiommu_hosts* hosts) {
  if (tree_.hollows() == 0 || kiommu_port_hosts_renew(hosts) != 0) return;
  tree_.drop_hollows();
}

Shadow::Span Shadow::span_at(Workspace& workspace, uint64_t page,
                             uint64_t last) const {
  if (!workspace.leaf.holds(page)) workspace.leaf = tree_.next(page, last);
  const Radix::Leaf& leaf = workspace.leaf;
  if (!leaf) return {last, kNoRights};
  if (page < leaf.base) return {leaf.base - 1, kNoRights};
  if (last > leaf.last_key()) last = leaf.last_key();
  if (leaf.is_run()) return {last, ShadowEntry{leaf.run()}.rights()};
  const ShadowEntry entry{leaf.at(page)};
  const auto same = [&](uint64_t at) {
    const ShadowEntry other{leaf.at(at)};
    return other.rights() == entry.rights() &&
           other.is_mmio() == entry.is_mmio();
  };
  while (page < last && same(page + 1)) ++page;
  return {page, entry.rights(), entry.is_mmio()};
}

Rights Shadow::rights_at(uint64_t page) const {
  return entry_at(page).rights();
}

}  // namespace kiommu
