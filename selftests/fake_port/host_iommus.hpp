// SPDX-License-Identifier: GPL-2.0-only
//
// The host IOMMUs of one domain, which map all or nothing and are used through
// batches, with counters; and the device memory that is mapped in them.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <vector>

#include "guest_memory.hpp"
#include "host_iommu.hpp"
#include "port.h"

namespace kiommu::port {
class HostIommus;
}

struct kiommu_hosts {
  kiommu::port::HostIommus* iommus;
};

namespace kiommu::port {

class HostIommus {
 public:
  explicit HostIommus(HostMemory& memory) : memory_(memory) {}
  HostIommus(const HostIommus&) = delete;
  HostIommus& operator=(const HostIommus&) = delete;

  kiommu_hosts* handle() { return &handle_; }
  // Adds an IOMMU whose table holds nothing but the device memory that is
  // mapped, and returns its index.
  std::uint32_t add(HostKind kind);
  void drop_last();
  // The domain must be idle.
  HostIommu& operator[](std::size_t i) { return iommus_[i]; }
  std::size_t size() const { return iommus_.size(); }
  // What a device reaches; other threads may be at work.
  std::optional<HostPage> device_sees(std::size_t host, std::uint64_t page);
  // The capabilities of all of them combined, without aperture and windows.
  kiommu_host_caps caps() const;

  // Error of the faults that are armed in Faults::map and Faults::mmio.
  int map_error = -12;
  // Error of each map of device memory; 0: none.
  int mmio_error = 0;
  // Error of renew(); 0: none.
  int renew_error = 0;
  // Most pages of device memory that one call maps.
  std::uint32_t mmio_batch = 512;

  // Revokes the device memory at these addresses without telling the core.
  // Returns how many pages of IOVA were unmapped.
  std::uint64_t revoke_mmio(std::uint64_t hva, std::uint64_t pages);
  std::uint64_t mmio_pages();

  // Gives each host a new domain, see kiommu_port_hosts_renew().
  int renew();

  std::uint64_t renewals = 0;
  std::uint64_t map_calls = 0;  // runs: calls of the host's driver
  std::uint64_t map_lists = 0;  // calls of the port
  std::uint64_t unmap_calls = 0;
  std::uint64_t flush_calls = 0;
  std::uint64_t mmio_map_calls = 0;
  std::uint64_t longest_map = 0;  // pages

  // The port, see port.h.
  int map(kiommu_batch* batch, std::uint32_t host, std::uint64_t iova,
          const kiommu_run* runs, std::uint32_t count, std::uint32_t rights);
  void unmap(kiommu_batch* batch, std::uint64_t iova, std::uint64_t bytes);
  void flush(kiommu_batch* batch);
  int mmio_map(kiommu_batch* batch, GuestMemory& guest, std::uint64_t iova,
               std::uint64_t hva, std::uint32_t pages, std::uint32_t rights);
  void mmio_unmap(kiommu_batch* batch, std::uint64_t iova, std::uint64_t bytes);
  bool mmio_mapped(std::uint64_t iova);

 private:
  struct Mmio {
    std::uint64_t hva;
    HostBlock block;
  };

  void check_runs(std::uint64_t iova, const kiommu_run* runs,
                  std::uint32_t count);
  void drop_mmio(std::map<std::uint64_t, Mmio>::iterator& at);

  HostMemory& memory_;
  kiommu_hosts handle_{this};
  mutable std::mutex mutex_;
  std::deque<HostIommu> iommus_;
  std::map<std::uint64_t, Mmio> mmio_;  // by IOVA page
};

}  // namespace kiommu::port
