// SPDX-License-Identifier: GPL-2.0-only
//
// The dirty log, see dirty_log.hpp.
#include "memory/dirty_log.hpp"

namespace kiommu {
namespace {

constexpr unsigned kWordBits = 64;
static_assert(DirtyBlock::kPages == kWordBits);

// Bits [first, last] of a word, inclusive.
constexpr uint64_t mask_of(uint64_t first, uint64_t last) {
  return ~uint64_t{0} >> (kWordBits - 1 - (last - first)) << first;
}

// The counters in a word of DirtyBlock::writers: one lane per page, the lowest
// page in the lowest lane.
namespace lanes {
constexpr unsigned kBits = kWordBits / DirtyBlock::kLanes;
constexpr uint64_t kOnes = 0x0101010101010101;
constexpr uint64_t kLow = 0x7f7f7f7f7f7f7f7f;
static_assert(kBits == 8 && DirtyBlock::kMany == 0xff);

// 1 in each lane of [first, last].
constexpr uint64_t ones(uint64_t first, uint64_t last) {
  return kOnes & mask_of(first * kBits, last * kBits + kBits - 1);
}

// 1 in each nonzero lane. The sum of a lane does not carry into the next.
constexpr uint64_t nonzero(uint64_t word) {
  return (((word & kLow) + kLow) | word) >> (kBits - 1) & kOnes;
}

// Packs the ones: bit i of the result is that of lane i.
constexpr uint64_t bits(uint64_t ones) {
  return ones * 0x0102040810204080 >> (kWordBits - DirtyBlock::kLanes);
}
}  // namespace lanes

enum class Change : std::uint8_t { kCount, kUncount };

// Increments or decrements each lane that has a 1 in `ones`.
void change_word(uint64_t* word, uint64_t ones, Change change) {
  uint64_t have = __atomic_load_n(word, __ATOMIC_RELAXED);
  uint64_t want = have;
  do {
    // Saturated lanes stay: what they really count is unknown.
    const uint64_t step = ones & lanes::nonzero(~have);
    want = change == Change::kCount ? have + step : have - step;
  } while (want != have &&
           !__atomic_compare_exchange_n(word, &have, want, true,
                                        __ATOMIC_RELAXED, __ATOMIC_RELAXED));
}

void change_counts(const Slot& slot, GfnRange gfns, Change change) {
  constexpr uint64_t kLanes = DirtyBlock::kLanes;
  auto [first, last] = gfns;
  while (first <= last) {
    const uint64_t end = first | (kLanes - 1);
    const uint64_t ones =
        lanes::ones(first % kLanes, (end < last ? end : last) % kLanes);
    DirtyBlock& block = slot.dirty_block(first);
    change_word(&block.writers[first % DirtyBlock::kPages / kLanes], ones,
                change);
    first = end + 1;
  }
}

// Sets the unmapped bit of pages.
void mark(const Slot& slot, GfnRange gfns) {
  auto [first, last] = gfns;
  while (first <= last) {
    const uint64_t end = first | (kWordBits - 1);
    const uint64_t mask =
        mask_of(first % kWordBits, (end < last ? end : last) % kWordBits);
    uint64_t* word = &slot.dirty_block(first).unmapped;
    // Pages that are mapped and unmapped all the time are marked already: avoid
    // the atomic write.
    if ((__atomic_load_n(word, __ATOMIC_RELAXED) & mask) != mask) {
      __atomic_fetch_or(word, mask, __ATOMIC_RELAXED);
    }
    first = end + 1;
  }
}

// Returns the pages of a block that a device can write now.
uint64_t writable(const DirtyBlock& block) {
  uint64_t pages = 0;
  for (unsigned i = 0; i < DirtyBlock::kPages / DirtyBlock::kLanes; ++i) {
    pages |= lanes::bits(lanes::nonzero(block.writers[i]))
             << (i * DirtyBlock::kLanes);
  }
  return pages;
}

// Calls visit(block, mask, at) for each block of the log that has pages of
// `gfns`; `mask` selects these pages. Bit 0 is page gfns.first + at, where `at`
// is negative if the block begins below gfns.first.
template <class Visit>
void for_blocks(PinTable& pins, GfnRange gfns, Visit visit) {
  SlotTable& slots = pins.slots();
  for (uint64_t i = slots.index_of(gfns.first); i < slots.count(); ++i) {
    const Slot& slot = slots.at(i);
    if (slot.first_gfn > gfns.last) break;
    // The log was stopped after the bits were taken.
    if (slot.dirty == nullptr) continue;
    uint64_t gfn = slot.first_gfn > gfns.first ? slot.first_gfn : gfns.first;
    const uint64_t last =
        slot.last_gfn() < gfns.last ? slot.last_gfn() : gfns.last;
    while (gfn <= last) {
      const uint64_t end = gfn | (kWordBits - 1);
      const uint64_t base = gfn & ~uint64_t{kWordBits - 1};
      visit(slot.dirty_block(gfn),
            mask_of(gfn - base, (end < last ? end : last) - base),
            static_cast<int64_t>(base - gfns.first));
      gfn = end + 1;
    }
  }
}

// Returns bits [at, at + 63] of a bitmap, which are those of one word of the
// log. Bits outside of the bitmap are 0.
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

// The inverse: sets the bits of a word of the log in a bitmap. All bits that
// are set must lie in the bitmap.
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

uint64_t words_of(GfnRange gfns) {
  return (gfns.last - gfns.first) / kWordBits + 1;
}

}  // namespace

void count_writers(const Slot& slot, GfnRange gfns) {
  change_counts(slot, gfns, Change::kCount);
}

// Set the bit before dropping the count, so that the page is dirty by one of
// them at any time.
void count_unmapped(const Slot& slot, GfnRange gfns) {
  mark(slot, gfns);
  change_counts(slot, gfns, Change::kUncount);
}

void take_dirty(PinTable& pins, GfnRange gfns, kiommu_u64* bits) {
  const uint64_t words = words_of(gfns);
  for (uint64_t i = 0; i < words; ++i) bits[i] = 0;
  for_blocks(pins, gfns, [&](DirtyBlock& block, uint64_t mask, int64_t at) {
    const uint64_t dirty = (block.unmapped | writable(block)) & mask;
    if (dirty == 0) return;
    add_bits(bits, words, at, dirty);
    block.unmapped &= ~mask;
  });
}

void put_dirty_back(PinTable& pins, GfnRange gfns, const kiommu_u64* bits) {
  const uint64_t words = words_of(gfns);
  for_blocks(pins, gfns, [&](DirtyBlock& block, uint64_t mask, int64_t at) {
    block.unmapped |= bits_at(bits, words, at) & mask;
  });
}

}  // namespace kiommu
