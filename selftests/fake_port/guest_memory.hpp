// SPDX-License-Identifier: GPL-2.0-only
//
// The guest's memory: slots (GPA to HVA) over areas of a made-up address space
// (HVA to page frames), with all that can be wrong with a page of them, and
// all that can happen to it. What port.h says of guest memory and pins is
// implemented on top of it, strictly.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <vector>

#include "host_memory.hpp"
#include "port.h"

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
  kReadOnlyRam,     // mapped without PROT_WRITE
  kUnbacked,        // nothing is mapped
  kMmio,            // of a device that cannot be reached by others
  kDevice,          // of a device that can: peer-to-peer DMA
  kReadOnlyDevice,  // the same, mapped without PROT_WRITE
  kRefused,         // must not be pinned for long
};

constexpr bool is_mmio(Backing backing) {
  return backing == Backing::kMmio || backing == Backing::kDevice ||
         backing == Backing::kReadOnlyDevice;
}

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
  // Gives the pages back: others come in when they are next touched.
  void discard(std::uint64_t hva, std::uint64_t pages);
  // Puts other pages there.
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

  // --- what is so ---
  const kiommu_slot* slot_of(std::uint64_t gpa) const;
  HvaPage page_at(std::uint64_t hva) const;
  // Bytes behind an address of RAM; nullptr elsewhere. Of a guest that rests.
  std::byte* ram_at(std::uint64_t gpa) const;
  std::uint64_t accounted() const;
  // Whether slots were made over the same memory: its pages can be pinned for
  // each of them.
  bool shares_memory() const { return shares_memory_; }
  // Grows with each change of the slots but the mere addition of one.
  std::uint64_t generation() const { return generation_; }
  // The core was told of all changes up to `generation`.
  void forget_removed_slots(std::uint64_t generation);

  // --- what a test sets ---
  std::uint64_t memlock_pages = ~std::uint64_t{0};
  bool foreign_process = false;
  kiommu_pin_failure pin_failure = KIOMMU_PIN_NO_MEMORY;
  // Pages that one pin call gives at most.
  std::uint32_t pin_batch = 512;
  // Called before entries at this GPA are read: the guest on another CPU.
  std::function<void(std::uint64_t gpa)> before_read;
  // Called before words at this GPA are written, in the same way.
  std::function<void(std::uint64_t gpa)> before_write;
  // Called before pages are pinned: another request on another CPU.
  std::function<void()> before_pin;

  // --- what a test counts ---
  std::uint64_t read_calls = 0;
  std::uint64_t entries_read = 0;
  std::uint64_t write_calls = 0;
  std::uint64_t pin_calls = 0;
  std::uint64_t unpin_calls = 0;
  std::uint64_t account_calls = 0;
  std::uint64_t slot_lookups = 0;
  // Pages that are tracked, by whom so ever.
  std::set<std::uint64_t> tracked() const;
  bool is_tracked(std::uint64_t gfn) const;

  // --- the port, see port.h ---
  int find_slot(std::uint64_t gfn, kiommu_slot* slot);
  int read_entries(std::uint64_t hva, kiommu_u64* entries, std::uint32_t count);
  int write_entries(std::uint64_t hva, const kiommu_u64* entries,
                    std::uint32_t count);
  std::uint32_t pin(std::uint64_t hva, std::uint32_t count, bool write,
                    kiommu_u64* pfns, kiommu_pin_result* result);
  int look_up(std::uint64_t hva, std::uint32_t count, kiommu_u64* pfns);
  void unpin(std::uint64_t pfn, std::uint64_t count, bool dirty);
  int account(std::uint64_t pages);
  void unaccount(std::uint64_t pages);
  int track(std::uint64_t gfn);
  void untrack(std::uint64_t gfn);
  // Whether [hva, hva + pages) is in one slot, as far as the core can know.
  bool in_one_slot(std::uint64_t hva, std::uint64_t pages) const;

 private:
  struct Area {
    std::uint64_t hva;
    std::uint64_t pages;
    std::uint64_t first_pfn;
    unsigned chunk_order;
    Backing backing;
  };
  // What is no longer as the area says, by HVA.
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
  kiommu_mem handle_{this};
  mutable std::recursive_mutex mutex_;
  std::map<std::uint64_t, kiommu_slot> slots_;  // by first GFN
  std::vector<Removed> removed_;
  std::atomic<std::uint64_t> generation_{0};
  std::map<std::uint64_t, Area> areas_;  // by HVA
  mutable std::map<std::uint64_t, Changed> changed_;
  std::uint64_t next_hva_ = 0x7f0000000000;
  std::uint64_t accounted_ = 0;
  std::uint64_t pins_ = 0;
  // How often a page is tracked, by GFN; and was when its slot went.
  std::map<std::uint64_t, unsigned> tracked_;
  std::map<std::uint64_t, unsigned> lost_;
  bool shares_memory_ = false;
};

}  // namespace kiommu::port
