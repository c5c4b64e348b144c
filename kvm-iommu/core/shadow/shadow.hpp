// SPDX-License-Identifier: GPL-2.0-only
//
// The shadow: stage 1 and stage 2, composed page by page, and mapped in the
// host IOMMUs' tables. It keeps the GPA and the rights of each IOVA page, so
// that a page that has not changed costs only a comparison.
//
// Order (invariant 2 of docs/design.md): a page is pinned before a host maps
// it; what is unmapped is flushed from the IOTLBs by the end of the operation,
// and unpinned only after that (see memory/pin_table.hpp).
//
// A host may have made one large page of many; behind virtio-iommu, a whole map
// call is a unit. The shadow notes how far such a block can reach. It never
// unmaps a part of one: it unmaps the whole block and maps the rest again.
//
// Locking: operations on different leaves (2 MiB of IOVA) run in parallel. The
// range lock (workspace/pool.hpp) gives an operation the leaves and blocks that
// it touches, see reach(). The mutex of the tree protects the paths to the
// leaves.
#pragma once

#include "host/capabilities.hpp"
#include "shadow/entry.hpp"
#include "workspace/workspace.hpp"

namespace kiommu {

class Shadow {
 public:
  static constexpr unsigned kLeafPages = Radix::kNodeWords;

  // The result of map() and update(): `count` pages from the start are as asked
  // for. If these are not all, `why` says why, and `extent` how many pages must
  // fail the same way.
  struct Done {
    uint64_t count = 0;
    Status why = Status::kNoMemory;
    uint64_t extent = 1;
  };

  Shadow(NodePool& pool, const HostCapabilities& hosts, kiommu_mutex* mutex)
      : tree_(pool, mutex), hosts_(hosts) {}
  Shadow(const Shadow&) = delete;
  Shadow& operator=(const Shadow&) = delete;

  // Returns the locked range of the operation, extended to whole blocks at both
  // ends.
  IovaPages reach(Workspace& workspace) const;

  // Maps or unmaps `n` pages from IOVA page `page` on, within one leaf, as the
  // page words say. An operation that has lost something (workspace.outcome)
  // maps nothing more: update() and map() then stop with the reason of the
  // loss.
  Done update(Workspace& workspace, uint64_t page, const kiommu_u64* want,
              unsigned n);
  // Maps `count` pages that are consecutive in GPA, too.
  Done map(Workspace& workspace, uint64_t page, Gpa gpa, uint64_t count,
           Rights rights);
  // Unmaps what is mapped in `within`; never fails. It allocates only to split
  // a block or a run: without memory for that, the rest is unmapped, too, and
  // lost.
  void unmap(Workspace& workspace, IovaPages within);
  // Same as unmap(), for those of `n` pages, within one leaf, that are mapped
  // differently from what the page words say.
  void unmap_different(Workspace& workspace, uint64_t page,
                       const kiommu_u64* want, unsigned n);
  // Which pages of a run are selected.
  enum class Part : std::uint8_t { kNone, kSome, kAll };
  // Unmaps the pages that `wants` selects by
  //   Part run(Workspace&, uint64_t page, ShadowEntry run)   for each run,
  //   bool page(Workspace&, uint64_t page, ShadowEntry)      for other pages,
  //                                                          or after kSome
  template <class Wants>
  void unmap_where(Workspace& workspace, Wants& wants);

  // Maps what is gathered, and flushes the IOTLBs if something was unmapped:
  // the hosts are up to date then.
  void settle(Workspace& workspace);
  // Adds what an operation did to mapped_pages(). To be called once for each
  // outcome.
  void count(const Outcome& outcome) {
    if (outcome.mapped == outcome.unmapped) return;
    __atomic_fetch_add(&mapped_, outcome.mapped - outcome.unmapped,
                       __ATOMIC_RELAXED);
  }

  uint64_t mapped_pages() const {
    return __atomic_load_n(&mapped_, __ATOMIC_RELAXED);
  }
  bool anything_mapped(IovaPages range) const {
    Radix::Leaf leaf;
    return next_run(leaf, range).has_value();
  }
  // Returns the part of `within` that lies in the lowest leaf or run there. Not
  // all of its pages need be mapped.
  std::optional<IovaPages> next_leaf(IovaPages within) const;
  // The rights that a device has at this page.
  Rights rights_at(uint64_t page) const;
  // Pages from `page` on, up to `last` or the end of the leaf, that a device
  // can use in the same way.
  struct Span {
    uint64_t last;  // page, inclusive
    Rights rights;  // of a device
    bool mmio = false;
  };
  Span span_at(Workspace& workspace, uint64_t page, uint64_t last) const;
  // Maps everything but device memory in a new host. The errors are kNoMemory,
  // kHost and kInterrupted.
  Result<void> replay(Workspace& workspace, uint32_t host, bool killable);
  // Has the hosts free the empty tables that they keep. Nothing may be mapped.
  // If that fails, the tables stay, and stay counted.
  void renew_hosts(kiommu_hosts* hosts);
  // Bytes of empty tables that the hosts may keep.
  uint64_t empty_table_bytes() const {
    return tree_.hollows() * KIOMMU_NODE_BYTES;
  }
  // Calls visit(entry, pages) for each run and each other page that is mapped.
  // The caller holds P for writing.
  template <class Visit>
  void for_each(Visit visit) const;

