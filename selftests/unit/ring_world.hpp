// SPDX-License-Identifier: GPL-2.0-only
//
// A world whose guest has a ring.
#pragma once

#include <linux/kvm_iommu_ring.h>

#include <bit>

#include "world.hpp"

namespace kiommu::test {

inline constexpr u64 kRingGpa = 64 * kGiB;
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

// A guest with a ring; plays the driver.
template <class Format>
class RingWorld : public World<Format> {
 public:
  explicit RingWorld(u32 entries = 64, u64 gpa = kRingGpa,
                     WorldOptions options = {})
      : World<Format>(options), entries(entries), gpa(gpa) {
    ring_hva = this->guest.add_ram(
        kRingGpa, (32 * entries + 128 + kPage) / kPage + 1, port::kShuffled);
    create();
  }
  ~RingWorld() { destroy(); }

  void create() {
    EXPECT_EQ(this->shared([&](kiommu_domain*) {
      kiommu_u32 status;
      return kiommu_core_ring_create(gpa, entries, &ring, &status);
    }),
              0);
    this->exclusive([&](kiommu_domain* domain) {
      kiommu_core_ring_begin(domain, ring);
      return 0;
    });
  }
  void destroy() {
    if (ring != nullptr) kiommu_core_ring_destroy(ring);
    ring = nullptr;
  }

  template <class T>
  T load(u64 offset) {
    T value;
    this->guest.read(gpa + offset, &value, sizeof(value));
    return le(value);
  }
  template <class T>
  void store(u64 offset, T value) {
    value = le(value);
    this->guest.write(gpa + offset, &value, sizeof(value));
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
  u32 consume(kiommu_ring_large large = KIOMMU_RING_LARGE_NOW) {
    return static_cast<u32>(this->shared([&](kiommu_domain* domain) {
      return static_cast<int>(kiommu_core_ring_consume(domain, ring, large));
    }));
  }
  // Until nothing is left. Returns what all of them answered.
  u32 consume_all() {
    u32 all = 0;
    u32 answer = KIOMMU_RING_MORE;
    for (int i = 0; i < 100000 && (answer & KIOMMU_RING_MORE) != 0; ++i) {
      all |= answer = consume();
    }
    return all & ~KIOMMU_RING_MORE;
  }
  // Returns what all calls of it answered.
  u32 drain() {
    kiommu_ring_drain until{};
    u32 all = 0;
    u32 answer = KIOMMU_RING_MORE;
    for (int i = 0; i < 100000 && (answer & KIOMMU_RING_MORE) != 0; ++i) {
      all |= answer = drain_some(until);
    }
    return all & ~KIOMMU_RING_MORE;
  }
  u32 drain_some(kiommu_ring_drain& until) {
    return static_cast<u32>(this->shared([&](kiommu_domain* domain) {
      return static_cast<int>(kiommu_core_ring_drain(domain, ring, &until));
    }));
  }
  u64 mapped() { return this->info().mapped_pages; }

  const u32 entries;
  const u64 gpa;
  u64 ring_hva = 0;
  u32 avail = 0;
  kiommu_ring* ring = nullptr;
};

}  // namespace kiommu::test
