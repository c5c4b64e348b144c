// SPDX-License-Identifier: GPL-2.0-only
//
// The guest's memory: slots (GPA to HVA) over areas of an invented address
// space (HVA to page frames), with everything that can be wrong with a page,
// and everything that can happen to it. It implements strictly what port.h says
// of guest memory and pins.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "host_memory.hpp"
#include "port.h"

namespace kiommu::port {
class GuestMemory;
}

struct kiommu_guest {
  kiommu::port::GuestMemory* memory;
};

namespace kiommu::port {

// What backs a page of HVA.
enum class Backing : std::uint8_t {
  kRam,
  kReadOnlyRam,     // mapped without PROT_WRITE
  kUnbacked,        // nothing is mapped
  kMmio,            // device memory without peer-to-peer DMA
  kDevice,          // device memory with peer-to-peer DMA
  kReadOnlyDevice,  // the same, mapped without PROT_WRITE
  kRefused,         // long-term pins are refused
};

constexpr bool is_mmio(Backing backing) {
  return backing == Backing::kMmio || backing == Backing::kDevice ||
         backing == Backing::kReadOnlyDevice;
}

struct HvaPage {
  Backing backing = Backing::kUnbacked;
  std::uint64_t pfn = 0;
};

// Chunk orders of an area: chunks of 2^order pages are contiguous and naturally
// aligned, and the chunks are shuffled.
inline constexpr unsigned kShuffled = 0;
inline constexpr unsigned kContiguous2M = 9;
inline constexpr unsigned kContiguous1G = 18;
inline constexpr unsigned kContiguous = 40;

class GuestMemory {
 public:
  explicit GuestMemory(HostMemory& host) : host_(host) {}
  GuestMemory(const GuestMemory&) = delete;
  GuestMemory& operator=(const GuestMemory&) = delete;

  kiommu_guest* handle() { return &handle_; }
  HostMemory& host() { return host_; }

  // --- what the VMM does ---
  // Allocates memory and returns its HVA, which is aligned to 1 GiB.
  std::uint64_t add_area(std::uint64_t pages, unsigned chunk_order,
                         Backing backing = Backing::kRam);
  void set_backing(std::uint64_t hva, std::uint64_t pages, Backing backing);
  // Discards the pages: other frames come in when they are next touched.
  void discard(std::uint64_t hva, std::uint64_t pages);
  // Replaces the pages by others.
  void exchange(std::uint64_t hva, std::uint64_t pages);
  void add_slot(std::uint64_t gpa, std::uint64_t pages, std::uint64_t hva,
                std::uint32_t flags = 0);
  void remove_slot(std::uint64_t gpa);
  // add_area() and add_slot() in one; returns the HVA.
  std::uint64_t add_ram(std::uint64_t gpa, std::uint64_t pages,
                        unsigned chunk_order, std::uint32_t flags = 0);

  // --- what the guest does; the address must be RAM ---
  void write(std::uint64_t gpa, const void* bytes, std::uint64_t size);
  void read(std::uint64_t gpa, void* bytes, std::uint64_t size) const;

  // --- its state ---
  const kiommu_slot* slot_of(std::uint64_t gpa) const;
  HvaPage page_at(std::uint64_t hva) const;
  // The bytes at an address of RAM, nullptr elsewhere. The guest must be idle.
  std::byte* ram_at(std::uint64_t gpa) const;
  std::uint64_t accounted() const;
  // Whether slots were ever added over the same memory: its pages can then be
  // pinned once for each slot.
  bool shares_memory() const { return shares_memory_; }
  // Incremented by each removal of a slot. An addition alone does not count.
  std::uint64_t generation() const { return generation_; }
  // Called when the core has been told of all removals up to `generation`.
  void forget_removed_slots(std::uint64_t generation);

