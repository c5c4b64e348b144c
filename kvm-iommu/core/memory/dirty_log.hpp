// SPDX-License-Identifier: GPL-2.0-only
//
// The dirty log of a guest's memory: which pages a device may have written
// since they were last read. It belongs to the pin table, so it covers all
// domains of the guest; while it runs, each slot has dirty blocks.
//
// A page is dirty if it is mapped writable, or was until it was unmapped. So
// the log counts for each page the shadow entries that let a device write it,
// and has a bit for each page that was unmapped. Starting the log counts what
// is mapped already; from then on operations count, in parallel, the entries
// that they add to a shadow and remove from it, before they flush. So a read
// looks only at the pages that are asked for. The reader holds P for writing:
// every operation has flushed by then, so no device writes a page after its bit
// was taken, unless the page is still mapped and thus dirty in the next read,
// too.
//
// A counter that reaches DirtyBlock::kMany saturates: the page is dirty in each
// read until the log is stopped.
//
// Device memory is not logged. Only starting the log (domain/dirty_scan.hpp)
// and adding a slot while it runs allocate.
#pragma once

#include "memory/pin_table.hpp"

namespace kiommu {

// Called while the log runs, by operations in parallel, when for each page of
// `gfns` one entry that lets a device write it was added to a shadow, or
// removed from one. All of `gfns` are in `slot`.
void count_writers(const Slot& slot, GfnRange gfns);
void count_unmapped(const Slot& slot, GfnRange gfns);

// The caller of the functions below holds P for writing.

// Returns which of `gfns` are dirty and clears their unmapped bits in the log.
// Page gfns.first + i has bit i % 64 of bits[i / 64]; the last word is written
// in full. The work is bounded by the number of pages in `gfns`.
void take_dirty(PinTable& pins, GfnRange gfns, kiommu_u64* bits);
// Puts back bits that could not be delivered, so that the next read returns
// them. Pages that became dirty meanwhile stay dirty; slots that are gone are
// skipped.
void put_dirty_back(PinTable& pins, GfnRange gfns, const kiommu_u64* bits);

}  // namespace kiommu
