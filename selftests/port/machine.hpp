// SPDX-License-Identifier: GPL-2.0-only
//
// All that a domain needs, put together: host memory, a guest, host IOMMUs,
// the domain. Its end is the check that nothing leaks.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <vector>

#include "../../kvm-iommu/include/core.h"
#include "guest_memory.hpp"
#include "host_iommu.hpp"

namespace kiommu::port {

struct MachineOptions {
  std::vector<HostKind> hosts{kVtd};
  std::uint64_t shadow_limit = std::uint64_t{1} << 30;
  kiommu_window aperture{0, ~std::uint64_t{0}};
  std::vector<kiommu_window> reserved{};
};

struct RefreshOutcome {
  int error = 0;
  kiommu_refresh_result result{};
};

class Machine {
 public:
  explicit Machine(MachineOptions options = {});
  ~Machine();
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;

  HostMemory host;
  GuestMemory guest{host};
  HostIommus iommus{host};

  kiommu_domain* domain() { return domain_; }
  int start() { return kiommu_core_start(domain_, guest.handle()); }
  int stop() { return kiommu_core_stop(domain_); }
  int anchor(const kiommu_anchor& anchor) {
    return kiommu_core_register_ioat(domain_, &anchor);
  }
  int unanchor() { return kiommu_core_unregister_ioat(domain_); }
  RefreshOutcome refresh(std::uint64_t iova, std::uint64_t length);
  int unmap(std::uint64_t iova, std::uint64_t length,
            std::uint64_t* unmapped = nullptr);
  kiommu_core_info info() const;
  // Tells the domain of the hosts as they are now.
  int set_caps();
  int set_caps(const kiommu_window& aperture,
               std::vector<kiommu_window> reserved);
  // Destroys the domain now, and checks that nothing is left of it.
  void destroy();

 private:
  MachineOptions options_;
  std::int64_t nodes_before_;
  kiommu_domain* domain_ = nullptr;
};

}  // namespace kiommu::port
