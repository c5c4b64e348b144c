// SPDX-License-Identifier: GPL-2.0-only
//
// The pin table, see pin_table.hpp: what needs P for writing. Holds are taken
// and pins are added in operation_pins.cc.
#include "memory/pin_table.hpp"

#include "memory/operation_pins.hpp"

namespace kiommu {
namespace {

constexpr uint64_t kLastGfn = ~uint64_t{0} >> kPageShift;

// Gathers neighbours, in GFNs and PFNs, of one slot, to unpin them in one call.
class UnpinRun {
 public:
  UnpinRun(kiommu_guest* guest, const Slot& slot)
      : guest_(guest), slot_(slot) {}
  ~UnpinRun() { flush(); }
  UnpinRun(const UnpinRun&) = delete;
  UnpinRun& operator=(const UnpinRun&) = delete;

  void add(uint64_t gfn, uint64_t pfn, uint64_t count, bool dirty) {
    if (count_ > 0 &&
        (gfn != gfn_ + count_ || pfn != pfn_ + count_ || dirty != dirty_)) {
      flush();
    }
    if (count_ == 0) {
      gfn_ = gfn;
      pfn_ = pfn;
      dirty_ = dirty;
    }
    count_ += count;
  }

  // Unpins what was gathered.
  void flush() {
    if (count_ > 0) {
      kiommu_port_unpin(guest_, slot_.hva_of(gfn_).value, pfn_, count_, dirty_);
    }
    count_ = 0;
  }

