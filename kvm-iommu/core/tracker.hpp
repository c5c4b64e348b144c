// SPDX-License-Identifier: GPL-2.0-only
//
// Which pages of guest memory are tables, and for which IOVAs: mode TRACKED.
//
// A use is a page of a table at one place: the uses are a tree of the shape of
// the guest's tables. One page can be used at many places, at several levels,
// below itself; it is tracked (kiommu_port_track()) from before its entries are
// read for its first use until its last use is gone.
//
// While a page is tracked, the shadow says of its uses what the page says, but
// for stores whose writer has not had his range to himself yet, and but for
// uses below a page that is out of sync. So a page becomes tracked only in a
// walk that goes over all of it, in each place where it is used, and stops at
// no bad entry; and what is kept of a range of IOVA is changed only by who has
// that range to himself (range_lock.hpp). A page for which that cannot be so is
// out of sync: not tracked, its uses remembered, until such a walk comes again.
//
// The monitor protects all of it. It is held across kiommu_port_track() and
// kiommu_port_untrack(): nobody reads a page that another is about to track.
#pragma once

#include "radix.hpp"
#include "walker.hpp"

namespace kiommu {

struct TableUse;

struct TablePage {
  uint64_t gfn = 0;
  TablePage* next = nullptr;  // in its bucket
  TableUse* uses = nullptr;
  uint32_t use_count = 0;
  uint32_t stores = 0;        // since a refresh met it
  uint32_t allowance = 0;     // of stores, if there is a burst
  uint64_t tracked_by = 0;    // the walk that tracked it last
  uint64_t untracked_at = 0;  // the pass that began last before it was
  bool tracked = false;
  // It has had more uses than are followed: nobody knows when the others go.
  bool crowded = false;

  // Whether `pass` goes over all its uses, and has been at none of them yet.
  bool used_only_in(IovaRange range, uint64_t pass) const;
};

struct TableUse {
  TableWindow window;
  TablePage* page = nullptr;
  TableUse* next_of_page = nullptr;
  TableUse* sibling = nullptr;    // another page of the same table
  TableUse** children = nullptr;  // by entry; a node, of levels above 0
  uint64_t passed_by = 0;         // the pass that was here last, not tracked

  TableUse* child(unsigned slot) const {
    TableUse** nodes = __atomic_load_n(&children, __ATOMIC_ACQUIRE);
    return nodes == nullptr ? nullptr
                            : __atomic_load_n(&nodes[slot], __ATOMIC_RELAXED);
  }
};

class Tracker {
 public:
  // One that goes over a range, in several passes if that takes long. Each
  // pass has what is left of the range to itself from before it begins.
  struct Walk {
    uint64_t number = 0;  // that of its first pass
    uint64_t pass = 0;
    IovaRange range;  // of the pass
  };

  // The uses of a page that are followed: a store takes as many refreshes.
  static constexpr unsigned kMostUses = 16;
  static constexpr unsigned kMostLost = 2 * kMaxLevels;

  // A page that is no longer followed: what its uses spanned.
  struct Lost {
    uint64_t gfn = 0;
    bool crowded = false;  // it may have others
    unsigned count = 0;
    IovaRange spans[kMostUses];
  };

  // How a range is cut, and what that has put out of sync.
  struct Cut {
    bool keep = false;
    uint64_t walk = 0;   // pages that this one has tracked alone; 0: all
    unsigned total = 0;  // pages that it has put out of sync
    unsigned count = 0;  // of these, those that there was room for
    TableWindow lost[kMostLost];
  };

  // `passes`: how many have begun, of this tracker and of those before it: work
  // that one has begun can go on with the next.
  Tracker(kiommu_mem* mem, NodePool& pool, kiommu_monitor* monitor,
          uint32_t burst, uint64_t& passes)
      : mem_(mem),
        pool_(pool),
        monitor_(monitor),
        burst_(burst),
        passes_(passes) {}
  ~Tracker() { clear(); }
  Tracker(const Tracker&) = delete;
  Tracker& operator=(const Tracker&) = delete;

  kiommu_monitor* monitor() const { return monitor_; }

