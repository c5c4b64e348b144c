// SPDX-License-Identifier: GPL-2.0-only
//
// The head of the guest's tables, and what is checked before it is set.
#pragma once

#include "memory/guest_memory.hpp"
#include "tables/format.hpp"

namespace kiommu {

// Stage 1: what an anchor says, checked.
struct Stage1 {
  kiommu_anchor anchor{};
  Root root;         // identity: its rights alone
  IovaRange window;  // that the guest may use

  bool same_as(const Stage1& other) const {
    return anchor.format == other.anchor.format &&
           anchor.levels == other.anchor.levels &&
           anchor.iota == other.anchor.iota &&
           anchor.offset == other.anchor.offset &&
           anchor.rights == other.anchor.rights && window == other.window;
  }
};

// The errors are those of KVM_IOMMU_REGISTER_IOAT that speak of its fields.
Result<Stage1> check_anchor(const kiommu_anchor& anchor,
                            GuestMemory& guest_memory);

}  // namespace kiommu
