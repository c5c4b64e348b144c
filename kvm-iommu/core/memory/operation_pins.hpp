// SPDX-License-Identifier: GPL-2.0-only
//
// The pin table as one operation uses it: takes and puts holds, and pins what
// is not pinned yet. Counters are kept here until the operation ends, so that
// parallel operations do not contend for them.
#pragma once

#include "base/page_word.hpp"
#include "memory/pin_table.hpp"

namespace kiommu {

class OperationPins {
 public:
  // `pfns`: scratch space for kChunkPages PFNs. `most`: how many pages may have
  // to be pinned.
  OperationPins(PinTable& pins, kiommu_u64* pfns, uint64_t most)
      : pins_(pins), pfns_(pfns), charge_(most < kCharge ? most : kCharge) {}
  OperationPins(const OperationPins&) = delete;
  OperationPins& operator=(const OperationPins&) = delete;

  // Takes a hold on each page of `n` page words, consecutive or scattered, up
  // to the first that is not in `slot`, not pinned, or full; returns how many.
  // hpas[i] is set to HPA | granted rights: those of the page word, less write
  // access where the pin or the slot is read-only. Pages with write access are
  // marked dirty.
  unsigned hold(const Slot& slot, const kiommu_u64* words, unsigned n,
                kiommu_u64* hpas);

  // Whether, since the last call, some hold was granted fewer rights than its
  // page word asks for.
  bool take_limited() {
    const bool limited = limited_;
    limited_ = false;
    return limited;
  }
  // Whether a page is pinned and has as many holders as are allowed.
  static bool is_full(const Slot& slot, uint64_t gfn);
  static bool is_pinned(const Slot& slot, uint64_t gfn);

  // Holds all pages of a huge chunk; `word` is that of the first page. Returns
  // false if the chunk is not huge or is full.
  bool hold_chunk(const Slot& slot, uint64_t word, kiommu_u64* hpa);

  // Puts a hold on each page of `n` page words or shadow entries, up to the
  // first that is not in `slot`; returns how many.
  unsigned put(const Slot& slot, const uint64_t* words, unsigned n);
  unsigned put(const Slot& slot, const kiommu_u64* words, unsigned n);
  // Puts one hold of each page of a chunk that is huge or was when it was held.
  void put_chunk(const Slot& slot, uint64_t gfn);

  // The result of make(): `count` pages from the start are pinned. If there are
  // none, why not, and how many pages must fail the same way.
  struct Made {
    uint64_t count = 0;
    Status why = Status::kNoMemory;
    uint64_t extent = 1;
  };
  // Pins `count` pages from `gfn` on, all in one chunk, unless they are pinned.
  // It may stop after some of them: call again for the rest.
  Made make(Slot& slot, uint64_t gfn, uint64_t count);

  // Whether the dirty log runs. P keeps that from changing during an operation.
  bool is_logging() const { return pins_.slots().is_logging(); }

  // Ends the operation: uncharges what is unused, updates the table's counters.
  void finish();

 private:
  // The most pages that are charged at a time.
  static constexpr uint64_t kCharge = kChunkPages;

  class Lookup;

  unsigned hold_usual(const Slot& slot, const Lookup& at,
                      const kiommu_u64* words, unsigned i, unsigned n,
                      kiommu_u64* hpas);
  template <class Word>
  unsigned put_words(const Slot& slot, const Word* words, unsigned n);
  bool hold_unusual(const Slot& slot, uint64_t word, kiommu_u64* hpa);
  bool hold_huge(const Slot& slot, uint64_t word, uint32_t pages,
                 kiommu_u64* hpa);
  void put_huge(const Slot& slot, uint64_t gfn, uint32_t pages);
  void made_idle(const Slot& slot, uint64_t gfn, uint64_t count, uint64_t made);
  void queue_made();

  Result<uint64_t*> ensure_node(Chunk& chunk);
  uint64_t charge(uint64_t pages);
  bool try_huge(Slot& slot, uint64_t gfn, bool writable);
  // Gives page `i` of those that were just pinned from `gfn` on back.
  void unpin(const Slot& slot, uint64_t gfn, uint64_t i) {
    kiommu_port_unpin(pins_.guest(), slot.hva_of(gfn + i).value, pfns_[i], 1,
                      0);
  }
  void install(Slot& slot, uint64_t* node, uint64_t gfn, uint64_t count,
               bool writable);

  PinTable& pins_;
  kiommu_u64* pfns_;
  const uint64_t charge_;  // pages charged at a time
  bool limited_ = false;
  uint64_t charged_ = 0;  // to locked_vm, and not used yet
  // The pages pinned last, all of one chunk. They will most likely be held
  // next, so they are queued as idle only later, if they still are: when more
  // pages are pinned, or at the end.
  const Slot* made_slot_ = nullptr;
  uint64_t made_gfn_ = 0;
  uint64_t made_pages_ = 0;
  // Changes not added to the table's counters yet; negative values wrap.
  uint64_t pinned_ = 0;
  uint64_t idle_ = 0;
};

}  // namespace kiommu
