// SPDX-License-Identifier: GPL-2.0-only
//
// One operation's use of the pin table: takes and gives holds, makes the pins
// that are missing. Keeps what would be shared counters for itself until the
// operation ends.
#pragma once

#include "base/page_word.hpp"
#include "memory/pin_table.hpp"

namespace kiommu {

class OperationPins {
 public:
  // `pfns`: scratch space for kChunkPages.
  OperationPins(PinTable& pins, kiommu_u64* pfns) : pins_(pins), pfns_(pfns) {}
  OperationPins(const OperationPins&) = delete;
  OperationPins& operator=(const OperationPins&) = delete;

  // Holds neighbouring or scattered pages, as many of `n` page words from the
  // start as are pinned in `slot` and can be held; of a page whose word
  // wants to write a device may write. hpas[i] is set: host address | rights
  // that are given, those of the page word but for what the pin or the slot
  // does not allow.
  unsigned hold(const Slot& slot, const kiommu_u64* words, unsigned n,
                kiommu_u64* hpas);

  // Whether some page was held since the last call for which fewer rights were
  // given than its word has.
  bool take_limited() {
    const bool limited = limited_;
    limited_ = false;
    return limited;
  }
  // Whether a page that is pinned has as many holders as are taken.
  static bool is_full(const Slot& slot, uint64_t gfn);
  static bool is_pinned(const Slot& slot, uint64_t gfn);

  // Holds all pages of a huge chunk, the first of which is that of `word`;
  // false if it is not huge or has too many holders.
  bool hold_chunk(const Slot& slot, uint64_t word, kiommu_u64* hpa);

  // Gives holds back: of the pages of `n` words, as many from the start as are
  // in `slot`.
  unsigned put(const Slot& slot, const uint64_t* words, unsigned n);
  unsigned put(const Slot& slot, const kiommu_u64* words, unsigned n);
  // Gives holds of all pages of a chunk back, which is huge or was.
  void put_chunk(const Slot& slot, uint64_t gfn);

  // What make() achieved: `count` pages from the start are pinned; if none,
  // why not, and how many pages must fail the same way.
  struct Made {
    uint64_t count = 0;
    Status why = Status::kNoMemory;
    uint64_t extent = 1;
  };
  // PinTable what is not pinned of `count` pages of one chunk from `gfn` on.
  // Some of them at least: call again.
  Made make(Slot& slot, uint64_t gfn, uint64_t count);

  // Whether the dirty log runs: it does not begin or end during an operation.
  bool is_logging() const { return pins_.slots().is_logging(); }

  // Ends the operation.
  void finish();

 private:
  // Pages that are charged at once.
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
  void install(Slot& slot, uint64_t* node, uint64_t gfn, uint64_t count,
               bool writable);

  PinTable& pins_;
  kiommu_u64* pfns_;
  bool limited_ = false;
  uint64_t charged_ = 0;  // and not used yet
  // The pages of one chunk that were pinned last, which most likely are held
  // next: if not, they are queued as idle when more are pinned, or at the end.
  const Slot* made_slot_ = nullptr;
  uint64_t made_gfn_ = 0;
  uint64_t made_pages_ = 0;
  // To be added to the table's counters; they wrap.
  uint64_t pinned_ = 0;
  uint64_t idle_ = 0;
};

}  // namespace kiommu
