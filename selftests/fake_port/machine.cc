// SPDX-License-Identifier: GPL-2.0-only
//
// See machine.hpp.
#include "machine.hpp"

#include <utility>

#include "violation.hpp"

namespace kiommu::port {

Machine::Machine(MachineOptions options)
    : GuestSide(options.idle_limit),
      DmaDomain(host, pins, ledger,
                {.hosts = std::move(options.hosts),
                 .shadow_limit = options.shadow_limit,
                 .aperture = options.aperture,
                 .reserved = std::move(options.reserved)}) {}

void Machine::destroy() {
  DmaDomain::destroy();
  pins.destroy();
  if (host.pins() != 0) violation("pins leak: ", host.pins());
  if (guest.accounted() != 0) violation("accounted: ", guest.accounted());
  if (ledger.live != 0) violation("allocations leak: ", ledger.live.load());
}

}  // namespace kiommu::port
