// SPDX-License-Identifier: GPL-2.0-only
//
// The sparse array, see radix.hpp. Depth is bounded by the key's 64 bits:
// at most kMaxInner inner levels.
#include "radix.hpp"

#include "../include/port.h"

namespace kiommu {
namespace {

// Layout of a link: node address | mark | used words.
constexpr uint64_t kUsedMask = 0x3ff;
constexpr uint64_t kMark = 0x400;
constexpr uint64_t kNodeMask = ~uint64_t{KIOMMU_NODE_BYTES - 1};
constexpr unsigned kMaxInner = 6;

static_assert(KIOMMU_NODE_BYTES == Radix::kNodeWords * sizeof(uint64_t));
static_assert(Radix::kNodeWords <= kUsedMask);
static_assert(kUsedMask + kMark < KIOMMU_NODE_BYTES);

uint64_t* node_of(uint64_t link) {
  return reinterpret_cast<uint64_t*>(
      static_cast<std::uintptr_t>(link & kNodeMask));
}

unsigned index_at(uint64_t key, unsigned level) {
  return (key >> (Radix::kNodeBits * level)) % Radix::kNodeWords;
}

}  // namespace

Result<uint64_t*> NodePool::allocate() {
  if (limit_bytes_ - bytes_ < KIOMMU_NODE_BYTES) {
    return fail(Status::kShadowLimit);
  }
  auto* node = static_cast<uint64_t*>(kiommu_port_alloc_node());
  if (node == nullptr) return fail(Status::kNoMemory);
  bytes_ += KIOMMU_NODE_BYTES;
  return node;
}

void NodePool::free(uint64_t* node) {
  kiommu_port_free_node(node);
  bytes_ -= KIOMMU_NODE_BYTES;
}

unsigned Radix::Leaf::used() const { return *link & kUsedMask; }

Radix::Leaf Radix::leaf_of(uint64_t* link, uint64_t key) const {
  return {node_of(*link), link, key & ~uint64_t{kNodeWords - 1}};
}

bool Radix::covers(uint64_t key) const {
  const unsigned bits = kNodeBits * (inner_ + 1);
  return bits >= 64 || (key >> bits) == 0;
}

Radix::Leaf Radix::find(uint64_t key) const {
  if (root_ == 0 || !covers(key)) return {};
  uint64_t* node = node_of(root_);
  for (unsigned level = inner_; level > 1; --level) {
    node = node_of(node[index_at(key, level)]);
    if (node == nullptr) return {};
  }
  uint64_t* link = &node[index_at(key, 1)];
  return *link == 0 ? Leaf{} : leaf_of(link, key);
}

// Makes the path to the leaf of `key` and returns the link to that leaf.
// What was made stays when a later step fails: prune() cleans it.
Result<uint64_t*> Radix::grow_and_link(uint64_t key) {
  if (root_ == 0) {
    auto node = pool_.allocate();
    if (!node) return fail(node.error());
    root_ = reinterpret_cast<std::uintptr_t>(*node);
    while (!covers(key)) ++inner_;
  }
  while (!covers(key)) {
    auto node = pool_.allocate();
    if (!node) return fail(node.error());
    (*node)[0] = root_;
    root_ = reinterpret_cast<std::uintptr_t>(*node) | (root_ & kMark) | 1;
    ++inner_;
  }
  uint64_t* parent = &root_;
  for (unsigned level = inner_; level >= 1; --level) {
    uint64_t* link = &node_of(*parent)[index_at(key, level)];
    if (*link == 0) {
      auto node = pool_.allocate();
      if (!node) return fail(node.error());
      *link = reinterpret_cast<std::uintptr_t>(*node);
      ++*parent;
    }
    parent = link;
  }
  return parent;
}

Result<Radix::Leaf> Radix::ensure(uint64_t key) {
  if (Leaf leaf = find(key)) return leaf;
  auto link = grow_and_link(key);
  if (!link) {
    prune(key);
    return fail(link.error());
  }
  return leaf_of(*link, key);
}

Radix::Leaf Radix::next(uint64_t key, uint64_t last) const {
  if (root_ == 0) return {};
  // One step per node on the way; an absent link skips its whole span.
  while (key <= last && covers(key)) {
    uint64_t* node = node_of(root_);
    unsigned level = inner_;
    uint64_t* link = &node[index_at(key, level)];
    while (*link != 0 && level > 1) {
      node = node_of(*link);
      --level;
      link = &node[index_at(key, level)];
    }
    if (*link != 0) return leaf_of(link, key);
    // Siblings of the absent link are looked at without a new descent.
    unsigned index = index_at(key, level);
    const unsigned shift = kNodeBits * level;
    uint64_t position = key >> shift;
    do {
      ++position;
      ++index;
    } while (index < kNodeWords && node[index] == 0);
    if (position > (last >> shift)) return {};
    key = position << shift;
  }
  return {};
}

void Radix::prune(uint64_t key) {
  if (root_ == 0 || !covers(key)) return;
  uint64_t* path[kMaxInner + 1];
  path[inner_] = &root_;
  unsigned level = inner_;
  while (level > 0) {
    uint64_t* link = &node_of(*path[level])[index_at(key, level)];
    if (*link == 0) break;
    path[--level] = link;
  }
  for (; level <= inner_; ++level) {
    uint64_t* link = path[level];
    if ((*link & kUsedMask) != 0) return;
    pool_.free(node_of(*link));
    *link = 0;
    if (level < inner_) --*path[level + 1];
  }
  inner_ = 1;
}

void Radix::mark(uint64_t key) {
  uint64_t* link = &root_;
  for (unsigned level = inner_;; --level) {
    *link |= kMark;
    if (level == 0) return;
    link = &node_of(*link)[index_at(key, level)];
  }
}

Radix::Leaf Radix::take_marked() {
  // Takes the marks off subtrees without marked leaves on the way.
  while ((root_ & kMark) != 0) {
    uint64_t* link = &root_;
    uint64_t key = 0;
    unsigned level = inner_;
    while (level > 0) {
      uint64_t* node = node_of(*link);
      unsigned index = 0;
      while (index < kNodeWords && (node[index] & kMark) == 0) ++index;
      if (index == kNodeWords) break;
      key |= uint64_t{index} << (kNodeBits * level);
      link = &node[index];
      --level;
    }
    *link &= ~kMark;
    if (level == 0) return leaf_of(link, key);
  }
  return {};
}

Radix::~Radix() {
  while (Leaf leaf = next(0, ~uint64_t{0})) {
    leaf.sub_used(leaf.used());
    prune(leaf.base);
  }
}

}  // namespace kiommu
