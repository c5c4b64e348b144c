// SPDX-License-Identifier: GPL-2.0-only
//
// A sparse array of 64-bit words, in nodes of one page: what the shadow and
// the pins are kept in. Cost is proportional to what is present; a zero word
// is absent. Removing never allocates.
//
// A node holds 512 words. Words of an inner node are links; words of a leaf
// belong to the caller. The link to a node carries, in the bits that its
// alignment leaves free, how many words of that node are used, and one mark
// that callers can set on all links towards a leaf and descend by later.
#pragma once

#include "types.hpp"

namespace kiommu {

// Hands out nodes and bounds how many there are.
class NodePool {
 public:
  explicit NodePool(uint64_t limit_bytes) : limit_bytes_(limit_bytes) {}
  NodePool(const NodePool&) = delete;
  NodePool& operator=(const NodePool&) = delete;

  Result<uint64_t*> allocate();
  void free(uint64_t* node);

  uint64_t bytes() const { return bytes_; }
  uint64_t limit_bytes() const { return limit_bytes_; }

 private:
  uint64_t bytes_ = 0;
  uint64_t limit_bytes_;
};

class Radix {
 public:
  static constexpr unsigned kNodeBits = 9;
  static constexpr unsigned kNodeWords = 1u << kNodeBits;

  // A leaf node: the words of keys [base, base + 511]. Valid until the leaf
  // is pruned.
  struct Leaf {
    uint64_t* words = nullptr;
    uint64_t* link = nullptr;
    uint64_t base = 0;

    explicit operator bool() const { return words != nullptr; }
    uint64_t& at(uint64_t key) const { return words[key % kNodeWords]; }
    uint64_t last_key() const { return base + kNodeWords - 1; }
    bool holds(uint64_t key) const {
      return words != nullptr && key / kNodeWords == base / kNodeWords;
    }
    // Tells how many words became non-zero, or zero.
    void add_used(unsigned count) const { *link += count; }
    void sub_used(unsigned count) const { *link -= count; }
    unsigned used() const;
  };

  explicit Radix(NodePool& pool) : pool_(pool) {}
  ~Radix();
  Radix(const Radix&) = delete;
  Radix& operator=(const Radix&) = delete;

  // The leaf that holds `key`, if there is one.
  Leaf find(uint64_t key) const;
  // The same, made if there is none. The caller must use a word of it, or
  // call prune().
  Result<Leaf> ensure(uint64_t key);
  // The leaf with the lowest keys that holds a key in [key, last], if any.
  Leaf next(uint64_t key, uint64_t last) const;
  // Frees the leaf of `key` if no word of it is used, and inner nodes above
  // that are empty then.
  void prune(uint64_t key);

  // Marks the leaf of `key` and the links towards it.
  void mark(uint64_t key);
  // Takes the mark off one marked leaf and returns it; none: no leaf is left.
  Leaf take_marked();

 private:
  Leaf leaf_of(uint64_t* link, uint64_t key) const;
  bool covers(uint64_t key) const;
  Result<uint64_t*> grow_and_link(uint64_t key);

  NodePool& pool_;
  uint64_t root_ = 0;   // link to the top node
  unsigned inner_ = 1;  // levels of inner nodes; at least 1
};

}  // namespace kiommu
