// SPDX-License-Identifier: GPL-2.0-only
//
// See pin_table.hpp.
#include "pin_table.hpp"

#include <cerrno>

#include "core_dirty.h"
#include "violation.hpp"

namespace kiommu::port {

PinTable::PinTable(GuestMemory& guest, Ledger& ledger, std::uint64_t idle_limit)
    : guest_(guest), ledger_(ledger) {
  const CallScope call(ledger_, Locks::kNone, nullptr, nullptr);
  if (kiommu_core_pins_create(guest.handle(), idle_limit, &pins_) != 0) {
    pins_ = nullptr;
  }
}

void PinTable::destroy() {
  if (pins_ == nullptr) return;
  const CallScope call(ledger_, Locks::kNone, nullptr, nullptr);
  kiommu_core_pins_destroy(pins_);
  pins_ = nullptr;
}

void PinTable::set_idle_limit(std::uint64_t pages) {
  {
    const CallScope call(ledger_, Locks::kPins, nullptr, &lock_);
    kiommu_core_pins_set_idle_limit(pins_, pages);
  }
  after_call();
}

std::uint64_t PinTable::trim(std::uint64_t keep) {
  const CallScope call(ledger_, Locks::kPins, nullptr, &lock_, true);
  return kiommu_core_pins_trim(pins_, keep);
}

std::uint64_t PinTable::slots() {
  const CallScope call(ledger_, Locks::kPins, nullptr, &lock_, true);
  return kiommu_core_pins_slots(pins_);
}

void PinTable::forget_slots() {
  const CallScope call(ledger_, Locks::kPins, nullptr, &lock_, true);
  kiommu_core_pins_forget_slots(pins_);
}

void PinTable::before_call() {
  if (notices_slots && generation_ != guest_.generation()) slots_changed();
}

void PinTable::after_call() {
  if (kiommu_core_pins_trim_due(pins_) == 0) return;
  const CallScope call(ledger_, Locks::kPins, nullptr, &lock_, true);
  kiommu_core_pins_trim_to_limit(pins_);
}

int PinTable::preregister(std::uint64_t gpa, std::uint64_t length,
                          kiommu_u32* status) {
  before_call();
  int error;
  kiommu_u32 unwanted;
  {
    const CallScope call(ledger_, Locks::kPins, nullptr, &lock_);
    error = kiommu_core_pins_preregister(
        pins_, gpa, length, status != nullptr ? status : &unwanted);
  }
  if (error == 0) preregistered_ = true;
  after_call();
  return error;
}

int PinTable::unregister(std::uint64_t gpa, std::uint64_t length,
                         kiommu_u32* status) {
  before_call();
  int error;
  kiommu_u32 unwanted;
  {
    const CallScope call(ledger_, Locks::kPins, nullptr, &lock_);
    error = kiommu_core_pins_unregister(pins_, gpa, length,
                                        status != nullptr ? status : &unwanted);
  }
  if (error == 0 && gpa == 0 && length == 0) preregistered_ = false;
  after_call();
  return error;
}

int PinTable::start_dirty() {
  before_call();
  const CallScope call(ledger_, Locks::kPins, nullptr, &lock_);
  kiommu_u32 status;
  return kiommu_core_dirty_start(pins_, &status);
}

int PinTable::stop_dirty() {
  before_call();
  const CallScope call(ledger_, Locks::kPins, nullptr, &lock_, true);
  kiommu_u32 status;
  return kiommu_core_dirty_stop(pins_, &status);
}

int PinTable::read_dirty(std::uint64_t gpa, std::uint64_t length,
                         std::vector<kiommu_u64>* bits, std::uint64_t part) {
  kiommu_u32 status;
  before_call();
  {
    const CallScope call(ledger_, Locks::kPins, nullptr, &lock_, true);
    if (int error = kiommu_core_dirty_check(pins_, gpa, length, &status)) {
      return error;
    }
  }
  const std::uint64_t pages = length / kPageBytes;
  // One more word, as a guard: what lies behind the bitmap must not change.
  constexpr kiommu_u64 kGuard = 0x5a5aa5a5deadbeef;
  bits->assign((pages + 63) / 64 + 1, kGuard);
  for (std::uint64_t done = 0; done < pages; done += part) {
    const std::uint64_t now = pages - done < part ? pages - done : part;
    before_call();
    const CallScope call(ledger_, Locks::kPins, nullptr, &lock_, true);
    if (int error = kiommu_core_dirty_take(pins_, gpa + done * kPageBytes,
                                           now * kPageBytes,
                                           bits->data() + done / 64, &status)) {
      return error;
    }
  }
  if (bits->back() != kGuard) violation("dirty bits beyond the bitmap");
  bits->pop_back();
  return 0;
}

void PinTable::put_dirty_back(std::uint64_t gpa, std::uint64_t length,
                              const std::vector<kiommu_u64>& bits) {
  const CallScope call(ledger_, Locks::kPins, nullptr, &lock_, true);
  kiommu_core_dirty_put_back(pins_, gpa, length, bits.data());
}

void PinTable::slots_changed(std::uint64_t first_gfn, std::uint64_t last_gfn) {
  {
    const CallScope call(ledger_, Locks::kPins, nullptr, &lock_, true);
    const std::uint64_t generation = guest_.generation();
    kiommu_core_slots_changed(pins_, first_gfn, last_gfn);
    if (first_gfn == 0 && last_gfn == ~std::uint64_t{0}) {
      guest_.forget_removed_slots(generation);
      generation_ = generation;
    }
  }
  after_call();
}

void PinTable::tables_gone(std::uint64_t first_gfn, std::uint64_t last_gfn) {
  {
    const CallScope call(ledger_, Locks::kPins, nullptr, &lock_, true);
    kiommu_core_tables_gone(pins_, first_gfn, last_gfn);
  }
  after_call();
}

int PinTable::stores_missed() {
  const CallScope call(ledger_, Locks::kPins, nullptr, &lock_, true);
  return kiommu_core_stores_missed(pins_);
}

int PinTable::memory_changed(std::uint64_t hva, std::uint64_t pages) {
  int error;
  {
    const CallScope call(ledger_, Locks::kPins, nullptr, &lock_);
    kiommu_window range{hva, hva + pages * kPageBytes - 1};
    error = kiommu_core_memory_changed(pins_, &range, 1) == 0 ? 0 : -EAGAIN;
  }
  after_call();
  return error;
}

void PinTable::mmio_revoked() {
  const CallScope call(ledger_, Locks::kPins, nullptr, &lock_);
  kiommu_core_mmio_revoked(pins_);
}

}  // namespace kiommu::port
