// SPDX-License-Identifier: GPL-2.0-only
//
// Taking and putting holds, and pinning, see operation_pins.hpp.
#include "memory/operation_pins.hpp"

namespace kiommu {
namespace {

Status status_of(kiommu_pin_failure failure) {
  switch (failure) {
    case KIOMMU_PIN_UNBACKED:
      return Status::kUnbacked;
    case KIOMMU_PIN_MMIO:
      return Status::kMmio;
    case KIOMMU_PIN_REFUSED:
      return Status::kPinRefused;
    case KIOMMU_PIN_NO_MEMORY:
      return Status::kNoMemory;
    case KIOMMU_PIN_INTERRUPTED:
      return Status::kInterrupted;
  }
  return Status::kUnbacked;
}

}  // namespace

// Looks up the pins of many page words in one slot; what does not depend on the
// word is computed once. Bits below the address are ignored, so that shadow
// entries can be passed as well.
class OperationPins::Lookup {
 public:
  Lookup(const Slot& slot, Chunk* chunks)
      : first_(slot.first_gfn << kPageShift),
        bytes_(slot.pages << kPageShift),
        first_chunk_(slot.first_gfn / kChunkPages),
        chunk_count_(slot.chunk_count()),
        chunks_(chunks) {}

  bool holds(uint64_t word) const { return word - first_ < bytes_; }
  Chunk& chunk(uint64_t word) const {
    return chunks_[clamp_index((word >> kChunkShift) - first_chunk_,
                               chunk_count_)];
  }
  static uint64_t* pin(uint64_t* node, uint64_t word) {
    return &node[(word >> kPageShift) % kChunkPages];
  }

 private:
  static constexpr unsigned kChunkShift = kPageShift + 9;
  static_assert(kChunkPages << kPageShift == 1u << kChunkShift);

