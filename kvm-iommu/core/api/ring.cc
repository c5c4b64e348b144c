// SPDX-License-Identifier: GPL-2.0-only
//
// The functions of core_sync.h for rings.
#include <new>

#include "api/handles.hpp"
#include "core_sync.h"
#include "domain/ring.hpp"

struct kiommu_ring {
  kiommu::Ring ring;
};

int kiommu_core_ring_create(kiommu_u64 gpa, kiommu_u32 entries,
                            kiommu_ring** ring, kiommu_u32* status) {
  using kiommu::Gpa;
  const auto checked = kiommu::Ring::check(Gpa{gpa}, entries);
  if (!checked) return kiommu::answer(checked, status);
  void* memory = kiommu_port_alloc_array(sizeof(kiommu_ring));
  if (memory == nullptr) {
    return kiommu::answer(kiommu::fail(kiommu::Status::kNoMemory), status);
  }
  *ring = new (memory) kiommu_ring{{Gpa{gpa}, entries}};
  return 0;
}

void kiommu_core_ring_destroy(kiommu_ring* ring) {
  ring->~kiommu_ring();
  kiommu_port_free_array(ring);
}

int kiommu_core_ring_begin(kiommu_domain* domain, kiommu_ring* ring) {
  return kiommu::to_errno(ring->ring.begin(domain->domain));
}

kiommu_u32 kiommu_core_ring_consume(kiommu_domain* domain, kiommu_ring* ring,
                                    kiommu_ring_large large) {
  return ring->ring.consume(domain->domain, large);
}

kiommu_u32 kiommu_core_ring_drain(kiommu_domain* domain, kiommu_ring* ring,
                                  kiommu_ring_drain* until) {
  return ring->ring.drain(domain->domain, *until);
}
