// SPDX-License-Identifier: GPL-2.0-only
//
// See machine.hpp.
#include "machine.hpp"

#include <utility>

#include "nodes.hpp"
#include "violation.hpp"

namespace kiommu::port {

Machine::Machine(MachineOptions options)
    : options_(std::move(options)), nodes_before_(live_nodes()) {
  for (const HostKind& kind : options_.hosts) iommus.add(kind);
  if (kiommu_core_create(iommus.handle(), options_.shadow_limit, &domain_) !=
      0) {
    domain_ = nullptr;
    return;
  }
  if (set_caps() != 0) violation("host capabilities are refused");
}

Machine::~Machine() { destroy(); }

void Machine::destroy() {
  if (domain_ != nullptr) kiommu_core_destroy(domain_);
  domain_ = nullptr;
  for (std::size_t i = 0; i < iommus.size(); ++i) {
    if (!iommus[i].blocks().empty()) violation("a host table is not empty");
    if (iommus[i].iotlb_may_be_stale()) violation("an IOTLB is not flushed");
  }
  if (host.pinned() != 0) violation("pins leak: ", host.pinned());
  if (guest.accounted() != 0) violation("accounted: ", guest.accounted());
  if (live_nodes() != nodes_before_) violation("nodes leak");
}

int Machine::set_caps() {
  kiommu_host_caps caps = iommus.caps();
  caps.aperture = options_.aperture;
  caps.reserved = options_.reserved.data();
  caps.reserved_count = static_cast<kiommu_u32>(options_.reserved.size());
  return kiommu_core_set_host_caps(domain_, &caps);
}

int Machine::set_caps(const kiommu_window& aperture,
                      std::vector<kiommu_window> reserved) {
  // The domain keeps a pointer to the old windows until it takes the new.
  kiommu_host_caps caps = iommus.caps();
  caps.aperture = aperture;
  caps.reserved = reserved.data();
  caps.reserved_count = static_cast<kiommu_u32>(reserved.size());
  const int error = kiommu_core_set_host_caps(domain_, &caps);
  if (error == 0) {
    options_.aperture = aperture;
    options_.reserved.swap(reserved);
  }
  return error;
}

RefreshOutcome Machine::refresh(std::uint64_t iova, std::uint64_t length) {
  RefreshOutcome outcome;
  outcome.error = kiommu_core_refresh(domain_, iova, length, &outcome.result);
  return outcome;
}

int Machine::unmap(std::uint64_t iova, std::uint64_t length,
                   std::uint64_t* unmapped) {
  kiommu_u64 pages = 0;
  const int error = kiommu_core_unmap(domain_, iova, length, &pages);
  if (unmapped != nullptr) *unmapped = pages;
  return error;
}

kiommu_core_info Machine::info() const {
  kiommu_core_info info;
  kiommu_core_get_info(domain_, &info);
  return info;
}

}  // namespace kiommu::port
