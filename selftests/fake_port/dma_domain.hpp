// SPDX-License-Identifier: GPL-2.0-only
//
// A domain of the core with its host IOMMUs and its lock D, and an adapter's
// calls on it. Each call takes the locks that core.h asks for; any thread may
// make it unless noted otherwise.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <vector>

#include "caller.hpp"
#include "core.h"
#include "core_dirty.h"
#include "core_sync.h"
#include "fault_reader.hpp"
#include "host_iommus.hpp"
#include "pin_table.hpp"

namespace kiommu::port {

struct DomainOptions {
  std::vector<HostKind> hosts{kVtd};
  std::uint64_t shadow_limit = std::uint64_t{1} << 30;
  kiommu_window aperture{0, ~std::uint64_t{0}};
  std::vector<kiommu_window> reserved{};
};

struct RefreshOutcome {
  int error = 0;
  kiommu_refresh_result result{};
};

class DmaDomain {
 public:
  // `pins`: the table that start() uses by default.
  DmaDomain(HostMemory& host, PinTable& pins, Ledger& ledger,
            DomainOptions options = {});
  ~DmaDomain() { destroy(); }
  DmaDomain(const DmaDomain&) = delete;
  DmaDomain& operator=(const DmaDomain&) = delete;

  HostIommus iommus;

  kiommu_domain* domain() { return domain_; }
  int start() { return start(*own_pins_); }
  int start(PinTable& pins);
  int stop();
  // `status`: receives the reason, unless nullptr.
  int anchor(const kiommu_anchor& anchor, kiommu_u32* status = nullptr);
  int unanchor();
  RefreshOutcome refresh(std::uint64_t iova, std::uint64_t length);
  int map(std::uint64_t iova, std::uint64_t length, unsigned rights,
          kiommu_u32* status);
  int unmap(std::uint64_t iova, std::uint64_t length,
            std::uint64_t* unmapped = nullptr);
  int unmap_all(kiommu_u64* unmapped);
  int translate(std::uint64_t iova, kiommu_translation* result);
  // Calls the core repeatedly, as an adapter does, with room for `part` records
  // each, until the status is 0 or a call ends for another reason than a lack
  // of room.
  struct RangeOutcome {
    int error = 0;
    std::vector<kiommu_range_record> records{};
    kiommu_u64 next = 0;
    kiommu_u32 status = 0;
  };
  RangeOutcome translate_range(std::uint64_t iova, std::uint64_t length,
                               kiommu_u32 part = 85);
  std::vector<kiommu_u64> writable_pages(std::uint64_t iova,
                                         std::uint64_t pages);
  int unmap_writable(std::uint64_t iova, std::uint64_t length,
                     std::vector<kiommu_u64>* bits, std::uint64_t* unmapped);
  int replay(std::uint32_t host, bool killable = true);
  // A host joins, and all that is mapped is mapped in it; or the host that
  // joined last leaves. Other threads may be at work.
  int add_host(HostKind kind);
  int drop_host();
  kiommu_core_info info() const;
  // Enters mode TRACKED. Returns 0, or the error of starting it or of its first
  // walk.
  int follow(std::uint32_t burst = 0);
  void unfollow();
  // Reports a store of the guest to a tracked page.
  int stored(std::uint64_t gpa, std::uint32_t bytes);
  // Brings a range up to date, whatever is in sync.
  int invalidate(std::uint64_t iova, std::uint64_t length);
  int untrack(std::uint64_t gpa, std::uint64_t length, kiommu_u64* count,
              kiommu_u32* status = nullptr);
  // Call the interfaces of arch/ with D and P held for reading, or for writing.
  int shared(const std::function<int(kiommu_domain*)>& function);
  int exclusive(const std::function<int(kiommu_domain*)>& function,
                bool never_allocates = false);
  // Tells the domain what its hosts can do now.
  int set_caps();
  int set_caps(const kiommu_window& aperture,
               std::vector<kiommu_window> reserved);
  // The domain's faults. Any thread may report them; only one at a time may
  // read.
  int open_faults();
  void close_faults() { kiommu_core_faults_close(faults_); }
  bool report(const kiommu_fault& fault);
  bool report_dma(const kiommu_fault& fault);
  bool faults_readable();
  std::vector<kiommu_fault> peek_faults(kiommu_u32 max);
  void drop_faults(kiommu_u32 count);
  // Removes up to `max` records and returns them.
  std::vector<kiommu_fault> read_faults(kiommu_u32 max);
  // How often the reader was woken for a new record.
  std::uint64_t reader_woken() const { return reader_.woken; }
  std::uint64_t reader_locks() const { return reader_.locks; }
  // Destroys the domain now, and checks that nothing is left in its hosts.
  void destroy();

 private:
  template <class Function>
  auto call(Locks locks, bool never_allocates, Function function) const;
  void destroy_faults();
  int set_caps_locked();
  int finish(kiommu_tracking_work* work);
  void before_call() const;
  void after_call() const;

  PinTable* own_pins_;
  Ledger& ledger_;
  DomainOptions options_;
  mutable CallerLock lock_;
  kiommu_fault_reader reader_;
  kiommu_faults* faults_ = nullptr;
  kiommu_domain* domain_ = nullptr;
  // The pin table that the domain is started with, else nullptr. Written under
  // D.
  std::atomic<PinTable*> pins_{nullptr};
};

}  // namespace kiommu::port
