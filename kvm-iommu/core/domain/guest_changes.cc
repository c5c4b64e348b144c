// SPDX-License-Identifier: GPL-2.0-only
//
// Changes of the guest's memory, see guest_changes.hpp. The order is always:
// find what is gone, unmap it from all domains, flush, unpin it.
#include "domain/guest_changes.hpp"

#include "domain/operation.hpp"

namespace kiommu {
namespace {

using Part = Shadow::Part;

// GFNs [first, last]; empty if last < first.
struct GfnBounds {
  uint64_t first = ~uint64_t{0};
  uint64_t last = 0;

  void add(uint64_t from, uint64_t to) {
    if (from < first) first = from;
    if (to > last) last = to;
  }
  bool holds(uint64_t gfn) const { return first <= gfn && gfn <= last; }
  bool overlaps(uint64_t from, uint64_t to) const {
    return from <= last && first <= to;
  }
};

template <class Wants>
void unmap_from_all(PinTable& pins, Wants wants) {
  for (Domain* domain = pins.domains; domain != nullptr;
       domain = domain->next) {
    domain->unmap_where(wants);
  }
}

uint64_t last_gfn_of(ShadowEntry run) { return run.gfn() + kChunkPages - 1; }

// Selects pages in slots that are gone.
class InGoneSlots {
 public:
  explicit InGoneSlots(GfnBounds gone) : gone_(gone) {}

  // A run is always in one slot.
  Part run(Workspace& workspace, uint64_t, ShadowEntry run) {
    return page(workspace, 0, run) ? Part::kAll : Part::kNone;
  }
  bool page(Workspace& workspace, uint64_t, ShadowEntry entry) {
    return gone_.holds(entry.gfn()) &&
           workspace.guest_memory->mapped_slot(entry.gfn()).gone;
  }

 private:
  GfnBounds gone_;
};

// Selects pages that are no longer at the HVA where they were pinned.
class Stale {
 public:
  explicit Stale(GfnBounds stale) : stale_(stale) {}

  Part run(Workspace& workspace, uint64_t page, ShadowEntry run) {
    if (!stale_.overlaps(run.gfn(), last_gfn_of(run))) return Part::kNone;
    const Slot& slot = workspace.guest_memory->mapped_slot(run.gfn());
    const uint64_t word = slot.chunk(run.gfn()).word;
    if (!Chunk::is_huge(word)) return Part::kSome;
    if ((word & Chunk::kStale) == 0) return Part::kNone;
    lose(workspace, {page, page + kChunkPages - 1});
    return Part::kAll;
  }
  bool page(Workspace& workspace, uint64_t page, ShadowEntry entry) {
    if (!stale_.holds(entry.gfn()) || entry.is_mmio()) return false;
    const Slot& slot = workspace.guest_memory->mapped_slot(entry.gfn());
    const uint64_t word = slot.chunk(entry.gfn()).word;
    if (!Chunk::is_huge(word)) {
      return (Chunk::node(word)[entry.gfn() % kChunkPages] & pin::kStale) != 0;
    }
    if ((word & Chunk::kStale) == 0) return false;
    lose(workspace, {page, page});
    return true;
  }

 private:
  // The huge chunk is stale as a whole, for lack of memory to break it up:
  // pages that are still at their HVA go with the others, and are lost.
  static void lose(Workspace& workspace, IovaPages pages) {
    workspace.outcome.lose(pages, Status::kNoMemory);
  }

  GfnBounds stale_;
};

// Selects device memory that was taken out of the hosts.
class Revoked {
 public:
  static Part run(Workspace&, uint64_t, ShadowEntry) { return Part::kNone; }
  static bool page(Workspace& workspace, uint64_t page, ShadowEntry entry) {
    return entry.is_mmio() &&
           kiommu_port_mmio_mapped(workspace.host.port(),
                                   workspace.guest_memory->guest(),
                                   page << kPageShift) == 0;
  }
};

// Marks pins of pages that are no longer at the HVA where they were pinned.
class MarkStale {
 public:
  explicit MarkStale(PinTable& pins) : pins_(pins) {}

