// SPDX-License-Identifier: GPL-2.0-only
//
// Changes of the guest's memory, see memory_change.hpp. The order is always:
// find out what is gone, unmap it from all domains and flush, unpin it.
#include "memory_change.hpp"

#include "domain.hpp"

namespace kiommu {
namespace {

template <class Wants>
void unmap_from_all(Pins& pins, Wants wants) {
  for (Domain* domain = pins.domains; domain != nullptr;
       domain = domain->next) {
    domain->unmap_where(wants);
  }
}

bool is_stale(const Region& region, uint64_t gfn) {
  const uint64_t word = region.chunk(gfn).word;
  if (Chunk::is_huge(word)) return (word & Chunk::kStale) != 0;
  return (Chunk::node(word)[gfn % kChunkPages] & pin::kStale) != 0;
}

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
        any_ = true;
        any_held_ |= chunk.holders > 0;
        return;
      }
    }
    uint64_t* node = Chunk::node(chunk.word);
    for (uint64_t gfn = first; gfn <= last; ++gfn) {
      uint64_t& pin = node[gfn % kChunkPages];
      if ((pin & pin::kValid) == 0) continue;
      if (pin >> pin::kPfnShift == pfns[gfn - first]) continue;
      pin |= pin::kStale;
      any_ = true;
      any_held_ |= (pin & pin::kHoldersMask) != 0;
    }
  }

  bool any() const { return any_; }
  bool any_held() const { return any_held_; }

 private:
  // Makes a node of a huge chunk, and counts the holders of each page.
  bool break_up(const Region& region, Chunk& chunk, uint64_t first) {
    const bool held = chunk.holders > 0;
    auto made = pins_.break_huge(chunk);
    if (!made) return false;
    uint64_t* node = *made;
    if (!held) return true;
    const uint64_t base = first & ~uint64_t{kChunkPages - 1};
    for (Domain* domain = pins_.domains; domain != nullptr;
         domain = domain->next) {
      domain->shadow().for_each([&](ShadowEntry entry, unsigned pages) {
        if (entry.is_mmio() || entry.gfn() - base >= kChunkPages) return;
        for (unsigned i = 0; i < pages; ++i) {
          node[(entry.gfn() + i) % kChunkPages] += pin::kHolder;
        }
      });
    }
    if (region.preregistered) return true;
    uint64_t idle = 0;
    for (unsigned i = 0; i < kChunkPages; ++i) {
      idle += (node[i] & pin::kHoldersMask) == 0;
    }
    if (idle > 0) {
      pins_.count(0, idle);
      region.mark_idle(first);
    }
    return true;
  }

  Pins& pins_;
  bool any_ = false;
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

// Compares what is pinned with what is there.
void compare(Pins& pins, const Region& region, PageRange pages,
             MarkStale& stale) {
  kiommu_u64 pfns[64];
  constexpr uint64_t kStep = sizeof(pfns) / sizeof(pfns[0]);
  uint64_t gfn = pages.first;
  while (gfn <= pages.last) {
    uint64_t last = region.chunk_last(region.chunk_index(gfn));
    if (last > pages.last) last = pages.last;
    if (region.chunk(gfn).word != 0) {
      if (last - gfn >= kStep) last = gfn + kStep - 1;
      kiommu_port_look_up(pins.mem(), region.hva_of(gfn).value,
                          static_cast<unsigned>(last - gfn + 1), pfns);
      stale.mark(region, gfn, last, pfns);
    }
    gfn = last + 1;
    kiommu_port_yield();
  }
}

}  // namespace

void slots_changed(Pins& pins) {
  Regions& regions = pins.regions();
  bool any = false;
  for (uint64_t i = 0; i < regions.count(); ++i) {
    Region& region = regions.at(i);
    region.gone = !regions.is_current(region);
    any |= region.gone;
  }
  if (!any) return;
  for (uint64_t i = 0; i < regions.count(); ++i) {
    const Region& region = regions.at(i);
    if (!region.gone) continue;
    for (Domain* domain = pins.domains; domain; domain = domain->next) {
      domain->forget_tables(region.first_gfn, region.last_gfn());
    }
  }
  unmap_from_all(pins, [](Request& request, uint64_t, ShadowEntry entry) {
    return request.stage2->mapped_region(entry.gfn()).gone;
  });
  for (uint64_t i = regions.count(); i-- > 0;) {
    Region& region = regions.at(i);
    if (!region.gone) continue;
    pins.release_region(region);
    regions.remove(i);
  }
}

void memory_changed(Pins& pins, Hva first, Hva last) {
  MarkStale stale(pins);
  Regions& regions = pins.regions();
  for (uint64_t i = 0; i < regions.count(); ++i) {
    if (auto pages = pages_at(regions.at(i), first, last)) {
      compare(pins, regions.at(i), *pages, stale);
    }
  }
  if (stale.any_held()) {
    unmap_from_all(pins, [](Request& request, uint64_t, ShadowEntry entry) {
      return !entry.is_mmio() &&
             is_stale(request.stage2->mapped_region(entry.gfn()), entry.gfn());
    });
  }
  for (uint64_t i = 0; stale.any() && i < regions.count(); ++i) {
    if (auto pages = pages_at(regions.at(i), first, last)) {
      pins.release_stale(regions.at(i), pages->first, pages->last);
    }
  }
}

void mmio_revoked(Pins& pins) {
  unmap_from_all(pins, [](Request& request, uint64_t page, ShadowEntry entry) {
    return entry.is_mmio() &&
           kiommu_port_mmio_mapped(request.host.port(), request.stage2->mem(),
                                   page << kPageShift) == 0;
  });
}

}  // namespace kiommu
