// SPDX-License-Identifier: GPL-2.0-only
//
// The dirty log of a guest's memory: which pages a device may have written
// since they were last asked for. It belongs to the pin table, so that it
// covers all domains of the guest: each slot has blocks of it while it runs.
//
// A page is dirty because it is mapped with the right to write, or because it
// was until it was unmapped. So the log counts for each page the entries of
// shadows that let a device write it, and has a bit for each that was unmapped.
// The start counts what is mapped already; from then on operations count in
// parallel what they enter into a shadow and what they take out of it, before
// they flush. So a read looks at the pages that are asked for alone. Who reads
// has the pin table for himself: each operation has flushed then, so that no
// device writes a page after its bit was taken, unless it is still mapped, and
// so dirty the next time.
//
// A count that has reached DirtyBlock::kMany is not changed any more: the page
// is dirty at each read until the log is stopped.
//
// Device memory is not logged. Nothing but the start (domain/dirty_scan.hpp)
// allocates; slots that are learnt later bring their blocks with them.
#pragma once

#include "memory/pin_table.hpp"

namespace kiommu {

// While the log runs: entries that let a device write the pages `gfns` of a
// slot have come into a shadow, one for each; or have left one. Operations call
// these in parallel.
void count_writers(const Slot& slot, GfnRange gfns);
void count_unmapped(const Slot& slot, GfnRange gfns);

// All below: the caller holds P for writing.

// Tells which of `gfns` are dirty, and takes what was unmapped out of the log;
// the work is bounded by the pages of `gfns`. Bit i % 64 of bits[i / 64] is
// that of page i from gfns.first on. The last word is written as a whole.
void take_dirty(PinTable& pins, GfnRange gfns, kiommu_u64* bits);
// For bits that did not get where they should: they are told again. What has
// become dirty meanwhile stays so, slots that are gone do not matter.
void put_dirty_back(PinTable& pins, GfnRange gfns, const kiommu_u64* bits);

}  // namespace kiommu
