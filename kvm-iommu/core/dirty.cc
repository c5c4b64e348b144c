// SPDX-License-Identifier: GPL-2.0-only
//
// The dirty log, see dirty.hpp.
#include "dirty.hpp"

#include "domain.hpp"

namespace kiommu {
namespace {

constexpr unsigned kWordBits = 64;

// The word of a bitmap that has the bit of a page: bitmaps begin at a multiple
// of 64 pages.
uint64_t* word_of(const Region& region, uint64_t gfn) {
  return &region.dirty[gfn / kWordBits - region.first_gfn / kWordBits];
}

// Bits [first, last] of a word.
constexpr uint64_t mask_of(uint64_t first, uint64_t last) {
  return ~uint64_t{0} >> (kWordBits - 1 - (last - first)) << first;
}

// Sets the bits of pages [first, last].
void mark(const Region& region, uint64_t first, uint64_t last) {
  while (first <= last) {
    const uint64_t end = first | (kWordBits - 1);
    const uint64_t mask =
        mask_of(first % kWordBits, (end < last ? end : last) % kWordBits);
    uint64_t* word = word_of(region, first);
    // What is mapped and unmapped all the time is marked already.
    if ((__atomic_load_n(word, __ATOMIC_RELAXED) & mask) != mask) {
      __atomic_fetch_or(word, mask, __ATOMIC_RELAXED);
    }
    first = end + 1;
  }
}

// Calls visit(word, mask, at) for each word of the log with bits of `gfns`:
// bit 0 of the word is page gfns.first + at, which may be below.
template <class Visit>
void for_words(Pins& pins, PageRange gfns, Visit visit) {
  Regions& regions = pins.regions();
  for (uint64_t i = 0; i < regions.count(); ++i) {
    const Region& region = regions.at(i);
    if (region.dirty == nullptr) continue;
    uint64_t gfn =
        region.first_gfn > gfns.first ? region.first_gfn : gfns.first;
    const uint64_t last =
        region.last_gfn() < gfns.last ? region.last_gfn() : gfns.last;
    while (gfn <= last) {
      const uint64_t end = gfn | (kWordBits - 1);
      const uint64_t base = gfn & ~uint64_t{kWordBits - 1};
      visit(*word_of(region, gfn),
            mask_of(gfn - base, (end < last ? end : last) - base),
            static_cast<int64_t>(base - gfns.first));
      gfn = end + 1;
    }
  }
}

// The bits of a bitmap that are at [at, at + 63]: those of a word of the log.
uint64_t bits_at(const kiommu_u64* bits, uint64_t words, int64_t at) {
  if (at < 0) return bits[0] << -at;
  const uint64_t index = static_cast<uint64_t>(at) / kWordBits;
  const unsigned shift = static_cast<uint64_t>(at) % kWordBits;
  uint64_t word = bits[index] >> shift;
  if (shift > 0 && index + 1 < words) {
    word |= bits[index + 1] << (kWordBits - shift);
  }
  return word;
}

// The opposite: adds the bits that are set, all of which lie in the bitmap.
void add_bits(kiommu_u64* bits, uint64_t words, int64_t at, uint64_t word) {
  if (at < 0) {
    bits[0] |= word >> -at;
    return;
  }
  const uint64_t index = static_cast<uint64_t>(at) / kWordBits;
  const unsigned shift = static_cast<uint64_t>(at) % kWordBits;
  bits[index] |= word << shift;
  if (shift > 0 && index + 1 < words) {
    bits[index + 1] |= word >> (kWordBits - shift);
  }
}

uint64_t words_of(PageRange gfns) {
  return (gfns.last - gfns.first) / kWordBits + 1;
}

}  // namespace

void note_unmapped(const Region& region, const uint64_t* entries, unsigned n) {
  unsigned i = 0;
  while (i < n) {
    const ShadowEntry entry{entries[i]};
    ++i;
    if (!entry.rights().write()) continue;
    const uint64_t first = entry.gfn();
    uint64_t last = first;
    while (i < n) {
      const ShadowEntry next{entries[i]};
      if (!next.rights().write() || next.gfn() != last + 1) break;
      ++last;
      ++i;
    }
    mark(region, first, last);
  }
}

void note_unmapped_run(const Region& region, ShadowEntry run) {
  if (!run.rights().write()) return;
  mark(region, run.gfn(), run.gfn() + Radix::kNodeWords - 1);
}

void mark_writable(Pins& pins, PageRange gfns) {
  Stage2 stage2(pins.mem(), pins.regions());
  for (Domain* domain = pins.domains; domain != nullptr;
       domain = domain->next) {
    domain->shadow().for_each([&](ShadowEntry entry, unsigned pages) {
      if (entry.is_mmio() || !entry.rights().write()) return;
      uint64_t first = entry.gfn();
      uint64_t last = first + pages - 1;
      const Region& region = stage2.mapped_region(first);
      if (first < gfns.first) first = gfns.first;
      if (last > gfns.last) last = gfns.last;
      if (first <= last) mark(region, first, last);
    });
  }
}

void take_dirty(Pins& pins, PageRange gfns, kiommu_u64* bits) {
  const uint64_t words = words_of(gfns);
  for (uint64_t i = 0; i < words; ++i) bits[i] = 0;
  for_words(pins, gfns, [&](uint64_t& word, uint64_t mask, int64_t at) {
    if ((word & mask) == 0) return;
    add_bits(bits, words, at, word & mask);
    word &= ~mask;
  });
}

void put_dirty_back(Pins& pins, PageRange gfns, const kiommu_u64* bits) {
  const uint64_t words = words_of(gfns);
  for_words(pins, gfns, [&](uint64_t& word, uint64_t mask, int64_t at) {
    word |= bits_at(bits, words, at) & mask;
  });
}

}  // namespace kiommu
