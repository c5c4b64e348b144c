// SPDX-License-Identifier: GPL-2.0-only
//
// See dma_domain.hpp.
#include "dma_domain.hpp"

#include <cerrno>
#include <utility>

#include "violation.hpp"

namespace kiommu::port {

// Makes a call under D and under P of the pin table in use.
template <class Function>
auto DmaDomain::call(Locks locks, bool never_allocates,
                     Function function) const {
  const CallScope scope(
      ledger_, locks, &lock_,
      [](void* pins) {
        PinTable* table = *static_cast<const std::atomic<PinTable*>*>(pins);
        return table != nullptr ? &table->lock() : nullptr;
      },
      const_cast<std::atomic<PinTable*>*>(&pins_), never_allocates);
  return function();
}

void DmaDomain::before_call() const {
  if (PinTable* pins = pins_) pins->before_call();
}

void DmaDomain::after_call() const {
  if (PinTable* pins = pins_) pins->after_call();
}

DmaDomain::DmaDomain(HostMemory& host, PinTable& pins, Ledger& ledger,
                     DomainOptions options)
    : iommus(host),
      own_pins_(&pins),
      ledger_(ledger),
      options_(std::move(options)) {
  for (const HostKind& kind : options_.hosts) iommus.add(kind);
  const int error = call(Locks::kNone, false, [&] {
    const int error = kiommu_core_faults_create(&reader_, &faults_);
    if (error != 0) return error;
    return kiommu_core_create(iommus.handle(), faults_, options_.shadow_limit,
                              &domain_);
  });
  if (error != 0) {
    domain_ = nullptr;
    destroy_faults();
  } else if (set_caps() != 0) {
    violation("host capabilities are refused");
  }
}

void DmaDomain::destroy_faults() {
  if (faults_ == nullptr) return;
  close_faults();
  const AtomicScope scope;
  kiommu_core_faults_destroy(faults_);
  faults_ = nullptr;
}

int DmaDomain::open_faults() {
  Ledger* before = use_ledger(&ledger_);
  const int error = kiommu_core_faults_open(faults_);
  use_ledger(before);
  return error;
}

bool DmaDomain::report(const kiommu_fault& fault) {
  const AtomicScope scope;
  return kiommu_core_report_fault(faults_, &fault) != 0;
}

bool DmaDomain::report_dma(const kiommu_fault& fault) {
  const AtomicScope scope;
  return kiommu_core_report_dma_fault(faults_, &fault) != 0;
}

bool DmaDomain::faults_readable() {
  const AtomicScope scope;
  return kiommu_core_faults_readable(faults_) != 0;
}

std::vector<kiommu_fault> DmaDomain::peek_faults(kiommu_u32 max) {
  const AtomicScope scope;
  std::vector<kiommu_fault> records(max);
  records.resize(kiommu_core_faults_peek(faults_, records.data(), max));
  return records;
}

void DmaDomain::drop_faults(kiommu_u32 count) {
  const AtomicScope scope;
  kiommu_core_faults_drop(faults_, count);
}

std::vector<kiommu_fault> DmaDomain::read_faults(kiommu_u32 max) {
  std::vector<kiommu_fault> records = peek_faults(max);
  drop_faults(static_cast<kiommu_u32>(records.size()));
  return records;
}

void DmaDomain::destroy() {
  if (domain_ == nullptr) return;
  call(Locks::kExclusive, true, [&] { kiommu_core_destroy(domain_); });
  domain_ = nullptr;
  destroy_faults();
  if (PinTable* pins = pins_.exchange(nullptr)) pins->after_call();
  for (std::size_t i = 0; i < iommus.size(); ++i) {
    if (!iommus[i].blocks().empty()) violation("a host table is not empty");
    if (iommus[i].iotlb_may_be_stale()) violation("an IOTLB is not flushed");
  }
}

int DmaDomain::start(PinTable& pins) {
  // Take P of the table to be started with, not of the one in use.
  const CallScope scope(ledger_, Locks::kExclusive, &lock_, &pins.lock());
  const int error = kiommu_core_start(domain_, pins.handle());
  if (error == 0) pins_ = &pins;
  return error;
}

int DmaDomain::stop() {
  return call(Locks::kExclusive, true, [&] {
    const int error = kiommu_core_stop(domain_);
    if (error == 0) pins_ = nullptr;
    return error;
  });
}

int DmaDomain::anchor(const kiommu_anchor& anchor, kiommu_u32* status) {
  before_call();
  kiommu_u32 unwanted;
  return call(Locks::kExclusive, false, [&] {
    return kiommu_core_register_ioat(domain_, &anchor,
                                     status != nullptr ? status : &unwanted);
  });
}

int DmaDomain::unanchor() {
  return call(Locks::kExclusive, true,
              [&] { return kiommu_core_unregister_ioat(domain_); });
}

RefreshOutcome DmaDomain::refresh(std::uint64_t iova, std::uint64_t length) {
  before_call();
  RefreshOutcome outcome;
  outcome.error = call(Locks::kShared, false, [&] {
    return kiommu_core_refresh(domain_, iova, length, &outcome.result);
  });
  after_call();
  return outcome;
}

int DmaDomain::map(std::uint64_t iova, std::uint64_t length, unsigned rights,
                   kiommu_u32* status) {
  before_call();
  const int error = call(Locks::kShared, false, [&] {
    return kiommu_core_map(domain_, iova, length, rights, status);
  });
  after_call();
  return error;
}

int DmaDomain::unmap(std::uint64_t iova, std::uint64_t length,
                     std::uint64_t* unmapped) {
  kiommu_u64 pages = 0;
  const int error = call(Locks::kShared, false, [&] {
    return kiommu_core_unmap(domain_, iova, length, &pages);
  });
  after_call();
  if (unmapped != nullptr) *unmapped = pages;
  return error;
}

int DmaDomain::unmap_all(kiommu_u64* unmapped) {
  const int error = call(Locks::kShared, false, [&] {
    return kiommu_core_unmap_all(domain_, unmapped);
  });
  after_call();
  return error;
}

DmaDomain::RangeOutcome DmaDomain::translate_range(std::uint64_t iova,
                                                   std::uint64_t length,
                                                   kiommu_u32 part) {
  RangeOutcome outcome{.next = iova};
  const std::uint64_t end = iova + length;
  kiommu_u32 count = part;
  do {
    before_call();
    std::vector<kiommu_range_record> records(part);
    outcome.error = call(Locks::kShared, false, [&] {
      return kiommu_core_translate_range(
          domain_, outcome.next, end - outcome.next, records.data(), part,
          &count, &outcome.next, &outcome.status);
    });
    if (outcome.error != 0) break;
    outcome.records.insert(outcome.records.end(), records.begin(),
                           records.begin() + count);
  } while (outcome.status != 0 && count == part);
  return outcome;
}

std::vector<kiommu_u64> DmaDomain::writable_pages(std::uint64_t iova,
                                                  std::uint64_t pages) {
  before_call();
  std::vector<kiommu_u64> bits((pages + 63) / 64);
  call(Locks::kShared, false, [&] {
    return kiommu_core_writable_pages(domain_, iova, pages, bits.data());
  });
  return bits;
}

int DmaDomain::unmap_writable(std::uint64_t iova, std::uint64_t length,
                              std::vector<kiommu_u64>* bits,
                              std::uint64_t* unmapped) {
  before_call();
  bits->assign((length / kPageBytes + 63) / 64, 0);
  kiommu_u64 pages = 0;
  const int error = call(Locks::kShared, false, [&] {
    return kiommu_core_unmap_writable(domain_, iova, length, bits->data(),
                                      &pages);
  });
  *unmapped = pages;
  after_call();
  return error;
}

int DmaDomain::translate(std::uint64_t iova, kiommu_translation* result) {
  before_call();
  return call(Locks::kShared, false,
              [&] { return kiommu_core_translate(domain_, iova, result); });
}

int DmaDomain::follow(std::uint32_t burst) {
  before_call();
  return call(Locks::kExclusive, false, [&] {
    if (int error = kiommu_core_tracking_start(domain_, burst)) return error;
    kiommu_tracking_work work;
    kiommu_core_tracking_range(0, ~std::uint64_t{0}, &work);
    int error;
    do {
      error = kiommu_core_tracking_step(domain_, &work);
    } while (error == -EAGAIN);
    return error;
  });
}

void DmaDomain::unfollow() {
  call(Locks::kExclusive, true, [&] { kiommu_core_tracking_stop(domain_); });
}

int DmaDomain::stored(std::uint64_t gpa, std::uint32_t bytes) {
  kiommu_tracking_work work;
  before_call();
  call(Locks::kShared, false,
       [&] { kiommu_core_tracking_store(domain_, gpa, bytes, &work); });
  return finish(&work);
}

int DmaDomain::invalidate(std::uint64_t iova, std::uint64_t length) {
  kiommu_tracking_work work;
  kiommu_core_tracking_range(iova, iova + (length - 1), &work);
  return finish(&work);
}

int DmaDomain::finish(kiommu_tracking_work* work) {
  int error;
  do {
    before_call();
    error = call(Locks::kShared, false,
                 [&] { return kiommu_core_tracking_step(domain_, work); });
    after_call();
  } while (error == -EAGAIN);
  return error;
}

int DmaDomain::untrack(std::uint64_t gpa, std::uint64_t length,
                       kiommu_u64* count, kiommu_u32* status) {
  kiommu_u32 unwanted;
  return call(Locks::kShared, false, [&] {
    return kiommu_core_untrack(domain_, gpa, length, count,
                               status != nullptr ? status : &unwanted);
  });
}

int DmaDomain::shared(const std::function<int(kiommu_domain*)>& function) {
  before_call();
  const int error =
      call(Locks::kShared, false, [&] { return function(domain_); });
  after_call();
  return error;
}

int DmaDomain::exclusive(const std::function<int(kiommu_domain*)>& function,
                         bool never_allocates) {
  before_call();
  return call(Locks::kExclusive, never_allocates,
              [&] { return function(domain_); });
}

int DmaDomain::replay(std::uint32_t host, bool killable) {
  return call(Locks::kExclusive, false,
              [&] { return kiommu_core_replay(domain_, host, killable); });
}

int DmaDomain::add_host(HostKind kind) {
  return call(Locks::kExclusive, false, [&] {
    const std::uint32_t index = iommus.add(kind);
    const int error = set_caps_locked();
    return error != 0 ? error : kiommu_core_replay(domain_, index, 1);
  });
}

int DmaDomain::drop_host() {
  return call(Locks::kExclusive, false, [&] {
    iommus.drop_last();
    return set_caps_locked();
  });
}

int DmaDomain::set_caps() {
  return call(Locks::kExclusive, false, [&] { return set_caps_locked(); });
}

int DmaDomain::set_caps_locked() {
  kiommu_host_caps caps = iommus.caps();
  caps.aperture = options_.aperture;
  caps.reserved = options_.reserved.data();
  caps.reserved_count = static_cast<kiommu_u32>(options_.reserved.size());
  return kiommu_core_set_host_caps(domain_, &caps);
}

int DmaDomain::set_caps(const kiommu_window& aperture,
                        std::vector<kiommu_window> reserved) {
  // The domain keeps a pointer to the old windows until it accepts the new
  // ones.
  kiommu_host_caps caps = iommus.caps();
  caps.aperture = aperture;
  caps.reserved = reserved.data();
  caps.reserved_count = static_cast<kiommu_u32>(reserved.size());
  return call(Locks::kExclusive, false, [&] {
    const int error = kiommu_core_set_host_caps(domain_, &caps);
    if (error == 0) {
      options_.aperture = aperture;
      options_.reserved.swap(reserved);
    }
    return error;
  });
}

kiommu_core_info DmaDomain::info() const {
  return call(Locks::kShared, false, [&] {
    kiommu_core_info info;
    kiommu_core_get_info(domain_, &info);
    return info;
  });
}

}  // namespace kiommu::port