  // Checks pages [first, last] of a chunk that is not empty; pfns[i] is what is
  // at the HVA of first + i now.
  void mark(const Slot& slot, uint64_t first, uint64_t last,
            const kiommu_u64* pfns) {
    Chunk& chunk = slot.chunk(first);
    if (Chunk::is_huge(chunk.word)) {
      if ((chunk.word & Chunk::kStale) != 0) return;
      uint64_t same = 0;
      const uint64_t count = last - first + 1;
      const uint64_t pfn = PinTable::pfn(slot, first);
      while (same < count && pfns[same] == pfn + same) ++same;
      if (same == count) return;
      if (!break_up(slot, chunk, first)) {
        // Without memory the whole chunk must go.
        chunk.word |= Chunk::kStale;
        note(chunk_of(slot, first), chunk.holders > 0);
        return;
      }
    }
    uint64_t* node = Chunk::node(chunk.word);
    for (uint64_t gfn = first; gfn <= last; ++gfn) {
      uint64_t& pin = node[gfn % kChunkPages];
      if ((pin & pin::kValid) == 0) continue;
      if (pin >> pin::kPfnShift == pfns[gfn - first]) continue;
      pin |= pin::kStale;
      note({gfn, gfn},
           chunk.holders == kUncounted || (pin & pin::kHoldersMask) != 0);
    }
  }

  // Called when everything is marked. Of a chunk that was broken up only the
  // sum of the holders was known: counts those of each page, in one pass over
  // all that is mapped.
  void count_holders() {
    if (broken_.last < broken_.first) return;
    for (Domain* domain = pins_.domains; domain != nullptr;
         domain = domain->next) {
      GuestMemory guest_memory(pins_.guest(), pins_.slots());
      domain->shadow().for_each([&](ShadowEntry entry, unsigned pages) {
        count_holders(guest_memory, entry, pages);
      });
    }
    for (uint64_t i = 0; i < pins_.slots().count(); ++i) {
      const Slot& slot = pins_.slots().at(i);
      if (slot.chunks != nullptr) count_idle(slot);
    }
  }

  // What was marked, and whether some of it may be mapped.
  GfnBounds stale() const { return stale_; }
  bool any() const { return stale_.first <= stale_.last; }
  bool any_held() const { return any_held_; }

 private:
  // Value of Chunk::holders after break_up(), until the holders of its pages
  // are counted.
  static constexpr uint32_t kUncounted = ~uint32_t{0};

  static GfnRange chunk_of(const Slot& slot, uint64_t gfn) {
    const uint64_t index = slot.chunk_index(gfn);
    return {slot.chunk_first(index), slot.chunk_last(index)};
  }

  void note(GfnRange gfns, bool held) {
    stale_.add(gfns.first, gfns.last);
    any_held_ |= held;
  }

  // Turns a huge chunk into a node. Returns false if there is no memory.
  bool break_up(const Slot& slot, Chunk& chunk, uint64_t first) {
    const bool held = chunk.holders > 0;
    if (!pins_.break_huge(chunk)) return false;
    if (held) {
      const GfnRange gfns = chunk_of(slot, first);
      chunk.holders = kUncounted;
      broken_.add(gfns.first, gfns.last);
    }
    return true;
  }

  void count_holders(GuestMemory& guest_memory, ShadowEntry entry,
                     unsigned pages) {
    if (entry.is_mmio() || !broken_.holds(entry.gfn())) return;
    const Slot& slot = guest_memory.mapped_slot(entry.gfn());
    const Chunk& chunk = slot.chunk(entry.gfn());
    if (chunk.holders != kUncounted) return;
    uint64_t* node = Chunk::node(chunk.word);
    for (unsigned i = 0; i < pages; ++i) {
      node[(entry.gfn() + i) % kChunkPages] += pin::kHolder;
    }
  }

  // Once the holders of a slot's broken chunks are counted: counts their pages
  // without holders as idle, and queues these chunks.
  void count_idle(const Slot& slot) {
    if (!broken_.overlaps(slot.first_gfn, slot.last_gfn())) return;
    const uint64_t last =
        broken_.last < slot.last_gfn() ? broken_.last : slot.last_gfn();
    uint64_t gfn =
        broken_.first > slot.first_gfn ? broken_.first : slot.first_gfn;
    for (; gfn <= last; gfn = chunk_of(slot, gfn).last + 1) {
      Chunk& chunk = slot.chunk(gfn);
      if (chunk.holders != kUncounted) continue;
      chunk.holders = 0;
      const uint64_t* node = Chunk::node(chunk.word);
      uint64_t idle = 0;
      for (unsigned i = 0; i < kChunkPages; ++i) {
        idle += (node[i] & pin::kHoldersMask) == 0;
      }
      if (idle == 0 || slot.preregistered) continue;
      pins_.count(0, idle);
      pins_.note_idle(slot, chunk);
    }
  }

