// SPDX-License-Identifier: GPL-2.0-only
//
// What the doors share, this one and those of arch/.
#pragma once

#include "core.h"
#include "domain/domain.hpp"

struct kiommu_domain {
  kiommu::Domain domain;
};

struct kiommu_pins {
  kiommu::PinTable pins;
  kiommu_mutex* mutex;
};

namespace kiommu {

// 0 or a negative Linux errno value.
int to_errno(const Result<void>& result);
// Both: what a door returns, and what it stores in *status.
int answer(const Result<void>& result, kiommu_u32* status);

}  // namespace kiommu
