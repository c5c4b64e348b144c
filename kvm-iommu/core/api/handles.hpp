// SPDX-License-Identifier: GPL-2.0-only
//
// What the doors share, this one and those of arch/.
#pragma once

#include "../include/core.h"
#include "domain.hpp"

struct kiommu_domain {
  kiommu::Domain domain;
};

struct kiommu_pins {
  kiommu::Pins pins;
  kiommu_monitor* monitor;
};

namespace kiommu {

// 0 or a negative Linux errno value.
int to_errno(const Result<void>& result);
// enum kvm_iommu_status; 0 if it is none of them.
kiommu_u32 status_code(Status status);
// Both: what a door returns, and what it stores in *status.
int answer(const Result<void>& result, kiommu_u32* status);

}  // namespace kiommu
