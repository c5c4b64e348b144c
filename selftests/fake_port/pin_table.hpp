// SPDX-License-Identifier: GPL-2.0-only
//
// The pin table of a guest with its lock P, and an adapter's calls on it. Each
// call takes the lock that core.h asks for; any thread may make it.
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "caller.hpp"
#include "core.h"
#include "guest_memory.hpp"

namespace kiommu::port {

class PinTable {
 public:
  PinTable(GuestMemory& guest, Ledger& ledger, std::uint64_t idle_limit);
  ~PinTable() { destroy(); }
  PinTable(const PinTable&) = delete;
  PinTable& operator=(const PinTable&) = delete;

  kiommu_pins* handle() { return pins_; }
  CallerLock& lock() { return lock_; }
  GuestMemory& guest() { return guest_; }

  void set_idle_limit(std::uint64_t pages);
  std::uint64_t trim(std::uint64_t keep);
  std::uint64_t slots();
  void forget_slots();
  // What an adapter does before and after each call: it reports removed slots,
  // and trims what is due.
  void before_call();
  void after_call();
  // Whether before_call() reports removed slots.
  bool notices_slots = true;

  // Whether any slots may be preregistered.
  bool preregistered() const { return preregistered_; }
  int preregister(std::uint64_t gpa = 0, std::uint64_t length = 0,
                  kiommu_u32* status = nullptr);
  int unregister(std::uint64_t gpa = 0, std::uint64_t length = 0,
                 kiommu_u32* status = nullptr);
  // The dirty log. As an adapter does, read_dirty() takes the lock again for
  // each `part` pages.
  int start_dirty();
  int stop_dirty();
  int read_dirty(std::uint64_t gpa, std::uint64_t length,
                 std::vector<kiommu_u64>* bits, std::uint64_t part = 1 << 15);
  void put_dirty_back(std::uint64_t gpa, std::uint64_t length,
                      const std::vector<kiommu_u64>& bits);
  void slots_changed(std::uint64_t first_gfn = 0,
                     std::uint64_t last_gfn = ~std::uint64_t{0});
  void tables_gone(std::uint64_t first_gfn, std::uint64_t last_gfn);
  int stores_missed();
  // Returns 0, or -EAGAIN if the core must be told again.
  int memory_changed(std::uint64_t hva, std::uint64_t pages);
  void mmio_revoked();
  void destroy();

 private:
  GuestMemory& guest_;
  Ledger& ledger_;
  CallerLock lock_;
  kiommu_pins* pins_ = nullptr;
  std::atomic<bool> preregistered_{false};
  std::atomic<std::uint64_t> generation_{0};  // of slots known to the core
};

}  // namespace kiommu::port
