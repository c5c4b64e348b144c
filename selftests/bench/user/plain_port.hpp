// SPDX-License-Identifier: GPL-2.0-only
//
// The port, see port.h, at next to no cost: a guest whose tables are real
// memory and whose data is not there at all, and a host that takes everything.
#pragma once

#include <cstdint>

#include "port.h"

struct kiommu_guest {
  kiommu_slot tables;  // its HVA is an address of this process
  kiommu_slot data;    // its HVA is a number
};
