// SPDX-License-Identifier: GPL-2.0-only
//
// What the host IOMMUs of a domain can do together: every mapping is kept in
// each. Knows which of their table pages a run may become.
#pragma once

#include <bit>

#include "base/types.hpp"
#include "port.h"

namespace kiommu {

class HostCapabilities {
 public:
  // The longest run that becomes one map call, in pages: 1 GiB, the largest
  // page of the hosts' tables. Runs are cut at multiples of it.
  static constexpr uint64_t kMaxRunPages = uint64_t{1} << 18;

  void set_caps(const kiommu_host_caps& caps) { caps_ = caps; }
  IovaRange aperture() const {
    return {{caps_.aperture.first}, {caps_.aperture.last}};
  }
  bool splits_calls() const { return caps_.split == KIOMMU_SPLIT_PAGE; }
  // Whether a table that has become empty can stay in a host.
  bool keep_tables() const { return caps_.keep_tables != 0; }
  // IOVA pages at whose multiples map calls are cut, so that blocks are
  // bounded: whole calls must stay within a leaf of the shadow.
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

  // log2 of the pages of the largest page that a host can have made of the
  // start of this run. HostCapabilities do not merge across map calls, so no
  // page of theirs is larger.
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
