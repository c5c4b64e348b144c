// SPDX-License-Identifier: GPL-2.0-only
//
// Checks an anchor before it is set.
#pragma once

#include "domain.hpp"
#include "stage2.hpp"

namespace kiommu {

// The errors are those of KVM_IOMMU_REGISTER_IOAT that speak of its fields.
Result<Stage1> check_anchor(const kiommu_anchor& anchor, Stage2& stage2);

}  // namespace kiommu
