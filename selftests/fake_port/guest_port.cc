// SPDX-License-Identifier: GPL-2.0-only
//
// The part of port.h about guest memory and pins.
#include <cerrno>

#include "caller.hpp"
#include "faults.hpp"
#include "guest_memory.hpp"
#include "violation.hpp"

namespace kiommu::port {
namespace {

constexpr std::uint32_t kMostPages = 512;

using Locked = std::lock_guard<std::recursive_mutex>;

kiommu_pin_failure failure_of(Backing backing) {
  if (is_mmio(backing)) return KIOMMU_PIN_MMIO;
  return backing == Backing::kRefused ? KIOMMU_PIN_REFUSED
                                      : KIOMMU_PIN_UNBACKED;
}

bool can_pin(Backing backing) {
  return backing == Backing::kRam || backing == Backing::kReadOnlyRam;
}

bool holds(const kiommu_slot& slot, std::uint64_t hva, std::uint64_t pages) {
  return hva >= slot.hva &&
         hva + pages * kPageBytes <= slot.hva + slot.pages * kPageBytes;
}

}  // namespace

int GuestMemory::find_slot(std::uint64_t gfn, kiommu_slot* slot) {
  const Locked locked(mutex_);
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
  const Locked locked(mutex_);
  for (const auto& [gfn, slot] : slots_) {
    if (holds(slot, hva, pages)) return true;
  }
  for (const Removed& removed : removed_) {
    if (holds(removed.slot, hva, pages)) return true;
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
  if (before_read) before_read(gpa_of(hva));
  const Locked locked(mutex_);
  ++read_calls;
  entries_read += count;
  for (std::uint32_t i = 0; i < count; ++i, hva += 8) {
    const Backing backing = page_at(hva).backing;
    if (backing == Backing::kUnbacked) return -EFAULT;
    if (is_mmio(backing)) return -ENXIO;
    host_.read(touch(hva), hva % kPageBytes, &entries[i], 8);
  }
  return 0;
}

int GuestMemory::write_entries(std::uint64_t hva, const kiommu_u64* entries,
                               std::uint32_t count) {
  if (hva % 8 != 0 || count == 0) violation("write of entries at ", hva);
  if (!in_one_slot(hva & ~(kPageBytes - 1), 1)) {
    violation("write of entries at HVA ", hva, ", which is in no slot");
  }
  if (foreign_process) return -EPERM;
  if (before_write) before_write(gpa_of(hva));
  const Locked locked(mutex_);
  ++write_calls;
  for (std::uint32_t i = 0; i < count; ++i, hva += 8) {
    const Backing backing = page_at(hva).backing;
    if (is_mmio(backing)) return -ENXIO;
    if (backing != Backing::kRam && backing != Backing::kRefused) {
      return -EFAULT;
    }
    host_.write(touch(hva), hva % kPageBytes, &entries[i], 8);
  }
  return 0;
}

std::uint32_t GuestMemory::pin(std::uint64_t hva, std::uint32_t count,
                               bool write, kiommu_u64* pfns,
                               kiommu_pin_result* result) {
  if (before_pin) before_pin();
  const Locked locked(mutex_);
  ++pin_calls;
  if (hva % kPageBytes != 0 || count == 0 || count > kMostPages ||
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
               first.backing) {
      ++result->extent;
    }
    return 0;
  }
  // As in the kernel: all pages of one call are pinned with the same rights.
  result->writable = write && first.backing == Backing::kRam;
  if (count > pin_batch) count = pin_batch;
  std::uint32_t done = 0;
  bool as_one = count == kMostPages;
  for (; done < count; ++done) {
    const Backing backing = page_at(hva + done * kPageBytes).backing;
    if (!can_pin(backing)) break;
    if (write && backing != first.backing) break;
    pfns[done] = touch(hva + done * kPageBytes);
    as_one = as_one && pfns[done] == pfns[0] + done;
    host_.pin(pfns[done], result->writable != 0);
    ++pinned_at_[{pfns[done], hva + done * kPageBytes}];
  }
  if (as_one && done == kMostPages) host_.pinned_as_one(pfns[0]);
  pins_ += done;
  if (pins_ > accounted_) violation("a pin that is not accounted");
  return done;
}

int GuestMemory::look_up(std::uint64_t hva, std::uint32_t count,
                         kiommu_u64* pfns) {
  const Locked locked(mutex_);
  if (hva % kPageBytes != 0 || count == 0 || count > kMostPages) {
    violation("look-up of ", count, " pages at HVA ", hva);
  }
  if (faults().look_up.fires()) {
    // A caller that ignores the error takes every page for gone.
    for (std::uint32_t i = 0; i < count; ++i) pfns[i] = KIOMMU_NO_PFN;
    return -EAGAIN;
  }
  for (std::uint32_t i = 0; i < count; ++i, hva += kPageBytes) {
    const HvaPage page = page_at(hva);
    const auto changed = changed_.find(hva);
    const bool present = changed == changed_.end() || changed->second.present;
    const bool ram =
        page.backing != Backing::kUnbacked && !is_mmio(page.backing) && present;
    pfns[i] = ram ? page.pfn : KIOMMU_NO_PFN;
  }
  return 0;
}

void GuestMemory::unpin(std::uint64_t hva, std::uint64_t pfn,
                        std::uint64_t count, bool dirty) {
  const Locked locked(mutex_);
  ++unpin_calls;
  if (count == 0 || count > pins_) violation("unpin of ", count, " pages");
  pins_ -= count;
  for (std::uint64_t i = 0; i < count; ++i) {
    const auto at = pinned_at_.find({pfn + i, hva + i * kPageBytes});
    if (at == pinned_at_.end()) {
      violation("unpin of pfn ", pfn + i, ", which was not pinned at HVA ",
                hva + i * kPageBytes);
    } else if (--at->second == 0) {
      pinned_at_.erase(at);
    }
  }
  host_.unpin(pfn, count, dirty);
}

int GuestMemory::account(std::uint64_t pages) {
  const Locked locked(mutex_);
  ++account_calls;
  if (pages == 0) violation("no page is accounted");
  if (faults().account.fires()) return -ENOMEM;
  if (accounted_ + pages > memlock_pages) return -ENOMEM;
  accounted_ += pages;
  return 0;
}

void GuestMemory::unaccount(std::uint64_t pages) {
  const Locked locked(mutex_);
  if (pages > accounted_) violation("more is unaccounted than was accounted");
  accounted_ -= pages;
  if (pins_ > accounted_) {
    violation("more pages are pinned than are accounted");
  }
}

}  // namespace kiommu::port

