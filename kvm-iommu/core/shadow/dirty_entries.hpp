// SPDX-License-Identifier: GPL-2.0-only
//
// What entries of a shadow are for the dirty log (memory/dirty_log.hpp), while
// it runs: RequestPins::is_logging().
#pragma once

#include "memory/dirty_log.hpp"
#include "memory/guest_memory.hpp"
#include "shadow/entry.hpp"

namespace kiommu {

// Entries of pages of memory, or of a run, have come into a shadow.
void note_mapped(GuestMemory& guest_memory, const uint64_t* entries,
                 unsigned n);
void note_mapped_run(const Slot& slot, ShadowEntry run);
// They leave a shadow, all of them of a slot that has blocks of the log.
void note_unmapped(const Slot& slot, const uint64_t* entries, unsigned n);
void note_unmapped_run(const Slot& slot, ShadowEntry run);

}  // namespace kiommu
