// SPDX-License-Identifier: GPL-2.0-only
//
// The shadow: what the guest's tables said, page by page, composed with its
// memory slots and kept in the host IOMMUs' tables. For each IOVA page it
// knows the GPA it is mapped to, with which rights: a page that is unchanged
// costs a comparison.
//
// Order of invariant 2: a page is pinned before a host maps it; what is
// unmapped is flushed from the IOTLBs when the operation ends, and pins are
// removed after that (see memory/pin_table.hpp).
//
// A host may have made one large page of many (or, behind virtio-iommu, keep
// a whole map call as a unit). The shadow remembers how far such blocks can
// reach, never unmaps a part of one, and maps the rest of it again.
//
// Operations on different leaves (2 MiB of IOVA) work in parallel; each has the
// blocks that it touches to itself, see reach().
#pragma once

#include "host/capabilities.hpp"
#include "shadow/entry.hpp"
#include "workspace/workspace.hpp"

namespace kiommu {

class Shadow {
 public:
  static constexpr unsigned kLeafPages = Radix::kNodeWords;

  // What map() and update() achieved: `count` pages from the start are as asked
  // for; if fewer than that, why, and how many pages must fail the same way.
  struct Done {
    uint64_t count = 0;
    Status why = Status::kNoMemory;
    uint64_t extent = 1;
  };

  Shadow(NodePool& pool, const HostCapabilities& hosts, kiommu_mutex* mutex)
      : tree_(pool, mutex), hosts_(hosts) {}
  Shadow(const Shadow&) = delete;
  Shadow& operator=(const Shadow&) = delete;

  // The leaves that an operation has to itself, and the blocks that begin or
  // end in them.
  IovaPages reach(Workspace& workspace) const;

  // Maps or unmaps `n` pages from IOVA page `page` on, within one leaf, as
  // page words say. An operation that has lost something (workspace.outcome)
  // maps nothing more: both stop there, with why it was lost.
  Done update(Workspace& workspace, uint64_t page, const kiommu_u64* want,
              unsigned n);
  // Maps `count` pages that are neighbours in GPA, too.
  Done map(Workspace& workspace, uint64_t page, Gpa gpa, uint64_t count,
           Rights rights);
  // Removes what is mapped in `within`: never fails. It allocates for the rest
  // of a block that is split alone; without memory for that, the rest is
  // unmapped, too, and lost.
  void unmap(Workspace& workspace, IovaPages within);
  // The same for those of `n` pages, within one leaf, that are mapped otherwise
  // than page words say.
  void unmap_different(Workspace& workspace, uint64_t page,
                       const kiommu_u64* want, unsigned n);
  // Which of the pages of a run are concerned.
  enum class Part : std::uint8_t { kNone, kSome, kAll };
  // Removes the pages that `wants` selects:
  //   Part run(Workspace&, uint64_t page, ShadowEntry run)   by runs, first,
  //   bool page(Workspace&, uint64_t page, ShadowEntry)      else by pages.
  template <class Wants>
  void unmap_where(Workspace& workspace, Wants& wants);

  // Maps what is gathered and flushes: hosts and IOTLBs are up to date.
  void settle(Workspace& workspace);
  // Counts what an operation did, once.
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
  // Of the first leaf or run that has any of the pages, those that it has.
  std::optional<IovaPages> next_leaf(IovaPages within) const;
  // What a device can do at this page.
  Rights rights_at(uint64_t page) const;
  // The most pages from `page` on, up to `last`, for which the same holds.
  struct Span {
    uint64_t last;  // page
    Rights rights;  // what a device can do
    bool mmio = false;
  };
  Span span_at(Workspace& workspace, uint64_t page, uint64_t last) const;
  // Maps everything but device memory in one more host.
  Result<void> replay(Workspace& workspace, uint32_t host);
  // With nothing mapped: hosts that keep empty tables get rid of them. Without
  // memory for that they stay, and stay counted.
  void renew_hosts(kiommu_hosts* hosts);
  // Of tables that hosts keep though nothing is mapped by them.
  uint64_t empty_table_bytes() const {
    return tree_.hollows() * KIOMMU_NODE_BYTES;
  }
  // Calls visit(entry, pages) for all that is mapped.
  template <class Visit>
  void for_each(Visit visit) const;

 private:
  // Neighbouring mapped pages, all of memory or all of devices.
  struct Run : IovaPages {
    bool mmio = false;
  };
  // What hold() achieved.
  struct Held {
    Done done;
    bool limited = false;  // some page cannot be written as it wants
  };
  enum class Tried : std::uint8_t { kDone, kNotPossible, kRefused };
  class Removal;

  ShadowEntry entry_at(uint64_t page) const;
  std::optional<Run> next_run(Radix::Leaf& leaf, IovaPages within) const;
  IovaPages block_of(const Radix::Leaf& leaf, uint64_t page) const;

  // The leaf or run that holds a page. The last one is at hand: it belongs to
  // the operation, so that nobody else exchanges it.
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

// Pages to be removed, in ascending order: neighbours go together, for they can
// be one large page of a host.
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
  // Leaves can have become others by this.
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
