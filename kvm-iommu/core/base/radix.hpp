// SPDX-License-Identifier: GPL-2.0-only
//
// A sparse array of 64-bit words in page-sized nodes, which holds the shadow.
// Its cost is proportional to the words present; a zero word is absent. Removal
// never allocates.
//
// A node holds 512 words. The words of an inner node are links; those of a leaf
// belong to the caller. A run is a single word in place of a leaf and stands
// for all 512 of its words. A link also holds, in the bits that the alignment
// of the node leaves free, how many words of that node are used.
//
// The host IOMMUs' page tables have the same shape, and most drivers keep a
// table that has become empty. So a removed leaf or run can stay as a hollow:
// lookups do not find it, but its reservation in the pool and the inner nodes
// above it stay. The number of hollows and nodes thus bounds the page tables of
// a host.
//
// Locking: threads may work on different leaves in parallel. mutex_ protects
// the paths to the leaves. A leaf, its link included, must be used by one
// thread at a time; the shadow ensures that with the range lock of
// workspace/pool.hpp.
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
  // Takes the place of a removed leaf or run. Never the word of a run.
  static constexpr uint64_t kHollow = 0x400;
  // Whether a removed leaf or run leaves a hollow.
  enum class Keep : bool { kNothing, kHollow };

  // A leaf or a run, of keys [base, base + 511]. Valid until it is removed or,
  // for a run, expanded.
  struct Leaf {
    uint64_t* words = nullptr;  // nullptr for a run
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
    // Must be called after `count` words became nonzero, or zero.
    void add_used(uint64_t count) const {
      __atomic_store_n(link, run() + count, __ATOMIC_RELAXED);
    }
    void sub_used(uint64_t count) const { add_used(-count); }
    // Whether none of a leaf's words is used.
    bool empty() const { return (run() & 0x3ff) == 0; }
    // Replaces the word of a run.
    void set_run(uint64_t word) const {
      __atomic_store_n(link, word | kRun, __ATOMIC_RELAXED);
    }
  };

  Radix(NodePool& pool, kiommu_mutex* mutex) : pool_(pool), mutex_(mutex) {}
  ~Radix();
  Radix(const Radix&) = delete;
  Radix& operator=(const Radix&) = delete;

  // Returns the leaf or run that holds `key`, an empty Leaf if there is none.
  Leaf find(uint64_t key) const;
  // Same as find(), but creates a leaf if there is none. The caller must use a
  // word of it or call prune(). A hollow is reused, together with its
  // reservation.
  Result<Leaf> ensure(uint64_t key);
  // Makes a run of the 512 keys around `key`, none of which may be present. A
  // hollow is reused, together with its reservation.
  Result<Leaf> make_run(uint64_t key, uint64_t word);
  // Turns a run into a leaf. Its words are zero but count as used: the caller
  // must fill all of them. The only error is kNoMemory, never kShadowLimit.
  Result<Leaf> expand(const Leaf& run);
  // Returns the lowest leaf or run that holds a key of [key, last].
  Leaf next(uint64_t key, uint64_t last) const;
  // Removes the run that holds `key`, or the leaf if none of its words is used,
  // and the inner nodes above that become empty.
  void prune(uint64_t key, Keep keep = Keep::kNothing);
  uint64_t hollows() const {
    return __atomic_load_n(&hollows_, __ATOMIC_RELAXED);
  }
  // Removes all hollows, with their reservations and the inner nodes that only
  // they kept.
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
