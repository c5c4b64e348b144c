// SPDX-License-Identifier: GPL-2.0-only
//
// The model test: a guest edits its tables at random, a VMM refreshes and
// unmaps at random, on random kinds of hosts and with random faults. After each
// step, each page is compared with what the specification of the format says,
// by the slow translator of Spec<Format>.
//
// IOVAs come from a few regions, so that edits meet each other.
#pragma once

#include <random>

#include "range_check.hpp"

namespace kiommu::test {

// What a page should show.
struct Expected {
  unsigned status = KVM_IOMMU_STATUS_OK;  // or NOT_MAPPED, or what is wrong
  std::optional<HostPage> page;
};

struct ModelOptions {
  std::vector<port::HostKind> hosts;
  bool faults = false;  // inject them
  unsigned order = port::kContiguous2M;
  int steps = 60;
};

template <class Format>
class Model {
 public:
  using S = Spec<Format>;
  static constexpr u64 kLeaf = World<Format>::kLeaf;

  Model(u32 seed, const ModelOptions& options);
  void run();

 private:
  struct Region {
    u64 first;  // page
    u64 pages;
  };
  struct Range {
    u64 first;  // page
    u64 pages;
    u64 end() const { return first + pages; }
  };

  u64 pick(u64 below) { return random_() % below; }
  bool one_in(u64 n) { return pick(n) == 0; }
  u64 some_page();  // of IOVA
  u64 some_leaves(u64 pages);
  u64 some_gpa();  // for a leaf
  unsigned some_rights() { return S::kRights[pick(S::kRights.size())]; }
  Range some_range();

  void edit();
  void edit_large(u64 iova);
  void edit_block();
  void edit_upper(u64 iova);
  void edit_slots();
  void arm_faults();
  void refresh_some();
  void unmap_some();
  void settle();
  void check_refresh(const Range& range, const RefreshOutcome& outcome,
                     const Snapshot& before, bool lossy);
  void check_outside(const Range& range, const Snapshot& before, bool lossy);
  void check_translate(u64 page);

  Expected expected(u64 page) const;
  std::optional<HostPage> seen(u64 page) { return world_.sees(page * kPage); }

  ModelOptions options_;
  std::mt19937_64 random_;
  World<Format> world_;
  std::vector<Region> regions_;
};

}  // namespace kiommu::test

#include "model_check.hpp"
#include "model_steps.hpp"
