// SPDX-License-Identifier: GPL-2.0-only
//
// The slots of a guest, see slot_table.hpp.
#include "memory/slot_table.hpp"

#include <new>

#include "base/scoped_lock.hpp"

namespace kiommu {
namespace {

uint64_t chunks_bytes(const Slot& slot) {
  return slot.chunk_count() * sizeof(Chunk);
}

uint64_t dirty_bytes(const Slot& slot) {
  return slot.dirty_blocks() * sizeof(*slot.dirty);
}

bool same(const Slot& slot, const kiommu_slot& told) {
  return slot.first_gfn == told.first_gfn && slot.pages == told.pages &&
         slot.hva.value == told.hva &&
         slot.read_only == ((told.flags & KIOMMU_SLOT_READ_ONLY) != 0) &&
         slot.may_be_private == ((told.flags & KIOMMU_SLOT_PRIVATE) != 0);
}

}  // namespace

void* SlotTable::allocate(uint64_t bytes) {
  void* memory = kiommu_port_alloc_array(bytes);
  if (memory != nullptr) {
    __atomic_fetch_add(&bytes_, bytes, __ATOMIC_RELAXED);
  }
  return memory;
}

void SlotTable::release(uint64_t bytes) {
  __atomic_fetch_sub(&bytes_, bytes, __ATOMIC_RELAXED);
}

// The index of the first slot whose last page is `gfn` or above.
uint64_t SlotTable::lower_bound(uint64_t gfn) const {
  uint64_t low = 0;
  uint64_t high = count_;
  while (low < high) {
    const uint64_t middle = low + (high - low) / 2;
    if (table_[middle]->last_gfn() < gfn) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

Result<Slot*> SlotTable::find(uint64_t gfn) {
  {
    const ScopedLock locked(mutex_);
    const uint64_t index = lower_bound(gfn);
    if (index < count_ && table_[index]->holds(gfn)) return table_[index];
  }
  // A slot that is not in the table yet may lie below the next one that is.
  kiommu_slot told;
  if (kiommu_port_find_slot(guest_, gfn, &told) != 0) return nullptr;
  const ScopedLock locked(mutex_);
  return insert(told);
}

Result<Slot*> SlotTable::insert(const kiommu_slot& told) {
  const uint64_t index = lower_bound(told.first_gfn);
  if (index < count_ &&
      table_[index]->first_gfn <= told.first_gfn + told.pages - 1) {
    if (same(*table_[index], told)) return table_[index];
    return fail(Status::kBudget);
  }
  if (count_ == capacity_) {
    const uint64_t capacity = capacity_ == 0 ? 8 : 2 * capacity_;
    auto** table = static_cast<Slot**>(allocate(capacity * sizeof(Slot*)));
    if (table == nullptr) return fail(Status::kNoMemory);
    for (uint64_t i = 0; i < count_; ++i) table[i] = table_[i];
    if (table_ != nullptr) kiommu_port_free_array(table_);
    release(capacity_ * sizeof(Slot*));
    table_ = table;
    capacity_ = capacity;
  }
  void* memory = allocate(sizeof(Slot));
  if (memory == nullptr) return fail(Status::kNoMemory);
  auto* slot = new (memory)
      Slot{{.first_gfn = told.first_gfn,
            .pages = told.pages,
            .hva = {told.hva},
            .read_only = (told.flags & KIOMMU_SLOT_READ_ONLY) != 0,
            .may_be_private = (told.flags & KIOMMU_SLOT_PRIVATE) != 0}};
  if (logging_ && !add_dirty_blocks(*slot)) {
    kiommu_port_free_array(slot);
    release(sizeof(Slot));
    return fail(Status::kNoMemory);
  }
  for (uint64_t i = count_; i > index; --i) table_[i] = table_[i - 1];
  table_[index] = slot;
  ++count_;
  return slot;
}

Result<void> SlotTable::ensure_chunks(Slot& slot) {
  if (slot.has_chunks()) return {};
  const ScopedLock locked(mutex_);
  if (slot.has_chunks()) return {};
  auto* chunks = static_cast<Chunk*>(allocate(chunks_bytes(slot)));
  if (chunks == nullptr) return fail(Status::kNoMemory);
  __atomic_store_n(&slot.chunks, chunks, __ATOMIC_RELEASE);
  return {};
}

bool SlotTable::add_dirty_blocks(Slot& slot) {
  slot.dirty = static_cast<DirtyBlock*>(allocate(dirty_bytes(slot)));
  return slot.dirty != nullptr;
}

void SlotTable::remove_dirty_blocks(Slot& slot) {
  if (slot.dirty == nullptr) return;
  kiommu_port_free_array(slot.dirty);
  release(dirty_bytes(slot));
  slot.dirty = nullptr;
}

Result<void> SlotTable::start_log() {
  Result<void> started;
  for (uint64_t i = 0; started && i < count_; ++i) {
    if (!add_dirty_blocks(*table_[i])) started = fail(Status::kNoMemory);
    if (kiommu_port_interrupted() != 0) started = fail(Status::kInterrupted);
  }
  logging_ = true;
  if (!started) stop_log();
  return started;
}

void SlotTable::stop_log() {
  for (uint64_t i = 0; i < count_; ++i) {
    remove_dirty_blocks(*table_[i]);
    kiommu_port_yield();
  }
  logging_ = false;
}

bool SlotTable::is_current(const Slot& slot) const {
  kiommu_slot told;
  return kiommu_port_find_slot(guest_, slot.first_gfn, &told) == 0 &&
         same(slot, told);
}

void SlotTable::free_slot(Slot* slot) {
  if (slot->chunks != nullptr) {
    kiommu_port_free_array(slot->chunks);
    release(chunks_bytes(*slot));
  }
  remove_dirty_blocks(*slot);
  kiommu_port_free_array(slot);
  release(sizeof(Slot));
}

void SlotTable::remove(uint64_t index) {
  free_slot(table_[index]);
  --count_;
  ++removals_;
  for (uint64_t i = index; i < count_; ++i) table_[i] = table_[i + 1];
}

SlotTable::~SlotTable() {
  while (count_ > 0) remove(count_ - 1);
  if (table_ != nullptr) kiommu_port_free_array(table_);
}

}  // namespace kiommu
