// SPDX-License-Identifier: GPL-2.0-only
//
// The start of the dirty log, see dirty_scan.hpp.
#include "domain/dirty_scan.hpp"

#include "domain/domain.hpp"
#include "shadow/dirty_entries.hpp"

namespace kiommu {

Result<void> start_log(PinTable& pins) {
  KIOMMU_TRY(pins.slots().start_log());
  GuestMemory guest_memory(pins.guest(), pins.slots());
  bool killed = false;
  unsigned entries = 0;
  for (Domain* domain = pins.domains; domain != nullptr && !killed;
       domain = domain->next) {
    domain->shadow().for_each([&](ShadowEntry entry, unsigned pages) {
      if (++entries % Radix::kNodeWords == 0 || pages > 1) {
        killed |= kiommu_port_interrupted() != 0;
      }
      if (killed || entry.is_mmio()) return;
      if (pages > 1) {
        note_mapped_run(guest_memory.mapped_slot(entry.gfn()), entry);
      } else {
        note_mapped(guest_memory, &entry.word, 1);
      }
    });
  }
  if (!killed) return {};
  pins.slots().stop_log();
  return fail(Status::kInterrupted);
}

}  // namespace kiommu
