// SPDX-License-Identifier: GPL-2.0-only
//
// Changes of the guest's memory, see memory_change.hpp. The order is always:
// find out what is gone, unmap it from all domains and flush, unpin it.
#include "memory_change.hpp"

#include "session.hpp"

namespace kiommu {
namespace {

using Part = Shadow::Part;

// Guest pages [first, last]; none if last < first.
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
void unmap_from_all(Pins& pins, Wants wants) {
  for (Domain* domain = pins.domains; domain != nullptr;
       domain = domain->next) {
    domain->unmap_where(wants);
  }
}

uint64_t last_gfn_of(ShadowEntry run) { return run.gfn() + kChunkPages - 1; }

// Selects what lies in slots that have gone.
class InGoneSlots {
 public:
  explicit InGoneSlots(GfnBounds gone) : gone_(gone) {}

  // A run lies in one slot.
  Part run(Request& request, uint64_t, ShadowEntry run) {
    return page(request, 0, run) ? Part::kAll : Part::kNone;
  }
  bool page(Request& request, uint64_t, ShadowEntry entry) {
    return gone_.holds(entry.gfn()) &&
           request.stage2->mapped_region(entry.gfn()).gone;
  }

 private:
  GfnBounds gone_;
};

// Selects pages that are no longer where they were pinned.
class Stale {
 public:
  explicit Stale(GfnBounds stale) : stale_(stale) {}

  Part run(Request& request, uint64_t page, ShadowEntry run) {
    if (!stale_.overlaps(run.gfn(), last_gfn_of(run))) return Part::kNone;
    const Region& region = request.stage2->mapped_region(run.gfn());
    const uint64_t word = region.chunk(run.gfn()).word;
    if (!Chunk::is_huge(word)) return Part::kSome;
    if ((word & Chunk::kStale) == 0) return Part::kNone;
    lose(request, {page, page + kChunkPages - 1});
    return Part::kAll;
  }
  bool page(Request& request, uint64_t page, ShadowEntry entry) {
    if (!stale_.holds(entry.gfn()) || entry.is_mmio()) return false;
    const Region& region = request.stage2->mapped_region(entry.gfn());
    const uint64_t word = region.chunk(entry.gfn()).word;
    if (!Chunk::is_huge(word)) {
      return (Chunk::node(word)[entry.gfn() % kChunkPages] & pin::kStale) != 0;
    }
    if ((word & Chunk::kStale) == 0) return false;
    lose(request, {page, page});
    return true;
  }

 private:
  // There was no memory to tell the pages of the chunk apart: those that are
  // where they were go with the others.
  static void lose(Request& request, PageRange pages) {
    request.outcome.lose(pages, Status::kNoMemory);
  }

  GfnBounds stale_;
};

// Selects device memory that was taken out of the hosts.
class Revoked {
 public:
  static Part run(Request&, uint64_t, ShadowEntry) { return Part::kNone; }
  static bool page(Request& request, uint64_t page, ShadowEntry entry) {
    return entry.is_mmio() &&
           kiommu_port_mmio_mapped(request.host.port(), request.stage2->mem(),
                                   page << kPageShift) == 0;
  }
};

// Marks what is no longer where it was pinned.
class MarkStale {
 public:
  explicit MarkStale(Pins& pins) : pins_(pins) {}

