// SPDX-License-Identifier: GPL-2.0-only
//
// The host IOMMUs of one domain: all-or-nothing, counted, used through batches;
// and the device memory of others that is mapped in them.
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
  // Adds an IOMMU with an empty table, but for device memory; returns its
  // index.
  std::uint32_t add(HostKind kind);
  void drop_last();
  // Of a domain that rests.
  HostIommu& operator[](std::size_t i) { return iommus_[i]; }
  std::size_t size() const { return iommus_.size(); }
  // What a device gets, while others work.
  std::optional<HostPage> device_sees(std::size_t host, std::uint64_t page);
  // What all of them can do together, without aperture and windows.
  kiommu_host_caps caps() const;

  // Errno for the faults that are armed in Faults::map.
  int map_error = -12;
  // The same for device memory; 0: no error.
  int mmio_error = 0;
  // Of the next exchanges of domains; 0: no error.
  int renew_error = 0;
  // Pages of device memory that one call maps at most.
  std::uint32_t mmio_batch = 512;

  // A device is taken away, whose memory was mapped at these addresses; the
  // core is not told. Returns how many pages of IOVA are gone.
  std::uint64_t revoke_mmio(std::uint64_t hva, std::uint64_t pages);
  std::uint64_t mmio_pages();

  // Another domain for each, see kiommu_port_hosts_renew().
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
