// SPDX-License-Identifier: GPL-2.0-only
//
// A sparse array of 64-bit words, in nodes of one page: what the shadow is
// kept in. Cost is proportional to what is present; a zero word is absent.
// Removing never allocates.
//
// A node holds 512 words. Words of an inner node are links; words of a leaf
// belong to the caller. In place of a leaf there can be a single word, a run,
// which stands for all 512. The link to a node carries, in the bits that its
// alignment leaves free, how many words of that node are used.
//
// The hosts' tables have the same shape, and most drivers keep a table that has
// become empty. So a leaf or run that is removed can stay as a hollow: nobody
// finds it, but what it had reserved in the pool stays reserved, and the inner
// nodes above it stay. Hollows and nodes bound the tables of a host.
//
// Several threads may work on different leaves at the same time. The paths to
// the leaves are protected by a mutex; what a leaf holds belongs to the
// thread that has its keys to itself.
#pragma once

#include "base/node_pool.hpp"
#include "port.h"

namespace kiommu {

class Radix {
 public:
  static constexpr unsigned kNodeBits = 9;
  static constexpr unsigned kNodeWords = 1u << kNodeBits;
  // Set in the word of a run.
  static constexpr uint64_t kRun = 0x800;
  // In place of a removed leaf or run. No run has this word.
  static constexpr uint64_t kHollow = 0x400;
  // Whether what is removed leaves a hollow.
  enum class Keep : bool { kNothing, kHollow };

  // A leaf, or a run: keys [base, base + 511]. Valid until it is removed.
  struct Leaf {
    uint64_t* words = nullptr;  // not of a run
    uint64_t* link = nullptr;
    uint64_t base = 0;

    explicit operator bool() const { return link != nullptr; }
    bool is_run() const { return link != nullptr && words == nullptr; }
    uint64_t run() const { return __atomic_load_n(link, __ATOMIC_RELAXED); }
    uint64_t& at(uint64_t key) const { return words[key % kNodeWords]; }
    uint64_t last_key() const { return base + kNodeWords - 1; }
    bool holds(uint64_t key) const {
      return link != nullptr && key / kNodeWords == base / kNodeWords;
    }
    // Tells how many words became non-zero, or zero.
    void add_used(uint64_t count) const {
      __atomic_store_n(link, run() + count, __ATOMIC_RELAXED);
    }
    void sub_used(uint64_t count) const { add_used(-count); }
    // Whether no word of a leaf is used.
    bool empty() const { return (run() & 0x3ff) == 0; }
    // Another word for a run.
    void set_run(uint64_t word) const {
      __atomic_store_n(link, word | kRun, __ATOMIC_RELAXED);
    }
  };

  Radix(NodePool& pool, kiommu_mutex* mutex) : pool_(pool), mutex_(mutex) {}
  ~Radix();
  Radix(const Radix&) = delete;
  Radix& operator=(const Radix&) = delete;

  // The leaf or run that holds `key`, if there is one.
  Leaf find(uint64_t key) const;
  // The same; a leaf is made if there is none. The caller must use a word of
  // it, or call prune().
  Result<Leaf> ensure(uint64_t key);
  // Makes a run of the 512 keys around `key`, of which none is present. A
  // hollow becomes a leaf or run again with what it has reserved.
  Result<Leaf> make_run(uint64_t key, uint64_t word);
  // Makes a leaf of a run, with all words zero and counted as used: the caller
  // fills them. The error is kNoMemory, never the limit of the pool.
  Result<Leaf> expand(const Leaf& run);
  // The leaf or run with the lowest keys that holds one of [key, last].
  Leaf next(uint64_t key, uint64_t last) const;
  // Removes the run that holds `key`, or the leaf if no word of it is used,
  // and inner nodes above that are empty then.
  void prune(uint64_t key, Keep keep = Keep::kNothing);
  uint64_t hollows() const {
    return __atomic_load_n(&hollows_, __ATOMIC_RELAXED);
  }
  // Removes all hollows, and what was there because of them.
  void drop_hollows();

 private:
  Leaf leaf_of(uint64_t* link, uint64_t key) const;
  bool covers(uint64_t key) const;
  Leaf find_locked(uint64_t key) const;
  template <bool kHollowsToo>
  Leaf next_locked(uint64_t key, uint64_t last) const;
  uint64_t* link_of(uint64_t key) const;
  Result<uint64_t*> grow_and_link(uint64_t key);
  void prune_locked(uint64_t key, Keep keep);
  void add_hollows(uint64_t count) {
    __atomic_fetch_add(&hollows_, count, __ATOMIC_RELAXED);
  }

  NodePool& pool_;
  kiommu_mutex* mutex_;
  uint64_t root_ = 0;   // link to the top node
  unsigned inner_ = 1;  // levels of inner nodes; at least 1
  uint64_t hollows_ = 0;
};

}  // namespace kiommu