using kiommu::port::entered;

int kiommu_port_find_slot(kiommu_guest* mem, kiommu_u64 gfn,
                          kiommu_slot* slot) {
  entered("find_slot");
  return mem->memory->find_slot(gfn, slot);
}

int kiommu_port_read_entries(kiommu_guest* mem, kiommu_u64 hva,
                             kiommu_u64* entries, kiommu_u32 count) {
  entered("read_entries");
  return mem->memory->read_entries(hva, entries, count);
}

int kiommu_port_read_entry(kiommu_guest* mem, kiommu_u64 hva,
                           kiommu_u64* entry) {
  return kiommu_port_read_entries(mem, hva, entry, 1);
}

int kiommu_port_write_entries(kiommu_guest* mem, kiommu_u64 hva,
                              const kiommu_u64* entries, kiommu_u32 count) {
  entered("write_entries");
  return mem->memory->write_entries(hva, entries, count);
}

kiommu_u32 kiommu_port_pin(kiommu_guest* mem, kiommu_u64 hva, kiommu_u32 count,
                           int write, kiommu_u64* pfns,
                           kiommu_pin_result* result) {
  entered("pin");
  return mem->memory->pin(hva, count, write != 0, pfns, result);
}

int kiommu_port_look_up(kiommu_guest* mem, kiommu_u64 hva, kiommu_u32 count,
                        kiommu_u64* pfns) {
  entered("look_up");
  return mem->memory->look_up(hva, count, pfns);
}

void kiommu_port_unpin(kiommu_guest* mem, kiommu_u64 hva, kiommu_u64 pfn,
                       kiommu_u64 count, int dirty) {
  entered("unpin");
  mem->memory->unpin(hva, pfn, count, dirty != 0);
}

int kiommu_port_account(kiommu_guest* mem, kiommu_u64 pages) {
  entered("account");
  return mem->memory->account(pages);
}

void kiommu_port_unaccount(kiommu_guest* mem, kiommu_u64 pages) {
  entered("unaccount");
  mem->memory->unaccount(pages);
}

// A monitor may be held.
int kiommu_port_track(kiommu_guest* mem, kiommu_u64 gfn) {
  kiommu::port::may_sleep("track");
  return mem->memory->track(gfn);
}

void kiommu_port_untrack(kiommu_guest* mem, kiommu_u64 gfn) {
  kiommu::port::may_sleep("untrack");
  mem->memory->untrack(gfn);
}

void kiommu_port_yield() {
  entered("yield");
  ++kiommu::port::yields();
}

int kiommu_port_interrupted() {
  entered("interrupted");
  ++kiommu::port::yields();
  return kiommu::port::faults().interrupt.fires() ? 1 : 0;
}
