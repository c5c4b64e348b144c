// SPDX-License-Identifier: GPL-2.0-only
//
// Areas, slots, and the actions of VMM and guest, see guest_memory.hpp.
#include "guest_memory.hpp"

#include <bit>
#include <cerrno>

#include "faults.hpp"
#include "violation.hpp"

namespace kiommu::port {
namespace {

constexpr std::uint64_t kOffsetMask = kPageBytes - 1;
constexpr std::uint64_t kGiB = std::uint64_t{1} << 30;

using Locked = std::lock_guard<std::recursive_mutex>;

}  // namespace

std::uint64_t GuestMemory::add_area(std::uint64_t pages, unsigned chunk_order,
                                    Backing backing) {
  const Locked locked(mutex_);
  // Leave room for the shuffle, aligned to 1 GiB, and a gap, so that two areas
  // are never contiguous.
  const std::uint64_t room = std::bit_ceil(pages);
  const Area area{next_hva_, pages, host_.take_frames(room), chunk_order,
                  backing};
  areas_[area.hva] = area;
  next_hva_ += ((room * kPageBytes + kGiB) & ~(kGiB - 1)) + kGiB;
  return area.hva;
}

void GuestMemory::set_backing(std::uint64_t hva, std::uint64_t pages,
                              Backing backing) {
  const Locked locked(mutex_);
  for (std::uint64_t i = 0; i < pages; ++i) {
    changed_[hva + i * kPageBytes].backing = backing;
  }
}

void GuestMemory::replace(std::uint64_t hva, std::uint64_t pages,
                          bool present) {
  const Locked locked(mutex_);
  const std::uint64_t pfn = host_.take_frames(pages);
  for (std::uint64_t i = 0; i < pages; ++i) {
    Changed& page = changed_[hva + i * kPageBytes];
    page.pfn = pfn + i;
    page.present = present;
  }
}

void GuestMemory::discard(std::uint64_t hva, std::uint64_t pages) {
  replace(hva, pages, false);
}

void GuestMemory::exchange(std::uint64_t hva, std::uint64_t pages) {
  replace(hva, pages, true);
}

void GuestMemory::add_slot(std::uint64_t gpa, std::uint64_t pages,
                           std::uint64_t hva, std::uint32_t flags) {
  const Locked locked(mutex_);
  const auto overlaps = [=](const kiommu_slot& slot) {
    return hva < slot.hva + slot.pages * kPageBytes &&
           slot.hva < hva + pages * kPageBytes;
  };
  for (const auto& [gfn, slot] : slots_) shares_memory_ |= overlaps(slot);
  slots_[gpa >> 12] = {gpa >> 12, pages, hva, flags};
}

void GuestMemory::remove_slot(std::uint64_t gpa) {
  const Locked locked(mutex_);
  const auto found = slots_.find(gpa >> 12);
  if (found == slots_.end()) return;
  removed_.push_back({found->second, ++generation_});
  // Tracking is lost with the slot.
  const auto end = tracked_.lower_bound(found->first + found->second.pages);
  for (auto page = tracked_.lower_bound(found->first); page != end;) {
    lost_[page->first] += page->second;
    page = tracked_.erase(page);
  }
  slots_.erase(found);
}

void GuestMemory::forget_removed_slots(std::uint64_t generation) {
  const Locked locked(mutex_);
  std::erase_if(removed_, [generation](const Removed& removed) {
    return removed.generation <= generation;
  });
}

std::uint64_t GuestMemory::add_ram(std::uint64_t gpa, std::uint64_t pages,
                                   unsigned chunk_order, std::uint32_t flags) {
  const std::uint64_t hva = add_area(pages, chunk_order);
  add_slot(gpa, pages, hva, flags);
  return hva;
}

const GuestMemory::Area* GuestMemory::area_of(std::uint64_t hva) const {
  auto area = areas_.upper_bound(hva);
  if (area == areas_.begin()) return nullptr;
  --area;
  const std::uint64_t offset = hva - area->second.hva;
  return offset / kPageBytes < area->second.pages ? &area->second : nullptr;
}

HvaPage GuestMemory::page_at(std::uint64_t hva) const {
  const Locked locked(mutex_);
  const Area* area = area_of(hva);
  if (area == nullptr) return {};
  const std::uint64_t page = (hva - area->hva) / kPageBytes;
  std::uint64_t place = page;
  if (area->chunk_order < kContiguous) {
    // An odd factor permutes the chunks so that no neighbours stay neighbours,
    // even if there are only two or four.
    const std::uint64_t chunks =
        std::bit_ceil(area->pages) >> area->chunk_order;
    const std::uint64_t chunk = page >> area->chunk_order;
    const std::uint64_t in_chunk =
        page & ((std::uint64_t{1} << area->chunk_order) - 1);
    const std::uint64_t shuffled = (chunk * 0x9e3779b3 + 1) & (chunks - 1);
    place = (shuffled << area->chunk_order) | in_chunk;
    if (chunks <= 1) place = page;
  }
  HvaPage found{area->backing, area->first_pfn + place};
  const auto changed = changed_.find(hva & ~kOffsetMask);
  if (changed != changed_.end()) {
    found.backing = changed->second.backing.value_or(found.backing);
    found.pfn = changed->second.pfn.value_or(found.pfn);
  }
  return found;
}

// Brings the page in and returns its frame.
std::uint64_t GuestMemory::touch(std::uint64_t hva) const {
  const auto changed = changed_.find(hva & ~kOffsetMask);
  if (changed != changed_.end()) changed->second.present = true;
  return page_at(hva).pfn;
}

const kiommu_slot* GuestMemory::slot_of(std::uint64_t gpa) const {
  const Locked locked(mutex_);
  auto slot = slots_.upper_bound(gpa >> 12);
  if (slot == slots_.begin()) return nullptr;
  --slot;
  const bool holds = (gpa >> 12) - slot->first < slot->second.pages;
  return holds ? &slot->second : nullptr;
}

// The frame behind an address of RAM.
std::optional<std::uint64_t> GuestMemory::ram_frame(std::uint64_t gpa) const {
  const Locked locked(mutex_);
  const kiommu_slot* slot = slot_of(gpa);
  if (slot == nullptr) return std::nullopt;
  const std::uint64_t hva = slot->hva + (gpa - slot->first_gfn * kPageBytes);
  const Backing backing = page_at(hva).backing;
  if (backing == Backing::kUnbacked || is_mmio(backing)) return std::nullopt;
  return touch(hva);
}

std::byte* GuestMemory::ram_at(std::uint64_t gpa) const {
  const auto pfn = ram_frame(gpa);
  return pfn ? host_.bytes(*pfn) + (gpa & kOffsetMask) : nullptr;
}

void GuestMemory::write(std::uint64_t gpa, const void* bytes,
                        std::uint64_t size) {
  const auto to = ram_frame(gpa);
  if (!to || (gpa & kOffsetMask) + size > kPageBytes) {
    violation("the test writes to GPA ", gpa, ", which is no RAM");
    return;
  }
  host_.write(*to, gpa & kOffsetMask, bytes, size);
}

void GuestMemory::read(std::uint64_t gpa, void* bytes,
                       std::uint64_t size) const {
  const auto from = ram_frame(gpa);
  if (!from || (gpa & kOffsetMask) + size > kPageBytes) {
    violation("the test reads from GPA ", gpa, ", which is no RAM");
    return;
  }
  host_.read(*from, gpa & kOffsetMask, bytes, size);
}

std::set<std::uint64_t> GuestMemory::tracked() const {
  const Locked locked(mutex_);
  std::set<std::uint64_t> pages;
  for (const auto& [gfn, count] : tracked_) pages.insert(gfn);
  return pages;
}

bool GuestMemory::is_tracked(std::uint64_t gfn) const {
  const Locked locked(mutex_);
  return tracked_.contains(gfn);
}

void GuestMemory::set_untrackable(std::set<std::uint64_t> gfns) {
  const Locked locked(mutex_);
  untrackable_ = std::move(gfns);
}

int GuestMemory::track(std::uint64_t gfn) {
  const Locked locked(mutex_);
  if (faults().track.fires()) return -ENOMEM;
  if (slot_of(gfn * kPageBytes) == nullptr) return -EINVAL;
  if (untrackable_.contains(gfn)) return -EINVAL;
  ++tracked_[gfn];
  return 0;
}

void GuestMemory::untrack(std::uint64_t gfn) {
  const Locked locked(mutex_);
  auto& counts = lost_.contains(gfn) ? lost_ : tracked_;
  const auto found = counts.find(gfn);
  if (found == counts.end()) {
    violation("a page is untracked that is not tracked: ", gfn);
  } else if (--found->second == 0) {
    counts.erase(found);
  }
}

std::uint64_t GuestMemory::accounted() const {
  const Locked locked(mutex_);
  return accounted_;
}

}  // namespace kiommu::port