  PinTable& pins_;
  GfnBounds stale_;
  GfnBounds broken_;
  bool any_held_ = false;
};

// Returns the pages of a slot that are at HVAs [first, last], if any may be
// pinned.
std::optional<GfnRange> pages_at(const Slot& slot, Hva first, Hva last) {
  const Hva end = slot.hva_of(slot.last_gfn()).plus(kPageBytes - 1);
  if (slot.chunks == nullptr || last < slot.hva || end < first) return {};
  GfnRange pages{slot.first_gfn, slot.last_gfn()};
  if (first > slot.hva) {
    pages.first += (first.value - slot.hva.value) >> kPageShift;
  }
  if (last < end) pages.last -= (end.value - last.value) >> kPageShift;
  return pages;
}

// Marks the pages that are no longer where they were pinned. Returns false if
// some of them could not be looked up: these are left as they are.
bool compare(PinTable& pins, const Slot& slot, GfnRange pages,
             MarkStale& stale) {
  bool known = true;
  kiommu_u64 pfns[64];
  constexpr uint64_t kStep = sizeof(pfns) / sizeof(pfns[0]);
  uint64_t gfn = pages.first;
  while (gfn <= pages.last) {
    uint64_t last = slot.chunk_last(slot.chunk_index(gfn));
    if (last > pages.last) last = pages.last;
    if (slot.chunk(gfn).word != 0) {
      if (last - gfn >= kStep) last = gfn + kStep - 1;
      if (kiommu_port_look_up(pins.guest(), slot.hva_of(gfn).value,
                              static_cast<unsigned>(last - gfn + 1),
                              pfns) == 0) {
        stale.mark(slot, gfn, last, pfns);
      } else {
        known = false;
      }
    }
    gfn = last + 1;
    kiommu_port_yield();
  }
  return known;
}

}  // namespace

void tables_gone(PinTable& pins, uint64_t first_gfn, uint64_t last_gfn) {
  for (Domain* domain = pins.domains; domain; domain = domain->next) {
    domain->forget_tables(first_gfn, last_gfn);
  }
}

void slots_changed(PinTable& pins, uint64_t first_gfn, uint64_t last_gfn) {
  SlotTable& slots = pins.slots();
  GfnBounds gone;
  const uint64_t begin = slots.index_of(first_gfn);
  uint64_t end = begin;
  for (; end < slots.count() && slots.at(end).first_gfn <= last_gfn; ++end) {
    Slot& slot = slots.at(end);
    slot.gone = !slots.is_current(slot);
    if (slot.gone) gone.add(slot.first_gfn, slot.last_gfn());
  }
  if (gone.last < gone.first) return;
  for (uint64_t i = begin; i < end; ++i) {
    const Slot& slot = slots.at(i);
    if (slot.gone) tables_gone(pins, slot.first_gfn, slot.last_gfn());
  }
  unmap_from_all(pins, InGoneSlots(gone));
  for (uint64_t i = end; i-- > begin;) {
    Slot& slot = slots.at(i);
    if (!slot.gone) continue;
    pins.release_slot(slot);
    slots.remove(i);
  }
}

Result<void> stores_missed(PinTable& pins) {
  for (Domain* domain = pins.domains; domain; domain = domain->next) {
    const auto untracked = domain->untrack(0, ~uint64_t{0} >> kPageShift);
    if (!untracked) return fail(untracked.error());
  }
  return {};
}

unsigned memory_changed(PinTable& pins, kiommu_window* ranges, unsigned count) {
  MarkStale stale(pins);
  SlotTable& slots = pins.slots();
  const auto for_pages = [&](unsigned range, auto function) {
    for (uint64_t i = 0; i < slots.count(); ++i) {
      auto pages =
          pages_at(slots.at(i), {ranges[range].first}, {ranges[range].last});
      if (pages) function(slots.at(i), *pages);
    }
  };
  bool unknown[KIOMMU_MAX_CHANGES] = {};
  for (unsigned i = 0; i < count; ++i) {
    for_pages(i, [&](const Slot& slot, GfnRange pages) {
      if (!compare(pins, slot, pages, stale)) unknown[i] = true;
    });
  }
  stale.count_holders();
  if (stale.any_held()) unmap_from_all(pins, Stale(stale.stale()));
  for (unsigned i = 0; i < count && stale.any(); ++i) {
    for_pages(i, [&](Slot& slot, GfnRange pages) {
      pins.release_stale(slot, pages.first, pages.last);
    });
  }
  unsigned left = 0;
  for (unsigned i = 0; i < count; ++i) {
    if (unknown[i]) ranges[left++] = ranges[i];
  }
  return left;
}

void mmio_revoked(PinTable& pins) { unmap_from_all(pins, Revoked()); }

}  // namespace kiommu
