// SPDX-License-Identifier: GPL-2.0-only
//
// All that a domain needs: host memory, a guest and its pin table, host IOMMUs,
// and the domain itself. Its destruction checks that nothing leaks. More
// domains of the same guest can be created beside it.
#pragma once

#include <cstdint>
#include <vector>

#include "dma_domain.hpp"

namespace kiommu::port {

struct MachineOptions {
  std::vector<HostKind> hosts{kVtd};
  std::uint64_t shadow_limit = std::uint64_t{1} << 30;
  kiommu_window aperture{0, ~std::uint64_t{0}};
  std::vector<kiommu_window> reserved{};
  // Pages that stay pinned while nothing maps them.
  std::uint64_t idle_limit = 0;
};

// Memory of the host and of a guest, with the guest's pin table and a ledger of
// allocations.
struct GuestSide {
  explicit GuestSide(std::uint64_t idle_limit)
      : pins(guest, ledger, idle_limit) {}

  Ledger ledger;
  HostMemory host;
  GuestMemory guest{host};
  PinTable pins;
};

class Machine : public GuestSide, public DmaDomain {
 public:
  explicit Machine(MachineOptions options = {});
  ~Machine() { destroy(); }

  // Whether domain and pin table were created; otherwise neither may be used.
  bool complete() { return domain() != nullptr && pins.handle() != nullptr; }
  // Destroys domain and pin table now, and checks that nothing is left.
  void destroy();
};

}  // namespace kiommu::port
