// SPDX-License-Identifier: GPL-2.0-only
//
// The start of a guest's dirty log, see memory/dirty_log.hpp.
#pragma once

#include "memory/pin_table.hpp"

namespace kiommu {

// Starts the log, and counts what is mapped in each domain. The caller holds P
// for writing. The errors are kNoMemory and kInterrupted: the log does not run
// then.
Result<void> start_log(PinTable& pins);

}  // namespace kiommu