 private:
  // Consecutive mapped pages, all memory or all device memory.
  struct Run : IovaPages {
    bool mmio = false;
  };
  // The result of hold().
  struct Held {
    Done done;
    bool limited = false;  // write access is withheld from some page
  };
  enum class Tried : std::uint8_t { kDone, kNotPossible, kRefused };
  class Removal;

  ShadowEntry entry_at(uint64_t page) const;
  std::optional<Run> next_run(Radix::Leaf& leaf, IovaPages within) const;
  IovaPages block_of(const Radix::Leaf& leaf, uint64_t page) const;

  // Returns the leaf or run that holds a page. The last one is cached: it is in
  // the range that the operation has locked, so nobody else replaces it.
  [[gnu::always_inline]] const Radix::Leaf& find(Workspace& workspace,
                                                 uint64_t page) const {
    if (!workspace.leaf.holds(page)) workspace.leaf = tree_.find(page);
    return workspace.leaf;
  }
  Result<Radix::Leaf> ensure(Workspace& workspace, uint64_t page);
  bool make_run(Workspace& workspace, uint64_t page, ShadowEntry entry);
  Result<Radix::Leaf> expand(Workspace& workspace, const Radix::Leaf& run);
  void prune(Workspace& workspace, uint64_t page);

  Tried update_run(Workspace& workspace, uint64_t page, uint64_t word);
  Done change(Workspace& workspace, uint64_t page, const kiommu_u64* want,
              unsigned n);
  Held hold(Workspace& workspace, const kiommu_u64* want, unsigned n);
  void give_back(Workspace& workspace, const kiommu_u64* want, unsigned from,
                 unsigned to);
  Done enter(Workspace& workspace, uint64_t page, const kiommu_u64* want,
             unsigned n, bool limited);
  Done map_mmio(Workspace& workspace, uint64_t page, const kiommu_u64* want,
                unsigned n);
  void drop_changed(Workspace& workspace, uint64_t page, unsigned n);
  static Done lost_at(Workspace& workspace, uint64_t page, unsigned n);

  bool append(Workspace& workspace, uint64_t page, uint64_t pfn, uint64_t pages,
              Rights rights);
  void map_gathered(Workspace& workspace);
  void note_blocks(Workspace& workspace);
  void note_run(Workspace& workspace, uint64_t page, uint64_t pfn,
                uint64_t count);
  Result<void> map_existing(Workspace& workspace, uint32_t host,
                            IovaPages range, uint64_t* done);

  void drop(Workspace& workspace, Run run);
  void drop_memory(Workspace& workspace, IovaPages run);
  IovaPages expand_ends(Workspace& workspace, IovaPages run);
  void forget(Workspace& workspace, Run run);
  void restore(Workspace& workspace, IovaPages run);

  Radix tree_;
  const HostCapabilities& hosts_;
  uint64_t mapped_ = 0;
};

template <class Visit>
void Shadow::for_each(Visit visit) const {
  uint64_t page = 0;
  while (const Radix::Leaf leaf =
             tree_.next(page, ~uint64_t{0} >> kPageShift)) {
    if (leaf.is_run()) {
      visit(ShadowEntry{leaf.run()}, unsigned{kLeafPages});
    } else {
      for (unsigned i = 0; i < kLeafPages; ++i) {
        if (leaf.words[i] != 0) visit(ShadowEntry{leaf.words[i]}, 1u);
      }
    }
    page = leaf.last_key() + 1;
    kiommu_port_yield();
  }
}

// Unmaps the pages that are added, in ascending order. Consecutive pages are
// unmapped together, because they may be one large page of a host.
class Shadow::Removal {
 public:
  Removal(Shadow& shadow, Workspace& workspace)
      : shadow_(shadow), workspace_(workspace) {}

  void add(IovaPages pages) {
    if (pages_ && pages_->last + 1 == pages.first) {
      pages_->last = pages.last;
      return;
    }
    flush();
    pages_ = pages;
  }
  // This may replace leaves: they must be looked up again.
  void flush() {
    if (pages_) shadow_.unmap(workspace_, *pages_);
    pages_.reset();
  }

 private:
  Shadow& shadow_;
  Workspace& workspace_;
  std::optional<IovaPages> pages_;
};

template <class Wants>
void Shadow::unmap_where(Workspace& workspace, Wants& wants) {
  constexpr uint64_t kLast = ~uint64_t{0} >> kPageShift;
  Removal removal(*this, workspace);
  uint64_t next = 0;
  while (const Radix::Leaf met = tree_.next(next, kLast)) {
    const uint64_t base = met.base;
    next = met.last_key() + 1;
    Part part = Part::kSome;
    if (met.is_run()) part = wants.run(workspace, base, ShadowEntry{met.run()});
    if (part == Part::kAll) removal.add({base, met.last_key()});
    for (uint64_t page = base; part == Part::kSome && page < next; ++page) {
      const Radix::Leaf leaf = find(workspace, page);
      if (!leaf) break;
      const ShadowEntry entry = leaf.is_run()
                                    ? ShadowEntry{leaf.run()}.page_of_run(
                                          static_cast<unsigned>(page - base))
                                    : ShadowEntry{leaf.at(page)};
      if (entry.word != 0 && wants.page(workspace, page, entry)) {
        removal.add({page, page});
      }
    }
    kiommu_port_yield();
  }
  removal.flush();
}

}  // namespace kiommu