  // Pages [first, last] of a chunk that is not empty; pfns[i] is what is at
  // the address of first + i now.
  void mark(const Region& region, uint64_t first, uint64_t last,
            const kiommu_u64* pfns) {
    Chunk& chunk = region.chunk(first);
    if (Chunk::is_huge(chunk.word)) {
      if ((chunk.word & Chunk::kStale) != 0) return;
      uint64_t same = 0;
      const uint64_t count = last - first + 1;
      const uint64_t pfn = Pins::pfn(region, first);
      while (same < count && pfns[same] == pfn + same) ++same;
      if (same == count) return;
      if (!break_up(region, chunk, first)) {
        // Without memory the whole of it goes.
        chunk.word |= Chunk::kStale;
        note(chunk_of(region, first), chunk.holders > 0);
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

  // All is marked. Counts the holders of pages of which only those of their
  // chunk are known, by one look at all that is mapped.
  void count_holders() {
    if (broken_.last < broken_.first) return;
    for (Domain* domain = pins_.domains; domain != nullptr;
         domain = domain->next) {
      Stage2 stage2(pins_.mem(), pins_.regions());
      domain->shadow().for_each([&](ShadowEntry entry, unsigned pages) {
        count_holders(stage2, entry, pages);
      });
    }
    for (uint64_t i = 0; i < pins_.regions().count(); ++i) {
      const Region& region = pins_.regions().at(i);
      if (region.chunks != nullptr) count_idle(region);
    }
  }

  // What was marked, and whether some of it may be mapped.
  GfnBounds stale() const { return stale_; }
  bool any() const { return stale_.first <= stale_.last; }
  bool any_held() const { return any_held_; }

 private:
  // In place of the holders of a chunk that was broken up: those of its pages
  // are not counted yet.
  static constexpr uint32_t kUncounted = ~uint32_t{0};

  static PageRange chunk_of(const Region& region, uint64_t gfn) {
    const uint64_t index = region.chunk_index(gfn);
    return {region.chunk_first(index), region.chunk_last(index)};
  }

  void note(PageRange gfns, bool held) {
    stale_.add(gfns.first, gfns.last);
    any_held_ |= held;
  }

  // Makes a node of a huge chunk.
  bool break_up(const Region& region, Chunk& chunk, uint64_t first) {
    const bool held = chunk.holders > 0;
    if (!pins_.break_huge(chunk)) return false;
    if (held) {
      const PageRange gfns = chunk_of(region, first);
      chunk.holders = kUncounted;
      broken_.add(gfns.first, gfns.last);
    }
    return true;
  }

  void count_holders(Stage2& stage2, ShadowEntry entry, unsigned pages) {
    if (entry.is_mmio() || !broken_.holds(entry.gfn())) return;
    const Region& region = stage2.mapped_region(entry.gfn());
    const Chunk& chunk = region.chunk(entry.gfn());
    if (chunk.holders != kUncounted) return;
    uint64_t* node = Chunk::node(chunk.word);
    for (unsigned i = 0; i < pages; ++i) {
      node[(entry.gfn() + i) % kChunkPages] += pin::kHolder;
    }
  }

  // The chunks of a region that were counted: who holds none of them.
  void count_idle(const Region& region) {
    if (!broken_.overlaps(region.first_gfn, region.last_gfn())) return;
    const uint64_t last =
        broken_.last < region.last_gfn() ? broken_.last : region.last_gfn();
    uint64_t gfn =
        broken_.first > region.first_gfn ? broken_.first : region.first_gfn;
    for (; gfn <= last; gfn = chunk_of(region, gfn).last + 1) {
      Chunk& chunk = region.chunk(gfn);
      if (chunk.holders != kUncounted) continue;
      chunk.holders = 0;
      const uint64_t* node = Chunk::node(chunk.word);
      uint64_t idle = 0;
      for (unsigned i = 0; i < kChunkPages; ++i) {
        idle += (node[i] & pin::kHoldersMask) == 0;
      }
      if (idle == 0 || region.preregistered) continue;
      pins_.count(0, idle);
      pins_.note_idle(region, chunk);
    }
  }

  Pins& pins_;
  GfnBounds stale_;
  GfnBounds broken_;
  bool any_held_ = false;
};

// The pages of a region that are at [first, last] and may be pinned.
std::optional<PageRange> pages_at(const Region& region, Hva first, Hva last) {
  const Hva end = region.hva_of(region.last_gfn()).plus(kPageBytes - 1);
  if (region.chunks == nullptr || last < region.hva || end < first) return {};
  PageRange pages{region.first_gfn, region.last_gfn()};
  if (first > region.hva) {
    pages.first += (first.value - region.hva.value) >> kPageShift;
  }
  if (last < end) pages.last -= (end.value - last.value) >> kPageShift;
  return pages;
}

// Compares what is pinned with what is there. Returns whether that was known of
// all pages: the others are left as they are.
bool compare(Pins& pins, const Region& region, PageRange pages,
             MarkStale& stale) {
  bool known = true;
  kiommu_u64 pfns[64];
  constexpr uint64_t kStep = sizeof(pfns) / sizeof(pfns[0]);
  uint64_t gfn = pages.first;
  while (gfn <= pages.last) {
    uint64_t last = region.chunk_last(region.chunk_index(gfn));
    if (last > pages.last) last = pages.last;
    if (region.chunk(gfn).word != 0) {
      if (last - gfn >= kStep) last = gfn + kStep - 1;
      if (kiommu_port_look_up(pins.mem(), region.hva_of(gfn).value,
                              static_cast<unsigned>(last - gfn + 1),
                              pfns) == 0) {
        stale.mark(region, gfn, last, pfns);
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

void slots_changed(Pins& pins) {
  Regions& regions = pins.regions();
  GfnBounds gone;
  for (uint64_t i = 0; i < regions.count(); ++i) {
    Region& region = regions.at(i);
    region.gone = !regions.is_current(region);
    if (region.gone) gone.add(region.first_gfn, region.last_gfn());
  }
  if (gone.last < gone.first) return;
  for (uint64_t i = 0; i < regions.count(); ++i) {
    const Region& region = regions.at(i);
    if (!region.gone) continue;
    for (Domain* domain = pins.domains; domain; domain = domain->next) {
      domain->forget_tables(region.first_gfn, region.last_gfn());
    }
  }
  unmap_from_all(pins, InGoneSlots(gone));
  for (uint64_t i = regions.count(); i-- > 0;) {
    Region& region = regions.at(i);
    if (!region.gone) continue;
    pins.release_region(region);
    regions.remove(i);
  }
}

Result<void> stores_missed(Pins& pins) {
  for (Domain* domain = pins.domains; domain; domain = domain->next) {
    const auto untracked = domain->untrack(0, ~uint64_t{0} >> kPageShift);
    if (!untracked) return fail(untracked.error());
  }
  return {};
}

unsigned memory_changed(Pins& pins, kiommu_window* ranges, unsigned count) {
  MarkStale stale(pins);
  Regions& regions = pins.regions();
  const auto for_pages = [&](unsigned range, auto function) {
    for (uint64_t i = 0; i < regions.count(); ++i) {
      auto pages =
          pages_at(regions.at(i), {ranges[range].first}, {ranges[range].last});
      if (pages) function(regions.at(i), *pages);
    }
  };
  bool unknown[KIOMMU_MAX_CHANGES] = {};
  for (unsigned i = 0; i < count; ++i) {
    for_pages(i, [&](const Region& region, PageRange pages) {
      if (!compare(pins, region, pages, stale)) unknown[i] = true;
    });
  }
  stale.count_holders();
  if (stale.any_held()) unmap_from_all(pins, Stale(stale.stale()));
  for (unsigned i = 0; i < count && stale.any(); ++i) {
    for_pages(i, [&](Region& region, PageRange pages) {
      pins.release_stale(region, pages.first, pages.last);
    });
  }
  unsigned left = 0;
  for (unsigned i = 0; i < count; ++i) {
    if (unknown[i]) ranges[left++] = ranges[i];
  }
  return left;
}

void mmio_revoked(Pins& pins) { unmap_from_all(pins, Revoked()); }

}  // namespace kiommu
