// SPDX-License-Identifier: GPL-2.0-only
//
// Pages of tables and their uses, see tracker.hpp. Recursion follows the levels
// of tables, so its depth is at most kMaxLevels. Memory management is in
// tracker_memory.cc.
#include "sync/tracker.hpp"

#include <new>

#include "base/scoped_lock.hpp"

namespace kiommu {
namespace {

constexpr auto any = [](const TablePage&) { return true; };

void add(uint64_t* counter, uint64_t count) {
  __atomic_store_n(counter, *counter + count, __ATOMIC_RELAXED);
}

}  // namespace

bool TablePage::used_only_in(IovaRange range, uint64_t pass) const {
  for (const TableUse* use = uses; use != nullptr; use = use->next_of_page) {
    if (use->passed_by == pass || !range.contains(use->window.span())) {
      return false;
    }
  }
  return true;
}

Result<bool> Tracker::track(TablePage* page) {
  const int error = kiommu_port_track(guest_, page->gfn);
  if (error == -kEinval) return false;
  if (error != 0) return fail(Status::kNoMemory);
  page->tracked = true;
  page->stores = 0;
  add(&tracked_, 1);
  add(&unsynced_, -uint64_t{1});
  return true;
}

void Tracker::untrack(TablePage* page) {
  if (!page->tracked) return;
  kiommu_port_untrack(guest_, page->gfn);
  page->tracked = false;
  page->untracked_at = __atomic_load_n(&passes_, __ATOMIC_RELAXED);
  add(&tracked_, -uint64_t{1});
  add(&unsynced_, 1);
}

void Tracker::clear_write_flooding(TablePage* page) const {
  page->stores = 0;
  page->write_flooding_limit = burst_;
}

// Returns the list that a use at `window` belongs to: that of the entry above,
// or the roots. nullptr: the use above has no children.
TableUse** Tracker::place(const TableWindow& window) {
  if (window.parent == nullptr) return &roots_;
  TableUse** nodes = window.parent->children;
  return nodes == nullptr ? nullptr : &nodes[window.slot];
}

TableUse** Tracker::find(const TableWindow& window) {
  TableUse** link = place(window);
  while (link != nullptr && *link != nullptr) {
    if ((*link)->window.base == window.base) return link;
    link = &(*link)->sibling;
  }
  return nullptr;
}

// Returns the IOVAs that a walk must cover so that the page is followed at
// `met`, too: if it is unsync, those of all its uses. Nothing if it cannot be.
std::optional<IovaRange> Tracker::needed(const TablePage* page, IovaRange met) {
  if (page == nullptr || page->tracked) return met;
  if (page->too_many_uses) return {};
  for (const TableUse* use = page->uses; use; use = use->next_of_page) {
    met = hull(met, use->window.span());
  }
  return met;
}

TableUse* Tracker::meet(const TableWindow& window, bool refreshes,
                        std::optional<IovaRange>* unsynced) {
  const ScopedLock locked(mutex_);
  TableUse** link = find(window);
  const bool known = link != nullptr && (*link)->window.same_table(window);
  TablePage* page = known ? (*link)->page : find_page(window.gpa.page_number());
  if (known && page->tracked) {
    unsynced->reset();
    if (refreshes) clear_write_flooding(page);
    return *link;
  }
  *unsynced = needed(page, window.span());
  return known ? *link : nullptr;
}

Result<TableUse*> Tracker::enter(const TableWindow& window, const Walk& walk,
                                 bool* unfollowed,
                                 std::optional<IovaRange>* unsynced) {
  const ScopedLock locked(mutex_);
  TableUse** link = find(window);
  if (link != nullptr && !(*link)->window.same_table(window)) {
    drop_tree(link);
    link = nullptr;
  }
  TableUse* use = link != nullptr ? *link : nullptr;
  if (use == nullptr) {
    auto made = make(window, unfollowed);
    if (!made || *made == nullptr) return made;
    use = *made;
  }
  use->window.rights = window.rights;
  TablePage* page = use->page;
  bool tracked = page->tracked;
  if (tracked) {
    clear_write_flooding(page);
  } else if (page->too_many_uses || page->untracked_at >= walk.pass) {
    // What was untracked since this pass began has had its reason.
  } else if (!page->used_only_in(walk.range, walk.pass)) {
    *unsynced = needed(page, window.span());
  } else {
    auto done = track(page);
    if (!done) return fail(done.error());
    tracked = *done;
    if (tracked) page->tracked_by = walk.number;
    *unfollowed = !tracked && !page->untrackable;
    page->untrackable = !tracked;
  }
  if (!tracked) use->passed_by = walk.pass;
  return use;
}

Result<TableUse*> Tracker::make(const TableWindow& window, bool* unfollowed) {
  if (window.parent != nullptr && window.parent->children == nullptr) {
    auto nodes = pool_.allocate();
    if (!nodes) return fail(nodes.error());
    __atomic_store_n(&window.parent->children,
                     reinterpret_cast<TableUse**>(*nodes), __ATOMIC_RELEASE);
  }
  auto page = ensure_page(window.gpa.page_number());
  if (!page) return fail(page.error());
  if ((*page)->use_count == kMostUses) {
    *unfollowed = !(*page)->too_many_uses;
    (*page)->too_many_uses = true;
    untrack(*page);
    return nullptr;
  }
  auto record = allocate();
  if (!record) {
    free_unused(*page);
    return fail(record.error());
  }
  TableUse** link = place(window);
  auto* use = new (*record) TableUse{.window = window,
                                     .page = *page,
                                     .next_of_page = (*page)->uses,
                                     .sibling = *link};
  (*page)->uses = use;
  ++(*page)->use_count;
  __atomic_store_n(link, use, __ATOMIC_RELEASE);
  return use;
}

// Removes a use, and all uses below it.
void Tracker::drop_tree(TableUse** link) {
  TableUse* use = *link;
  drop_children(use);
  __atomic_store_n(link, use->sibling, __ATOMIC_RELAXED);
  TablePage* page = use->page;
  TableUse** at = &page->uses;
  while (*at != use) at = &(*at)->next_of_page;
  *at = use->next_of_page;
  release(use);
  --page->use_count;
  free_unused(page);
}

// A page that had too many uses is kept: it may have some that are not
// recorded.
void Tracker::free_unused(TablePage* page) {
  if (page->use_count == 0 && !page->too_many_uses) free_page(page);
}

void Tracker::drop_children(TableUse* use) {
  TableUse** nodes = use->children;
  if (nodes == nullptr) return;
  for (unsigned i = 0; i < WalkScratch::kWindow; ++i) {
    while (nodes[i] != nullptr) drop_tree(&nodes[i]);
  }
  use->children = nullptr;
  pool_.free(reinterpret_cast<uint64_t*>(nodes));
}

void Tracker::drop(TableUse* use, unsigned slot, const Entry* table) {
  const ScopedLock locked(mutex_);
  if (use->children == nullptr) return;
  TableUse** link = &use->children[slot];
  while (*link != nullptr) {
    if (table != nullptr && (*link)->window.table == table->address &&
        (*link)->window.level == table->level) {
      link = &(*link)->sibling;
    } else {
      drop_tree(link);
    }
  }
}

void Tracker::drop_window(const TableWindow& window) {
  const ScopedLock locked(mutex_);
  if (TableUse** link = find(window)) drop_tree(link);
}

bool Tracker::find_followed(uint64_t gfn, IovaRange range, Root* table) const {
  const ScopedLock locked(mutex_);
  const TableUse* use = roots_;
  while (use != nullptr) {
    const TableWindow& window = use->window;
    if (!window.span().contains(range)) {
      use = use->sibling;
    } else if (!use->page->tracked) {
      break;
    } else if (use->page->gfn == gfn) {
      if (window.level > 0) break;
      *table = {.table = window.table, .rights = window.rights};
      return true;
    } else {
      use = use->child(static_cast<unsigned>(
          (range.first.value - window.base.value) >> window.shift));
    }
  }
  return false;
}

unsigned Tracker::store(Gpa gpa, uint64_t bytes, kiommu_window* ranges) {
  const ScopedLock locked(mutex_);
  TablePage* page = find_page(gpa.page_number());
  if (page == nullptr || !page->tracked || bytes == 0) return 0;
  unsigned count = 0;
  for (const TableUse* use = page->uses; use; use = use->next_of_page) {
    if (auto range = use->window.spanned(gpa, bytes)) {
      ranges[count++] = {range->first.value, range->last.value};
    }
  }
  // Write flooding: this store is the last one to be followed, those after it
  // do not trap. If the page goes out of sync again, half as many are enough.
  if (count > 0 && burst_ > 0 && ++page->stores >= page->write_flooding_limit) {
    untrack(page);
    if (page->write_flooding_limit > 1) page->write_flooding_limit /= 2;
  }
  return count;
}

// The shadow of `range`, which overlaps the span of this use, does not match
// the tables. Puts the page out of sync, unless a use below it spans the whole
// range and is out of sync: only that page maps the range then. With
// result->walk, leaves alone what that walk has not tracked or met first.
// Returns whether this page, or that one below, is out of sync.
bool Tracker::cut(TableUse* use, IovaRange range, Cut* result) {
  bool below = false;
  for (unsigned i = 0; use->children != nullptr && i < use->window.entries;
       ++i) {
    below |= cut_all(&use->children[i], range, result);
  }
  const bool mine = result->walk == 0 || use->page->tracked_by == result->walk;
  if (below || !use->page->tracked) return true;
  if (!mine) return false;
  untrack(use->page);
  ++result->total;
  if (result->count < kMostLost) result->lost[result->count++] = use->window;
  return true;
}

// Same as cut(), for all uses in one list. Without result->keep, drops those
// that lie in the range. Returns whether one that remains spans the whole range
// and is out of sync.
bool Tracker::cut_all(TableUse** link, IovaRange range, Cut* result) {
  bool holds = false;
  while (*link != nullptr) {
    const IovaRange span = (*link)->window.span();
    if (!result->keep && range.contains(span)) {
      drop_tree(link);
      continue;
    }
    if (span.overlaps(range)) {
      const bool out = cut(*link, range, result);
      holds |= out && span.contains(range);
    }
    link = &(*link)->sibling;
  }
  return holds;
}

// The top table is never dropped: there is no page above it that could be out
// of sync in its place.
void Tracker::cut(IovaRange range, Cut* result) {
  const ScopedLock locked(mutex_);
  for (TableUse* use = roots_; use != nullptr; use = use->sibling) {
    if (use->window.span().overlaps(range)) cut(use, range, result);
  }
}

void Tracker::describe(const TablePage& page, Lost* lost) {
  lost->gfn = page.gfn;
  lost->too_many_uses = page.too_many_uses;
  lost->count = 0;
  for (const TableUse* use = page.uses; use; use = use->next_of_page) {
    lost->spans[lost->count++] = use->window.span();
  }
}

// Returns the next known page of [first, last] that `wants` accepts, or
// nullptr. *cursor counts the buckets that are done: each bucket that can hold
// a page of the range is searched once, however long the range is.
template <class Wants>
TablePage* Tracker::next_page(uint64_t first, uint64_t last, uint64_t* cursor,
                              Wants wants) const {
  constexpr uint64_t kAll = uint64_t{kBuckets} * kBuckets;
  if (pages_ == nullptr) return nullptr;
  const uint64_t end = last - first < kAll ? last - first + 1 : kAll;
  while (*cursor < end) {
    const uint64_t gfn = first + *cursor;
    TablePage** buckets = pages_[gfn / kBuckets % kBuckets];
    if (buckets == nullptr) {
      *cursor += kBuckets - gfn % kBuckets;
      continue;
    }
    TablePage* page = buckets[gfn % kBuckets];
    for (; page != nullptr; page = page->next) {
      if (page->gfn - first <= last - first && wants(*page)) return page;
    }
    ++*cursor;
  }
  return nullptr;
}

bool Tracker::untrack(uint64_t first, uint64_t last, uint64_t* cursor,
                      Lost* lost) {
  const ScopedLock locked(mutex_);
  TablePage* page = next_page(first, last, cursor, [](const TablePage& known) {
    return known.tracked;
  });
  if (page == nullptr) return false;
  untrack(page);
  describe(*page, lost);
  return true;
}

bool Tracker::forget(uint64_t first, uint64_t last, uint64_t* cursor,
                     Lost* lost) {
  const ScopedLock locked(mutex_);
  TablePage* page = next_page(first, last, cursor, any);
  if (page == nullptr) return false;
  describe(*page, lost);
  page->too_many_uses = false;
  if (page->uses == nullptr) {
    free_page(page);
    return true;
  }
  // A use can take others with it, because a page can be linked below itself:
  // look the page up again each time.
  do {
    TableUse** link = place(page->uses->window);
    while (*link != page->uses) link = &(*link)->sibling;
    drop_tree(link);
  } while (find_page(lost->gfn) != nullptr);
  return true;
}

void Tracker::clear() {
  const ScopedLock locked(mutex_);
  while (roots_ != nullptr) drop_tree(&roots_);
  uint64_t cursor = 0;
  while (TablePage* page = next_page(0, ~uint64_t{0}, &cursor, any)) {
    free_page(page);
  }
  free_buckets();
}

}  // namespace kiommu
