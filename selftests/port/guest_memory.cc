// SPDX-License-Identifier: GPL-2.0-only
//
// Areas, slots and what the guest does, see guest_memory.hpp.
#include "guest_memory.hpp"

#include <bit>
#include <cstring>

#include "violation.hpp"

namespace kiommu::port {
namespace {

constexpr std::uint64_t kOffsetMask = kPageBytes - 1;
constexpr std::uint64_t kGiB = std::uint64_t{1} << 30;

}  // namespace

std::uint64_t GuestMemory::add_area(std::uint64_t pages, unsigned chunk_order,
                                    Backing backing) {
  // Room for the shuffle, aligned to 1 GiB, and a gap, so that two areas are
  // never contiguous.
  const std::uint64_t room = std::bit_ceil(pages);
  const std::uint64_t gib_pages = kGiB / kPageBytes;
  const Area area{next_hva_, pages, next_pfn_, chunk_order, backing};
  areas_[area.hva] = area;
  const std::uint64_t taken =
      ((room + gib_pages) & ~(gib_pages - 1)) + gib_pages;
  next_hva_ += taken * kPageBytes;
  next_pfn_ += taken;
  return area.hva;
}

void GuestMemory::set_backing(std::uint64_t hva, std::uint64_t pages,
                              Backing backing) {
  for (std::uint64_t i = 0; i < pages; ++i) {
    odd_pages_[hva + i * kPageBytes] = backing;
  }
}

void GuestMemory::add_slot(std::uint64_t gpa, std::uint64_t pages,
                           std::uint64_t hva, std::uint32_t flags) {
  slots_[gpa >> 12] = {gpa >> 12, pages, hva, flags};
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
  const Area* area = area_of(hva);
  if (area == nullptr) return {};
  const std::uint64_t page = (hva - area->hva) / kPageBytes;
  std::uint64_t place = page;
  if (area->chunk_order < kContiguous) {
    // An odd factor permutes the chunks; no neighbours stay neighbours, not
    // even if there are two or four.
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
  const auto odd = odd_pages_.find(hva & ~kOffsetMask);
  if (odd != odd_pages_.end()) found.backing = odd->second;
  return found;
}

const kiommu_slot* GuestMemory::slot_of(std::uint64_t gpa) const {
  auto slot = slots_.upper_bound(gpa >> 12);
  if (slot == slots_.begin()) return nullptr;
  --slot;
  const bool holds = (gpa >> 12) - slot->first < slot->second.pages;
  return holds ? &slot->second : nullptr;
}

std::byte* GuestMemory::ram_at(std::uint64_t gpa) const {
  const kiommu_slot* slot = slot_of(gpa);
  if (slot == nullptr) return nullptr;
  const HvaPage page =
      page_at(slot->hva + (gpa - slot->first_gfn * kPageBytes));
  if (page.backing == Backing::kUnbacked || page.backing == Backing::kMmio) {
    return nullptr;
  }
  return host_.bytes(page.pfn) + (gpa & kOffsetMask);
}

void GuestMemory::write(std::uint64_t gpa, const void* bytes,
                        std::uint64_t size) {
  std::byte* to = ram_at(gpa);
  if (to == nullptr || (gpa & kOffsetMask) + size > kPageBytes) {
    violation("the test writes to GPA ", gpa, ", which is no RAM");
    return;
  }
  std::memcpy(to, bytes, size);
}

void GuestMemory::read(std::uint64_t gpa, void* bytes,
                       std::uint64_t size) const {
  const std::byte* from = ram_at(gpa);
  if (from == nullptr || (gpa & kOffsetMask) + size > kPageBytes) {
    violation("the test reads from GPA ", gpa, ", which is no RAM");
    return;
  }
  std::memcpy(bytes, from, size);
}

}  // namespace kiommu::port
