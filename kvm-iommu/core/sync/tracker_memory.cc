// SPDX-License-Identifier: GPL-2.0-only
//
// The memory of a tracker, see tracker.hpp: records, cut from nodes of the
// domain's pool, and the lookup of pages by GFN. The caller holds mutex_.
#include <new>

#include "sync/tracker.hpp"

namespace kiommu {

// The header of a node of records; it takes the place of the first one.
struct Tracker::Slab {
  static constexpr uint64_t kRecordBytes = 128;
  static constexpr uint64_t kRecords = KIOMMU_NODE_BYTES / kRecordBytes - 1;

  struct Free {
    Free* next;
  };

  Slab* next = nullptr;
  Slab* previous = nullptr;
  Free* free = nullptr;
  uint64_t used = 0;

  char* record(uint64_t i) {
    return reinterpret_cast<char*>(this) + (i + 1) * kRecordBytes;
  }
  static Slab* of(void* record) {
    return reinterpret_cast<Slab*>(reinterpret_cast<std::uintptr_t>(record) &
                                   ~std::uintptr_t{KIOMMU_NODE_BYTES - 1});
  }

  static_assert(sizeof(TableUse) <= kRecordBytes);
  static_assert(sizeof(TablePage) <= kRecordBytes);
};

void Tracker::list(Slab* slab) {
  slab->previous = nullptr;
  slab->next = slabs_;
  if (slabs_ != nullptr) slabs_->previous = slab;
  slabs_ = slab;
}

void Tracker::unlist(Slab* slab) {
  if (slab->next != nullptr) slab->next->previous = slab->previous;
  (slab->previous != nullptr ? slab->previous->next : slabs_) = slab->next;
}

Result<void*> Tracker::allocate() {
  if (slabs_ == nullptr) {
    auto node = pool_.allocate();
    if (!node) return fail(node.error());
    static_assert(sizeof(Slab) <= Slab::kRecordBytes);
    auto* slab = new (*node) Slab;
    for (uint64_t i = Slab::kRecords; i-- > 0;) {
      slab->free = new (slab->record(i)) Slab::Free{slab->free};
    }
    list(slab);
  }
  Slab* slab = slabs_;
  Slab::Free* record = slab->free;
  slab->free = record->next;
  ++slab->used;
  if (slab->free == nullptr) unlist(slab);
  return record;
}

void Tracker::release(void* record) {
  Slab* slab = Slab::of(record);
  if (slab->free == nullptr) list(slab);
  slab->free = new (record) Slab::Free{slab->free};
  if (--slab->used > 0) return;
  unlist(slab);
  pool_.free(reinterpret_cast<uint64_t*>(slab));
}

// Returns the bucket of `gfn`, or nullptr if there is none: the page is not
// known then.
TablePage** Tracker::bucket(uint64_t gfn) const {
  if (pages_ == nullptr) return nullptr;
  TablePage** buckets = pages_[gfn / kBuckets % kBuckets];
  return buckets == nullptr ? nullptr : &buckets[gfn % kBuckets];
}

TablePage* Tracker::find_page(uint64_t gfn) const {
  TablePage** link = bucket(gfn);
  TablePage* page = link == nullptr ? nullptr : *link;
  while (page != nullptr && page->gfn != gfn) page = page->next;
  return page;
}

// Returns the page, which is unsync if it was not known yet. The caller must
// then give it a use or free it.
Result<TablePage*> Tracker::ensure_page(uint64_t gfn) {
  if (TablePage* page = find_page(gfn)) return page;
  if (pages_ == nullptr) {
    auto node = pool_.allocate();
    if (!node) return fail(node.error());
    pages_ = reinterpret_cast<TablePage***>(*node);
  }
  TablePage**& buckets = pages_[gfn / kBuckets % kBuckets];
  if (buckets == nullptr) {
    auto node = pool_.allocate();
    if (!node) return fail(node.error());
    buckets = reinterpret_cast<TablePage**>(*node);
  }
  auto record = allocate();
  if (!record) return fail(record.error());
  TablePage** link = &buckets[gfn % kBuckets];
  *link = new (*record)
      TablePage{.gfn = gfn, .next = *link, .write_flooding_limit = burst_};
  __atomic_store_n(&unsynced_, unsynced_ + 1, __ATOMIC_RELAXED);
  return *link;
}

void Tracker::free_page(TablePage* page) {
  untrack(page);
  __atomic_store_n(&unsynced_, unsynced_ - 1, __ATOMIC_RELAXED);
  TablePage** link = bucket(page->gfn);
  while (*link != page) link = &(*link)->next;
  *link = page->next;
  release(page);
}

void Tracker::free_buckets() {
  if (pages_ == nullptr) return;
  for (unsigned i = 0; i < kBuckets; ++i) {
    if (pages_[i] != nullptr) {
      pool_.free(reinterpret_cast<uint64_t*>(pages_[i]));
    }
  }
  pool_.free(reinterpret_cast<uint64_t*>(pages_));
  pages_ = nullptr;
}

}  // namespace kiommu