  uint64_t first_;
  uint64_t bytes_;
  uint64_t first_chunk_;
  uint64_t chunk_count_;
  Chunk* chunks_;
};

// The fast path of nearly all pages: a loop without calls. Stops at the first
// page that is not the common case (pinned by itself, for writing, and written
// before), and returns its index.
unsigned OperationPins::hold_usual(const Slot& slot, const Lookup& at,
                                   const kiommu_u64* words, unsigned i,
                                   unsigned n, kiommu_u64* hpas) {
  constexpr uint64_t kUsual = pin::kValid | pin::kWritable | pin::kDirty;
  uint64_t busy = 0;
  for (; i < n; ++i) {
    const uint64_t word = words[i];
    if (!at.holds(word)) break;
    uint64_t* const node = Chunk::node(at.chunk(word).load());
    if (node == nullptr) break;
    uint64_t* const page = at.pin(node, word);
    const uint64_t pin = __atomic_load_n(page, __ATOMIC_ACQUIRE);
    if ((pin & (kUsual | pin::kFull)) != kUsual) break;
    const uint64_t before =
        __atomic_fetch_add(page, pin::kHolder, __ATOMIC_RELAXED);
    busy += (before & pin::kHoldersMask) == 0;
    hpas[i] = ((pin >> (pin::kPfnShift - kPageShift)) & kPageMask) |
              (word & PageWord::kRightsMask);
  }
  if (!slot.preregistered) idle_ -= busy;
  return i;
}

unsigned OperationPins::hold(const Slot& slot, const kiommu_u64* words,
                             unsigned n, kiommu_u64* hpas) {
  Chunk* const chunks = __atomic_load_n(&slot.chunks, __ATOMIC_ACQUIRE);
  if (chunks == nullptr) return 0;
  const Lookup at(slot, chunks);
  unsigned i = 0;
  for (;;) {
    if (!slot.read_only) i = hold_usual(slot, at, words, i, n, hpas);
    if (i == n || !at.holds(words[i]) ||
        !hold_unusual(slot, words[i], &hpas[i])) {
      return i;
    }
    ++i;
  }
}

template <class Word>
unsigned OperationPins::put_words(const Slot& slot, const Word* words,
                                  unsigned n) {
  const Lookup at(slot, slot.chunks);
  uint64_t idle = 0;
  unsigned i = 0;
  for (; i < n; ++i) {
    const uint64_t word = words[i];
    if (!at.holds(word)) break;
    Chunk& chunk = at.chunk(word);
    uint64_t* const node = Chunk::node(chunk.load());
    if (node == nullptr) {
      put_huge(slot, PageWord::gfn(word), 1);
      continue;
    }
    const uint64_t before =
        __atomic_fetch_sub(at.pin(node, word), pin::kHolder, __ATOMIC_RELAXED);
    if ((before & pin::kHoldersMask) == pin::kHolder) {
      if (slot.preregistered) continue;
      ++idle;
      pins_.note_idle(slot, chunk);
    }
  }
  idle_ += idle;
  return i;
}

unsigned OperationPins::put(const Slot& slot, const uint64_t* words,
                            unsigned n) {
  return put_words(slot, words, n);
}

unsigned OperationPins::put(const Slot& slot, const kiommu_u64* words,
                            unsigned n) {
  return put_words(slot, words, n);
}

void OperationPins::put_chunk(const Slot& slot, uint64_t gfn) {
  if (Chunk::is_huge(slot.chunk(gfn).load())) {
    put_huge(slot, gfn, kChunkPages);
    return;
  }
  for (uint64_t i = 0; i < kChunkPages; ++i) {
    const uint64_t word = (gfn + i) << kPageShift;
    put(slot, &word, 1);
  }
}

void OperationPins::put_huge(const Slot& slot, uint64_t gfn, uint32_t pages) {
  if (__atomic_fetch_sub(&slot.chunk(gfn).holders, pages, __ATOMIC_RELAXED) ==
      pages) {
    if (slot.preregistered) return;
    idle_ += kChunkPages;
    pins_.note_idle(slot, slot.chunk(gfn));
  }
}

// Of `count` pages of a chunk, `made` were just pinned and have no holder yet.
void OperationPins::made_idle(const Slot& slot, uint64_t gfn, uint64_t count,
                              uint64_t made) {
  if (made == 0 || slot.preregistered) return;
  idle_ += made;
  queue_made();
  made_slot_ = &slot;
  made_gfn_ = gfn;
  made_pages_ = count;
}

// Queues the chunk of the pages that were pinned last, if one of them is idle.
// A page that is held now will be queued when it is put.
void OperationPins::queue_made() {
  if (made_slot_ == nullptr) return;
  Chunk& chunk = made_slot_->chunk(made_gfn_);
  const uint64_t* const node = Chunk::node(chunk.load());
  bool idle = false;
  if (node == nullptr) {
    idle = __atomic_load_n(&chunk.holders, __ATOMIC_RELAXED) == 0;
  }
  for (uint64_t i = 0; node != nullptr && !idle && i < made_pages_; ++i) {
    const uint64_t pin =
        __atomic_load_n(&node[(made_gfn_ + i) % kChunkPages], __ATOMIC_RELAXED);
    idle = (pin & pin::kHoldersMask) == 0;
  }
  if (idle) pins_.note_idle(*made_slot_, chunk);
  made_slot_ = nullptr;
}

bool OperationPins::is_pinned(const Slot& slot, uint64_t gfn) {
  if (!slot.has_chunks()) return false;
  const uint64_t word = slot.chunk(gfn).load();
  const uint64_t* node = Chunk::node(word);
  if (node == nullptr) return Chunk::is_huge(word);
  return (__atomic_load_n(&node[gfn % kChunkPages], __ATOMIC_ACQUIRE) &
          pin::kValid) != 0;
}

bool OperationPins::is_full(const Slot& slot, uint64_t gfn) {
  if (!slot.has_chunks()) return false;
  const Chunk& chunk = slot.chunk(gfn);
  const uint64_t word = chunk.load();
  if (Chunk::is_huge(word)) {
    return __atomic_load_n(&chunk.holders, __ATOMIC_RELAXED) >= Chunk::kFull;
  }
  const uint64_t* node = Chunk::node(word);
  return node != nullptr &&
         (__atomic_load_n(&node[gfn % kChunkPages], __ATOMIC_RELAXED) &
          pin::kFull) != 0;
}

bool OperationPins::hold_chunk(const Slot& slot, uint64_t word,
                               kiommu_u64* hpa) {
  return Chunk::is_huge(slot.chunk(PageWord::gfn(word)).load()) &&
         hold_huge(slot, word, kChunkPages, hpa);
}

// The slow path: holds a page however it is pinned, unless it is full.
bool OperationPins::hold_unusual(const Slot& slot, uint64_t word,
                                 kiommu_u64* hpa) {
  const uint64_t gfn = PageWord::gfn(word);
  const uint64_t chunk = slot.chunk(gfn).load();
  if (Chunk::is_huge(chunk)) return hold_huge(slot, word, 1, hpa);
  uint64_t* node = Chunk::node(chunk);
  if (node == nullptr) return false;
  uint64_t* page = &node[gfn % kChunkPages];
  const uint64_t pin = __atomic_load_n(page, __ATOMIC_ACQUIRE);
  if ((pin & (pin::kValid | pin::kFull)) != pin::kValid) return false;
  Rights rights = PageWord::rights(word);
  if (rights.write()) {
    if (slot.read_only || (pin & pin::kWritable) == 0) {
      rights = rights & kRead;
      limited_ = true;
    } else {
      __atomic_fetch_or(page, pin::kDirty, __ATOMIC_RELAXED);
    }
  }
  const uint64_t before =
      __atomic_fetch_add(page, pin::kHolder, __ATOMIC_RELAXED);
  if ((before & pin::kHoldersMask) == 0 && !slot.preregistered) --idle_;
  *hpa = pin >> pin::kPfnShift << kPageShift | rights.bits;
  return true;
}

// Holds `pages` pages of a huge chunk; `word` and `hpa` are those of the first.
bool OperationPins::hold_huge(const Slot& slot, uint64_t word, uint32_t pages,
                              kiommu_u64* hpa) {
  const uint64_t gfn = PageWord::gfn(word);
  Chunk& chunk = slot.chunk(gfn);
  const uint64_t state = chunk.load();
  if (__atomic_load_n(&chunk.holders, __ATOMIC_RELAXED) >= Chunk::kFull) {
    return false;
  }
  uint64_t rights = PageWord::kRightsMask;
  if (PageWord::rights(word).write()) {
    if (slot.read_only || (state & Chunk::kWritable) == 0) {
      rights = kRead.bits;
      limited_ = true;
    } else if ((state & Chunk::kDirty) == 0) {
      __atomic_fetch_or(&chunk.word, Chunk::kDirty, __ATOMIC_RELAXED);
    }
  }
  if (__atomic_fetch_add(&chunk.holders, pages, __ATOMIC_RELAXED) == 0) {
    if (!slot.preregistered) idle_ -= kChunkPages;
  }
  *hpa =
      (Chunk::pfn(state) + gfn % kChunkPages) << kPageShift | (word & rights);
  return true;
}

// Returns the node of a chunk. If another thread has installed a node or a huge
// chunk meanwhile, that one is used. nullptr: the chunk is huge.
Result<uint64_t*> OperationPins::ensure_node(Chunk& chunk) {
  uint64_t word = chunk.load();
  if (word == 0) {
    uint64_t* node = pins_.allocate_node();
    if (node == nullptr) return fail(Status::kNoMemory);
    const uint64_t made = reinterpret_cast<std::uintptr_t>(node);
    if (__atomic_compare_exchange_n(&chunk.word, &word, made, false,
                                    __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
      return node;
    }
    pins_.free_node(node);
  }
  return Chunk::node(word);
}

// Charges up to `pages` pages, unless enough are charged already. Returns how
// many may be pinned.
uint64_t OperationPins::charge(uint64_t pages) {
  if (charged_ >= pages) return pages;
  const uint64_t more = pages > charge_ ? pages : charge_;
  if (kiommu_port_account(pins_.guest(), more) == 0) {
    charged_ += more;
    return pages;
  }
  // Near RLIMIT_MEMLOCK: halve the request until it fits.
  for (uint64_t n = pages - charged_; n > 0; n /= 2) {
    if (kiommu_port_account(pins_.guest(), n) != 0) continue;
    charged_ += n;
    break;
  }
  return charged_ < pages ? charged_ : pages;
}

OperationPins::Made OperationPins::make(Slot& slot, uint64_t gfn,
                                        uint64_t count) {
  if (auto chunks = pins_.slots().ensure_chunks(slot); !chunks) {
    return {.why = chunks.error()};
  }
  Chunk& chunk = slot.chunk(gfn);
  const uint64_t word = chunk.load();
  if (Chunk::is_huge(word)) return {.count = count};
  if (uint64_t* node = Chunk::node(word)) {
    // Pages that are pinned already are done; else pin up to the next one that
    // is.
    const auto present = [&](uint64_t i) {
      return (__atomic_load_n(&node[(gfn + i) % kChunkPages],
                              __ATOMIC_RELAXED) &
              pin::kValid) != 0;
    };
    uint64_t from = 0;
    while (from < count && present(from)) ++from;
    if (from > 0) return {.count = from};
    uint64_t missing = 1;
    while (missing < count && !present(missing)) ++missing;
    count = missing;
  }

  count = charge(count);
  if (count == 0) {
    return {.why = kiommu_port_interrupted() != 0 ? Status::kInterrupted
                                                  : Status::kMemlock};
  }
  kiommu_pin_result result{};
  const unsigned n = kiommu_port_pin(pins_.guest(), slot.hva_of(gfn).value,
                                     static_cast<unsigned>(count),
                                     slot.read_only ? 0 : 1, pfns_, &result);
  if (n == 0) {
    // The VMA may go on beyond the slot, where other memory is.
    const uint64_t in_slot = slot.pages_from(gfn);
    return {.why = status_of(result.failure),
            .extent = result.extent == 0        ? 1
                      : result.extent > in_slot ? in_slot
                                                : result.extent};
  }
  const bool writable = result.writable != 0;
  if (n == kChunkPages && try_huge(slot, gfn, writable)) return {.count = n};
  auto node = ensure_node(chunk);
  if (!node || *node == nullptr) {
    for (unsigned i = 0; i < n; ++i) unpin(slot, gfn, i);
    if (!node) return {.why = node.error()};
    return {.count = n};
  }
  install(slot, *node, gfn, n, writable);
  return {.count = n};
}

// Installs 512 pages that were pinned as a huge chunk, if they are contiguous
// and the chunk is still empty.
bool OperationPins::try_huge(Slot& slot, uint64_t gfn, bool writable) {
  for (unsigned i = 1; i < kChunkPages; ++i) {
    if (pfns_[i] != pfns_[0] + i) return false;
  }
  uint64_t empty = 0;
  const uint64_t huge =
      pfns_[0] << kPageShift | Chunk::kHuge | (writable ? Chunk::kWritable : 0);
  if (!__atomic_compare_exchange_n(&slot.chunk(gfn).word, &empty, huge, false,
                                   __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
    return false;
  }
  charged_ -= kChunkPages;
  pinned_ += kChunkPages;
  made_idle(slot, gfn, kChunkPages, kChunkPages);
  return true;
}

// Installs pages that were pinned. Where another thread has installed a page,
// that one stays and our pin is given back.
void OperationPins::install(Slot& slot, uint64_t* node, uint64_t gfn,
                            uint64_t count, bool writable) {
  const uint64_t flags = pin::kValid | (writable ? pin::kWritable : 0);
  uint64_t installed = 0;
  for (uint64_t i = 0; i < count; ++i) {
    uint64_t empty = 0;
    if (__atomic_compare_exchange_n(&node[(gfn + i) % kChunkPages], &empty,
                                    pfns_[i] << pin::kPfnShift | flags, false,
                                    __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
      ++installed;
    } else {
      unpin(slot, gfn, i);
    }
  }
  charged_ -= installed;
  pinned_ += installed;
  made_idle(slot, gfn, count, installed);
}

void OperationPins::finish() {
  queue_made();
  if (charged_ > 0) kiommu_port_unaccount(pins_.guest(), charged_);
  if ((pinned_ | idle_) != 0) pins_.count(pinned_, idle_);
  charged_ = pinned_ = idle_ = 0;
}

}  // namespace kiommu
