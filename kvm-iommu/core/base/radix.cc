// SPDX-License-Identifier: GPL-2.0-only
//
// The sparse array, see radix.hpp. Keys are IOVA page numbers of at most 52
// bits, so there are never more than kMaxInner inner levels.
#include "base/radix.hpp"

#include "base/scoped_lock.hpp"

namespace kiommu {
namespace {

// A link is the address of a node | number of its used words. For a run see
// kRun.
constexpr uint64_t kUsedMask = 0x3ff;
constexpr uint64_t kNodeMask = ~uint64_t{KIOMMU_NODE_BYTES - 1};
constexpr unsigned kMaxInner = 6;

static_assert(KIOMMU_NODE_BYTES == Radix::kNodeWords * sizeof(uint64_t));
static_assert(Radix::kNodeWords <= kUsedMask);
static_assert(kUsedMask < Radix::kHollow && Radix::kHollow < Radix::kRun &&
              Radix::kRun < KIOMMU_NODE_BYTES);

uint64_t load(const uint64_t* link) {
  return __atomic_load_n(link, __ATOMIC_RELAXED);
}

void store(uint64_t* link, uint64_t value) {
  __atomic_store_n(link, value, __ATOMIC_RELAXED);
}

uint64_t* node_of(uint64_t link) {
  return reinterpret_cast<uint64_t*>(
      static_cast<std::uintptr_t>(link & kNodeMask));
}

uint64_t link_to(uint64_t* node) {
  return reinterpret_cast<std::uintptr_t>(node);
}

unsigned index_at(uint64_t key, unsigned level) {
  return (key >> (Radix::kNodeBits * level)) % Radix::kNodeWords;
}

}  // namespace

inline Radix::Leaf Radix::leaf_of(uint64_t* link, uint64_t key) const {
  const uint64_t value = load(link);
  return {(value & kRun) != 0 ? nullptr : node_of(value), link,
          key & ~uint64_t{kNodeWords - 1}};
}

bool Radix::covers(uint64_t key) const {
  const unsigned bits = kNodeBits * (inner_ + 1);
  return bits >= 64 || (key >> bits) == 0;
}

// Returns the link to the leaf of `key`, nullptr if no path leads there.
inline uint64_t* Radix::link_of(uint64_t key) const {
  if (root_ == 0 || !covers(key)) return nullptr;
  uint64_t* node = node_of(root_);
  for (unsigned level = inner_; level > 1; --level) {
    node = node_of(load(&node[index_at(key, level)]));
    if (node == nullptr) return nullptr;
  }
  return &node[index_at(key, 1)];
}

inline Radix::Leaf Radix::find_locked(uint64_t key) const {
  uint64_t* link = link_of(key);
  if (link == nullptr) return {};
  const uint64_t value = load(link);
  return value == 0 || value == kHollow ? Leaf{} : leaf_of(link, key);
}

Radix::Leaf Radix::find(uint64_t key) const {
  const ScopedLock locked(mutex_);
  return find_locked(key);
}

// Creates the path to the leaf of `key` and returns the link to the leaf. If
// the link is still zero, its parent counts it as used already: the caller must
// set it. On failure the nodes created so far stay; the caller must prune them.
Result<uint64_t*> Radix::grow_and_link(uint64_t key) {
  if (root_ == 0) {
    auto node = pool_.allocate();
    if (!node) return fail(node.error());
    root_ = link_to(*node);
    while (!covers(key)) ++inner_;
  }
  while (!covers(key)) {
    auto node = pool_.allocate();
    if (!node) return fail(node.error());
    (*node)[0] = root_;
    root_ = link_to(*node) | 1;
    ++inner_;
  }
  uint64_t* parent = &root_;
  for (unsigned level = inner_; level > 1; --level) {
    uint64_t* link = &node_of(*parent)[index_at(key, level)];
    if (*link == 0) {
      auto node = pool_.allocate();
      if (!node) return fail(node.error());
      *link = link_to(*node);
      ++*parent;
    }
    parent = link;
  }
  uint64_t* link = &node_of(*parent)[index_at(key, 1)];
  if (load(link) == 0) ++*parent;
  return link;
}

Result<Radix::Leaf> Radix::ensure(uint64_t key) {
  const ScopedLock locked(mutex_);
  if (Leaf leaf = find_locked(key)) return leaf;
  uint64_t* hollow = link_of(key);
  if (hollow != nullptr && load(hollow) == kHollow) {
    auto node = pool_.allocate_reserved();
    if (!node) return fail(node.error());
    store(hollow, link_to(*node));
    add_hollows(-uint64_t{1});
    return leaf_of(hollow, key);
  }
  auto node = pool_.allocate();
  if (!node) return fail(node.error());
  auto link = grow_and_link(key);
  if (!link) {
    pool_.free(*node);
    prune_locked(key, Keep::kNothing);
    return fail(link.error());
  }
  store(*link, link_to(*node));
  return leaf_of(*link, key);
}

Result<Radix::Leaf> Radix::make_run(uint64_t key, uint64_t word) {
  const ScopedLock locked(mutex_);
  uint64_t* hollow = link_of(key);
  if (hollow != nullptr && load(hollow) == kHollow) {
    store(hollow, word | kRun);
    add_hollows(-uint64_t{1});
    return leaf_of(hollow, key);
  }
  KIOMMU_TRY(pool_.reserve());
  auto link = grow_and_link(key);
  if (!link) {
    pool_.unreserve();
    prune_locked(key, Keep::kNothing);
    return fail(link.error());
  }
  store(*link, word | kRun);
  return leaf_of(*link, key);
}

Result<Radix::Leaf> Radix::expand(const Leaf& run) {
  const ScopedLock locked(mutex_);
  auto node = pool_.allocate_reserved();
  if (!node) return fail(node.error());
  store(run.link, link_to(*node) + kNodeWords);
  return leaf_of(run.link, run.base);
}

Radix::Leaf Radix::next(uint64_t key, uint64_t last) const {
  const ScopedLock locked(mutex_);
  return next_locked<false>(key, last);
}

// With kHollowsToo, a hollow is returned as a leaf without words.
template <bool kHollowsToo>
Radix::Leaf Radix::next_locked(uint64_t key, uint64_t last) const {
  if (root_ == 0) return {};
  const auto absent = [](uint64_t link) {
    return link == 0 || (!kHollowsToo && link == kHollow);
  };
  // Descend one node per level; an absent link skips its whole span.
  while (key <= last && covers(key)) {
    uint64_t* node = node_of(root_);
    unsigned level = inner_;
    uint64_t* link = &node[index_at(key, level)];
    while (load(link) != 0 && level > 1) {
      node = node_of(load(link));
      --level;
      link = &node[index_at(key, level)];
    }
    if (!absent(load(link))) return leaf_of(link, key);
    // Scan the siblings of the absent link without descending again.
    unsigned index = index_at(key, level);
    const unsigned shift = kNodeBits * level;
    uint64_t position = key >> shift;
    do {
      ++position;
      ++index;
    } while (index < kNodeWords && absent(load(&node[index])));
    if (position > (last >> shift)) return {};
    key = position << shift;
  }
  return {};
}

void Radix::prune(uint64_t key, Keep keep) {
  const ScopedLock locked(mutex_);
  uint64_t* link = link_of(key);
  if (link != nullptr && load(link) == kHollow) return;
  prune_locked(key, keep);
}

void Radix::prune_locked(uint64_t key, Keep keep) {
  if (root_ == 0 || !covers(key)) return;
  uint64_t* path[kMaxInner + 1];
  path[inner_] = &root_;
  unsigned level = inner_;
  while (level > 0) {
    uint64_t* link = &node_of(*path[level])[index_at(key, level)];
    if (load(link) == 0) break;
    path[--level] = link;
  }
  for (; level <= inner_; ++level) {
    uint64_t* link = path[level];
    const uint64_t value = load(link);
    const bool has_node = level > 0 || (value & (kRun | kHollow)) == 0;
    if (has_node && (value & kUsedMask) != 0) return;
    if (level == 0 && keep == Keep::kHollow) {
      if (has_node) pool_.free_reserved(node_of(value));
      store(link, kHollow);
      add_hollows(1);
      return;
    }
    if (has_node) {
      pool_.free(node_of(value));
    } else {
      pool_.unreserve();
      if (value == kHollow) add_hollows(-uint64_t{1});
    }
    store(link, 0);
    if (level < inner_) --*path[level + 1];
  }
  inner_ = 1;
}

void Radix::drop_hollows() {
  const ScopedLock locked(mutex_);
  uint64_t next = 0;
  while (hollows() > 0) {
    const Leaf leaf = next_locked<true>(next, ~uint64_t{0});
    if (!leaf) return;
    next = leaf.last_key() + 1;
    if (leaf.run() == kHollow) prune_locked(leaf.base, Keep::kNothing);
  }
}

Radix::~Radix() {
  drop_hollows();
  while (Leaf leaf = next(0, ~uint64_t{0})) {
    if (!leaf.is_run()) leaf.sub_used(leaf.run() & kUsedMask);
    prune(leaf.base);
  }
}

}  // namespace kiommu
