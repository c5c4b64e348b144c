// SPDX-License-Identifier: GPL-2.0-only
//
// A world whose guest has a ring.
#pragma once

#include "guest_ring.hpp"
#include "world.hpp"

namespace kiommu::test {

inline constexpr u64 kRingGpa = 64 * kGiB;

// A guest with a ring, which plays its driver.
template <class Format>
class RingWorld : public World<Format>, public GuestRing {
 public:
  explicit RingWorld(u32 entries = 64, u64 gpa = kRingGpa,
                     WorldOptions options = {})
      : World<Format>(options), GuestRing(this->guest, entries, gpa) {
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
    EXPECT_EQ(begin(), 0);
  }
  int begin() {
    return this->exclusive([&](kiommu_domain* domain) {
      return kiommu_core_ring_begin(domain, ring);
    });
  }
  void destroy() {
    if (ring != nullptr) kiommu_core_ring_destroy(ring);
    ring = nullptr;
  }

  u32 consume(kiommu_ring_large large = KIOMMU_RING_LARGE_NOW) {
    return static_cast<u32>(this->shared([&](kiommu_domain* domain) {
      return static_cast<int>(kiommu_core_ring_consume(domain, ring, large));
    }));
  }
  // Consumes until nothing is left. Returns all answers combined.
  u32 consume_all() {
    u32 all = 0;
    u32 answer = KIOMMU_RING_MORE;
    for (int i = 0; i < 100000 && (answer & KIOMMU_RING_MORE) != 0; ++i) {
      all |= answer = consume();
    }
    return all & ~KIOMMU_RING_MORE;
  }
  // Drains the ring. Returns all answers combined.
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

  u64 ring_hva = 0;
  kiommu_ring* ring = nullptr;
};

}  // namespace kiommu::test
