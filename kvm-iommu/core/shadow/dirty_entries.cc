// SPDX-License-Identifier: GPL-2.0-only
//
// Counts entries of a shadow in the dirty log, see dirty_entries.hpp.
#include "shadow/dirty_entries.hpp"

namespace kiommu {
namespace {

GfnRange gfns_of(ShadowEntry run) {
  return {run.gfn(), run.gfn() + Radix::kNodeWords - 1};
}

// Calls visit(gfns) for the pages of `n` entries that a device can write, once
// for each stretch of entries with consecutive GFNs.
template <class Visit>
void for_writable(const uint64_t* entries, unsigned n, Visit visit) {
  unsigned i = 0;
  while (i < n) {
    const ShadowEntry entry{entries[i]};
    ++i;
    if (!entry.rights().write()) continue;
    const uint64_t first = entry.gfn();
    uint64_t last = first;
    while (i < n) {
      const ShadowEntry next{entries[i]};
      if (!next.rights().write() || next.gfn() != last + 1) break;
      ++last;
      ++i;
    }
    visit(GfnRange{first, last});
  }
}

}  // namespace

void note_mapped(GuestMemory& guest_memory, const uint64_t* entries,
                 unsigned n) {
  while (n > 0) {
    const Slot& slot = guest_memory.mapped_slot(ShadowEntry{entries[0]}.gfn());
    unsigned count = 1;
    while (count < n && slot.holds(ShadowEntry{entries[count]}.gfn())) {
      ++count;
    }
    for_writable(entries, count,
                 [&](GfnRange gfns) { count_writers(slot, gfns); });
    entries += count;
    n -= count;
  }
}

void note_mapped_run(const Slot& slot, ShadowEntry run) {
  if (!run.rights().write()) return;
  count_writers(slot, gfns_of(run));
}

void note_unmapped(const Slot& slot, const uint64_t* entries, unsigned n) {
  for_writable(entries, n, [&](GfnRange gfns) { count_unmapped(slot, gfns); });
}

void note_unmapped_run(const Slot& slot, ShadowEntry run) {
  if (!run.rights().write()) return;
  count_unmapped(slot, gfns_of(run));
}

}  // namespace kiommu
