// SPDX-License-Identifier: GPL-2.0-only
//
// A world whose guest stores to its tables; the stores are reported as KVM
// reports them.
#pragma once

#include <vector>

#include "world.hpp"

namespace kiommu::test {

template <class Format>
class TrackedWorld : public World<Format> {
 public:
  using S = Spec<Format>;

  explicit TrackedWorld(WorldOptions options = {}) : World<Format>(options) {}
  ~TrackedWorld() { this->unfollow(); }

  // A store of the guest, which is reported to all domains that follow the
  // page.
  void store_bytes(u64 gpa, const void* bytes, unsigned count) {
    this->guest.write(gpa, bytes, count);
    if (!this->guest.is_tracked(gpa / kPage)) return;
    EXPECT_EQ(this->stored(gpa, count), 0);
    for (port::DmaDomain* other : others) {
      EXPECT_EQ(other->stored(gpa, count), 0);
    }
  }
  void store_entry(u64 gpa, u64 entry) {
    u8 bytes[8];
    S::store(entry, bytes);
    store_bytes(gpa, bytes, sizeof(bytes));
  }
  // Stores the entry of `level` for `iova`; missing tables above it are created
  // and linked.
  void store(u64 iova, unsigned level, u64 entry) {
    for (unsigned above = this->tables.top(); above > level; --above) {
      // The builder writes new links silently, so report them here.
      const u64 at = this->tables.entry_gpa(iova, above);
      const u64 before = entry_at(at);
      const u64 table = this->tables.table(iova, above - 1);
      if (entry_at(at) != before) store_entry(at, S::table(above, table, kRW));
    }
    store_entry(this->tables.entry_gpa(iova, level), entry);
  }

  // Expects that a domain that starts now has the same shadow and tracks the
  // same pages.
  void expect_tracked() {
    const auto tracked = this->guest.tracked();
    port::DmaDomain fresh(this->host, this->pins, this->ledger,
                          {.hosts = this->hosts()});
    EXPECT_EQ(fresh.start(), 0);
    EXPECT_EQ(fresh.anchor(this->tables.anchor()), 0);
    EXPECT_EQ(fresh.follow(), 0);
    EXPECT_TRUE(snapshot(fresh.iommus[0]) == snapshot(this->iommus[0]));
    EXPECT_EQ(this->guest.tracked(), tracked);
    EXPECT_EQ(fresh.info().tracked_pages, tracked.size());
    EXPECT_EQ(this->info().tracked_pages, tracked.size());
    EXPECT_EQ(this->info().unsynced_pages, fresh.info().unsynced_pages);
    EXPECT_EQ(fresh.stop(), 0);
    EXPECT_EQ(this->guest.tracked(), tracked);
  }

  std::vector<port::DmaDomain*> others;

 private:
  static std::vector<port::HostKind> hosts() { return {port::kVtd}; }
  u64 entry_at(u64 gpa) {
    u8 bytes[8];
    this->guest.read(gpa, bytes, sizeof(bytes));
    return S::load(bytes);
  }
};

// An IOVA that the i-th lowest table maps, counted from the table of kIova.
template <class F>
u64 place(u64 i) {
  return World<F>::kIova + (i << Spec<F>::shift(1));
}

}  // namespace kiommu::test
