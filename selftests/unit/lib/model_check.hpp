// SPDX-License-Identifier: GPL-2.0-only
//
// The model test: what must be true, see model.hpp.
#pragma once

#include "model.hpp"

namespace kiommu::test {

inline constexpr kiommu_window kModelReserved{0x300000, 0x30ffff};

// Stage 1 by the specification, then the slots, then the memory behind them.
template <class Format>
Expected Model<Format>::expected(u64 page) const {
  const port::GuestMemory& guest = world_.guest;
  const auto read = [&](u64 gpa, u8* bytes) -> unsigned {
    const kiommu_slot* slot = guest.slot_of(gpa);
    if (slot == nullptr) return KVM_IOMMU_STATUS_NO_SLOT;
    if (slot->flags & KIOMMU_SLOT_PRIVATE) return KVM_IOMMU_STATUS_PRIVATE;
    if (slot->flags & KIOMMU_SLOT_READ_ONLY) return KVM_IOMMU_STATUS_READ_ONLY;
    const u64 hva = slot->hva + gpa - slot->first_gfn * kPage;
    const std::byte* from = guest.ram_at(gpa);
    if (from == nullptr) {
      return is_mmio(guest.page_at(hva).backing) ? KVM_IOMMU_STATUS_MMIO
                                                 : KVM_IOMMU_STATUS_UNBACKED;
    }
    __builtin_memcpy(bytes, from, 8);
    return KVM_IOMMU_STATUS_OK;
  };
  const u64 iova = page * kPage;
  const Answer answer = S::translate(read, world_.tables.anchor(), iova);
  if (answer.status != KVM_IOMMU_STATUS_OK) return {answer.status, {}};
  if (iova >= kModelReserved.first && iova <= kModelReserved.last) {
    return {KVM_IOMMU_STATUS_RESERVED_IOVA, {}};
  }
  const kiommu_slot* slot = guest.slot_of(answer.gpa);
  if (slot == nullptr) return {KVM_IOMMU_STATUS_NO_SLOT, {}};
  if (slot->flags & KIOMMU_SLOT_PRIVATE) {
    return {KVM_IOMMU_STATUS_PRIVATE, {}};
  }
  const port::HvaPage memory = guest.page_at(
      slot->hva + (answer.gpa & ~u64{0xfff}) - slot->first_gfn * kPage);
  unsigned rights = answer.rights;
  switch (memory.backing) {
    case Backing::kMmio:
      return {KVM_IOMMU_STATUS_MMIO, {}};
    case Backing::kUnbacked:
      return {KVM_IOMMU_STATUS_UNBACKED, {}};
    case Backing::kRefused:
      return {KVM_IOMMU_STATUS_PIN_REFUSED, {}};
    case Backing::kReadOnlyRam:
      rights &= kR;
      break;
    case Backing::kReadOnlyDevice:
      if (rights & kW) return {KVM_IOMMU_STATUS_READ_ONLY, {}};
      break;
    case Backing::kRam:
    case Backing::kDevice:
      break;
  }
  if (slot->flags & KIOMMU_SLOT_READ_ONLY) rights &= kR;
  if (rights == 0) return {KVM_IOMMU_STATUS_READ_ONLY, {}};
  return {KVM_IOMMU_STATUS_OK, HostPage{memory.pfn, rights}};
}

inline std::optional<HostPage> look_up(const Snapshot& pages, u64 page) {
  const auto found = pages.find(page);
  if (found == pages.end()) return std::nullopt;
  return found->second;
}

// `lossy`: a host had no memory while a block was split, so pages around the
// range may be gone. They never become anything else.
template <class Format>
void Model<Format>::check_outside(const Range& range, const Snapshot& before,
                                  bool lossy) {
  const Snapshot now = snapshot(world_.iommus[0]);
  u64 same = 0;
  u64 outside = 0;
  for (const auto& [page, to] : now) {
    if (page >= range.first && page < range.end()) continue;
    ASSERT_EQ(look_up(before, page), to) << "outside, page " << page;
    ++same;
  }
  for (const auto& [page, to] : before) {
    outside += page < range.first || page >= range.end();
  }
  ASSERT_TRUE(lossy || same == outside) << "pages outside are gone";
}

template <class Format>
void Model<Format>::check_refresh(const Range& range,
                                  const RefreshOutcome& outcome,
                                  const Snapshot& before, bool lossy) {
  check_outside(range, before, lossy && outcome.error != 0);
  const u64 stop =
      outcome.error == 0 ? range.end() : outcome.result.stopped_iova / kPage;
  ASSERT_GE(stop, range.first);
  if (outcome.error == 0) {
    ASSERT_EQ(outcome.result.status, unsigned{KVM_IOMMU_STATUS_OK});
    ASSERT_EQ(outcome.result.stopped_iova, range.end() * kPage);
  } else {
    ASSERT_LT(stop, range.end());
  }
  for (u64 page = range.first; page < stop; ++page) {
    const Expected want = expected(page);
    ASSERT_TRUE(want.status == KVM_IOMMU_STATUS_OK ||
                want.status == KVM_IOMMU_STATUS_NOT_MAPPED)
        << "page " << page << " should have stopped it: " << want.status;
    ASSERT_EQ(seen(page), want.page) << "page " << page;
  }
  if (outcome.error == 0) return;
  if (outcome.error == -EIO && outcome.result.status != KVM_IOMMU_STATUS_HOST) {
    // A bad page is bad by the specification, too, and is not mapped.
    ASSERT_EQ(expected(stop).status, outcome.result.status) << "page " << stop;
    ASSERT_EQ(seen(stop), kBlocked);
  } else {
    ASSERT_TRUE(options_.faults) << outcome.error;
  }
  for (u64 page = stop; page < range.end(); ++page) {
    const auto now = seen(page);
    ASSERT_TRUE(!now || now == look_up(before, page)) << "page " << page;
  }
}

template <class Format>
void Model<Format>::check_translate(u64 page) {
  const Expected want = expected(page);
  const kiommu_translation answer = world_.translate(page * kPage);
  const auto now = seen(page);
  ASSERT_EQ(answer.shadow_rights, now ? now->rights : 0);
  // translate() answers for the guest's tables and slots, not for the memory
  // behind them.
  if (answer.status == KVM_IOMMU_STATUS_OK) {
    ASSERT_TRUE(want.status == KVM_IOMMU_STATUS_OK ||
                want.status >= KVM_IOMMU_STATUS_UNBACKED);
    const unsigned least = want.page ? want.page->rights : 0;
    ASSERT_EQ(answer.rights & least, least);
  } else {
    ASSERT_FALSE(want.page);
  }
}

}  // namespace kiommu::test
