// SPDX-License-Identifier: GPL-2.0-only
//
// What all host IOMMUs of a domain can do: every mapping is kept in each of
// them. Also tells how large a page the hosts may make of a run.
#pragma once

#include <bit>

#include "base/types.hpp"
#include "port.h"

namespace kiommu {

class HostCapabilities {
 public:
  // The longest run that goes into one map call, in pages: 1 GiB, and thus the
  // largest page in a host's tables. Runs are cut at its multiples.
  static constexpr uint64_t kMaxRunPages = uint64_t{1} << 18;

  // No host yet: every IOVA is within reach.
  HostCapabilities() { caps_.aperture.last = ~uint64_t{0}; }
  void set_caps(const kiommu_host_caps& caps) { caps_ = caps; }
  IovaRange aperture() const {
    return {{caps_.aperture.first}, {caps_.aperture.last}};
  }
  // Whether there is a host. If not, anything is recorded, and nothing is held.
  bool any() const { return caps_.page_sizes != 0; }
  bool splits_calls() const { return caps_.split == KIOMMU_SPLIT_PAGE; }
  // Whether a host may keep a page table that has become empty.
  bool keep_tables() const { return caps_.keep_tables != 0; }
  // Map calls are cut at multiples of this many IOVA pages, which bounds the
  // blocks. Where only whole calls can be unmapped, a call must stay within a
  // leaf of the shadow.
  uint64_t cut_pages() const {
    return splits_calls() ? kMaxRunPages : uint64_t{512};
  }

  unsigned reserved_count() const { return caps_.reserved_count; }
  IovaRange reserved(unsigned i) const {
    return {{caps_.reserved[i].first}, {caps_.reserved[i].last}};
  }
  // The first reserved window that overlaps `range`, if any.
  std::optional<IovaRange> first_reserved(IovaRange range) const {
    for (unsigned i = 0; i < reserved_count(); ++i) {
      if (reserved(i).overlaps(range)) return reserved(i);
    }
    return std::nullopt;
  }

  // log2, in 4 KiB pages, of the largest page that a host can have made at the
  // start of this run. Hosts do not merge mappings across map calls, so it
  // cannot be larger.
  unsigned block_order(uint64_t page, uint64_t pfn, uint64_t count) const {
    const uint64_t aligned = (page | pfn) & -(page | pfn);  // 0 if both are 0
    const uint64_t fits = std::bit_floor(count);
    const uint64_t most = aligned != 0 && aligned < fits ? aligned : fits;
    const uint64_t sizes = (caps_.page_sizes >> kPageShift) & (2 * most - 1);
    return sizes == 0 ? 0 : std::bit_width(sizes) - 1;
  }

 private:
  kiommu_host_caps caps_{};
};

}  // namespace kiommu
