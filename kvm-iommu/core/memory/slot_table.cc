// SPDX-License-Identifier: GPL-2.0-only
//
// Regions, see regions.hpp.
#include "memory/slot_table.hpp"

#include <new>

#include "base/scoped_lock.hpp"

namespace kiommu {
namespace {

uint64_t chunks_bytes(const Region& region) {
  return region.chunk_count() * sizeof(Chunk);
}

uint64_t dirty_bytes(const Region& region) {
  return region.dirty_blocks() * sizeof(*region.dirty);
}

bool same(const Region& region, const kiommu_slot& slot) {
  return region.first_gfn == slot.first_gfn && region.pages == slot.pages &&
         region.hva.value == slot.hva &&
         region.read_only == ((slot.flags & KIOMMU_SLOT_READ_ONLY) != 0) &&
         region.may_be_private == ((slot.flags & KIOMMU_SLOT_PRIVATE) != 0);
}

}  // namespace

void* Regions::allocate(uint64_t bytes) {
  void* memory = kiommu_port_alloc_array(bytes);
  if (memory != nullptr) {
    __atomic_fetch_add(&bytes_, bytes, __ATOMIC_RELAXED);
  }
  return memory;
}

void Regions::release(uint64_t bytes) {
  __atomic_fetch_sub(&bytes_, bytes, __ATOMIC_RELAXED);
}

// The first region that ends above `gfn`.
uint64_t Regions::lower_bound(uint64_t gfn) const {
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

Result<Region*> Regions::find(uint64_t gfn) {
  {
    const Locked locked(monitor_);
    const uint64_t index = lower_bound(gfn);
    if (index < count_ && table_[index]->holds(gfn)) return table_[index];
  }
  // Another slot may lie below the next region that is known.
  kiommu_slot slot;
  if (kiommu_port_find_slot(mem_, gfn, &slot) != 0) return nullptr;
  const Locked locked(monitor_);
  return insert(slot);
}

Result<Region*> Regions::insert(const kiommu_slot& slot) {
  const uint64_t index = lower_bound(slot.first_gfn);
  if (index < count_ &&
      table_[index]->first_gfn <= slot.first_gfn + slot.pages - 1) {
    if (same(*table_[index], slot)) return table_[index];
    return fail(Status::kBudget);
  }
  if (count_ == capacity_) {
    const uint64_t capacity = capacity_ == 0 ? 8 : 2 * capacity_;
    auto** table = static_cast<Region**>(allocate(capacity * sizeof(Region*)));
    if (table == nullptr) return fail(Status::kNoMemory);
    for (uint64_t i = 0; i < count_; ++i) table[i] = table_[i];
    if (table_ != nullptr) kiommu_port_free_array(table_);
    release(capacity_ * sizeof(Region*));
    table_ = table;
    capacity_ = capacity;
  }
  void* memory = allocate(sizeof(Region));
  if (memory == nullptr) return fail(Status::kNoMemory);
  auto* region = new (memory)
      Region{.first_gfn = slot.first_gfn,
             .pages = slot.pages,
             .hva = {slot.hva},
             .read_only = (slot.flags & KIOMMU_SLOT_READ_ONLY) != 0,
             .may_be_private = (slot.flags & KIOMMU_SLOT_PRIVATE) != 0};
  if (logging_ && !add_dirty_blocks(*region)) {
    kiommu_port_free_array(region);
    release(sizeof(Region));
    return fail(Status::kNoMemory);
  }
  for (uint64_t i = count_; i > index; --i) table_[i] = table_[i - 1];
  table_[index] = region;
  ++count_;
  return region;
}

Result<void> Regions::ensure_chunks(Region& region) {
  if (region.has_chunks()) return {};
  const Locked locked(monitor_);
  if (region.has_chunks()) return {};
  auto* chunks = static_cast<Chunk*>(allocate(chunks_bytes(region)));
  if (chunks == nullptr) return fail(Status::kNoMemory);
  __atomic_store_n(&region.chunks, chunks, __ATOMIC_RELEASE);
  return {};
}

bool Regions::add_dirty_blocks(Region& region) {
  region.dirty = static_cast<DirtyBlock*>(allocate(dirty_bytes(region)));
  return region.dirty != nullptr;
}

void Regions::remove_dirty_blocks(Region& region) {
  if (region.dirty == nullptr) return;
  kiommu_port_free_array(region.dirty);
  release(dirty_bytes(region));
  region.dirty = nullptr;
}

Result<void> Regions::start_log() {
  Result<void> started;
  for (uint64_t i = 0; started && i < count_; ++i) {
    if (!add_dirty_blocks(*table_[i])) started = fail(Status::kNoMemory);
    if (kiommu_port_interrupted() != 0) started = fail(Status::kInterrupted);
  }
  logging_ = true;
  if (!started) stop_log();
  return started;
}

void Regions::stop_log() {
  for (uint64_t i = 0; i < count_; ++i) {
    remove_dirty_blocks(*table_[i]);
    kiommu_port_yield();
  }
  logging_ = false;
}

bool Regions::is_current(const Region& region) const {
  kiommu_slot slot;
  return kiommu_port_find_slot(mem_, region.first_gfn, &slot) == 0 &&
         same(region, slot);
}

void Regions::remove(uint64_t index) {
  Region* region = table_[index];
  if (region->chunks != nullptr) {
    kiommu_port_free_array(region->chunks);
    release(chunks_bytes(*region));
  }
  remove_dirty_blocks(*region);
  kiommu_port_free_array(region);
  release(sizeof(Region));
  --count_;
  ++removals_;
  for (uint64_t i = index; i < count_; ++i) table_[i] = table_[i + 1];
}

Regions::~Regions() {
  while (count_ > 0) remove(count_ - 1);
  if (table_ != nullptr) kiommu_port_free_array(table_);
}

}  // namespace kiommu