  // --- what a test sets ---
  std::uint64_t memlock_pages = ~std::uint64_t{0};
  bool foreign_process = false;
  kiommu_pin_failure pin_failure = KIOMMU_PIN_NO_MEMORY;
  // Most pages that one pin call returns.
  std::uint32_t pin_batch = 512;
  // Called before entries at this GPA are read, to act as the guest on another
  // CPU.
  std::function<void(std::uint64_t gpa)> before_read;
  // Called before words at this GPA are written, for the same purpose.
  std::function<void(std::uint64_t gpa)> before_write;
  // Called before pages are pinned, to act as another operation on another CPU.
  std::function<void()> before_pin;

  // --- what a test counts ---
  std::uint64_t read_calls = 0;
  std::uint64_t entries_read = 0;
  std::uint64_t write_calls = 0;
  std::uint64_t pin_calls = 0;
  std::uint64_t unpin_calls = 0;
  std::uint64_t account_calls = 0;
  std::uint64_t slot_lookups = 0;
  // Pages that are tracked, by any domain.
  std::set<std::uint64_t> tracked() const;
  bool is_tracked(std::uint64_t gfn) const;
  // Pages of slots that cannot be tracked, because no slot of the guest that
  // stores has them.
  void set_untrackable(std::set<std::uint64_t> gfns);

  // --- the port, see port.h ---
  int find_slot(std::uint64_t gfn, kiommu_slot* slot);
  int read_entries(std::uint64_t hva, kiommu_u64* entries, std::uint32_t count);
  int write_entries(std::uint64_t hva, const kiommu_u64* entries,
                    std::uint32_t count);
  std::uint32_t pin(std::uint64_t hva, std::uint32_t count, bool write,
                    kiommu_u64* pfns, kiommu_pin_result* result);
  int look_up(std::uint64_t hva, std::uint32_t count, kiommu_u64* pfns);
  void unpin(std::uint64_t hva, std::uint64_t pfn, std::uint64_t count,
             bool dirty);
  int account(std::uint64_t pages);
  void unaccount(std::uint64_t pages);
  int track(std::uint64_t gfn);
  void untrack(std::uint64_t gfn);
  // Whether [hva, hva + pages) lies in one slot, or in a removed one that the
  // core has not been told of.
  bool in_one_slot(std::uint64_t hva, std::uint64_t pages) const;

 private:
  struct Area {
    std::uint64_t hva;
    std::uint64_t pages;
    std::uint64_t first_pfn;
    unsigned chunk_order;
    Backing backing;
  };
  // How a page differs from what its area says.
  struct Changed {
    std::optional<Backing> backing;
    std::optional<std::uint64_t> pfn;
    bool present = true;
  };
  struct Removed {
    kiommu_slot slot;
    std::uint64_t generation;
  };

  const Area* area_of(std::uint64_t hva) const;
  std::uint64_t gpa_of(std::uint64_t hva) const;
  std::uint64_t touch(std::uint64_t hva) const;
  std::optional<std::uint64_t> ram_frame(std::uint64_t gpa) const;
  void replace(std::uint64_t hva, std::uint64_t pages, bool present);

  HostMemory& host_;
  kiommu_guest handle_{this};
  mutable std::recursive_mutex mutex_;
  std::map<std::uint64_t, kiommu_slot> slots_;  // by first GFN
  std::vector<Removed> removed_;
  std::atomic<std::uint64_t> generation_{0};
  std::map<std::uint64_t, Area> areas_;  // by HVA
  mutable std::map<std::uint64_t, Changed> changed_;
  std::uint64_t next_hva_ = 0x7f0000000000;
  std::uint64_t accounted_ = 0;
  std::uint64_t pins_ = 0;
  // How often each page was pinned where: PFN and HVA.
  std::map<std::pair<std::uint64_t, std::uint64_t>, std::uint64_t> pinned_at_;
  // How often a page is tracked, by GFN: in a slot, and when its slot was
  // removed.
  std::map<std::uint64_t, unsigned> tracked_;
  std::set<std::uint64_t> untrackable_;
  std::map<std::uint64_t, unsigned> lost_;
  bool shares_memory_ = false;
};

}  // namespace kiommu::port
