// SPDX-License-Identifier: GPL-2.0-only
//
// A ring in guest memory, as the guest's driver sees it.
#pragma once

#include <linux/kvm_iommu_ring.h>

#include <bit>
#include <cstddef>

#include "fake_port/guest_memory.hpp"
#include "spec.hpp"

namespace kiommu::test {

inline constexpr u32 kUnmap = KVM_IOMMU_RING_UNMAP;

template <class T>
T le(T value) {
  if constexpr (std::endian::native == std::endian::little) return value;
  T swapped;
  for (unsigned i = 0; i < sizeof(T); ++i) {
    reinterpret_cast<u8*>(&swapped)[i] =
        reinterpret_cast<u8*>(&value)[sizeof(T) - 1 - i];
  }
  return swapped;
}

// Posts entries, and reads what the host says of them.
class GuestRing {
 public:
  // The memory need not exist before the ring is used.
  GuestRing(port::GuestMemory& memory, u32 entries, u64 gpa)
      : entries(entries), gpa(gpa), memory_(memory) {}

  template <class T>
  T load(u64 offset) {
    T value;
    memory_.read(gpa + offset, &value, sizeof(value));
    return le(value);
  }
  template <class T>
  void store(u64 offset, T value) {
    value = le(value);
    memory_.write(gpa + offset, &value, sizeof(value));
  }
  static constexpr u64 kAvail = offsetof(kvm_iommu_ring, avail);
  static constexpr u64 kNotify = offsetof(kvm_iommu_ring, notify);
  u32 done() { return load<u32>(offsetof(kvm_iommu_ring, done)); }
  u32 kick() { return load<u32>(offsetof(kvm_iommu_ring, kick)); }
  u32 flags() { return load<u32>(offsetof(kvm_iommu_ring, flags)); }
  u64 entry(u32 index) const {
    return offsetof(kvm_iommu_ring, entries) +
           (index & (entries - 1)) * sizeof(kvm_iommu_ring_entry);
  }
  u32 status(u32 index) {
    return load<u32>(entry(index) + offsetof(kvm_iommu_ring_entry, status));
  }
  u64 stopped(u32 index) {
    return load<u64>(entry(index) +
                     offsetof(kvm_iommu_ring_entry, stopped_iova));
  }
  void fill(u32 index, u64 iova, u64 length, u32 flags = 0) {
    using Entry = kvm_iommu_ring_entry;
    store<u64>(entry(index) + offsetof(Entry, iova), iova);
    store<u64>(entry(index) + offsetof(Entry, length), length);
    store<u32>(entry(index) + offsetof(Entry, flags), flags);
    store<u32>(entry(index) + offsetof(Entry, status), ~0u);
  }
  void post(u64 iova, u64 length, u32 flags = 0) {
    fill(avail++, iova, length, flags);
    store<u32>(kAvail, avail);
  }

  const u32 entries;
  const u64 gpa;
  u32 avail = 0;  // entries that were posted

 private:
  port::GuestMemory& memory_;
};

}  // namespace kiommu::test