  // A pass of a walk begins, which has its range to itself: its number.
  uint64_t begin_pass() {
    return __atomic_add_fetch(&passes_, 1, __ATOMIC_RELAXED);
  }
  // A walk is about to read a page of a table, for a refresh or for a store.
  // The use that is known there, or nullptr. *unsynced is set if it is not
  // followed: to what has to be walked until it can be, that is the page in
  // each place where it is used.
  TableUse* meet(const TableWindow& window, bool refreshes,
                 std::optional<IovaRange>* unsynced);
  // The same for a walk that goes over all of it: from now on it is followed,
  // unless it is out of sync in a place that the walk does not come to, or may
  // have come to while the page was not tracked. nullptr: it cannot be;
  // *crowded: for it has just got too many uses. The errors are kNoMemory and
  // kShadowLimit.
  Result<TableUse*> enter(const TableWindow& window, const Walk& walk,
                          bool* crowded);
  // What is below an entry of a page is not: all, or but for one table.
  void drop(TableUse* use, unsigned slot, const Entry* table);
  // No page of a table begins here.
  void drop_window(const TableWindow& window);

  // Whether all of `range` is in this page of a lowest table, which is no table
  // above that, and it is followed, as are all above: then *table, from which a
  // walk can begin, is what the tables say, for who has the range to himself.
  bool find_followed(uint64_t gfn, IovaRange range, Root* table) const;

  // The IOVAs that are spanned by the entries in [gpa, gpa + bytes), within one
  // page; how many ranges there are, at most kMostUses.
  unsigned store(Gpa gpa, uint64_t bytes, kiommu_window* ranges);

  // All of `range` is unmapped, whatever the tables say: drops what is known of
  // it. Or, to keep it, nobody knows what is mapped: it is out of sync. Tells
  // the pages that are out of sync by that, kMostLost of them one by one.
  void cut(IovaRange range, Cut* result);
  // Puts the next tracked page of [first, last] out of sync; false: there is
  // none. *cursor begins with 0.
  bool untrack(uint64_t first, uint64_t last, uint64_t* cursor, Lost* lost);
  // The same for pages, tracked or not, that are no memory any more: they, and
  // all below, are forgotten.
  bool forget(uint64_t first, uint64_t last, uint64_t* cursor, Lost* lost);
  // Forgets everything.
  void clear();

  uint64_t tracked() const {
    return __atomic_load_n(&tracked_, __ATOMIC_RELAXED);
  }
  uint64_t unsynced() const {
    return __atomic_load_n(&unsynced_, __ATOMIC_RELAXED);
  }

 private:
  struct Slab;
  static constexpr unsigned kBuckets = Radix::kNodeWords;

  Result<void*> allocate();
  void release(void* record);
  void list(Slab* slab);
  void unlist(Slab* slab);

  TablePage** bucket(uint64_t gfn) const;
  TablePage* find_page(uint64_t gfn) const;
  template <class Wants>
  TablePage* next_page(uint64_t first, uint64_t last, uint64_t* cursor,
                       Wants wants) const;
  Result<TablePage*> ensure_page(uint64_t gfn);
  void free_page(TablePage* page);
  void free_unused(TablePage* page);
  void free_buckets();
  Result<void> track(TablePage* page);
  void untrack(TablePage* page);
  void stayed_calm(TablePage* page) const;
  static void describe(const TablePage& page, Lost* lost);

  TableUse** place(const TableWindow& window);
  TableUse** find(const TableWindow& window);
  Result<TableUse*> make(const TableWindow& window, bool* crowded);
  void drop_tree(TableUse** link);
  void drop_children(TableUse* use);
  bool cut(TableUse* use, IovaRange range, Cut* result);
  bool cut_all(TableUse** link, IovaRange range, Cut* result);

  kiommu_mem* mem_;
  NodePool& pool_;
  kiommu_monitor* monitor_;
  uint32_t burst_;
  uint64_t& passes_;
  TableUse* roots_ = nullptr;
  Slab* slabs_ = nullptr;         // those with a free record
  TablePage*** pages_ = nullptr;  // by GFN: a node of nodes of buckets
  uint64_t tracked_ = 0;
  uint64_t unsynced_ = 0;
};

}  // namespace kiommu
