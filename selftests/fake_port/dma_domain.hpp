// SPDX-License-Identifier: GPL-2.0-only
//
// A domain of the core with its host IOMMUs and its lock D, and the calls of an
// adapter on it. All calls take the locks that core.h asks for; any thread may
// call, but for what says otherwise.
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
  // `pins`: what start() starts it with.
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
  // `status`: where its reason goes, if it is wanted.
  int anchor(const kiommu_anchor& anchor, kiommu_u32* status = nullptr);
  int unanchor();
  RefreshOutcome refresh(std::uint64_t iova, std::uint64_t length);
  int unmap(std::uint64_t iova, std::uint64_t length,
            std::uint64_t* unmapped = nullptr);
  int unmap_all(kiommu_u64* unmapped);
  int translate(std::uint64_t iova, kiommu_translation* result);
  // As an adapter calls it: up to `part` records at a time, until all is told
  // or the status is another one than BUDGET for lack of room.
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
  int replay(std::uint32_t host);
  // A host joins, with all that is mapped, or leaves: the last that came. While
  // others work.
  int add_host(HostKind kind);
  int drop_host();
  kiommu_core_info info() const;
  // Mode TRACKED; 0 or what kiommu_core_tracking_start() returns.
  int follow(std::uint32_t burst = 0);
  void unfollow();
  // What the guest has stored, if the page is tracked.
  int stored(std::uint64_t gpa, std::uint32_t bytes);
  int untrack(std::uint64_t gpa, std::uint64_t length, kiommu_u64* count,
              kiommu_u32* status = nullptr);
  // Calls of the doors of arch/.
  int shared(const std::function<int(kiommu_domain*)>& function);
  int exclusive(const std::function<int(kiommu_domain*)>& function,
                bool never_allocates = false);
  // Tells the domain of the hosts as they are now.
  int set_caps();
  int set_caps(const kiommu_window& aperture,
               std::vector<kiommu_window> reserved);
  // Its faults. Any thread reports them; one at a time reads.
  int open_faults();
  void close_faults() { kiommu_core_faults_close(faults_); }
  bool report(const kiommu_fault& fault);
  bool report_dma(const kiommu_fault& fault);
  bool faults_readable();
  std::vector<kiommu_fault> peek_faults(kiommu_u32 max);
  void drop_faults(kiommu_u32 count);
  // Takes up to `max` out.
  std::vector<kiommu_fault> read_faults(kiommu_u32 max);
  // How often the reader was told of a new record.
  std::uint64_t reader_woken() const { return reader_.woken; }
  std::uint64_t reader_locks() const { return reader_.locks; }
  // Destroys the domain now, and checks that nothing is left in its hosts.
  void destroy();

 private:
  template <class Function>
  auto call(Locks locks, bool never_allocates, Function function) const;
  void destroy_faults();
  int set_caps_locked();
  void before_call() const;
  void after_call() const;

  PinTable* own_pins_;
  Ledger& ledger_;
  DomainOptions options_;
  mutable CallerLock lock_;
  kiommu_fault_reader reader_;
  kiommu_faults* faults_ = nullptr;
  kiommu_domain* domain_ = nullptr;
  // What it is started with. Written with D; nullptr if it is not.
  std::atomic<PinTable*> pins_{nullptr};
};

}  // namespace kiommu::port
