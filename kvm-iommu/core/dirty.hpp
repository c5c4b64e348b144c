// SPDX-License-Identifier: GPL-2.0-only
//
// The dirty log of a guest's memory: which pages a device may have written
// since they were last asked for. It belongs to the pin table, so that it
// covers all domains of the guest: a bitmap for each region, a bit for each
// page, which are there while the log runs.
//
// A page is dirty because it is mapped with the right to write, or because it
// was until it was unmapped. The first is found out when the log is read, from
// what is mapped; the second is noted when pages leave a shadow, by requests
// in parallel, before they are flushed. Who reads has the pin table for
// himself: each request has flushed then, so that no device writes a page after
// its bit was taken, unless it is still mapped, and so dirty the next time.
//
// Device memory is not logged. Nothing here but the start allocates; regions
// that are learnt later bring their bitmap with them.
#pragma once

#include "pins.hpp"
#include "request.hpp"
#include "shadow_entry.hpp"

namespace kiommu {

// Requests: pages of a region that has a bitmap leave a shadow; the entries of
// pages, or of a run.
void note_unmapped(const Region& region, const uint64_t* entries, unsigned n);
void note_unmapped_run(const Region& region, ShadowEntry run);

// All below: the pin table is the caller's.

// Marks those of `gfns` that can be written now. The work is bounded by what is
// mapped.
void mark_writable(Pins& pins, PageRange gfns);
// Takes the bits of `gfns` out of the log; bit i % 64 of bits[i / 64] is that
// of page i from gfns.first on. The last word is written as a whole.
void take_dirty(Pins& pins, PageRange gfns, kiommu_u64* bits);
// The opposite, for bits that did not get where they should: what has become
// dirty meanwhile stays so, regions that are gone do not matter.
void put_dirty_back(Pins& pins, PageRange gfns, const kiommu_u64* bits);

}  // namespace kiommu
