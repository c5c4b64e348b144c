// SPDX-License-Identifier: GPL-2.0-only
//
// The guest's memory: slots (GPA to HVA) over areas of a made-up address space
// (HVA to page frames), with all that can be wrong with a page of them. What
// port.h says of guest memory and pins is implemented on top of it, strictly.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <vector>

#include "../../kvm-iommu/include/port.h"
#include "host_memory.hpp"

namespace kiommu::port {
class GuestMemory;
}

struct kiommu_mem {
  kiommu::port::GuestMemory* memory;
};

namespace kiommu::port {

// What is behind a page of HVA.
enum class Backing : std::uint8_t {
  kRam,
  kReadOnlyRam,  // mapped without PROT_WRITE
  kUnbacked,     // nothing is mapped
  kMmio,
  kRefused,  // must not be pinned for long
};

struct HvaPage {
  Backing backing = Backing::kUnbacked;
  std::uint64_t pfn = 0;
};

// How the frames of an area lie: chunks of 2^order pages are contiguous and
// naturally aligned, and the chunks are shuffled.
inline constexpr unsigned kShuffled = 0;
inline constexpr unsigned kContiguous2M = 9;
inline constexpr unsigned kContiguous1G = 18;
inline constexpr unsigned kContiguous = 40;

class GuestMemory {
 public:
  explicit GuestMemory(HostMemory& host) : host_(host) {}
  GuestMemory(const GuestMemory&) = delete;
  GuestMemory& operator=(const GuestMemory&) = delete;

  kiommu_mem* handle() { return &handle_; }
  HostMemory& host() { return host_; }

  // --- what the VMM does ---
  // Makes memory; returns its HVA, aligned to 1 GiB.
  std::uint64_t add_area(std::uint64_t pages, unsigned chunk_order,
                         Backing backing = Backing::kRam);
  void set_backing(std::uint64_t hva, std::uint64_t pages, Backing backing);
  void add_slot(std::uint64_t gpa, std::uint64_t pages, std::uint64_t hva,
                std::uint32_t flags = 0);
  void remove_slot(std::uint64_t gpa) { slots_.erase(gpa >> 12); }
  // add_area() and add_slot() in one; returns the HVA.
  std::uint64_t add_ram(std::uint64_t gpa, std::uint64_t pages,
                        unsigned chunk_order, std::uint32_t flags = 0);

  // --- what the guest does; the address must be RAM ---
  void write(std::uint64_t gpa, const void* bytes, std::uint64_t size);
  void read(std::uint64_t gpa, void* bytes, std::uint64_t size) const;

  // --- what is so ---
  const kiommu_slot* slot_of(std::uint64_t gpa) const;
  HvaPage page_at(std::uint64_t hva) const;
  // Bytes behind an address of RAM; nullptr elsewhere.
  std::byte* ram_at(std::uint64_t gpa) const;
  std::uint64_t accounted() const { return accounted_; }

  // --- what a test sets ---
  std::uint64_t memlock_pages = ~std::uint64_t{0};
  bool foreign_process = false;
  kiommu_pin_failure pin_failure = KIOMMU_PIN_NO_MEMORY;
  // Pages that one pin call gives at most.
  std::uint32_t pin_batch = 512;
  // Called before entries at this GPA are read: the guest on another CPU.
  std::function<void(std::uint64_t gpa)> before_read;

  // --- what a test counts ---
  std::uint64_t read_calls = 0;
  std::uint64_t entries_read = 0;
  std::uint64_t pin_calls = 0;
  std::uint64_t unpin_calls = 0;
  std::uint64_t slot_lookups = 0;

  // --- the port, see port.h ---
  int find_slot(std::uint64_t gfn, kiommu_slot* slot);
  int read_entries(std::uint64_t hva, kiommu_u64* entries, std::uint32_t count);
  std::uint32_t pin(std::uint64_t hva, std::uint32_t count, bool write,
                    kiommu_u64* pfns, kiommu_pin_result* result);
  void unpin(std::uint64_t pfn, std::uint64_t count, bool dirty);
  int account(std::uint64_t pages);
  void unaccount(std::uint64_t pages);

 private:
  struct Area {
    std::uint64_t hva;
    std::uint64_t pages;
    std::uint64_t first_pfn;
    unsigned chunk_order;
    Backing backing;
  };

  const Area* area_of(std::uint64_t hva) const;
  bool in_one_slot(std::uint64_t hva, std::uint64_t pages) const;
  std::uint64_t gpa_of(std::uint64_t hva) const;

  HostMemory& host_;
  kiommu_mem handle_{this};
  std::map<std::uint64_t, kiommu_slot> slots_;  // by first GFN
  std::map<std::uint64_t, Area> areas_;         // by HVA
  std::map<std::uint64_t, Backing> odd_pages_;  // by HVA
  std::uint64_t next_hva_ = 0x7f0000000000;
  std::uint64_t next_pfn_ = std::uint64_t{1} << 20;
  std::uint64_t accounted_ = 0;
};

}  // namespace kiommu::port
