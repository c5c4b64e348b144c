// SPDX-License-Identifier: GPL-2.0-only
//
// The guest's side: writes tables of any format into guest memory.
#pragma once

#include <map>
#include <utility>

#include "fake_port/guest_memory.hpp"
#include "spec.hpp"

namespace kiommu::test {

template <class Format>
class GuestTables {
 public:
  using S = Spec<Format>;
  // Bytes of the guest's smallest page.
  static constexpr u64 kLeaf = u64{1} << S::shift(0);

  // Tables are allocated from guest memory, from `pool` on.
  GuestTables(port::GuestMemory& memory, u64 pool, unsigned top = S::kUsualTop)
      : memory_(memory), next_(pool), top_(top), root_(new_table(top)) {}

  unsigned top() const { return top_; }
  u64 root() const { return root_; }
  kiommu_anchor anchor() const { return S::anchor(top_, root_); }
  // Bytes of IOVA that the tables reach; 0 means all 64 bits.
  u64 reach() const {
    const unsigned bits = S::reach_bits(top_);
    return bits >= 64 ? 0 : u64{1} << bits;
  }

  // Allocates a table whose entries are all absent.
  u64 new_table(unsigned level) {
    const u64 bytes = S::table_bytes(level);
    const u64 table = (next_ + bytes - 1) & ~(bytes - 1);
    next_ = table + bytes;
    for (unsigned i = 0; i < S::entries(level); ++i) {
      write_entry(table + 8 * i, S::absent(level));
    }
    return table;
  }

  void write_entry(u64 gpa, u64 entry) {
    u8 bytes[8];
    S::store(entry, bytes);
    memory_.write(gpa, bytes, sizeof(bytes));
  }

  // The table of `level` on the way to `iova`, created if there is none.
  u64 table(u64 iova, unsigned level) {
    if (level == top_) return root_;
    const u64 base = iova >> S::shift(level + 1);
    auto [found, is_new] = tables_.try_emplace({level, base}, 0);
    if (is_new) {
      found->second = new_table(level);
      set(iova, level + 1, S::table(level + 1, found->second, kRW));
    }
    return found->second;
  }
  // GPA of the entry of `level` for `iova`.
  u64 entry_gpa(u64 iova, unsigned level) {
    return table(iova, level) +
           8 * (iova >> S::shift(level) & (S::entries(level) - 1));
  }
  void set(u64 iova, unsigned level, u64 entry) {
    write_entry(entry_gpa(iova, level), entry);
  }
  void map(u64 iova, u64 gpa, unsigned rights = kRW, unsigned level = 0) {
    set(iova, level, S::leaf(level, gpa, rights));
  }
  void map_pages(u64 iova, u64 gpa, u64 pages, unsigned rights = kRW) {
    for (u64 i = 0; i < pages; ++i)
      map(iova + i * kLeaf, gpa + i * kLeaf, rights);
  }
  void clear(u64 iova, unsigned level = 0) {
    set(iova, level, S::absent(level));
  }
  // Points the entry of `level` to the table below again, with `rights`.
  void link(u64 iova, unsigned level, unsigned rights = kRW) {
    set(iova, level, S::table(level, table(iova, level - 1), rights));
  }

 private:
  port::GuestMemory& memory_;
  u64 next_;
  unsigned top_;
  u64 root_;
  std::map<std::pair<unsigned, u64>, u64> tables_;  // level, IOVA >> shift
};

}  // namespace kiommu::test
