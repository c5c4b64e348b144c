// SPDX-License-Identifier: GPL-2.0-only
//
// Counts entries of a shadow in the dirty log (memory/dirty_log.hpp). Called
// only while the log runs, see OperationPins::is_logging().
#pragma once

#include "memory/dirty_log.hpp"
#include "memory/guest_memory.hpp"
#include "shadow/entry.hpp"

namespace kiommu {

// Entries of pages of memory, or a run, were added to a shadow.
void note_mapped(GuestMemory& guest_memory, const uint64_t* entries,
                 unsigned n);
void note_mapped_run(const Slot& slot, ShadowEntry run);
// They are being removed from a shadow. All of them are in `slot`, which has
// dirty blocks.
void note_unmapped(const Slot& slot, const uint64_t* entries, unsigned n);
void note_unmapped_run(const Slot& slot, ShadowEntry run);

}  // namespace kiommu