 private:
  kiommu_guest* guest_;
  const Slot& slot_;
  uint64_t gfn_ = 0;
  uint64_t pfn_ = 0;
  uint64_t count_ = 0;
  bool dirty_ = false;
};

bool is_idle(uint64_t pin) {
  return (pin & pin::kValid) != 0 && (pin & pin::kHoldersMask) == 0;
}

// Whether none of a node's pages is pinned. Looks at those from `first` on, and
// then at the others: where one was released, its neighbours often are still
// pinned.
bool is_empty(const uint64_t* node, unsigned first) {
  constexpr unsigned kStep = 8;
  unsigned at = first / kStep * kStep;
  for (unsigned n = 0; n < kChunkPages; n += kStep) {
    uint64_t any = 0;
#pragma GCC unroll 8
    for (unsigned j = 0; j < kStep; ++j) any |= node[at + j];
    if (any != 0) return false;
    at = (at + kStep) % kChunkPages;
  }
  return true;
}

// The number of idle pages in a chunk.
uint64_t idle_pages(const Chunk& chunk) {
  if (Chunk::is_huge(chunk.word)) return chunk.holders == 0 ? kChunkPages : 0;
  const uint64_t* node = Chunk::node(chunk.word);
  uint64_t count = 0;
  for (unsigned i = 0; node != nullptr && i < kChunkPages; ++i) {
    count += is_idle(node[i]);
  }
  return count;
}

}  // namespace

PinTable::~PinTable() {
  for (uint64_t i = 0; i < slots_.count(); ++i) {
    release_slot(slots_.at(i));
  }
}

uint64_t* PinTable::allocate_node() {
  auto* node = static_cast<uint64_t*>(kiommu_port_alloc_node());
  if (node != nullptr) {
    __atomic_fetch_add(&node_bytes_, KIOMMU_NODE_BYTES, __ATOMIC_RELAXED);
  }
  return node;
}

void PinTable::free_node(uint64_t* node) {
  kiommu_port_free_node(node);
  __atomic_fetch_sub(&node_bytes_, KIOMMU_NODE_BYTES, __ATOMIC_RELAXED);
}

uint64_t PinTable::pfn(const Slot& slot, uint64_t gfn) {
  const uint64_t word = slot.chunk(gfn).load();
  if (Chunk::is_huge(word)) return Chunk::pfn(word) + gfn % kChunkPages;
  return __atomic_load_n(&Chunk::node(word)[gfn % kChunkPages],
                         __ATOMIC_RELAXED) >>
         pin::kPfnShift;
}

// Unpins the pages [first, end) of a chunk whose pins `select` accepts. A huge
// chunk is released as a whole or not at all: select() is called with a pin
// made up for it. A chunk that becomes empty gives its node back. Returns the
// number of pages unpinned.
template <class Select>
uint64_t PinTable::release_chunk(const Slot& slot, Chunk& chunk, unsigned first,
                                 unsigned end, Select select) {
  uint64_t released = 0;
  UnpinRun run(guest_, slot);
  // Of a chunk that begins below the slot, its first pages have no pins.
  const uint64_t base = slot.chunk_base(&chunk - slot.chunks);
  if (Chunk::is_huge(chunk.word)) {
    const bool stale = (chunk.word & Chunk::kStale) != 0;
    if (!select(pin::kValid | (chunk.holders > 0 ? pin::kHolder : 0) |
                (stale ? pin::kStale : 0))) {
      return 0;
    }
    run.add(base, Chunk::pfn(chunk.word), kChunkPages,
            (chunk.word & Chunk::kDirty) != 0);
    chunk.word = 0;
    chunk.holders = 0;
    released = kChunkPages;
  } else if (uint64_t* node = Chunk::node(chunk.word)) {
    for (unsigned i = first; i < end; ++i) {
      if (node[i] == 0 || !select(node[i])) continue;
      run.add(base + i, node[i] >> pin::kPfnShift, 1,
              (node[i] & pin::kDirty) != 0);
      node[i] = 0;
      ++released;
    }
    if (is_empty(node, end % kChunkPages)) {
      free_node(node);
      chunk.word = 0;
    }
  }
  run.flush();
  if (released > 0) kiommu_port_unaccount(guest_, released);
  count(-released, slot.preregistered ? 0 : -released);
  return released;
}

// Unpins up to `most` idle pages of the first chunk in the queue of a slot, all
// of them if it is huge.
uint64_t PinTable::release_first_idle(const Slot& slot, uint64_t most) {
  Chunk& chunk = *IdleQueue::first_chunk(slot);
  const uint64_t released =
      release_chunk(slot, chunk, 0, kChunkPages, [&](uint64_t pin) {
        if (!is_idle(pin) || most == 0) return false;
        --most;
        return true;
      });
  if (most > 0 || idle_pages(chunk) == 0) idle_chunks_.remove_first(slot);
  kiommu_port_yield();
  return released;
}

uint64_t PinTable::trim(uint64_t keep) {
  uint64_t released = 0;
  while (idle() > keep) {
    const Slot* slot = idle_chunks_.first();
    if (slot == nullptr) break;
    released += release_first_idle(*slot, idle() - keep);
  }
  return released;
}

void PinTable::release_slot(Slot& slot) {
  if (slot.chunks == nullptr) return;
  idle_chunks_.remove_all(slot);
  for (uint64_t i = 0; i < slot.chunk_count(); ++i) {
    if (slot.chunks[i].word == 0) continue;
    release_chunk(slot, slot.chunks[i], 0, kChunkPages,
                  [](uint64_t) { return true; });
    kiommu_port_yield();
  }
}

void PinTable::forget_slots() {
  slots_.remove_if([this](const Slot& slot) {
    for (uint64_t i = 0; slot.chunks != nullptr && i < slot.chunk_count();
         ++i) {
      if (slot.chunks[i].word != 0) return false;
    }
    if (slot.preregistered || slot.dirty != nullptr) return false;
    // Chunks whose pins went with those of another slot are still queued.
    idle_chunks_.remove_all(slot);
    kiommu_port_yield();
    return true;
  });
}

void PinTable::release_stale(Slot& slot, uint64_t first_gfn,
                             uint64_t last_gfn) {
  for (uint64_t i = slot.chunk_index(first_gfn);
       i <= slot.chunk_index(last_gfn); ++i) {
    if (slot.chunks[i].word == 0) continue;
    release_chunk(slot, slot.chunks[i], 0, kChunkPages,
                  [](uint64_t pin) { return (pin & pin::kStale) != 0; });
  }
}

void PinTable::release_idle(uint64_t first_gfn, uint64_t last_gfn) {
  for (uint64_t at = slots_.index_of(first_gfn);
       at < slots_.count() && slots_.at(at).first_gfn <= last_gfn; ++at) {
    const Slot& slot = slots_.at(at);
    if (slot.chunks == nullptr || slot.preregistered) continue;
    const uint64_t first =
        first_gfn > slot.first_gfn ? first_gfn : slot.first_gfn;
    const uint64_t last =
        last_gfn < slot.last_gfn() ? last_gfn : slot.last_gfn();
    for (uint64_t gfn = first; gfn <= last;) {
      const uint64_t end = gfn | (kChunkPages - 1);
      const unsigned from = gfn % kChunkPages;
      const uint64_t to = end < last ? end : last;
      release_chunk(slot, slot.chunk(gfn), from, to % kChunkPages + 1, is_idle);
      gfn = end + 1;
    }
    kiommu_port_yield();
  }
}

Result<uint64_t*> PinTable::break_huge(Chunk& chunk) {
  uint64_t* node = allocate_node();
  if (node == nullptr) return fail(Status::kNoMemory);
  const uint64_t flags =
      pin::kValid |
      ((chunk.word & Chunk::kWritable) != 0 ? pin::kWritable : 0) |
      ((chunk.word & Chunk::kDirty) != 0 ? pin::kDirty : 0);
  for (uint64_t i = 0; i < kChunkPages; ++i) {
    node[i] = (Chunk::pfn(chunk.word) + i) << pin::kPfnShift | flags;
  }
  chunk.word = reinterpret_cast<std::uintptr_t>(node);
  chunk.holders = 0;
  return node;
}

// Calls function(slot) for the slots in [gpa, gpa + length), which must be made
// of whole slots; both 0: all slots. See kiommu_core_pins_preregister().
template <class Function>
Result<void> PinTable::for_slots(uint64_t gpa, uint64_t length,
                                 Function function) {
  uint64_t first = gpa >> kPageShift;
  uint64_t last = kLastGfn;
  if (((gpa | length) & ~kPageMask) != 0) return fail(Status::kMisaligned);
  if (length != 0) {
    if (gpa + (length - 1) < gpa) return fail(Status::kOverflow);
    last = (gpa + (length - 1)) >> kPageShift;
  } else if (gpa != 0) {
    return fail(Status::kMisaligned);
  }
  // Check first, so that a refused call changes nothing.
  for (const bool call : {false, true}) {
    bool any = false;
    uint64_t gfn = first;
    while (gfn <= last) {
      auto slot = slots_.find(gfn);
      if (!slot) return fail(slot.error());
      if (*slot == nullptr || (*slot)->first_gfn > last) break;
      if ((*slot)->first_gfn < first || (*slot)->last_gfn() > last) {
        return fail(Status::kOutOfRange);
      }
      any = true;
      if (call) KIOMMU_TRY(function(**slot));
      gfn = (*slot)->last_gfn() + 1;
    }
    if (!any) return fail(Status::kOutOfRange);
  }
  return {};
}

Result<void> PinTable::pin_slot(Slot& slot) {
  if (slot.may_be_private) return fail(Status::kPrivate);
  auto* scratch = static_cast<kiommu_u64*>(kiommu_port_alloc_node());
  if (scratch == nullptr) return fail(Status::kNoMemory);
  OperationPins pins(*this, scratch, slot.pages);
  Result<void> result;
  uint64_t gfn = slot.first_gfn;
  while (result && gfn <= slot.last_gfn()) {
    const uint64_t last = slot.chunk_last(slot.chunk_index(gfn));
    const OperationPins::Made made = pins.make(slot, gfn, last - gfn + 1);
    gfn += made.count;
    if (made.count == 0 && made.why == Status::kMmio) {
      gfn += made.extent;  // device memory is never pinned
    } else if (made.count == 0) {
      result = fail(made.why);
    }
    if (kiommu_port_interrupted() != 0) result = fail(Status::kInterrupted);
  }
  pins.finish();
  kiommu_port_free_node(scratch);
  return result;
}

// Begins to count and to queue the idle pages of a slot.
void PinTable::count_idle(const Slot& slot) {
  for (uint64_t i = 0; slot.chunks != nullptr && i < slot.chunk_count(); ++i) {
    const uint64_t pages = idle_pages(slot.chunks[i]);
    if (pages == 0) continue;
    count(0, pages);
    note_idle(slot, slot.chunks[i]);
  }
}

// The inverse.
void PinTable::uncount_idle(const Slot& slot) {
  while (const Chunk* chunk = IdleQueue::first_chunk(slot)) {
    count(0, -idle_pages(*chunk));
    idle_chunks_.remove_first(slot);
  }
}

Result<void> PinTable::preregister(uint64_t gpa, uint64_t length) {
  // Mark the slots that this call pins until it is over, so that it can be
  // undone if it fails.
  auto pinned = for_slots(gpa, length, [&](Slot& slot) -> Result<void> {
    if (slot.preregistered) return {};
    // Mark it even if pinning fails, because some of it may be pinned then.
    slot.new_pins = true;
    return pin_slot(slot);
  });
  for (uint64_t i = 0; i < slots_.count(); ++i) {
    Slot& slot = slots_.at(i);
    if (!slot.new_pins) continue;
    slot.new_pins = false;
    if (pinned) {
      uncount_idle(slot);
      slot.preregistered = true;
    } else {
      // Pages that were idle before go as well: keeping them pinned only saves
      // a later pin.
      while (slot.first_idle != 0) release_first_idle(slot, kChunkPages);
    }
  }
  return pinned;
}

Result<void> PinTable::unregister(uint64_t gpa, uint64_t length) {
  return for_slots(gpa, length, [&](Slot& slot) -> Result<void> {
    if (slot.preregistered) {
      slot.preregistered = false;
      count_idle(slot);
    }
    return {};
  });
}

}  // namespace kiommu
