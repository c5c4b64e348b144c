// SPDX-License-Identifier: GPL-2.0-only
//
// Which pages of guest memory are tables, and for which IOVAs: mode TRACKED.
//
// A use is a page of a table at one place in the tree of tables; the uses form
// a tree of the same shape. A page can have many uses: at several levels, and
// even below itself. It is tracked (kiommu_port_track()) from before its
// entries are read, and at most until its last use is gone.
//
// Invariant: while a page is tracked, the shadow of its uses matches its
// entries, except for stores whose refresh has not locked its range yet, and
// except for uses below a page that is unsync. So a page becomes tracked only
// in a walk that covers all of it, in each place where it is used, and that
// does not stop at bad entries. Uses are added and dropped only by the
// operation that has locked their range (workspace/pool.hpp), or under P for
// writing. A page for which the invariant cannot be kept is unsync: it is not
// tracked, but its uses are remembered until such a walk comes.
//
// Locking: mutex_ protects everything here, but an operation may read, without
// it, the uses of the range that it has locked. mutex_ is held across
// kiommu_port_track() and kiommu_port_untrack(), so that no thread reads the
// entries of a page that another one is about to track.
#pragma once

#include "base/radix.hpp"
#include "tables/walker.hpp"

namespace kiommu {

struct TableUse;

struct TablePage {
  uint64_t gfn = 0;
  TablePage* next = nullptr;  // in its bucket
  TableUse* uses = nullptr;
  uint32_t use_count = 0;
  uint32_t stores = 0;                // since tracked, or met by a refresh
  uint32_t write_flooding_limit = 0;  // of `stores`, unless burst_ is 0
  uint64_t tracked_by = 0;            // the walk that tracked it last
  uint64_t untracked_at = 0;          // the latest pass begun by then
  bool tracked = false;
  // It had more uses than are recorded. It is not known when the others go, so
  // it stays unsync.
  bool too_many_uses = false;
  // No slot of the guest that stores has it, although its memory has.
  bool untrackable = false;

  // Whether `pass`, which walks `range`, covers all uses of the page and has
  // not been at any of them yet.
  bool used_only_in(IovaRange range, uint64_t pass) const;
};

struct TableUse {
  TableWindow window;
  TablePage* page = nullptr;
  TableUse* next_of_page = nullptr;
  TableUse* sibling = nullptr;    // the next page of the same table
  TableUse** children = nullptr;  // by entry; one node, above level 0
  uint64_t passed_by = 0;         // the last pass here while unsync

  TableUse* child(unsigned slot) const {
    TableUse** nodes = __atomic_load_n(&children, __ATOMIC_ACQUIRE);
    return nodes == nullptr ? nullptr
                            : __atomic_load_n(&nodes[slot], __ATOMIC_RELAXED);
  }
};

class Tracker {
 public:
  // A walk over a range, in several passes if that takes long. Each pass begins
  // with what is left of the range locked.
  struct Walk {
    uint64_t number = 0;  // that of its first pass
    uint64_t pass = 0;
    IovaRange range;  // of the pass
  };

  // The most uses of a page that are followed: a store takes a refresh for
  // each.
  static constexpr unsigned kMostUses = 16;
  static constexpr unsigned kMostLost = 2 * kMaxLevels;

  // A page that is no longer followed, and the IOVAs of its uses.
  struct Lost {
    uint64_t gfn = 0;
    bool too_many_uses = false;  // it may have other uses
    unsigned count = 0;
    IovaRange spans[kMostUses];
  };

  // The parameters and the result of cut().
  struct Cut {
    bool keep = false;
    uint64_t walk = 0;   // only pages that it tracked alone; 0: all
    unsigned total = 0;  // pages put out of sync
    unsigned count = 0;  // of these, those in `lost`
    TableWindow lost[kMostLost];
  };

  // `passes`: the number of passes begun by this tracker and by those before it
  // in the domain, so that work begun with one can be continued with the next.
  Tracker(kiommu_guest* guest, NodePool& pool, kiommu_mutex* mutex,
          uint32_t burst, uint64_t& passes)
      : guest_(guest),
        pool_(pool),
        mutex_(mutex),
        burst_(burst),
        passes_(passes) {}
  ~Tracker() { clear(); }
  Tracker(const Tracker&) = delete;
  Tracker& operator=(const Tracker&) = delete;

