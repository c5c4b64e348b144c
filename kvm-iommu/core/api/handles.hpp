// SPDX-License-Identifier: GPL-2.0-only
//
// The objects behind the handles of core.h, and what its functions share, here
// and in arch/.
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

// Returns 0 or a negative Linux errno value.
int to_errno(const Result<void>& result);
// Returns the same, and sets *status: 0 or why the call failed.
int answer(const Result<void>& result, kiommu_u32* status);

}  // namespace kiommu
