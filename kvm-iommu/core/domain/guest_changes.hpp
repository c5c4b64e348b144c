// SPDX-License-Identifier: GPL-2.0-only
//
// Removes from the shadows what changes of the guest's memory make invalid. The
// caller holds P of core.h for writing, so no operation is in progress in any
// domain of the guest.
#pragma once

#include "memory/pin_table.hpp"

namespace kiommu {

// See kiommu_core_slots_changed(), _tables_gone(), _stores_missed(),
// _memory_changed(), _mmio_revoked().
void slots_changed(PinTable& pins, uint64_t first_gfn, uint64_t last_gfn);
void tables_gone(PinTable& pins, uint64_t first_gfn, uint64_t last_gfn);
Result<void> stores_missed(PinTable& pins);
// Moves the ranges of which some pages could not be looked up to the front, and
// returns how many there are.
[[nodiscard]] unsigned memory_changed(PinTable& pins, kiommu_window* ranges,
                                      unsigned count);
void mmio_revoked(PinTable& pins);

}  // namespace kiommu