  kiommu_mutex* mutex() const { return mutex_; }

  // Begins a pass of a walk, whose range is locked. Returns its number.
  uint64_t begin_pass() {
    return __atomic_add_fetch(&passes_, 1, __ATOMIC_RELAXED);
  }
  // A walk is about to read a page of a table. Returns the use that is known
  // there, or nullptr. If it is not followed, *unsynced is set to the IOVAs
  // that a walk must cover before it can be: those of all uses of the page;
  // to nothing if no walk helps, because it has too many.
  // `refreshes`: the walk is not for a store, and resets write flooding.
  TableUse* meet(const TableWindow& window, bool refreshes,
                 std::optional<IovaRange>* unsynced);
  // Same as meet(), for a walk that covers the whole page: it is tracked from
  // now on. It stays unsync if it was untracked during this pass, if it has a
  // use that the pass does not cover or has been at already, or if it is
  // untrackable. Returns nullptr if it has too many uses. *unfollowed is set if
  // it is new that it has, or is. *unsynced is set as by meet() if it is its
  // uses that keep it unsync. The errors are kNoMemory and kShadowLimit.
  Result<TableUse*> enter(const TableWindow& window, const Walk& walk,
                          bool* unfollowed, std::optional<IovaRange>* unsynced);
  // Drops the uses below an entry, except for those of `table`; all if that is
  // nullptr.
  void drop(TableUse* use, unsigned slot, const Entry* table);
  // Drops the use at this window, where no page of a table can be.
  void drop_window(const TableWindow& window);

  // Whether `range` lies in the page `gfn` of a lowest table, and this page and
  // all those above it are tracked; `gfn` must not be one of those above. Then
  // *table is set: the operation that has locked `range` can begin its walk
  // there.
  bool find_followed(uint64_t gfn, IovaRange range, Root* table) const;

  // The guest has stored to [gpa, gpa + bytes), within one page. Sets `ranges`
  // to the IOVAs that these entries span, one range for each use; returns how
  // many, at most kMostUses. Puts the page out of sync if it is write flooded.
  unsigned store(Gpa gpa, uint64_t bytes, kiommu_window* ranges);

  // The shadow of `range` does not match the tables: puts the pages that map
  // any of it out of sync, and reports up to kMostLost of them. Without
  // result->keep, all of `range` is unmapped, and uses that lie in it, below
  // the top table, are dropped.
  void cut(IovaRange range, Cut* result);
  // Puts the next tracked page of [first, last], GFNs, out of sync; returns
  // false if there is none. *cursor must be 0 at the first call.
  bool untrack(uint64_t first, uint64_t last, uint64_t* cursor, Lost* lost);
  // Same as untrack(), for pages whose memory is gone, tracked or not: they and
  // all uses below are forgotten.
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
  // The caller of all functions below holds mutex_.
  struct Slab;
  static constexpr unsigned kBuckets = Radix::kNodeWords;

  static std::optional<IovaRange> needed(const TablePage* page, IovaRange met);
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
  // Returns whether it could: see TablePage::untrackable.
  Result<bool> track(TablePage* page);
  void untrack(TablePage* page);
  void clear_write_flooding(TablePage* page) const;
  static void describe(const TablePage& page, Lost* lost);

  TableUse** place(const TableWindow& window);
  TableUse** find(const TableWindow& window);
  Result<TableUse*> make(const TableWindow& window, bool* unfollowed);
  void drop_tree(TableUse** link);
  void drop_children(TableUse* use);
  bool cut(TableUse* use, IovaRange range, Cut* result);
  bool cut_all(TableUse** link, IovaRange range, Cut* result);

  kiommu_guest* guest_;
  NodePool& pool_;
  kiommu_mutex* mutex_;
  uint32_t burst_;
  uint64_t& passes_;
  TableUse* roots_ = nullptr;
  Slab* slabs_ = nullptr;         // those with a free record
  TablePage*** pages_ = nullptr;  // by GFN: a node of nodes of buckets
  uint64_t tracked_ = 0;
  uint64_t unsynced_ = 0;
};

}  // namespace kiommu
