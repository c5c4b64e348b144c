// SPDX-License-Identifier: GPL-2.0-only
//
// The root of the guest's tables, and the checks before it is set.
#pragma once

#include "memory/guest_memory.hpp"
#include "tables/format.hpp"

namespace kiommu {

// Stage 1: an anchor that was checked.
struct Stage1 {
  kiommu_anchor anchor{};
  Root root;         // identity: only its rights are set
  IovaRange window;  // IOVAs that the guest may use

  bool same_as(const Stage1& other) const {
    return anchor.format == other.anchor.format &&
           anchor.levels == other.anchor.levels &&
           anchor.iota == other.anchor.iota &&
           anchor.offset == other.anchor.offset &&
           anchor.rights == other.anchor.rights && window == other.window;
  }
};

// The errors are those of KVM_IOMMU_REGISTER_IOAT about its fields, and
// kNoMemory and kBudget if the slots of the table could not be looked up.
Result<Stage1> check_anchor(const kiommu_anchor& anchor,
                            GuestMemory& guest_memory);

}  // namespace kiommu
