// SPDX-License-Identifier: GPL-2.0-only
//
// The part of port.h that speaks of guest memory and pins.
#include <cerrno>
#include <cstring>

#include "faults.hpp"
#include "guest_memory.hpp"
#include "violation.hpp"

namespace kiommu::port {
namespace {

constexpr std::uint32_t kMostPins = 512;

kiommu_pin_failure failure_of(Backing backing) {
  switch (backing) {
    case Backing::kMmio:
      return KIOMMU_PIN_MMIO;
    case Backing::kRefused:
      return KIOMMU_PIN_REFUSED;
    default:
      return KIOMMU_PIN_UNBACKED;
  }
}

bool can_pin(Backing backing) {
  return backing == Backing::kRam || backing == Backing::kReadOnlyRam;
}

}  // namespace

int GuestMemory::find_slot(std::uint64_t gfn, kiommu_slot* slot) {
  ++slot_lookups;
  auto found = slots_.upper_bound(gfn);
  if (found != slots_.begin()) {
    const auto below = std::prev(found);
    if (gfn - below->first < below->second.pages) found = below;
  }
  if (found == slots_.end()) return -ENOENT;
  *slot = found->second;
  return 0;
}

bool GuestMemory::in_one_slot(std::uint64_t hva, std::uint64_t pages) const {
  for (const auto& [gfn, slot] : slots_) {
    if (hva >= slot.hva &&
        hva + pages * kPageBytes <= slot.hva + slot.pages * kPageBytes) {
      return true;
    }
  }
  return false;
}

std::uint64_t GuestMemory::gpa_of(std::uint64_t hva) const {
  for (const auto& [gfn, slot] : slots_) {
    if (hva - slot.hva < slot.pages * kPageBytes) {
      return gfn * kPageBytes + (hva - slot.hva);
    }
  }
  return ~std::uint64_t{0};
}

int GuestMemory::read_entries(std::uint64_t hva, kiommu_u64* entries,
                              std::uint32_t count) {
  if (hva % 8 != 0 || count == 0) violation("read of entries at ", hva);
  if (!in_one_slot(hva & ~(kPageBytes - 1), 1)) {
    violation("read of entries at HVA ", hva, ", which is in no slot");
  }
  if (foreign_process) return -EPERM;
  ++read_calls;
  entries_read += count;
  if (before_read) before_read(gpa_of(hva));
  for (std::uint32_t i = 0; i < count; ++i, hva += 8) {
    const HvaPage page = page_at(hva);
    if (page.backing == Backing::kUnbacked) return -EFAULT;
    if (page.backing == Backing::kMmio) return -ENXIO;
    std::memcpy(&entries[i], host_.bytes(page.pfn) + hva % kPageBytes, 8);
  }
  return 0;
}

std::uint32_t GuestMemory::pin(std::uint64_t hva, std::uint32_t count,
                               bool write, kiommu_u64* pfns,
                               kiommu_pin_result* result) {
  ++pin_calls;
  if (hva % kPageBytes != 0 || count == 0 || count > kMostPins ||
      !in_one_slot(hva, count)) {
    violation("pin of ", count, " pages at HVA ", hva);
  }
  *result = {};
  if (faults().pin.fires()) {
    result->failure = pin_failure;
    return 0;
  }
  const HvaPage first = page_at(hva);
  if (!can_pin(first.backing)) {
    result->failure = failure_of(first.backing);
    while (result->failure == KIOMMU_PIN_MMIO &&
           page_at(hva + result->extent * kPageBytes).backing ==
               Backing::kMmio) {
      ++result->extent;
    }
    return 0;
  }
  // As in the kernel: all pages of one call are pinned with the same rights.
  result->writable = write && first.backing == Backing::kRam;
  if (count > pin_batch) count = pin_batch;
  std::uint32_t done = 0;
  for (; done < count; ++done) {
    const HvaPage page = page_at(hva + done * kPageBytes);
    if (!can_pin(page.backing)) break;
    if (write && page.backing != first.backing) break;
    host_.pin(page.pfn, result->writable != 0);
    pfns[done] = page.pfn;
  }
  if (host_.pinned() > accounted_) violation("a pin that is not accounted");
  return done;
}

void GuestMemory::unpin(std::uint64_t pfn, std::uint64_t count, bool dirty) {
  ++unpin_calls;
  for (std::uint64_t i = 0; i < count; ++i) host_.unpin(pfn + i, dirty);
}

int GuestMemory::account(std::uint64_t pages) {
  if (pages == 0) violation("no page is accounted");
  if (faults().account.fires()) return -ENOMEM;
  if (accounted_ + pages > memlock_pages) return -ENOMEM;
  accounted_ += pages;
  return 0;
}

void GuestMemory::unaccount(std::uint64_t pages) {
  if (pages > accounted_) violation("more is unaccounted than was accounted");
  accounted_ -= pages;
  if (host_.pinned() > accounted_) {
    violation("more pages are pinned than are accounted");
  }
}

}  // namespace kiommu::port

int kiommu_port_find_slot(kiommu_mem* mem, kiommu_u64 gfn, kiommu_slot* slot) {
  return mem->memory->find_slot(gfn, slot);
}

int kiommu_port_read_entries(kiommu_mem* mem, kiommu_u64 hva,
                             kiommu_u64* entries, kiommu_u32 count) {
  return mem->memory->read_entries(hva, entries, count);
}

kiommu_u32 kiommu_port_pin(kiommu_mem* mem, kiommu_u64 hva, kiommu_u32 count,
                           int write, kiommu_u64* pfns,
                           kiommu_pin_result* result) {
  return mem->memory->pin(hva, count, write != 0, pfns, result);
}

void kiommu_port_unpin(kiommu_mem* mem, kiommu_u64 pfn, kiommu_u64 count,
                       int dirty) {
  mem->memory->unpin(pfn, count, dirty != 0);
}

int kiommu_port_account(kiommu_mem* mem, kiommu_u64 pages) {
  return mem->memory->account(pages);
}

void kiommu_port_unaccount(kiommu_mem* mem, kiommu_u64 pages) {
  mem->memory->unaccount(pages);
}

void kiommu_port_yield() {}

int kiommu_port_interrupted() {
  return kiommu::port::faults().interrupt.fires() ? 1 : 0;
}
