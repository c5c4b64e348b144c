// SPDX-License-Identifier: GPL-2.0-only
//
// What goes from the shadows when the guest's memory changes under them. Runs
// with the pin table to itself (lock P of core.h, for writing), so no operation
// is under way in any of its domains.
#pragma once

#include "memory/pin_table.hpp"

namespace kiommu {

// See kiommu_core_slots_changed(), _stores_missed(), _memory_changed(),
// _mmio_revoked().
void slots_changed(PinTable& pins);
Result<void> stores_missed(PinTable& pins);
// Returns of how many ranges, which come first then, something is not known.
[[nodiscard]] unsigned memory_changed(PinTable& pins, kiommu_window* ranges,
                                      unsigned count);
void mmio_revoked(PinTable& pins);

}  // namespace kiommu
