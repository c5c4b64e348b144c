// SPDX-License-Identifier: GPL-2.0-only
//
// The state and the IOAT of a zPCI function, see zpci_function.hpp.
#include "zpci_function.hpp"

#include "zpci_format.hpp"

namespace kiommu {
namespace {

constexpr uint32_t kIdentity = 0;  // KVM_IOMMU_FORMAT_IDENTITY

constexpr bool has_tables(const kiommu_zpci_ioat& ioat) {
  return (ioat.iota & ZpciFormat::Iota::kTranslate) != 0;
}

Result<kiommu_anchor> anchor_of(const kiommu_zpci_function& function,
                                const kiommu_zpci_ioat& ioat) {
  IovaRange space = zpci_dma_space(ioat);
  kiommu_anchor anchor{};
  // A function table entry says nothing of DMA rights: only the tables do.
  anchor.rights = kReadWrite.bits;
  if (has_tables(ioat)) {
    anchor.format = ZpciFormat::kId;
    anchor.iota = ioat.iota;
    auto root = ZpciFormat::root(anchor);
    if (!root) return fail(root.error());
    // If this makes the window empty, check_anchor() refuses it.
    if (space.last.value > root->reach_last) space.last = {root->reach_last};
  } else {
    anchor.format = kIdentity;
    anchor.offset = function.sdma;
  }
  anchor.first = space.first.value;
  anchor.last = space.last.value;
  return anchor;
}

constexpr bool is_transition(uint32_t from, uint32_t to) {
  switch (to) {
    case KIOMMU_ZPCI_DISABLED:
      return from != KIOMMU_ZPCI_DISABLED;
    case KIOMMU_ZPCI_ENABLED:
      return from != KIOMMU_ZPCI_ENABLED;
    case KIOMMU_ZPCI_BLOCKED:
      return from == KIOMMU_ZPCI_ERROR;
    default:
      return from == KIOMMU_ZPCI_ENABLED || from == KIOMMU_ZPCI_BLOCKED;
  }
}

}  // namespace

bool zpci_enter_error(kiommu_zpci_function& function) {
  uint32_t state = zpci_state(function);
  while (state != KIOMMU_ZPCI_ERROR) {
    if (__atomic_compare_exchange_n(&function.state, &state, KIOMMU_ZPCI_ERROR,
                                    false, __ATOMIC_RELAXED,
                                    __ATOMIC_RELAXED)) {
      return true;
    }
  }
  return false;
}

Result<void> zpci_reg_ioat(kiommu_zpci_function& function, Domain& domain,
                           const kiommu_zpci_ioat& ioat) {
  if (zpci_state(function) == KIOMMU_ZPCI_DISABLED) {
    return fail(Status::kDisabled);
  }
  if (domain.joined(function.anchor) != nullptr) {
    return fail(Status::kSequence);
  }
  const IovaRange space = zpci_dma_space(ioat);
  if (space.first > space.last || space.first.value < function.sdma ||
      !domain.aperture().contains(space)) {
    return fail(Status::kOutOfRange);
  }
  auto anchor = anchor_of(function, ioat);
  if (!anchor) return fail(anchor.error());
  auto ticket = domain.join_ioat(*anchor);
  if (!ticket) {
    // MPCIFC has one answer for bad operands and another for bad memory, so the
    // errors must differ.
    const bool is_memory = ticket.error() == Status::kBadTable;
    return fail(is_memory ? Status::kNoSlot : ticket.error());
  }
  function.anchor = *ticket;
  function.ioat = ioat;
  return {};
}

Result<void> zpci_shadow_ioat(const kiommu_zpci_function& function,
                              Domain& domain, kiommu_u64* next) {
  const Stage1* stage1 = domain.joined(function.anchor);
  if (stage1 == nullptr) return fail(Status::kNoAnchor);
  IovaRange range = stage1->window;
  if (range.first.value < *next) range.first = {*next};
  kiommu_refresh_result result{};
  auto done = domain.refresh(range, &result);
  if (done) return {};
  *next = result.stopped_iova;
  const bool is_bad_entry = is_guest_mistake(done.error());
  return is_bad_entry && has_tables(function.ioat) ? Result<void>{} : done;
}

Result<void> zpci_dereg_ioat(kiommu_zpci_function& function, Domain& domain) {
  const uint64_t ticket = function.anchor;
  function.anchor = 0;
  function.ioat = {};
  if (!domain.leave_ioat(ticket)) return fail(Status::kSequence);
  return {};
}

Result<void> zpci_set_state(kiommu_zpci_function& function, Domain& domain,
                            uint32_t state) {
  if (state > KIOMMU_ZPCI_ERROR) return fail(Status::kConflict);
  if (!is_transition(zpci_state(function), state)) {
    return fail(Status::kSequence);
  }
  if (state == KIOMMU_ZPCI_DISABLED) (void)zpci_dereg_ioat(function, domain);
  __atomic_store_n(&function.state, state, __ATOMIC_RELAXED);
  return {};
}

}  // namespace kiommu
